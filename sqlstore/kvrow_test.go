package sqlstore_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/sqlstore"
)

// strays counts the records that are not in the row of kv which table audit names.
const strays = `SELECT count(*) FROM audit a JOIN entry e ON e.idx = a.idx
	LEFT JOIN kv k ON k.rowid = a.kv_row AND k.key = CAST(x'004155443A' || e.query_id AS BLOB)
	WHERE k.value IS NULL`

// Whatever else a batch has, and whatever programs have put into kv, table audit says in which row of kv a record is.
func TestAuditKnowsTheRowInKV(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	rs := samples(0, 1000)
	apply(t, db, rs[:200]...)
	put(t, db, "a program's own", "1", "another", "2")
	apply(t, db, rs[200])
	if err := db.Write(t.Context(), []sqlstore.Mutation{{Key: []byte("another"), Delete: true}}); err != nil {
		t.Fatal(err)
	}
	// Many again between new ones, so that statements stop at them, first, last and in a row.
	rapid.Check(t, func(t *rapid.T) {
		var some []sqlstore.Record
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(rs)-1), 1, 300).Draw(t, "records") {
			some = append(some, rs[i])
		}
		if _, err := db.Apply(t.Context(), &sqlstore.Batch{Records: some, Cursor: 90_000}); err != nil {
			t.Fatal(err)
		}
	})
	apply(t, db, rs...)
	wantRows(t, db, strays, "0")
	wantRows(t, db, `SELECT count(*) FROM audit`, "1000")

	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	wantRows(t, db, strays, "0")
}

// Records are found by their keys where they are in other rows of kv than table audit says: a dump that is read back
// in numbers them anew. A Reindex finds the rows again.
func TestRecordsInOtherRows(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"numbered anew":   {`CREATE TEMP TABLE old AS SELECT key, value, leaf FROM kv ORDER BY random()`, `DELETE FROM kv`, `INSERT INTO kv SELECT key, value, leaf FROM old`},
		"one to the next": {`UPDATE audit SET kv_row = kv_row + 1`},
		"one elsewhere":   {`UPDATE audit SET kv_row = (SELECT max(kv_row) FROM audit) - kv_row WHERE idx = 40`},
		"not known":       {`UPDATE audit SET kv_row = NULL WHERE idx % 3 = 0`},
		"nowhere":         {`UPDATE audit SET kv_row = -7`},
		"no number":       {`UPDATE audit SET kv_row = x'00' WHERE idx % 2 = 0`, `UPDATE audit SET kv_row = 'here' WHERE idx % 4 = 1`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.db")
			db := open(t, path, sqlstore.Options{})
			rs := samples(0, 120)
			apply(t, db, rs...)
			mustClose(t, db)
			tamper(t, path, statements...)
			db = open(t, path, sqlstore.Options{Heading: heading})
			if got := rows(t, db, strays); slices.Equal(got, []string{"0"}) {
				t.Fatal("every record is where it was")
			}
			for _, bytes := range []int{1 << 20, 700} { // pages whole, and cut
				db.ShrinkPages(bytes)
				rapid.Check(t, func(t *rapid.T) {
					f := drawFilter(t)
					if got, want := collect(t, db, f), want(rs, f); !slices.EqualFunc(got, want, slices.Equal) {
						t.Fatalf("%+v: %d records, want %d", f, len(got), len(want))
					}
				})
				if counts, problems := check(t, db); len(problems) > 0 || counts.Audits != 120 {
					t.Errorf("%d records, problems %q", counts.Audits, problems)
				}
			}
			if err := db.Reindex(t.Context(), decode, nil); err != nil {
				t.Fatal(err)
			}
			wantRows(t, db, strays, "0")
		})
	}
}

// A program may have a key of its own in the last row that there can be. SQLite then picks rows as it likes, so that
// audit's are wrong; no record is lost, and each is found.
func TestTheLastRowOfKVIsTaken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	rs := samples(0, 300)
	apply(t, db, rs[:100]...)
	execute(t, path, fmt.Sprintf(`INSERT INTO kv (rowid, key, value) VALUES (%d, x'01', x'02')`, int64(1<<63-1)))
	apply(t, db, rs[100:]...)
	for _, f := range []sqlstore.Filter{{Limit: 256}, {Agent: rs[200].AgentID}, {Attributes: rs[200].Attributes[1:]}} {
		if got, want := collect(t, db, f), want(rs, f); !slices.EqualFunc(got, want, slices.Equal) || len(got) == 0 {
			t.Errorf("%+v: %d records, want %d", f, len(got), len(want))
		}
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Error(problems)
	}
}
