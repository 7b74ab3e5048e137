package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
)

// SQLite's integers are int64. A greater offset would become a negative number.
func TestApplyRefusesOffsetsThatSQLiteCannotHold(t *testing.T) {
	t.Parallel()
	const far = math.MaxInt64 + 1
	db := newDB(t)
	apply(t, db, samples(0, 5)...)
	before := dump(t, db)
	for name, b := range map[string]*sqlstore.Batch{
		"the cursor":            {Cursor: far},
		"a record":              {Records: []sqlstore.Record{newSample(7).record(far)}, Cursor: 1000},
		"a record that is none": {Rejected: []sqlstore.Rejected{{Offset: far, Reason: "no audit"}}, Cursor: 1000},
	} {
		if _, err := db.Apply(t.Context(), b); err == nil || !strings.Contains(err.Error(), "beyond what SQLite holds") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := dump(t, db); after != before {
		t.Error("something was stored")
	}
}

// A checkpoint that was interrupted has only copied less. It makes no error final.
func TestACheckpointThatIsInterruptedIsNoFailure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 50)...)
	reader, err := somebody(t, path).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	var n int
	if err := reader.QueryRow(`SELECT count(*) FROM kv`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	apply(t, db, samples(50, 100)...)
	// It waits for the reader, for longer than its context lasts.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := db.Checkpoint(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("interrupted: %v", err)
	}
	if err := db.Failed(); err != nil {
		t.Fatalf("the database has failed: %v", err)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	apply(t, db, samples(100, 110)...)
	if c, err := db.Checkpoint(t.Context(), true); err != nil || !c.Complete || c.Applied != 11_000 {
		t.Errorf("afterwards: %+v, %v", c, err)
	}
}

// Somebody who writes to the derived tables can put in timestamps that are no numbers. Then Select returns an error and no
// wrong answer.
func TestATimestampThatIsNoNumberIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	rs := samples(0, 20)
	apply(t, db, rs...)
	tamper(t, path, `UPDATE audit SET timestamp = 'late' WHERE idx = 8`)
	for _, f := range []sqlstore.Filter{{}, {Descending: true}, {Attributes: rs[8].Attributes[1:]}} {
		var last error
		for _, err := range db.Select(t.Context(), f) {
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), "row 8 has the timestamp late") {
			t.Errorf("%+v: %v", f, last)
		}
	}
	if _, problems := check(t, db); !slices.Contains(problems, "audit: timestamp of row 8 is not what its record says") {
		t.Errorf("problems are %q", problems)
	}
}

// What is no hash in the derived tables was written by hand. It hides none of the hashes that follow it.
func TestPrefixesFindWhatFollowsWhatIsNoHash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	s := newSample(0)
	s.Contributions = nil
	hashes := []string{"ab" + strings.Repeat("0", 62), "ab" + strings.Repeat("5", 62), "ab" + strings.Repeat("f", 62)}
	for _, hash := range hashes {
		s.Contributions = append(s.Contributions, sampleContribution{Assertion: hash, Source: hash})
	}
	apply(t, db, s.record(0))
	tamper(t, path, `INSERT INTO hash (id, generation, hex) VALUES (10, 0, 'ab'), (11, 0, 'abx'), (12, 0, 'ab3'), (13, 0, 'AB'), (14, 0, 'ab`+strings.Repeat("7", 63)+`'), (15, 0, x'ab')`,
		`INSERT INTO contribution (audit, position, assertion, weight, source, lifecycle) VALUES (0, 3, 10, 0, 11, 0), (0, 4, 12, 0, 13, 0), (0, 5, 14, 0, 15, 0), (0, 6, 11, 0, 10, 0)`)
	for _, kind := range []sqlstore.HashKind{sqlstore.AssertionHash, sqlstore.SourceHash} {
		found, err := db.PrefixHashes(t.Context(), kind, "ab", 10)
		if want := [][32]byte{unhex(hashes[0]), unhex(hashes[1]), unhex(hashes[2])}; err != nil || !slices.Equal(found, want) {
			t.Errorf("%d: %x, %v", kind, found, err)
		}
		if found, err := db.PrefixHashes(t.Context(), kind, "ab", 2); err != nil || len(found) != 2 {
			t.Errorf("%d: at most two: %x, %v", kind, found, err)
		}
	}
}

