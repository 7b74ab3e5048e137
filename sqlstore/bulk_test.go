package sqlstore_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/sqlstore"
)

// Rows go in many at a time, and among many some may be there already, at any place: what is stored must be what
// storing them one by one would store.
func TestApplySkipsWhatIsThereAmongMany(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		db, err := sqlstore.Open(t.Context(), t.TempDir()+"/audit.db", sqlstore.Options{})
		if err != nil {
			r.Fatal(err)
		}
		defer db.Close()
		stored := map[int]bool{}
		order := []int{}
		offset := uint64(0)
		for range rapid.IntRange(1, 4).Draw(r, "batches") {
			// A stretch, long enough for full statements, that may overlap what is there, and some twice.
			ids := rapid.SliceOfN(rapid.IntRange(0, 400), 0, 5).Draw(r, "again")
			from := rapid.IntRange(0, 200).Draw(r, "from")
			for id := range rapid.IntRange(0, 200).Draw(r, "stretch") {
				ids = append(ids, from+id)
			}
			b := &sqlstore.Batch{}
			fresh, again, other := 0, 0, 0
			for _, id := range ids {
				rec := newSample(id).record(offset)
				// Now and then another record under the id.
				if rapid.IntRange(0, 9).Draw(r, "other") == 0 && stored[id] {
					rec.Payload = append(rec.Payload[:len(rec.Payload):len(rec.Payload)], ' ')
					other++
				} else if stored[id] {
					again++
				} else {
					stored[id] = true
					order = append(order, id)
					fresh++
				}
				offset += 1000
				b.Records = append(b.Records, rec)
			}
			b.Cursor = offset
			done, err := db.Apply(t.Context(), b)
			if err != nil {
				r.Fatal(err)
			}
			if done.Inserted != fresh || done.Duplicate != again || done.Rejected != other {
				r.Fatalf("%+v, want %d inserted, %d duplicate, %d rejected", done, fresh, again, other)
			}
		}
		n := 0
		for v, err := range db.Values(t.Context(), 0) {
			if err != nil {
				r.Fatal(err)
			}
			if want := newSample(order[n]).record(0); v.QueryID != want.QueryID || string(v.Value) != string(want.Payload) {
				r.Fatalf("entry %d is not record %d", n, order[n])
			}
			n++
		}
		if n != len(order) {
			r.Fatalf("%d entries, want %d", n, len(order))
		}
		for _, table := range []string{"audit", "entry"} {
			if got, want := fmt.Sprint(rows(t, db, `SELECT count(*), coalesce(max(idx), -1) FROM `+table)), fmt.Sprintf("[%d|%d]", n, n-1); got != want {
				r.Fatalf("%s: %s, want %s", table, got, want)
			}
		}
	})
}
