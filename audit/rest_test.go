package audit_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A record that comes after a pause is applied at once. Those that follow it share the transaction that begins a tenth of a second
// later, and a call that waits for them ends the rest.
func TestTheApplierRestsUntilSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var batches []int
		db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithBacklog(8, 0), audit.WithReads(audit.Applied), audit.WithMetrics(audit.Metrics{
			Applied: func(_ time.Duration, records int, _ time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				if records > 0 {
					batches = append(batches, records)
				}
			},
		}))
		n := 0
		put := func(records int) {
			t.Helper()
			for range records {
				if _, err := db.PutAudit(t.Context(), ptr(sample(n))); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		want := func(when string, want ...int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if fmt.Sprint(batches) != fmt.Sprint(want) {
				t.Errorf("%s: batches of %v records, want %v", when, batches, want)
			}
			batches = nil
		}
		const rest = 100 * time.Millisecond
		time.Sleep(rest)
		put(1)
		want("after a pause", 1)
		put(5)
		time.Sleep(rest - time.Nanosecond)
		want("before the end of the rest")
		time.Sleep(time.Nanosecond)
		want("at the end of the rest", 5)

		began := time.Now()
		instant := func(what string) {
			t.Helper()
			if took := time.Since(began); took != 0 {
				t.Errorf("%s has waited %s", what, took)
			}
		}
		put(3)
		if err := db.AwaitApplied(t.Context()); err != nil {
			t.Fatal(err)
		}
		instant("AwaitApplied")
		want("AwaitApplied", 3)

		put(9)
		instant("a put for which the backlog had no room")
		want("a full backlog", 8)

		asOf := uint64(n)
		for _, err := range db.Audits(t.Context(), audit.Filter{AsOf: &asOf}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		instant("a question as of the present")
		want("a question as of the present", 1)

		put(2)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		instant("Close")
		want("Close", 2)
		if have := openDB(t, db.Dir()).Progress().Records; have != uint64(n) {
			t.Errorf("%d records, want %d", have, n)
		}
	})
}
