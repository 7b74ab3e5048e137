package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/internal/treespec"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// check runs CheckDerived and returns what it reports.
func check(t *testing.T, db *sqlstore.DB) (sqlstore.Counts, []string) {
	t.Helper()
	var problems []string
	counts, err := db.CheckDerived(t.Context(), sqlstore.Check{Decode: decode, Report: func(p string) { problems = append(problems, p) }})
	if err != nil {
		t.Fatal(err)
	}
	return counts, problems
}

// tamper runs statements on the file as somebody who took the guards away would.
func tamper(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var triggers []string
	rows, err := db.Query(`SELECT name FROM sqlite_schema WHERE type = 'trigger'`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		triggers = append(triggers, "DROP TRIGGER "+name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Concat(triggers, statements) {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestCheckOfASoundStore(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	if counts, problems := check(t, db); len(problems) > 0 || counts != (sqlstore.Counts{Root: tree.EmptyRoot()}) {
		t.Errorf("empty: %+v, %q", counts, problems)
	}
	apply(t, db, samples(0, 300)...)
	put(t, db, "free", "x", "\x00AUE", "x", "\x00AUD9", "x")
	s := newSample(300)
	s.Epoch = ptr(hx("epoch"))
	bare := sample{ID: hx("bare"), Time: 0}
	large := newSample(301)
	for i := range 4200 {
		large.Contributions = append(large.Contributions, sampleContribution{Assertion: hx(fmt.Sprint(i)), Source: hx("s"), Weight: 1})
	}
	apply(t, db, s.record(1<<20), bare.record(1<<20+1), large.record(1<<20+2))
	counts, problems := check(t, db)
	if len(problems) > 0 {
		t.Errorf("problems: %q", problems)
	}
	if want := (sqlstore.Counts{Audits: 303, AgentKeys: 272, Contributions: 302*3 + 4200, Attributes: 152, Agents: 7, TreeSize: 303, Root: treespec.RootOf(exported(t, db))}); counts != want {
		t.Errorf("counted %+v, want %+v", counts, want)
	}
}

func TestCheckFinds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute under the race detector, and one goroutine does all of it")
	}
	id := newSample(4).ID
	aud := `x'004155443a` + id + `'`
	db, path := guarded(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, tampering, problem string }{
		{"a changed subject", `UPDATE audit SET subject = 'other' WHERE idx = 4`, "audit: subject of row 4 is not what its record says"},
		{"a subject taken away", `UPDATE audit SET subject = NULL WHERE idx = 4`, "audit: subject of row 4"},
		{"a changed time", `UPDATE audit SET timestamp = 1 WHERE idx = 4`, "audit: timestamp of row 4"},
		{"another agent", `UPDATE audit SET agent = 0 WHERE idx = 4`, "audit: agent of row 4"},
		{"an agent that is none", `UPDATE audit SET agent = 99 WHERE idx = 3`, "audit: agent of row 3"},
		{"a changed lifecycle", `UPDATE audit SET lifecycle = 0 WHERE idx = 4`, "audit: lifecycle of row 4"},
		{"the hex of a changed id", `UPDATE audit SET query_hex = upper(query_hex) WHERE idx = 4`, "audit: query_id of row 4"},
		{"an epoch", `UPDATE audit SET epoch = 1 WHERE idx = 4`, "audit: epoch of row 4"},
		{"a changed result", `UPDATE audit SET result = NULL WHERE idx = 4`, "audit: result_hash of row 4"},
		{"a changed confidence", `UPDATE audit SET result_confidence = 0.94 WHERE idx = 4`, "audit: result_confidence of row 4"},
		{"a changed number of contributions", `UPDATE audit SET contributions = 2 WHERE idx = 4`, "audit: contributions of row 4"},
		{"a missing row", `DELETE FROM audit WHERE idx = 4`, "audit: row 4 is missing"},
		{"a foreign row", `INSERT INTO audit (idx, query_hex, agent, timestamp, result_confidence, contributions) VALUES (999, '', 0, 0, 0, 0)`,
			"audit: there is no entry 999"},
		{"a foreign row below", `INSERT INTO audit (idx, query_hex, agent, timestamp, result_confidence, contributions) VALUES (-1, '', 0, 0, 0, 0)`,
			"audit: there is no entry -1"},
		{"a changed weight", `UPDATE contribution SET weight = 1 WHERE audit = 4 AND position = 1`, "contribution: row 1 of record 4"},
		{"a changed source", `UPDATE contribution SET source = assertion WHERE audit = 4 AND position = 0`, "contribution: row 0 of record 4"},
		{"a missing contribution", `DELETE FROM contribution WHERE audit = 4 AND position = 1`, "contribution: 1 of 3 rows of record 4 are missing"},
		{"a foreign contribution", `INSERT INTO contribution (audit, position, assertion, weight, source, lifecycle) VALUES (4, 3, 1, 0, 1, 0)`,
			"contribution: record 4 has none at position 3"},
		{"a contribution of nothing", `INSERT INTO contribution (audit, position, assertion, weight, source, lifecycle) VALUES (999, 0, 1, 0, 1, 0)`,
			"contribution: there is no entry 999"},
		{"a wrong count of contributions", `UPDATE store SET value = 1 WHERE name = 'contributions'`, "contribution: has 60 rows, table store counts 1"},
		{"a changed attribute", `UPDATE attribute SET value = 'm2' WHERE audit = 4 AND key = 'model'`, "attribute: the rows of record 4"},
		{"an epoch that stands for nothing", `UPDATE audit SET epoch = 9999 WHERE idx = 4`, "audit: epoch of row 4"},
		{"a number that stands for nothing", `UPDATE audit SET result = 9999 WHERE idx = 4`, "audit: result_hash of row 4"},
		{"evidence that stands for nothing", `UPDATE contribution SET assertion = 9999 WHERE audit = 4 AND position = 0`, "contribution: row 0 of record 4"},
		{"a changed hash", `UPDATE hash SET hex = '` + hx("x") + `' WHERE id = (SELECT assertion FROM contribution WHERE audit = 4 AND position = 2)`,
			"contribution: row 2 of record 4"},
		{"a changed hash of a result", `UPDATE hash SET hex = upper(hex) WHERE id = (SELECT result FROM audit WHERE idx = 4)`, "audit: result_hash of row 4"},
		{"a missing hash", `DELETE FROM hash WHERE id = (SELECT assertion FROM contribution WHERE audit = 4 AND position = 1)`, "contribution: row 1 of record 4"},
		{"a hash of another generation", `UPDATE hash SET generation = 1 WHERE id = (SELECT assertion FROM contribution WHERE audit = 4 AND position = 1)`,
			"contribution: row 1 of record 4"},
		{"a foreign hash", `INSERT INTO hash (id, generation, hex) VALUES (7777, 0, '` + hx("y") + `')`, "hash: no record has number 7777, which stands for " + hx("y")},
		{"a foreign hash far above", `INSERT INTO hash (id, generation, hex) VALUES (1 << 60, 0, '` + hx("y") + `')`, "hash: no record has number 1152921504606846976"},
		{"a foreign hash below", `INSERT INTO hash (id, generation, hex) VALUES (-5, 0, '` + hx("y") + `')`, "hash: no record has number -5"},
		{"a missing attribute", `DELETE FROM attribute WHERE audit = 4 AND key = 'model'`, "attribute: the rows of record 4"},
		{"a foreign attribute", `INSERT INTO attribute (audit, key, value) VALUES (5, 'k', 'v')`, "attribute: the rows of record 5"},
		{"an attribute of nothing", `INSERT INTO attribute (audit, key, value) VALUES (-5, 'k', 'v')`, "attribute: there is no entry -5"},
		{"a wrong count of an agent", `UPDATE agent SET audits = 100 WHERE id = 1`, "the table says 100 from"},
		{"a wrong first of an agent", `UPDATE agent SET first = 1 WHERE id = 1`, "the table says"},
		{"an agent without records", `INSERT INTO agent (id, agent_id) VALUES (50, zeroblob(32))`, "has no records"},
		{"nobody missing", `DELETE FROM agent WHERE id = 0`, "agent: row 0, for records of no agent, is missing"},
		{"a missing record", `DELETE FROM kv WHERE key = ` + aud, "kv: record " + id + " of entry 4 is missing"},
		{"a changed record", `UPDATE kv SET value = (SELECT value FROM kv WHERE key = x'004155443a` + newSample(5).ID + `') WHERE key = ` + aud,
			"kv: the key of record " + id + " holds record " + newSample(5).ID},
		{"a record that is none", `UPDATE kv SET value = x'7b' WHERE key = ` + aud, "kv: record " + id + " of entry 4 cannot be read"},
		{"a stray record", `INSERT INTO kv (key, value) VALUES (CAST(x'004155443a' || zeroblob(32) AS BLOB), x'')`,
			"kv: no entry stands for record 0000000000000000000000000000000000000000000000000000000000000000"},
		{"a stray short key", `INSERT INTO kv (key, value) VALUES (x'004155443a00', x'')`, "kv: key 004155443a00 belongs to no record"},
		{"a missing listing", `DELETE FROM kv WHERE key >= x'00415544413a` + *newSample(4).Agent + `' AND key < x'00415544413b' AND substr(key, 49) = x'` + id + `'`,
			"kv: record " + id + " is not in the list of its agent"},
		{"a stray listing", `INSERT INTO kv (key, value) VALUES (CAST(x'00415544413a' || zeroblob(32) || x'3a00000000000000013a' || x'` + id + `' AS BLOB), x'')`,
			"lists a record under an agent that is not its own"},
		{"a listing with a value", `UPDATE kv SET value = x'00' WHERE key >= x'00415544413a` + *newSample(4).Agent + `' AND key < x'00415544413b' AND substr(key, 49) = x'` + id + `'`,
			"has a value"},
		{"a hole", `DELETE FROM entry WHERE idx = 4`, "entry: 4 to 4 are missing"},
		{"an end cut off", `DELETE FROM entry WHERE idx = 19`, "audit: there is no entry 19"},
		{"a record admitted twice", `INSERT INTO entry VALUES (20, x'` + id + `', 9999)`, "entry: 1 entries stand for records that others stand for already"},
		{"an entry far above all", `INSERT INTO entry VALUES (1 << 60, zeroblob(32), 9999)`, "entry: 20 to 1152921504606846975 are missing"},
		{"an entry below all", `INSERT INTO entry VALUES (-3, zeroblob(32), 0)`, "entry: there is no entry -3"},
		{"a wrong count of rejected", `UPDATE store SET value = 9 WHERE name = 'rejected'`, "rejected: has 1 rows, table store counts 9"},
		{"guards held open", `INSERT INTO store VALUES ('applying', 'x')`, "store: a row 'applying' was put in by hand"},
		{"a missing table", `DROP TABLE contribution`, "derived tables cannot be read, a reindex makes them again"},
		{"a missing dictionary", `DROP TABLE hash`, "derived tables cannot be read, a reindex makes them again"},
		{"all derived tables missing", `DROP TABLE contribution; DROP TABLE audit; DROP TABLE agent; DROP TABLE attribute`, "no such table"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.db")
			if err := os.WriteFile(path, sound, 0o600); err != nil {
				t.Fatal(err)
			}
			tamper(t, path, c.tampering)
			_, problems := check(t, open(t, path, sqlstore.Options{ReadOnly: true}))
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, c.problem) }) {
				t.Errorf("problems are %q, want %q", problems, c.problem)
			}
			if len(problems) > 8 {
				t.Errorf("%d problems for one: %q", len(problems), problems)
			}
		})
	}
}

