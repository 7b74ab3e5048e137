package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"
	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/internal/treespec"
	"github.com/auditsql/auditsql/migrations"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// exported is every record in the order of admission.
func exported(t interface{ Fatal(...any) }, db *sqlstore.DB) (leaves [][]byte) {
	for v, err := range db.Values(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, v.Value)
	}
	return leaves
}

func wantRoot(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, db *sqlstore.DB, leaves [][]byte) {
	size, root, err := db.Root(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if want := treespec.RootOf(leaves); size != uint64(len(leaves)) || root != want {
		t.Fatalf("the root of %d records is %x, want that of %d, %x", size, root, len(leaves), want)
	}
}

// The root is that of the records in the order of admission, after each batch, whatever the batches are: duplicates and
// what is rejected are no leaves.
func TestTheRootIsThatOfTheRecords(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		db, err := sqlstore.Open(context.Background(), filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{})
		if err != nil {
			r.Fatal(err)
		}
		defer db.Close()
		var leaves [][]byte
		seen := map[int]bool{}
		offset := uint64(0)
		for range rapid.IntRange(1, 5).Draw(r, "batches") {
			var b sqlstore.Batch
			for range rapid.IntRange(0, 300).Draw(r, "records") {
				offset += 100
				i := rapid.IntRange(0, 2000).Draw(r, "record")
				s := newSample(i)
				switch rapid.IntRange(0, 9).Draw(r, "kind") {
				case 0:
					b.Rejected = append(b.Rejected, sqlstore.Rejected{Offset: offset, Reason: "no audit", Payload: []byte("x")})
					continue
				case 1:
					s.Confidence = 0.5 // other bytes, unless it is the first
				}
				rec := s.record(offset)
				if !seen[i] {
					seen[i] = true
					leaves = append(leaves, rec.Payload)
				}
				b.Records = append(b.Records, rec)
			}
			b.Cursor = offset + 100
			if _, err := db.Apply(context.Background(), &b); err != nil {
				r.Fatal(err)
			}
			wantRoot(r, db, leaves)
		}
		if got := exported(r, db); !slices.EqualFunc(got, leaves, bytes.Equal) {
			r.Fatal("the records are not in the order of admission")
		}
		if _, problems := check(t, db); len(problems) > 0 {
			r.Fatalf("problems are %q", problems)
		}
	})
}

// A batch that fails leaves the tree as it was, in memory too.
func TestAFailedBatchLeavesTheTree(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	apply(t, db, samples(0, 300)...)
	rs := samples(300, 600)
	rs[299].Attributes = []sqlstore.Attribute{{Key: "twice"}, {Key: "twice"}}
	if _, err := db.Apply(t.Context(), &sqlstore.Batch{Records: rs, Cursor: 60_000}); err == nil {
		t.Fatal("the batch did not fail")
	}
	wantRoot(t, db, exported(t, db))
	apply(t, db, samples(300, 700)...)
	wantRoot(t, db, exported(t, db))
	if size, _, _ := db.Root(context.Background()); size != 700 {
		t.Errorf("%d records", size)
	}
}

