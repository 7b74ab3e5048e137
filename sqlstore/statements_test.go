package sqlstore_test

import (
	"context"
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
