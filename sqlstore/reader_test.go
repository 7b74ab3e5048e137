package sqlstore_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
)

// A stream that is not at its end holds a reader. Who waits for one meanwhile keeps neither others from giving up in
// time nor the database from closing.
func TestWaitingForAReaderHoldsUpNobody(t *testing.T) {
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