// What kv has is compared with the leaf hash wherever a record is read. A record that differs is never served, and the
// others are.
func TestADamagedRecordIsNeverServed(t *testing.T) {
	t.Parallel()
	other := newSample(8)
	other.Confidence = 0.5
	forged := other.record(0).Payload
	key := "x'004155443a" + newSample(8).ID + "'"
	for name, c := range map[string]struct {
		statement string
		missing   bool
	}{
		"another value": {fmt.Sprintf(`UPDATE kv SET value = x'%x' WHERE key = %s`, forged, key), false},
		"no leaf":       {`UPDATE kv SET leaf = NULL WHERE key = ` + key, false},
		"another leaf":  {`UPDATE kv SET leaf = zeroblob(32) WHERE key = ` + key, false},
		"a short leaf":  {`UPDATE kv SET leaf = x'00' WHERE key = ` + key, false},
		"no record":     {`DELETE FROM kv WHERE key = ` + key, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit.db")
			db := open(t, path, sqlstore.Options{Heading: heading})
			db.ShrinkSelect(7, 40, 5)
			rs := samples(0, 60)
			apply(t, db, rs...)
			tamper(t, path, c.statement)
			want := func(what string, err error) {
				t.Helper()
				var damaged *sqlstore.RecordError
				if !errors.As(err, &damaged) || damaged.QueryID != rs[8].QueryID || damaged.Missing != c.missing {
					t.Errorf("%s: %v", what, err)
				}
			}
			if v, err := db.Record(t.Context(), rs[8].QueryID); c.missing != errors.Is(err, sqlstore.ErrNotFound) {
				t.Errorf("record: %q, %v", v, err)
			} else if !c.missing {
				want("record", err)
			}
			agent := rs[8].AgentID
			for what, f := range map[string]sqlstore.Filter{
				"by time": {}, "backwards": {Descending: true}, "by admission": {ByAdmission: true}, "newest admitted first": {ByAdmission: true, Descending: true},
				"of the agent": {Agent: agent}, "by an attribute": {Attributes: rs[8].Attributes[1:]},
				"by result": {Result: rs[8].ResultHash}, "by lens": {Lens: ptr("Recency")}, "limited": {Limit: 20},
			} {
				served, refused := 0, 0
				for v, err := range db.Select(t.Context(), f) {
					if err != nil {
						want(what, err)
						refused++
					} else if served++; strings.Contains(string(v), newSample(8).ID) {
						t.Errorf("%s: the record is served", what)
					}
				}
				if refused != 1 || what != "by an attribute" && served == 0 || what == "limited" && served != 19 {
					t.Errorf("%s: %d served, %d refused", what, served, refused)
				}
			}
			refused := 0
			for v, err := range db.Values(t.Context(), 0) {
				if err != nil {
					want("values", err)
					if refused++; v.Index != 8 || v.Value != nil {
						t.Errorf("values: entry %d, %q", v.Index, v.Value)
					}
				}
			}
			if refused != 1 {
				t.Errorf("values: %d refused", refused)
			}
			beside := newSample(8 + 7)
			place := &sqlstore.Place{Timestamp: beside.Time, QueryID: h("query 15")}
			served := 0
			refused = 0
			for _, err := range db.Select(t.Context(), sqlstore.Filter{Agent: agent, After: place, Descending: true, Limit: 2}) {
				if err == nil {
					served++
					continue
				}
				want("beside", err)
				refused++
			}
			if served != 1 || refused != 1 {
				t.Errorf("beside: %d served, %d refused", served, refused)
			}
			// Its columns would be those of another record.
			if err := db.CheckRecords(t.Context()); !c.missing {
				want("check", err)
			} else if err != nil {
				t.Errorf("check: %v", err)
			}
			var skipped *sqlstore.SkippedError
			if err := db.Reindex(t.Context(), decode, nil); !errors.As(err, &skipped) || skipped.Count != 1 || skipped.Index != 8 {
				t.Errorf("reindex: %v", err)
			}
			if _, problems := check(t, db); len(problems) == 0 {
				t.Error("the check finds nothing")
			}
		})
	}
}

// The leaf says whether a record of the journal is the one that was admitted, also when the value in kv was changed.
func TestARepeatedRecordIsComparedWithItsLeaf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 10)...)
	other := newSample(8)
	other.Confidence = 0.5
	tamper(t, path, fmt.Sprintf(`UPDATE kv SET value = x'%x' WHERE key = x'004155443a%s'`, newSample(9).record(0).Payload, other.ID))
	if done := apply(t, db, newSample(8).record(1000)); done.Duplicate != 1 || done.Rejected != 0 {
		t.Errorf("the record again: %+v", done)
	}
	if done := apply(t, db, other.record(1100)); done.Duplicate != 0 || done.Rejected != 1 {
		t.Errorf("another record: %+v", done)
	}
}