func TestCheckBesideAWriter(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	apply(t, db, samples(0, 400)...)
	put(t, db, "deleted soon", "x")
	next, lines := 400, 0
	var mu sync.Mutex
	slow := func(payload []byte) (sqlstore.Record, error) {
		mu.Lock()
		defer mu.Unlock()
		if lines++; lines%40 == 0 {
			if lines == 40 { // the next record takes the row id of a key that was there when the check began
				if err := db.Write(t.Context(), []sqlstore.Mutation{{Key: []byte("deleted soon"), Delete: true}}); err != nil {
					t.Error(err)
				}
			}
			apply(t, db, samples(next, next+5)...)
			next += 5
		}
		return decode(payload)
	}
	counts, err := db.CheckDerived(t.Context(), sqlstore.Check{Decode: slow, Report: func(p string) { t.Error(p) }})
	if err != nil || counts.Audits != 400 {
		t.Errorf("%+v, %v", counts, err)
	}
}

// Whoever compares the records with something else gets all of them from the check, in order and once, whatever else the
// check cannot read.
func TestCheckHandsOnTheEntries(t *testing.T) {
	t.Parallel()
	const n, changed, missing = 700, 300, 301
	key := func(i int) string { return `x'004155443a` + newSample(i).ID + `'` }
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, n)...)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	tamper(t, path, `UPDATE kv SET value = x'7b' WHERE key = `+key(changed), `DELETE FROM kv WHERE key = `+key(missing))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(damage string) *sqlstore.DB {
		path := filepath.Join(t.TempDir(), "audit.db")
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		tamper(t, path, damage)
		return open(t, path, sqlstore.Options{ReadOnly: true})
	}
	for _, damage := range []string{``, `DROP TABLE contribution`, `DROP TABLE rejected`, `ALTER TABLE tile RENAME COLUMN hashes TO other`} {
		db := damaged(damage)
		var got []sqlstore.EntryValue
		var ends, problems []string
		_, err := db.CheckDerived(t.Context(), sqlstore.Check{
			Decode: decode,
			Report: func(p string) { problems = append(problems, p) },
			Entries: func(page []sqlstore.EntryValue, err error) {
				if page == nil {
					ends = append(ends, fmt.Sprint(err))
				}
				got = append(got, page...)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if damage != `` && !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "no such ") }) {
			t.Errorf("%s: problems are %q", damage, problems)
		}
		if len(got) != n || !slices.Equal(ends, []string{"<nil>"}) {
			t.Fatalf("%s: %d entries, ends %q", damage, len(got), ends)
		}
		for i, e := range got {
			want := newSample(i).record(0).Payload
			if i == changed || i == missing {
				want = nil
			}
			if e.Index != uint64(i) || fmt.Sprintf("%x", e.QueryID) != newSample(i).ID || !bytes.Equal(e.Value, want) {
				t.Fatalf("%s: entry %d is %d with %s", damage, i, e.Index, e.Value)
			}
		}
	}
	var ends []error
	_, err = damaged(`ALTER TABLE entry RENAME COLUMN journal_offset TO other`).CheckDerived(t.Context(), sqlstore.Check{
		Decode: decode, Report: func(string) {}, Entries: func(_ []sqlstore.EntryValue, err error) { ends = append(ends, err) },
	})
	if err != nil || len(ends) != 1 || ends[0] == nil {
		t.Errorf("without entries: %v, %v", ends, err)
	}
}

