package audit_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// tailed returns the records that a tail yields from an offset on, until it has n of them.
func tailed(t *testing.T, db *audit.DB, after audit.Offset, n int) (recs []audit.TailRecord) {
	t.Helper()
	if n == 0 {
		return nil
	}
	for rec, err := range db.TailAfter(t.Context(), after) {
		if err != nil {
			t.Fatalf("after %d: record %d: %v", after, len(recs), err)
		}
		if recs = append(recs, rec); len(recs) == n {
			break
		}
	}
	return recs
}

// wantTailed checks that records are samples from a number on, in this order.
func wantTailed(t *testing.T, recs []audit.TailRecord, from int) {
	t.Helper()
	last := audit.Offset(0)
	for i, rec := range recs {
		if want := canonical(t, ptr(sample(from+i))); string(rec.Raw) != want {
			t.Fatalf("record %d is %s\nwant %s", i, rec.Raw, want)
		}
		if rec.Offset < last || rec.Next <= rec.Offset {
			t.Fatalf("record %d is at %d to %d, after %d", i, rec.Offset, rec.Next, last)
		}
		last = rec.Next
	}
}

// Whoever goes on after any record gets the next one, in the process that wrote it, in another, and after the store was closed
// and opened again. Segments end between some of them.
func TestATailGoesOnAfterAnyRecord(t *testing.T) {
	t.Parallel()
	const n = 60
	dir, _ := closedStore(t, 0, 20, audit.WithSegmentBytes(3000))
	db := openDB(t, dir)
	putSamples(t, db, 20, n)
	all := tailed(t, db, 0, n)
	wantTailed(t, all, 0)
	wantAfter := func(t *testing.T, db *audit.DB, step int) {
		t.Helper()
		for i := 0; i < n; i += step {
			wantTailed(t, tailed(t, db, all[i].Offset, n-i), i)
			wantTailed(t, tailed(t, db, all[i].Next, n-i-1), i+1)
			// Within a record, and between two.
			wantTailed(t, tailed(t, db, all[i].Offset+1, n-i-1), i+1)
			wantTailed(t, tailed(t, db, all[i].Next-1, n-i-1), i+1)
		}
	}
	wantAfter(t, db, 1)
	reader := openDB(t, dir, audit.ReadOnly())
	wantAfter(t, reader, 1)
	// The applier has not seen the last ones.
	audit.AtRest(db, func() {
		putSamples(t, db, n, n+20)
		more := tailed(t, db, 0, n+20)
		wantTailed(t, more, 0)
		for i := n; i < n+19; i++ {
			wantTailed(t, tailed(t, db, more[i].Next, n+19-i), i+1)
			wantTailed(t, tailed(t, reader, more[i].Next, n+19-i), i+1)
		}
	})
	closeDB(t, reader)
	closeDB(t, db)
	db = openDB(t, dir)
	wantAfter(t, db, 7)
	// One that waits at the end gets what comes.
	end := tailed(t, db, all[n-1].Next, 20)[19].Next
	got := make(chan []audit.TailRecord, 1)
	go func() { got <- tailed(t, db, end, 3) }()
	putSamples(t, db, n+20, n+23)
	wantTailed(t, <-got, n+20)
}

// An offset that no journal of the store has had is refused, and not waited for.
func TestATailAfterTheEndIsRefused(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 10)
	for kind, opts := range map[string][]audit.Option{"writer": nil, "reader": {audit.ReadOnly()}} {
		t.Run(kind, func(t *testing.T) {
			db := openDB(t, dir, opts...)
			end := tailed(t, db, 0, 10)[9].Next
			for _, after := range []audit.Offset{end + 1000, end + 1<<30, 1 << 62, 1<<64 - 1} {
				n := 0
				for rec, err := range db.TailAfter(t.Context(), after) {
					if n++; !errors.Is(err, wal.ErrRewound) {
						t.Errorf("after %d: %+v, %v", after, rec, err)
						break
					}
				}
				if n != 1 {
					t.Errorf("after %d: %d records", after, n)
				}
			}
		})
	}
}

