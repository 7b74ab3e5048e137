package sqlstore_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// checkSchema runs CheckSchema and returns what it reports.
func checkSchema(t *testing.T, db *sqlstore.DB) (problems, notes []string) {
	t.Helper()
	err := db.CheckSchema(t.Context(), func(p string) { problems = append(problems, p) }, func(n string) { notes = append(notes, n) })
	if err != nil {
		t.Fatal(err)
	}
	return problems, notes
}

// change runs statements on the file as they are, beside its guards.
func change(t *testing.T, path string, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
}

func TestSchemaIsHeldAgainstTheMigrations(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute under the race detector, and one goroutine does all of it")
	}
	db, path := guarded(t)
	if problems, notes := checkSchema(t, db); len(problems)+len(notes) > 0 {
		t.Fatalf("of a sound store: %q, %q", problems, notes)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const loose = `CREATE TRIGGER kv_is_written_once_delete BEFORE DELETE ON kv WHEN 0 BEGIN SELECT 1; END`
	for _, c := range []struct {
		name, change, problem string
		stays                 bool // a reindex does not put it right
	}{
		{"a guard taken away", `DROP TRIGGER kv_is_written_once_delete`, `schema: trigger "kv_is_written_once_delete" on "kv" is missing`, false},
		{"a guard of a derived table taken away", `DROP TRIGGER audit_is_never_updated`, `schema: trigger "audit_is_never_updated" on "audit" is missing`, false},
		{"a guard made loose", `DROP TRIGGER kv_is_written_once_delete;` + loose, `schema: trigger "kv_is_written_once_delete" on "kv" is not what it was made as`, false},
		{"a guard moved to another table", `DROP TRIGGER kv_is_written_once_delete;` + strings.Replace(loose, "ON kv", "ON label", 1),
			`schema: trigger "kv_is_written_once_delete" on "label" is not what it was made as`, false},
		{"a trigger of somebody's", `CREATE TRIGGER quiet AFTER INSERT ON entry BEGIN DELETE FROM label; END`, `schema: trigger "quiet" on "entry" was added: it changes what is written`, true},
		{"a view taken away", `DROP VIEW kv_readable`, `schema: view "kv_readable" is missing`, false},
		{"a view that leaves records out", `DROP VIEW audits; CREATE VIEW audits AS SELECT * FROM audit WHERE idx <> 4`, `schema: view "audits" is not what it was made as`, false},
		{"an index taken away", `DROP INDEX audit_by_time`, `schema: index "audit_by_time" on "audit" is missing`, false},
		{"an index of other columns", `DROP INDEX label_by_name; CREATE INDEX label_by_name ON label (hash)`, `schema: index "label_by_name" on "label" is not what it was made as`, false},
		{"a derived table with a column more", `ALTER TABLE audit ADD COLUMN more`, `schema: table "audit" is not what it was made as`, false},
		{"a primary table with a column more", `ALTER TABLE kv ADD COLUMN more`, `schema: table "kv" is not what it was made as`, true},
		{"a check taken out", `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (journal_offset >= 0)', '') WHERE name = 'entry'`,
			`schema: table "entry" is not what it was made as`, true},
		{"a table of people's taken away", `DROP TABLE label`, `schema: table "label" is missing`, false},
		{"a table that the journal fills taken away", `DROP TABLE rejected`, `schema: table "rejected" is missing`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.db")
			if err := os.WriteFile(path, sound, 0o600); err != nil {
				t.Fatal(err)
			}
			change(t, path, c.change)
			// A writer makes a dropped table anew when it opens.
			reader := open(t, path, sqlstore.Options{ReadOnly: true})
			if problems, _ := checkSchema(t, reader); !slices.Contains(problems, c.problem) {
				t.Errorf("problems are %q, want %q", problems, c.problem)
			}
			mustClose(t, reader)
			db := open(t, path, sqlstore.Options{})
			if err := db.Reindex(t.Context(), decode, nil); err != nil {
				t.Fatal(err)
			}
			problems, _ := checkSchema(t, db)
			if got := slices.Contains(problems, c.problem); got != c.stays || !c.stays && len(problems) > 0 {
				t.Errorf("after a reindex: %q", problems)
			}
		})
	}
}

// Tables, indexes and views that people add, and those that SQLite adds, are no problem.
func TestSchemaMayBeAddedTo(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	change(t, path, `CREATE TABLE notes (text); CREATE INDEX audit_by_lens ON audit (lens); CREATE VIEW unsure AS SELECT * FROM audits WHERE result_confidence < 0.5; ANALYZE`)
	problems, notes := checkSchema(t, db)
	if want := []string{`index "audit_by_lens" on "audit" was added by somebody`, `table "notes" was added by somebody`, `view "unsure" was added by somebody`}; len(problems) > 0 || !slices.Equal(notes, want) {
		t.Errorf("problems %q, notes %q", problems, notes)
	}
}