func TestIntegrity(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	for _, quick := range []bool{true, false} {
		if problems, err := db.Integrity(t.Context(), quick); err != nil || len(problems) > 0 {
			t.Errorf("%q, %v", problems, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xee}, 200), size-8192); err != nil { // the last page
		t.Fatal(err)
	}
	ro := open(t, path, sqlstore.Options{ReadOnly: true})
	for _, quick := range []bool{true, false} {
		if problems, err := ro.Integrity(t.Context(), quick); err != nil || len(problems) == 0 {
			t.Errorf("of a damaged page: %q, %v", problems, err)
		}
	}
}

func TestReindexMakesTheSameTables(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	db.ShrinkReindex(200)
	apply(t, db, samples(0, 100)...)
	apply(t, db, samples(100, 500)...)
	before := dump(t, db)
	tamper(t, path, `UPDATE audit SET subject = 'x'`, `DELETE FROM contribution WHERE audit > 10`, `DELETE FROM attribute`,
		`DELETE FROM agent WHERE id > 2`, `UPDATE hash SET hex = 'x' || hex WHERE id % 5 = 1`, `DELETE FROM hash WHERE id % 5 = 2`, `UPDATE store SET value = 5 WHERE name = 'contributions'`, `DROP VIEW audits`, `DROP INDEX audit_by_query`)
	var steps []uint64
	if err := db.Reindex(t.Context(), decode, func(done, total uint64) {
		if total != 500 {
			t.Errorf("total is %d", total)
		}
		steps = append(steps, done)
	}); err != nil {
		t.Fatal(err)
	}
	if after := dump(t, db); after != before {
		t.Error("the tables are not the same")
	}
	if len(steps) < 2 || steps[len(steps)-1] != 500 || !slices.IsSorted(steps) {
		t.Errorf("progress was %v", steps)
	}
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
	// Plans, guards, and writing on are as before.
	wantRows(t, db, fmt.Sprintf(`SELECT idx FROM audits WHERE query_id = '%s'`, newSample(77).ID), "77")
	for _, c := range clients(t) {
		plan, err := c.run(t, path, `EXPLAIN QUERY PLAN SELECT * FROM audits WHERE query_id = 'x'`)
		if err != nil || !strings.Contains(plan, "audit_by_query") {
			t.Errorf("%s: %s, %v", c.name, plan, err)
		}
		if _, err := c.run(t, path, `DELETE FROM audit`); err == nil {
			t.Errorf("%s: deleting is allowed after a reindex", c.name)
		}
	}
	apply(t, db, samples(500, 510)...)
	if _, problems := check(t, db); len(problems) > 0 {
		t.Errorf("after writing on: %q", problems)
	}
}