func TestCheckComparesTheTree(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute under the race detector, and one goroutine does all of it")
	}
	for statement, problem := range map[string]string{
		`UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND n = 1`:                                  "tile: tile 1 of level 0 is not that of its records",
		`DELETE FROM tile WHERE level = 0 AND n = 0`:                                                         "tile: tile 0 of level 0 is missing",
		`INSERT INTO tile VALUES (0, 2, zeroblob(8192))`:                                                     "tile: tile 2 of level 0 belongs to no record",
		`INSERT INTO tile VALUES (1, 0, zeroblob(8192))`:                                                     "tile: tile 0 of level 1 belongs to no record",
		`UPDATE edge SET hashes = zeroblob(length(hashes)) WHERE level = 0`:                                  "edge: level 0 is not that of the records",
		`UPDATE edge SET hashes = zeroblob(length(hashes)) WHERE level = 1`:                                  "edge: level 1 is not that of the records",
		`DELETE FROM edge WHERE level = 0`:                                                                   "the edge of the tree is not that of 600 entries",
		`UPDATE kv SET leaf = zeroblob(32) WHERE key = x'004155443a` + newSample(300).ID + `'`:               "does not match its leaf hash",
		`UPDATE kv SET leaf = (SELECT max(leaf) FROM kv) WHERE key = x'004155443a` + newSample(599).ID + `'`: "edge: level 0 is not that of the records",
		`UPDATE kv SET leaf = zeroblob(32) WHERE key = x'004155443a` + newSample(300).ID + `' AND length(1)`: "tile: tile 1 of level 0 is not that of its records",
	} {
		path := filepath.Join(t.TempDir(), "audit.db")
		db := open(t, path, sqlstore.Options{})
		apply(t, db, samples(0, 600)...)
		counts, problems := check(t, db)
		if want := treespec.RootOf(exported(t, db)); len(problems) > 0 || counts.Root != want || counts.TreeSize != 600 {
			t.Fatalf("%+v, %q", counts, problems)
		}
		tamper(t, path, statement)
		_, problems = check(t, db)
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, problem) }) {
			t.Errorf("%s: problems are %q", statement, problems)
		}
	}
}

