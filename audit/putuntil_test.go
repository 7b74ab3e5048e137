package audit_test

import (
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// withID makes a record under an id; version makes it another one.
func withID(id byte, version int) *audit.QueryAudit {
	q := sample(version)
	q.QueryID = fill(id)
	return &q
}

// wantThere checks which of the ids are stored.
func wantThere(t *testing.T, db *audit.DB, there map[byte]bool) {
	t.Helper()
	for id, want := range there {
		_, err := db.GetRaw(t.Context(), fill(id))
		if err != nil && !errors.Is(err, audit.ErrNotFound) {
			t.Fatal(err)
		}
		if (err == nil) != want {
			t.Errorf("id %d is stored: %v, want %v", id, err == nil, want)
		}
	}
}

// What stands before the first refused record is stored, nothing after it is, and each record up to it has its result.
func TestPutUntilRefusedStops(t *testing.T) {
	t.Parallel()
	invalid := withID(9, 9)
	invalid.ResultConfidence = float32(math.Inf(1))
	for name, c := range map[string]struct {
		bad    *audit.QueryAudit
		reason error
	}{
		"an invalid record":          {invalid, audit.ErrInvalid},
		"a conflict with the store":  {withID(7, 8), audit.ErrConflict},
		"a conflict in the batch":    {withID(1, 8), audit.ErrConflict},
		"nothing that is refused":    {withID(9, 9), nil},
		"the same record once more":  {withID(1, 1), nil},
		"a record that is there":     {withID(7, 7), nil},
		"a conflict at the very end": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openDB(t, t.TempDir())
			if _, err := db.PutAudit(t.Context(), withID(7, 7)); err != nil {
				t.Fatal(err)
			}
			qs := []*audit.QueryAudit{withID(1, 1), withID(2, 2), c.bad, withID(3, 3), withID(4, 4)}
			stop := 3
			if c.bad == nil {
				qs, stop, c.reason = []*audit.QueryAudit{withID(1, 1), withID(2, 2), withID(3, 3), withID(4, 4), withID(7, 8)}, 5, audit.ErrConflict
			}
			results, err := db.PutUntilRefused(t.Context(), qs)
			if err != nil {
				t.Fatal(err)
			}
			if c.reason == nil {
				stop = len(qs)
			}
			if len(results) != stop {
				t.Fatalf("%d results, want %d", len(results), stop)
			}
			for i, r := range results {
				if want := c.reason; i < stop-1 && r.Err != nil || i == stop-1 && !errors.Is(r.Err, want) {
					t.Errorf("result %d: %v, want %v", i, r.Err, want)
				}
			}
			rest := stop == 5
			wantThere(t, db, map[byte]bool{1: true, 2: true, 3: rest, 4: rest})
		})
	}
}

// Another writer who is first under an id of the batch stops it there; one who is later gets the conflict. In both cases nothing
// is stored after a refused record.
func TestPutUntilRefusedBesideAnotherWriter(t *testing.T) {
	t.Parallel()
	db := openDB(t, t.TempDir())
	won := map[bool]int{}
	for round := range 60 {
		id := func(n int) byte { return byte(1 + round*4 + n) }
		var other error
		var wg sync.WaitGroup
		var results []audit.PutResult
		var err error
		writers := []func(){
			func() { _, other = db.PutAudit(t.Context(), withID(id(1), 1_000_000+round)) },
			func() {
				results, err = db.PutUntilRefused(t.Context(), []*audit.QueryAudit{withID(id(0), round), withID(id(1), round), withID(id(2), round)})
			},
		}
		wg.Go(writers[round%2]) // the one that does not wait for a goroutine to start is first most of the time
		writers[1-round%2]()
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		first := errors.Is(other, audit.ErrConflict) // this writer was
		if other != nil && !first {
			t.Fatal(other)
		}
		won[first]++
		if first != (len(results) == 3) || !first && !errors.Is(results[1].Err, audit.ErrConflict) {
			t.Fatalf("round %d: the other one got %v, and %d results are here", round, other, len(results))
		}
		wantThere(t, db, map[byte]bool{id(0): true, id(1): true, id(2): first})
	}
	t.Logf("who was first: %v", won)
}

// A batch that is larger than the backlog comes through, in parts, and stops in whichever part the refused record is.
func TestPutUntilRefusedInParts(t *testing.T) {
	t.Parallel()
	for _, bad := range []int{0, 3, 4, 11, 40, -1} {
		db := openDB(t, t.TempDir(), audit.WithBacklog(16, 0))
		var qs []*audit.QueryAudit
		for i := range 41 {
			q := withID(byte(i+1), i)
			if i == bad {
				q.ResultConfidence = float32(math.Inf(1))
			}
			qs = append(qs, q)
		}
		results, err := db.PutUntilRefused(t.Context(), qs)
		if err != nil {
			t.Fatal(err)
		}
		want := bad + 1
		if bad < 0 {
			want = len(qs)
		}
		if len(results) != want {
			t.Errorf("bad record %d: %d results, want %d", bad, len(results), want)
		}
		for i := range qs {
			wantThere(t, db, map[byte]bool{byte(i + 1): bad < 0 || i < bad})
		}
		// The budget is given back: as many records as the backlog holds can be put.
		for i := range 20 {
			if _, err := db.PutAudit(t.Context(), withID(byte(100+i), 100+i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
