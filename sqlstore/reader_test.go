package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
)

// A stream that is not at its end holds a reader. Who waits for one meanwhile keeps neither others from giving up in
// time nor the database from closing.
func TestWaitingForAReaderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	db, err := sqlstore.Open(t.Context(), t.TempDir()+"/audit.db", sqlstore.Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(t.Context(), &sqlstore.Batch{Records: []sqlstore.Record{newSample(1).record(0)}, Cursor: 1000}); err != nil {
		t.Fatal(err)
	}
	rows, err := db.QueryRows(t.Context(), `SELECT 1 UNION ALL SELECT 2`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ask := func(ctx context.Context) (err error) {
		for _, err = range db.Select(ctx, sqlstore.Filter{Lens: ptr("Recency")}) {
			if err != nil {
				break
			}
		}
		return err
	}
	waiting := make(chan error, 1)
	go func() { waiting <- ask(context.Background()) }()
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := ask(impatient); err == nil {
		t.Error("an answer out of a reader that is taken")
	}
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	for what, c := range map[string]chan error{"Close": closed, "the one who waits": waiting} {
		select {
		case <-c:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s does not return", what)
		}
	}
}

// Of more questions than are kept prepared, asked by many at once and read while others are, each gets its answer.
func TestMoreQuestionsThanAreKeptPrepared(t *testing.T) {
	t.Parallel()
	db, rs := world(t, 120)
	var filters []sqlstore.Filter
	for i := range 1 << 7 {
		f := sqlstore.Filter{ByAdmission: i&1 != 0, Descending: i&2 != 0, Limit: 200}
		for bit, set := range []func(){
			func() { f.From = ptr[int64](5) }, func() { f.To = ptr[int64](30) }, func() { f.Lens = ptr("Recency") },
			func() { f.Predicate = ptr("revenue") }, func() { f.MinConfidence = ptr(0.25) },
		} {
			if i&(4<<bit) != 0 {
				set()
			}
		}
		filters = append(filters, f)
	}
	var askers sync.WaitGroup
	for asker := range 4 {
		askers.Go(func() {
			for i := range filters {
				f := filters[(i*(2*asker+1))%len(filters)]
				want, n := want(rs, f), 0
				for v, err := range db.Select(context.Background(), f) {
					if err != nil || n >= len(want) || !bytes.Equal(v, want[n]) {
						t.Errorf("%+v: record %d: %s, %v", f, n, v, err)
						return
					}
					n++
				}
				if n != len(want) {
					t.Errorf("%+v: %d records, want %d", f, n, len(want))
				}
			}
		})
	}
	askers.Wait()
}

// A question that ends early leaves no read transaction open, which would hold up checkpoints and show its reader an
// old state for ever.
func TestAQuestionThatEndsEarlyHoldsNothing(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{Readers: 1})
	db.ShrinkSelect(7, 1<<14, 5)
	rs := samples(0, 200)
	apply(t, db, rs[:100]...)
	ctx, cancel := context.WithCancel(t.Context())
	for name, ask := range map[string]func() error{
		"a break": func() error {
			for _, err := range db.Select(t.Context(), sqlstore.Filter{}) {
				return err
			}
			return nil
		},
		"the end of its context": func() error {
			for _, err := range db.Select(ctx, sqlstore.Filter{}) {
				if err != nil {
					return err
				}
				cancel()
			}
			return nil
		},
		"what somebody's SQL would begin": func() error {
			_, err := db.QueryRows(t.Context(), `BEGIN`)
			return err
		},
	} {
		err := ask()
		if name == "the end of its context" && !errors.Is(err, context.Canceled) || name == "a break" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		apply(t, db, rs[100:]...)
		if c, err := db.Checkpoint(t.Context(), true); err != nil || !c.Complete {
			t.Errorf("after %s: %+v, %v", name, c, err)
		}
		if got := collect(t, db, sqlstore.Filter{}); len(got) != len(rs) {
			t.Errorf("after %s: %d records, want %d", name, len(got), len(rs))
		}
	}
}

// Reindex drops tables and makes them anew under queries that are kept prepared.
func TestQuestionsAroundAReindex(t *testing.T) {
	t.Parallel()
	db := open(t, filepath.Join(t.TempDir(), "audit.db"), sqlstore.Options{Readers: 1})
	db.ShrinkReindex(50)
	rs := samples(0, 120)
	apply(t, db, rs...)
	filters := []sqlstore.Filter{{}, {Limit: 100}, {Agent: rs[7].AgentID}, {Attributes: rs[8].Attributes[1:]}, {Lens: ptr("Recency"), Descending: true}}
	ask := func(when string) {
		for _, f := range filters {
			if got, want := collect(t, db, f), want(rs, f); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%s: %+v: %d records, want %d", when, f, len(got), len(want))
			}
		}
	}
	ask("before")
	during := 0
	if err := db.Reindex(t.Context(), decode, func(done, total uint64) {
		n := 0
		for _, err := range db.Select(t.Context(), sqlstore.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if during++; n != int(done) {
			t.Errorf("%d of %d records are there, and %d found", done, total, n)
		}
	}); err != nil || during < 2 {
		t.Fatal(during, err)
	}
	ask("after")
}

// No record is empty. An empty one was put there without our checks, and is reported like a missing one.
func TestARecordThatIsEmptyIsMissing(t *testing.T) {
	t.Parallel()
	for _, value := range []string{`x''`, `''`} {
		path := filepath.Join(t.TempDir(), "audit.db")
		db := open(t, path, sqlstore.Options{})
		rs := samples(0, 20)
		apply(t, db, rs...)
		tamper(t, path, fmt.Sprintf(`PRAGMA ignore_check_constraints = 1; UPDATE kv SET value = %s WHERE key = x'004155443A%x'`, value, rs[8].QueryID))
		for _, f := range []sqlstore.Filter{{}, {Limit: 20}, {ByAdmission: true}, {Attributes: rs[8].Attributes[1:]}} {
			var failed []error
			for _, err := range db.Select(t.Context(), f) {
				if err != nil {
					failed = append(failed, err)
				}
			}
			if len(failed) != 1 || !strings.Contains(failed[0].Error(), "is missing") {
				t.Errorf("%s, %+v: %v", value, f, failed)
			}
		}
	}
}