// older makes a database of the version before the tree, with records, as that version wrote them.
func older(t *testing.T, n int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations.FS, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), migrations.Tree-1); err != nil {
		t.Fatal(err)
	}
	do := func(statement string, args ...any) {
		t.Helper()
		if _, err := db.Exec(statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	do(`BEGIN`)
	do(`INSERT INTO store VALUES ('cursor', ?), ('contributions', 0), ('rejected', 0), ('time_unit', 'ms'), ('applying', 'now')`, n*100)
	for i := range n {
		r := newSample(i).record(uint64(i) * 100)
		do(`INSERT INTO entry VALUES (?, ?, ?)`, i, r.QueryID[:], i*100)
		do(`INSERT INTO kv (key, value) VALUES (?, ?)`, keyOf(r), r.Payload)
		if r.AgentID != nil {
			do(`INSERT INTO kv (key, value) VALUES (?, x'')`, agentKeyOf(r))
		}
	}
	do(`DELETE FROM store WHERE name = 'applying'`)
	do(`COMMIT`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// The records of an older version get their hashes in pieces. It may be interrupted anywhere: readers refuse the database
// until it is finished, and the tree is the same in the end.
func TestAnOlderDatabaseGetsItsTree(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	const n = 700
	path := older(t, n)
	if _, err := sqlstore.Open(t.Context(), path, sqlstore.Options{ReadOnly: true}); !errors.Is(err, sqlstore.ErrOlder) {
		t.Errorf("a reader before: %v", err)
	}
	enough := errors.New("enough")
	lives := 0
	for at := 0; ; at += 130 {
		lives++
		db := open(t, path, sqlstore.Options{})
		db.ShrinkTree(100)
		if due, err := db.Hashing(t.Context()); !due || err != nil {
			t.Fatalf("life %d: %v, %v", lives, due, err)
		}
		last := -1
		err := db.BuildTree(t.Context(), func(v sqlstore.EntryValue) ([]byte, error) {
			if last = int(v.Index); last == at+130 {
				return nil, enough
			}
			return v.Value, nil
		}, nil)
		if err == nil {
			mustClose(t, db)
			break
		}
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		mustClose(t, db)
		if _, err := sqlstore.Open(t.Context(), path, sqlstore.Options{ReadOnly: true}); !errors.Is(err, sqlstore.ErrOlder) {
			t.Errorf("a reader meanwhile: %v", err)
		}
		if m, err := sqlstore.ReadCursor(t.Context(), path); !m.Hashing || err != nil {
			t.Errorf("meanwhile: %+v, %v", m, err)
		}
		ro := open(t, path, sqlstore.Options{ReadOnly: true, Older: true})
		if got := exported(t, ro); len(got) != n {
			t.Errorf("who asks for it reads %d records", len(got))
		}
		mustClose(t, ro)
	}
	if lives < 5 {
		t.Errorf("only %d lives", lives)
	}
	db := open(t, path, sqlstore.Options{})
	if due, err := db.Hashing(t.Context()); due || err != nil {
		t.Errorf("afterwards: %v, %v", due, err)
	}
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("problems are %q", problems)
	}
	wantRoot(t, db, exported(t, db))
	apply(t, db, samples(n, n+100)...)
	wantRoot(t, db, exported(t, db))
	same := newDB(t)
	apply(t, same, samples(0, n+100)...)
	wantRoot(t, same, exported(t, db))
	mustClose(t, db)
	mustClose(t, open(t, path, sqlstore.Options{ReadOnly: true}))
}

// A tree that is dropped comes back from the leaves, which stay.
func TestADroppedTreeComesBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 300)...)
	tamper(t, path, `UPDATE edge SET hashes = zeroblob(32 * 9)`)
	if err := db.DropTree(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.BuildTree(t.Context(), func(v sqlstore.EntryValue) ([]byte, error) { return nil, fmt.Errorf("entry %d has a leaf", v.Index) }, nil); err != nil {
		t.Fatal(err)
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("problems are %q", problems)
	}
	apply(t, db, samples(300, 400)...)
	wantRoot(t, db, exported(t, db))
}

// The guards of the tree are those of all audit data.
func TestTheTreeCannotBeRewritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 300)...)
	shell := somebody(t, path)
	for _, statement := range []string{
		`UPDATE tile SET hashes = x''`, `DELETE FROM tile`, `INSERT INTO tile VALUES (0, 7, x'')`, `INSERT OR REPLACE INTO tile VALUES (0, 0, x'')`,
		`REPLACE INTO tile (rowid, level, n, hashes) VALUES (1, 5, 5, x'')`,
		`UPDATE edge SET hashes = x''`, `DELETE FROM edge`, `INSERT INTO edge VALUES (7, x'')`, `INSERT OR REPLACE INTO edge VALUES (0, x'')`,
		`UPDATE kv SET leaf = zeroblob(32)`, `UPDATE kv SET leaf = NULL`, `UPDATE OR REPLACE kv SET leaf = NULL`,
	} {
		if _, err := shell.Exec(statement); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("problems are %q", problems)
	}
}

// The root in base64 is what a checkpoint has. These are fixed for good.
func TestRootsOfKnownRecords(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	size, root, err := db.Root(t.Context())
	if want := "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; err != nil || size != 0 || root.String() != want {
		t.Errorf("of nothing: %d, %s, %v", size, root, err)
	}
	if b, err := base64.StdEncoding.DecodeString(root.String()); err != nil || tree.Hash(b) != tree.EmptyRoot() {
		t.Errorf("%x, %v", b, err)
	}
}
