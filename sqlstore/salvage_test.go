package sqlstore_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
)

// pageBytes is the size of a page.
const pageBytes = 8192

// owners returns which table or index has each page of a database, from page 1 on.
func owners(t *testing.T, path string) map[int]string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT pageno, name FROM dbstat`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[int]string{}
	for rows.Next() {
		var page int
		var name string
		if err := rows.Scan(&page, &name); err != nil {
			t.Fatal(err)
		}
		found[page] = name
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// damages are ways in which a page can be damaged.
var damages = map[string]func(page, next []byte){
	"overwritten": func(page, _ []byte) { copy(page, bytes.Repeat([]byte{0xee}, len(page))) },
	"zeroed":      func(page, _ []byte) { clear(page) },
	"fewer cells": func(page, _ []byte) {
		binary.BigEndian.PutUint16(page[3:], binary.BigEndian.Uint16(page[3:])/2)
	},
	"swapped": func(page, next []byte) {
		was := bytes.Clone(page)
		copy(page, next)
		copy(next, was)
	},
}

// primaryTables are those that nothing can make anew.
var primaryTables = []string{"kv", "entry", "tile", "edge", "rejected", "label", "store", "sqlite_schema"}

// Whichever page is damaged, and however: either a salvage and a reindex make a whole database of it that has the same rows, or
// the error names a table that nothing can make anew, and nothing was changed. Damage elsewhere is always salvaged.
func TestSalvageOfAnyPage(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 400)...)
	put(t, db, "a program's own", "value")
	if err := db.PutLabels(t.Context(), []sqlstore.Label{{Hash: hx("agent 1"), Label: "planner"}}); err != nil {
		t.Fatal(err)
	}
	before := dump(t, db)
	mustClose(t, db)
	sound, owner := read(t, path), owners(t, path)
	pages := len(sound) / pageBytes
	step := 1 + pages/12
	if testing.Short() {
		step = 1 + pages/4
	}
	salvaged, refused := 0, 0
	for n, kind := range []string{"fewer cells", "overwritten", "swapped", "zeroed"} {
		for page := 2 + n; page < pages; page += step {
			dir := t.TempDir()
			path, dest := filepath.Join(dir, "audit.db"), filepath.Join(dir, "new.db")
			damaged := bytes.Clone(sound)
			at := (page - 1) * pageBytes
			damages[kind](damaged[at:at+pageBytes], damaged[at+pageBytes:at+2*pageBytes])
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("page %d of %s %s", page, owner[page], kind)
			done, err := sqlstore.Salvage(t.Context(), path, dest, sqlstore.Options{}, decode)
			if !bytes.Equal(read(t, path), damaged) {
				t.Errorf("%s: the damaged database was changed", what)
			}
			if err != nil {
				var primary *sqlstore.PrimaryError
				if !errors.As(err, &primary) || !errors.Is(err, sqlstore.ErrMalformed) {
					t.Errorf("%s: %v", what, err)
				}
				if left, _ := filepath.Glob(dest + "*"); len(left) > 0 {
					t.Errorf("%s: left %q", what, left)
				}
				if !slices.Contains(primaryTables, owner[page]) && (kind != "swapped" || !slices.Contains(primaryTables, owner[page+1])) {
					t.Errorf("%s: %v", what, err)
				}
				refused++
				continue
			}
			salvaged++
			wantSalvaged(t, what, dest, done.Meta, before)
		}
	}
	t.Logf("%d pages, %d salvaged, %d refused", pages, salvaged, refused)
	if salvaged == 0 || refused == 0 && !testing.Short() {
		t.Errorf("%d salvaged, %d refused", salvaged, refused)
	}
}

// wantSalvaged checks a database that was salvaged: a reindex makes it whole, with these rows.
func wantSalvaged(t *testing.T, what, path string, meta sqlstore.Meta, rows string) {
	t.Helper()
	db := open(t, path, sqlstore.Options{})
	if now, err := db.Meta(t.Context()); err != nil || now.Cursor != meta.Cursor || now.StoreID != meta.StoreID || !meta.Exists {
		t.Errorf("%s: %+v, and it says %+v, %v", what, meta, now, err)
	}
	if needs, err := db.NeedsReindex(t.Context()); !needs || err != nil {
		t.Errorf("%s: needs a reindex: %v, %v", what, needs, err)
	}
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatalf("%s: reindex: %v", what, err)
	}
	if problems, err := db.Integrity(t.Context(), false); err != nil || len(problems) > 0 {
		t.Errorf("%s: %q, %v", what, problems, err)
	}
	if after := dump(t, db); after != rows {
		t.Errorf("%s: the rows are not the same", what)
	}
	if problems, notes := checkSchema(t, db); len(problems)+len(notes) > 0 {
		t.Errorf("%s: %q, %q", what, problems, notes)
	}
	mustClose(t, db)
}

// The statement of a trigger can no longer be read, the file lacks its last pages, a shell has run ANALYZE and the page of its
// statistics is damaged: no record is lost.
func TestSalvageOfASchemaThatCannotBeRead(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, whole, sqlstore.Options{})
	apply(t, db, samples(0, 50)...)
	before := dump(t, db)
	mustClose(t, db)
	change(t, whole, `ANALYZE`)
	owner := owners(t, whole)
	for what, damage := range map[string]func(file []byte) []byte{
		"a trigger": func(file []byte) []byte {
			return bytes.Replace(file, []byte("CREATE TRIGGER agent_is_never_deleted BEFORE DELETE"), []byte("CREATE TRIGGER agent_is_never_deleted BEFORE DELUTE"), 1)
		},
		"the statistics": func(file []byte) []byte {
			for page, name := range owner {
				if strings.HasPrefix(name, "sqlite_stat") {
					clear(file[(page-1)*pageBytes : page*pageBytes])
				}
			}
			return file
		},
		"the versions of the schema": func(file []byte) []byte {
			for page, name := range owner {
				if name == "goose_db_version" || name == "sqlite_sequence" {
					clear(file[(page-1)*pageBytes : page*pageBytes])
				}
			}
			return file
		},
		"the end of the file": func(file []byte) []byte {
			last := len(file) / pageBytes
			if slices.Contains(primaryTables, owner[last]) {
				t.Fatalf("the last page is of %s", owner[last])
			}
			return file[:(last-1)*pageBytes]
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, dest := filepath.Join(dir, "audit.db"), filepath.Join(dir, "new.db")
			file := read(t, whole)
			damaged := damage(bytes.Clone(file))
			if bytes.Equal(damaged, file) {
				t.Fatal("nothing is damaged")
			}
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			done, err := sqlstore.Salvage(t.Context(), path, dest, sqlstore.Options{}, decode)
			if err != nil {
				t.Fatal(err)
			}
			wantSalvaged(t, what, dest, done.Meta, before)
		})
	}
}

// What is missing without a word from SQLite is missed: the copy is compared with what independent tables say.
func TestSalvageMissesWhatIsLost(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, whole, sqlstore.Options{})
	apply(t, db, samples(0, 600)...)
	put(t, db, "a program's own", "value")
	if err := db.PutLabels(t.Context(), []sqlstore.Label{{Hash: hx("agent 1"), Label: "planner"}}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	for statement, table := range map[string]string{
		`DELETE FROM entry WHERE idx = 300`:                                               "entry",
		`DELETE FROM entry WHERE idx = 599`:                                               "edge",
		`DELETE FROM kv WHERE key IN (SELECT key FROM kv WHERE length(key) = 37 LIMIT 1)`: "kv",
		`DELETE FROM kv WHERE key IN (SELECT key FROM kv WHERE length(key) = 80 LIMIT 1)`: "kv",
		`DELETE FROM tile WHERE n = 1`:                                                    "tile",
		`DELETE FROM edge WHERE level = 0`:                                                "edge",
		`DELETE FROM store WHERE name = 'store_id'`:                                       "store",
		`UPDATE store SET value = 1 WHERE name = 'rejected'`:                              "rejected",
		`DROP TABLE tile`: "tile",
	} {
		dir := t.TempDir()
		path, dest := filepath.Join(dir, "audit.db"), filepath.Join(dir, "new.db")
		if err := os.WriteFile(path, read(t, whole), 0o600); err != nil {
			t.Fatal(err)
		}
		change(t, path, withoutGuards(t, path)+statement)
		var primary *sqlstore.PrimaryError
		if _, err := sqlstore.Salvage(t.Context(), path, dest, sqlstore.Options{}, decode); !errors.As(err, &primary) || primary.Table != table {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// A label that the table has lost is still in the index of names.
func TestSalvageMissesALabelThatItsIndexHas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	if err := db.PutLabels(t.Context(), []sqlstore.Label{{Hash: hx("agent 1"), Label: "planner"}, {Hash: hx("agent 2"), Label: "critic"}}); err != nil {
		t.Fatal(err)
	}
	root := rows(t, db, `SELECT rootpage FROM sqlite_schema WHERE name = 'label_by_name'`)[0]
	mustClose(t, db)
	change(t, path, `PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name = 'label_by_name'`)
	change(t, path, `DELETE FROM label WHERE label = 'critic'`)
	change(t, path, fmt.Sprintf(`PRAGMA writable_schema=ON; INSERT INTO sqlite_schema VALUES ('index', 'label_by_name', 'label', %v, 'CREATE INDEX label_by_name ON label (label)')`, root))
	var primary *sqlstore.PrimaryError
	if _, err := sqlstore.Salvage(t.Context(), path, path+".salvaged", sqlstore.Options{}, decode); !errors.As(err, &primary) || primary.Table != "label" {
		t.Error(err)
	}
}

// withoutGuards returns the statements that drop all triggers.
func withoutGuards(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var drop string
	if err := db.QueryRow(`SELECT group_concat('DROP TRIGGER ' || name || ';', ' ') FROM sqlite_schema WHERE type = 'trigger'`).Scan(&drop); err != nil {
		t.Fatal(err)
	}
	return drop
}
