package audit_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
)

// listOf returns what a list by time must have of records, by a look at each of them.
func listOf(qs []audit.QueryAudit, f audit.Filter) (want []audit.QueryID) {
	f.Limit, f.After = 0, nil
	var at []audit.Cursor
	for i := range qs {
		if f.Matches(&qs[i]) {
			at = append(at, audit.CursorOf(&qs[i]))
		}
	}
	slices.SortFunc(at, func(a, b audit.Cursor) int { return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), a.ID.Compare(b.ID)) })
	if f.Descending {
		slices.Reverse(at)
	}
	for _, c := range at {
		want = append(want, c.ID)
	}
	return want
}

// A list by time of an agent or of all has every record that was acknowledged, at its place, while nothing can be applied.
// Other lists have what SQLite has. None of them waits.
func TestAListByTimeHasWhatIsNotApplied(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 41))
			qs := randomWorld(r, 60)
			early := r.IntN(len(qs))
			dir := filepath.Join(t.TempDir(), "store")
			db := openDB(t, dir, audit.WithReads(audit.Applied))
			for i := range qs {
				if i == early {
					if err := db.AwaitApplied(t.Context()); err != nil {
						t.Fatal(err)
					}
					s := openShell(t, dir)
					s.do("BEGIN IMMEDIATE") // nothing can be applied
					defer s.do("ROLLBACK")
				}
				if _, err := db.PutAudit(t.Context(), &qs[i]); err != nil {
					t.Fatal(err)
				}
			}
			some := func() *uint64 { return &qs[r.IntN(len(qs))].Timestamp }
			filters := []audit.Filter{{}, {Anonymous: true}, {Limit: 1}, {Limit: len(qs)}}
			for range 40 {
				f := audit.Filter{Limit: r.IntN(2) * r.IntN(30)}
				if r.IntN(2) == 0 {
					f.Agent = qs[r.IntN(len(qs))].AgentID
				}
				if r.IntN(3) == 0 {
					f.From = some()
				}
				if r.IntN(3) == 0 {
					f.To = some()
				}
				filters = append(filters, f)
			}
			for _, f := range filters {
				for range 2 {
					f.Descending = !f.Descending
					want := listOf(qs, f)
					for range 4 {
						g, after := f, audit.QueryID{}
						if i := r.IntN(len(want) + 1); i > 0 {
							after = want[i-1]
						}
						if after != (audit.QueryID{}) {
							at := slices.IndexFunc(qs, func(q audit.QueryAudit) bool { return q.QueryID == after })
							c := audit.CursorOf(&qs[at])
							g.After = &c
						}
						rest := want[slices.Index(want, after)+1:]
						if f.Limit > 0 {
							rest = rest[:min(len(rest), f.Limit)]
						}
						got := []audit.QueryID{}
						for q, err := range db.Audits(t.Context(), g) {
							if err != nil {
								t.Fatal(err)
							}
							got = append(got, q.QueryID)
						}
						if !slices.Equal(got, rest) {
							t.Fatalf("%s after %s: %v\nwant %v", show(f), after, got, rest)
						}
					}
				}
			}
			for _, f := range []audit.Filter{{Predicate: ptr("p0")}, {Descending: true, ByAdmission: true}, {Limit: 100, ByAdmission: true}, {AsOf: ptr(uint64(early))}} {
				got := 0
				for q, err := range db.Audits(t.Context(), f) {
					if err != nil || slices.ContainsFunc(qs[early:], func(o audit.QueryAudit) bool { return o.QueryID == q.QueryID }) {
						t.Fatalf("%s: %s, %v", show(f), q.QueryID, err)
					}
					got++
				}
				if want := len(listOf(qs[:early], audit.Filter{Predicate: f.Predicate})); got != want {
					t.Errorf("%s: %d records, want %d", show(f), got, want)
				}
			}
		})
	}
}

// Beside a writer and an applier that go on, a list has all that was acknowledged before it, each record once and in order.
func TestAListBesideAWriterHasEachRecordOnce(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithReads(audit.Applied))
	const n = 400
	acknowledged := make(chan int, n)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(acknowledged)
		for i := range n {
			if _, err := db.PutAudit(context.Background(), ptr(sample(i))); err != nil {
				t.Error(err)
				return
			}
			acknowledged <- i + 1
		}
	})
	for least := range acknowledged {
		got := 0
		var last *audit.Cursor
		for q, err := range db.Audits(t.Context(), audit.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			at := audit.CursorOf(&q)
			if last != nil && cmp.Or(cmp.Compare(last.Timestamp, at.Timestamp), last.ID.Compare(at.ID)) >= 0 {
				t.Fatalf("%s after %s", at, last)
			}
			last = &at
			got++
		}
		if got < least {
			t.Fatalf("%d records, and %d were acknowledged", got, least)
		}
	}
	wg.Wait()
}

// A list whose caller has seen enough reads no more, and one of a closed store says so.
func TestAListOfWhatIsNotAppliedEnds(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithReads(audit.Applied))
	putSamples(t, db, 0, 4)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE")
	putSamples(t, db, 4, 9)
	for want := range 10 {
		got := 0
		for _, err := range db.Audits(t.Context(), audit.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if got++; got > want {
				break
			}
		}
		if got != min(want+1, 9) {
			t.Errorf("%d records, want %d", got, min(want+1, 9))
		}
	}
	s.do("ROLLBACK")
	closeDB(t, db)
	for _, err := range db.Audits(t.Context(), audit.Filter{}) {
		if err == nil {
			t.Fatal("a record of a closed store")
		}
	}
}

// onceAwaited is a context that calls do when somebody asks it for the first time when it ends: a query of SQLite begins.
type onceAwaited struct {
	context.Context
	do func()
}

func (c *onceAwaited) Done() <-chan struct{} {
	if do := c.do; do != nil {
		c.do = nil
		do()
	}
	return c.Context.Done()
}

// A record that is applied between the look at the backlog and that at SQLite is in both, and once in the list.
func TestARecordThatIsAppliedDuringAListIsInItOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithReads(audit.Applied))
	putSamples(t, db, 0, 2)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE")
	putSamples(t, db, 2, 7)
	ctx := &onceAwaited{t.Context(), func() {
		s.do("ROLLBACK")
		if err := db.AwaitApplied(context.Background()); err != nil {
			t.Error(err)
		}
	}}
	list, err := db.ListRecent(ctx, 100)
	if err != nil || len(list) != 7 || ctx.do != nil {
		t.Errorf("%d records, %v", len(list), err)
	}
}

// A list that is full with what SQLite does not have yet still says that SQLite lacks records.
func TestAListOfWhatIsNotAppliedHidesNoLoss(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithReads(audit.Applied))
	putSamples(t, db, 0, 10)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := openShell(t, dir)
	s.unguarded(`DELETE FROM audit WHERE idx = 5`)
	s.do("BEGIN IMMEDIATE")
	defer s.do("ROLLBACK")
	putSamples(t, db, 10, 13)
	var lost *sqlstore.IncompleteError
	if list, err := db.ListRecent(t.Context(), 10); !errors.As(err, &lost) {
		t.Errorf("%d records, %v", len(list), err)
	}
}
