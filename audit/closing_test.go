package audit_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// streams are all that a store yields, by name.
func streams(db *audit.DB) map[string]iter.Seq[error] {
	ctx, q := context.Background(), sample(3)
	return map[string]iter.Seq[error]{
		"Audits":                    errorsOf(db.Audits(ctx, audit.Filter{})),
		"Audits, descending":        errorsOf(db.Audits(ctx, audit.Filter{Descending: true})),
		"RawAudits, by admission":   errorsOf(db.RawAudits(ctx, audit.Filter{ByAdmission: true})),
		"RawAudits of an agent":     errorsOf(db.RawAudits(ctx, audit.Filter{Agent: q.AgentID})),
		"Agents":                    errorsOf(db.Agents(ctx, audit.Filter{})),
		"Agents with a filter":      errorsOf(db.Agents(ctx, audit.Filter{Predicate: ptr("revenue")})),
		"Answers":                   errorsOf(db.Answers(ctx, *q.Params.Subject, "revenue", audit.Filter{})),
		"Answers, descending":       errorsOf(db.Answers(ctx, *q.Params.Subject, "revenue", audit.Filter{Descending: true})),
		"Impact":                    errorsOf(db.Impact(ctx, hashOf("source", "0"), audit.ImpactOptions{Source: true})),
		"Tail":                      errorsOf(db.Tail(ctx, 20, false)),
		"Tail, following":           errorsOf(db.Tail(ctx, 20, true)),
		"Tail, following from here": errorsOf(db.Tail(ctx, 0, true)),
		"TailAfter":                 errorsOf(db.TailAfter(ctx, 0)),
	}
}

func errorsOf[T any](seq iter.Seq2[T, error]) iter.Seq[error] {
	return func(yield func(error) bool) {
		for _, err := range seq {
			if !yield(err) {
				return
			}
		}
	}
}

// Whatever streams or follows ends with ErrClosed when its store is closed in the middle of it.
func TestStreamsEndWhenTheStoreIsClosed(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 60)
	for kind, opts := range map[string][]audit.Option{"writer": nil, "reader": {audit.ReadOnly()}} {
		db := openDB(t, dir, opts...)
		var names []string
		for name := range streams(db) {
			if name != "Tail, following from here" { // it yields nothing before the end
				names = append(names, name)
			}
		}
		closeDB(t, db)
		for _, name := range names {
			t.Run(kind+" "+name, func(t *testing.T) {
				db := openDB(t, dir, opts...)
				n := 0
				var last error
				for err := range streams(db)[name] {
					if n++; n == 1 {
						closeDB(t, db)
					}
					last = err
				}
				if n < 2 || !errors.Is(last, audit.ErrClosed) {
					t.Errorf("after %d: %v", n, last)
				}
			})
		}
	}
}

// One that waits for more is woken.
func TestATailThatWaitsEndsWhenTheStoreIsClosed(t *testing.T) {
	t.Parallel()
	for kind, opts := range map[string][]audit.Option{"writer": nil, "reader": {audit.ReadOnly()}} {
		for _, n := range []int{0, 5} {
			t.Run(fmt.Sprint(kind, " ", n), func(t *testing.T) {
				dir, _ := closedStore(t, 0, 60)
				db := openDB(t, dir, opts...)
				begun, done := make(chan bool, 1), make(chan error, 1)
				go func() {
					seen := 0
					for _, err := range db.Tail(context.Background(), n, true) {
						if err != nil {
							done <- err
							break
						}
						if seen++; seen == n {
							begun <- true
						}
					}
					close(done)
				}()
				if n > 0 {
					<-begun
				}
				closeDB(t, db)
				if err := <-done; !errors.Is(err, audit.ErrClosed) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// In the writer's process a tail that follows gets all that was acknowledged before it ends.
func TestATailEndsAfterTheLastRecord(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 10)
	db := openDB(t, dir)
	got := map[audit.QueryID]string{}
	var want map[audit.QueryID]string
	var last error
	for raw, err := range db.Tail(context.Background(), 1, true) {
		if last = err; err != nil {
			continue
		}
		if want == nil {
			want = putSamples(t, db, 10, 40)
			closeDB(t, db)
			continue
		}
		got[parse(t, string(raw)).QueryID] = string(raw)
	}
	if !errors.Is(last, audit.ErrClosed) || len(got) != len(want) {
		t.Errorf("%d of %d records, and then %v", len(got), len(want), last)
	}
	for id, line := range want {
		if got[id] != line {
			t.Errorf("%s is %s, want %s", id, got[id], line)
		}
	}
}