func TestADatabaseWithoutWhatItNeedsIsDamaged(t *testing.T) {
	t.Parallel()
	for statement, problem := range map[string]string{
		`DROP TABLE entry`:                        "table entry is missing",
		`DROP TABLE kv`:                           "table kv is missing",
		`DROP TABLE store`:                        "table store is missing",
		`DELETE FROM store WHERE name = 'cursor'`: "table store has no cursor",
		`UPDATE store SET name = 'Cursor' WHERE name = 'cursor'`: "table store has no cursor",
	} {
		path := filepath.Join(t.TempDir(), "audit.db")
		mustClose(t, open(t, path, sqlstore.Options{}))
		tamper(t, path, statement)
		_, looked := sqlstore.ReadCursor(t.Context(), path)
		_, written := sqlstore.Open(t.Context(), path, sqlstore.Options{})
		_, read := sqlstore.Open(t.Context(), path, sqlstore.Options{ReadOnly: true})
		for how, err := range map[string]error{"looked at": looked, "opened": written, "opened for reading": read} {
			if !errors.Is(err, sqlstore.ErrMalformed) || !strings.Contains(err.Error(), problem) {
				t.Errorf("%s: %s: %v", statement, how, err)
			}
		}
	}
}

func rejectedRows(t *testing.T, db *sqlstore.DB) (all []sqlstore.Rejected, err error) {
	t.Helper()
	for r, err := range db.RejectedRows(t.Context()) {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// If somebody has dropped table rejected, a reader returns no rejected records and no error.
func TestRejectedRecordsWithoutTheirTable(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	if rs, err := rejectedRows(t, db); err != nil || len(rs) != 1 {
		t.Errorf("%+v, %v", rs, err)
	}
	mustClose(t, db)
	tamper(t, path, `DROP TABLE rejected`)
	db = open(t, path, sqlstore.Options{ReadOnly: true})
	if rs, err := rejectedRows(t, db); err != nil || len(rs) != 0 {
		t.Errorf("%+v, %v", rs, err)
	}
}

// A record under the key of another one is left out of the derived tables and reported.
func TestReindexLeavesOutARecordUnderAForeignKey(t *testing.T) {
	t.Parallel()
	db, path := guarded(t)
	other := newSample(5)
	tamper(t, path, fmt.Sprintf(`UPDATE kv SET (value, leaf) = (SELECT value, leaf FROM kv WHERE key = x'004155443a%s') WHERE key = x'004155443a%s'`, other.ID, newSample(4).ID))
	err := db.Reindex(t.Context(), decode, nil)
	var skipped *sqlstore.SkippedError
	if !errors.As(err, &skipped) || skipped.Count != 1 || skipped.Index != 4 || !strings.Contains(skipped.Error(), "kv has record "+other.ID) {
		t.Errorf("reindex: %v", err)
	}
	wantRows(t, db, `SELECT count(*) FROM audits WHERE query_id = '`+other.ID+`'`, "1")
}

// The newest record of an agent up to a time, whatever came later.
func TestLastBefore(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	var rs []sqlstore.Record
	for i, at := range []int64{100, 300, 300, 900} {
		s := newSample(i)
		s.Agent, s.Time = ptr(hx("agent")), at
		rs = append(rs, s.record(uint64(i)))
	}
	s := newSample(9)
	s.Agent, s.Time = ptr(hx("another")), 500
	apply(t, db, append(rs, s.record(9))...)
	for upTo, want := range map[int64]int64{99: -1, 100: 100, 299: 100, 300: 300, 899: 300, 900: 900, math.MaxInt64: 900} {
		last, ok, err := db.LastBefore(t.Context(), h("agent"), upTo, nil)
		if err != nil || ok != (want >= 0) || ok && last != want {
			t.Errorf("up to %d: %d, %v, %v; want %d", upTo, last, ok, err, want)
		}
	}
	for asOf, want := range []int64{-1, 100, 300, 300, 900} {
		last, ok, err := db.LastBefore(t.Context(), h("agent"), math.MaxInt64, ptr(int64(asOf)))
		if err != nil || ok != (want >= 0) || ok && last != want {
			t.Errorf("as of %d: %d, %v, %v; want %d", asOf, last, ok, err, want)
		}
	}
	if _, ok, err := db.LastBefore(t.Context(), h("nobody"), math.MaxInt64, nil); ok || err != nil {
		t.Errorf("of nobody: %v, %v", ok, err)
	}
}