func TestInterruptedReindexIsRemembered(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	db.ShrinkReindex(200)
	apply(t, db, samples(0, 500)...)
	before := dump(t, db)
	needs := func(db *sqlstore.DB) bool {
		t.Helper()
		needs, err := db.NeedsReindex(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return needs
	}
	if needs(db) {
		t.Error("a sound store needs a reindex")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := db.Reindex(ctx, decode, func(done, total uint64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled: %v", err)
	}
	if !needs(db) {
		t.Error("an interrupted reindex is forgotten")
	}
	if half, err := db.Reindexing(t.Context()); !half || err != nil {
		t.Errorf("reindexing: %v, %v", half, err)
	}
	// What does not need the derived tables works.
	if v, err := db.Get(t.Context(), keyOf(newSample(499).record(0))); err != nil || len(v) == 0 {
		t.Errorf("get: %v", err)
	}
	if got := collect(t, db, sqlstore.Filter{ByAdmission: true}); len(got) != 500 {
		t.Errorf("export: %d records", len(got))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path, sqlstore.Options{})
	if !needs(db) {
		t.Error("an interrupted reindex is forgotten by reopening")
	}
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	if needs(db) {
		t.Error("still needs a reindex after one")
	}
	if half, err := db.Reindexing(t.Context()); half || err != nil {
		t.Errorf("reindexing: %v, %v", half, err)
	}
	if after := dump(t, db); after != before {
		t.Error("the tables are not the same")
	}
}

func TestMissingDerivedTables(t *testing.T) {
	t.Parallel()
	for name, tampering := range map[string]string{
		"a table": `DROP TABLE attribute`,
		"all":     `DROP TABLE attribute; DROP TABLE audit; DROP TABLE agent; DROP TABLE contribution`,
		"a view":  `DROP VIEW agents`,
		"index":   `DROP INDEX contribution_by_source`,
		"hashes":  `DROP TABLE hash`,
		"foreign": `INSERT INTO hash (generation, hex) VALUES (1, 'x')`,
		"rows":    `DELETE FROM audit WHERE idx = 19`,
	} {
		t.Run(name, func(t *testing.T) {
			db, path := guarded(t)
			before := dump(t, db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			tamper(t, path, tampering)
			ro := open(t, path, sqlstore.Options{ReadOnly: true})
			if v, err := ro.Get(t.Context(), keyOf(newSample(4).record(0))); err != nil || len(v) == 0 {
				t.Errorf("get: %v", err)
			}
			if got := collect(t, ro, sqlstore.Filter{ByAdmission: true}); len(got) != 20 {
				t.Errorf("export: %d records", len(got))
			}
			db = open(t, path, sqlstore.Options{})
			if needs, err := db.NeedsReindex(t.Context()); !needs || err != nil {
				t.Errorf("needs a reindex: %v, %v", needs, err)
			}
			if err := db.Reindex(t.Context(), decode, nil); err != nil {
				t.Fatal(err)
			}
			if after := dump(t, db); after != before {
				t.Error("the tables are not the same")
			}
		})
	}
}

func TestReindexLeavesOutWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	tamper(t, path, `UPDATE kv SET value = x'7b' WHERE key = x'004155443a`+newSample(4).ID+`'`,
		`DELETE FROM kv WHERE key = x'004155443a`+newSample(19).ID+`'`) // the last
	err := db.Reindex(t.Context(), decode, nil)
	var skipped *sqlstore.SkippedError
	if !errors.As(err, &skipped) || skipped.Count != 2 || skipped.Index != 4 {
		t.Fatalf("reindex: %v", err)
	}
	wantRows(t, db, `SELECT count(*) FROM audit`, "18")
	if needs, err := db.NeedsReindex(t.Context()); needs || err != nil {
		t.Errorf("needs another: %v, %v", needs, err)
	}
}
