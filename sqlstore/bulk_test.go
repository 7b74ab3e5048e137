package sqlstore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
)

// Rows go in many at a time, and among many some may be there already, at any place: what is stored must be what
// storing them one by one would store.
func TestApplySkipsWhatIsThereAmongMany(t *testing.T) {
	t.Parallel()
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	for seed := range rounds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { storeInStretches(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
	}
}

func storeInStretches(t *testing.T, rnd *rand.Rand) {
	db, err := sqlstore.Open(t.Context(), t.TempDir()+"/audit.db", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stored := map[int]bool{}
	order := []int{}
	offset := uint64(0)
	for range 1 + rnd.IntN(4) {
		// A stretch, long enough for full statements, that may overlap what is there, and some twice.
		var ids []int
		for range rnd.IntN(6) {
			ids = append(ids, rnd.IntN(400))
		}
		from := rnd.IntN(200)
		for id := range rnd.IntN(200) {
			ids = append(ids, from+id)
		}
		b := &sqlstore.Batch{}
		fresh, again, other := 0, 0, 0
		for _, id := range ids {
			rec := newSample(id).record(offset)
			// Now and then another record under the id.
			if rnd.IntN(10) == 0 && stored[id] {
				rec.Payload = append(rec.Payload[:len(rec.Payload):len(rec.Payload)], ' ')
				rec.Leaf = tree.LeafHash(rec.Payload)
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
			t.Fatal(err)
		}
		if done.Inserted != fresh || done.Duplicate != again || done.Rejected != other {
			t.Fatalf("%+v, want %d inserted, %d duplicate, %d rejected", done, fresh, again, other)
		}
	}
	n := 0
	for v, err := range db.Values(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if want := newSample(order[n]).record(0); v.QueryID != want.QueryID || string(v.Value) != string(want.Payload) {
			t.Fatalf("entry %d is not record %d", n, order[n])
		}
		n++
	}
	if n != len(order) {
		t.Fatalf("%d entries, want %d", n, len(order))
	}
	for _, table := range []string{"audit", "entry"} {
		if got, want := fmt.Sprint(rows(t, db, `SELECT count(*), coalesce(max(idx), -1) FROM `+table)), fmt.Sprintf("[%d|%d]", n, n-1); got != want {
			t.Fatalf("%s: %s, want %s", table, got, want)
		}
	}
}