// What was trimmed is named with what is left. A slow receiver gets the next record or that error, and never one that comes
// later.
func TestATailOfWhatWasTrimmed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(2000), audit.WithRetention(audit.RetainNone))
	putSamples(t, db, 0, 20)
	n, trimmed := 0, false
	var next audit.Offset
	for rec, err := range db.TailAfter(t.Context(), 0) {
		var gone *audit.TrimmedError
		if trimmed = errors.As(err, &gone); trimmed {
			if !errors.Is(err, wal.ErrTrimmed) || gone.After < next || gone.First <= gone.After {
				t.Errorf("%+v after %d", gone, next)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		wantTailed(t, []audit.TailRecord{rec}, n)
		n, next = n+1, rec.Next
		putSamples(t, db, 20+20*n, 40+20*n)
		if err := db.AwaitApplied(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := audit.Checkpoint(db); err != nil {
				t.Fatal(err)
			}
		}
		if n == 30 {
			t.Fatal("nothing is trimmed under the tail")
		}
	}
	if !trimmed || n == 0 {
		t.Fatalf("after %d records: trimmed %v", n, trimmed)
	}
	first := must(db.Stats(t.Context())).JournalFirst
	for kind, opts := range map[string][]audit.Option{"writer": nil, "reader": {audit.ReadOnly()}} {
		from := db
		if opts != nil {
			from = openDB(t, dir, opts...)
		}
		for _, err := range from.TailAfter(t.Context(), next) {
			var gone *audit.TrimmedError
			if !errors.As(err, &gone) || *gone != (audit.TrimmedError{After: next, First: first}) {
				t.Errorf("%s: %v, want what is before %d", kind, err, first)
			}
		}
		if left := tailed(t, from, first, 1); left[0].Offset < first {
			t.Errorf("%s: after %d: %+v", kind, first, left)
		}
	}
}

// A journal to which another program has written holds records twice, records that are none, and other records under an id
// that was taken. A tail has each record of the store once.
func TestATailHasEachRecordOnce(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 10)
	other := sample(3)
	other.ResultConfidence = 0.5 // and the id is that of sample 3
	odd := []string{canonical(t, ptr(sample(2))), canonical(t, &other), `{"no":"audit"}`, canonical(t, ptr(sample(10))), canonical(t, ptr(sample(10)))}
	appendPayloads(t, dir, odd...)
	reader := openDB(t, dir, audit.ReadOnly())
	wantTailed(t, tailed(t, reader, 0, 11), 0) // SQLite has not seen the odd ones yet
	db := openDB(t, dir)
	putSamples(t, db, 11, 12)
	for kind, db := range map[string]*audit.DB{"writer": db, "reader": reader} {
		all := tailed(t, db, 0, 12)
		wantTailed(t, all, 0)
		for i := range all {
			wantTailed(t, tailed(t, db, all[i].Next, 11-i), i+1)
		}
		last := []string{}
		for raw, err := range db.Tail(t.Context(), 3, false) {
			if err != nil {
				t.Fatal(err)
			}
			last = append(last, string(raw))
		}
		want := []string{canonical(t, ptr(sample(9))), canonical(t, ptr(sample(10))), canonical(t, ptr(sample(11)))}
		if fmt.Sprint(last) != fmt.Sprint(want) {
			t.Errorf("%s: the last three are %s", kind, last)
		}
	}
}

// appendPayloads leaves payloads in a closed store's journal, as another program writes them.
func appendPayloads(t *testing.T, dir string, payloads ...string) {
	t.Helper()
	j, _, err := wal.Open(filepath.Join(dir, "wal"), wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range payloads {
		if _, err := j.Append(t.Context(), []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// A receiver that is interrupted again and again beside many writers gets every record once.
func TestAnInterruptedTailBesideWriters(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 60
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(20_000))
	reader := openDB(t, dir, audit.ReadOnly())
	var puts, tails sync.WaitGroup
	for w := range writers {
		puts.Go(func() {
			for i := range each {
				if _, err := db.PutAudit(t.Context(), ptr(sample(w*each+i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for kind, db := range map[string]*audit.DB{"writer": db, "reader": reader} {
		tails.Go(func() {
			r := rand.New(rand.NewPCG(5, 19))
			seen := map[audit.QueryID]bool{}
			var next audit.Offset
			for len(seen) < writers*each {
				for rec, err := range db.TailAfter(t.Context(), next) {
					if err != nil {
						t.Errorf("%s: %v", kind, err)
						return
					}
					id := parse(t, string(rec.Raw)).QueryID
					if seen[id] || rec.Offset < next {
						t.Errorf("%s: %s comes twice", kind, id)
					}
					seen[id], next = true, rec.Next
					if r.IntN(20) == 0 || len(seen) == writers*each {
						break
					}
				}
			}
		})
	}
	puts.Wait()
	tails.Wait()
}
