package backlog_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/wal"
)

// recordBytes is the length of each record in these tests.
const recordBytes = 6

// fullBacklog returns a backlog with a budget of so many records, full of acknowledged ones at the offsets from 0.
func fullBacklog(t *testing.T, records int) *backlog.Backlog {
	b := backlog.New(records, 1<<30, func() {})
	var claims []*backlog.Claim
	var offs []wal.Offset
	for i := range records {
		claims = append(claims, &backlog.Claim{ID: [32]byte{byte(i), byte(i >> 8)}, Raw: make([]byte, recordBytes)})
		offs = append(offs, wal.Offset(i))
		if err := b.Reserve(t.Context(), 1, recordBytes); err != nil {
			t.Fatal(err)
		}
	}
	b.Acknowledge(claims, offs)
	return b
}

// put reserves the budget for so many records and keeps it.
func put(ctx context.Context, b *backlog.Backlog, records int) error {
	return b.Reserve(ctx, records, int64(records)*recordBytes)
}

func held(b *backlog.Backlog) int {
	records, _ := b.Load()
	return records
}

// Where puts come faster than SQLite takes them, each waits about as long as the others, and none for a whole batch.
func TestTheBudgetIsReleasedInPortionsWhilePutsAreBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch = 2000
		b := fullBacklog(t, 3*batch)
		var through atomic.Int64
		var stalled atomic.Bool
		for range 8 {
			go func() {
				for through.Load() < 2*batch && put(t.Context(), b, 1) == nil {
					through.Add(1)
					for stalled.Load() {
						time.Sleep(time.Millisecond)
					}
				}
			}()
		}
		synctest.Wait()
		if through.Load() != 0 {
			t.Fatal("the budget was not used up")
		}
		const tick, batchTakes = 4 * time.Millisecond, time.Second
		for n := range 2 {
			b.Advance(wal.Offset((n+1)*batch), batchTakes)
			for at := time.Duration(0); at < batchTakes; at += batchTakes / 4 {
				time.Sleep(tick)
				synctest.Wait()
				got, want := int(through.Load()), n*batch+int(batch*at/batchTakes)
				if got < want || got > want+batch/100 {
					t.Errorf("%s after batch %d: %d puts went through, want %d", at+tick, n+1, got, want)
				}
				// A slow sync: for a tenth of the time no put is blocked.
				stalled.Store(true)
				time.Sleep(batchTakes / 10)
				stalled.Store(false)
				time.Sleep(batchTakes/4 - batchTakes/10 - tick)
			}
		}
		synctest.Wait()
		if got := int(through.Load()); got < 2*batch {
			t.Errorf("%d puts went through in the end", got)
		}
		b.Advance(3*batch, batchTakes)
		if n := held(b); n > 2*batch+8 || n < 2*batch {
			t.Errorf("%d held", n)
		}
	})
}

// All is released at once where no put is blocked, and where no next batch will release more: the batch was most of the
// backlog.
func TestTheBudgetIsReleasedAtOnce(t *testing.T) {
	for name, waits := range map[string]bool{"no put is blocked": false, "the batch was most of the backlog": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const batch = 1000
				b := fullBacklog(t, 2*batch-1)
				began := time.Now()
				if !waits {
					b.Advance(batch, time.Second)
				}
				got := make(chan error)
				go func() { got <- put(t.Context(), b, batch) }()
				synctest.Wait()
				if waits {
					b.Advance(batch, time.Second)
				}
				if err := <-got; err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited != 0 {
					t.Errorf("waited %s", waited)
				}
			})
		})
	}
}

// A put that waits for more than a portion gets it, and so do the puts after it.
func TestAllOfTheBudgetIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch = 1000
		b := fullBacklog(t, 3*batch)
		began := time.Now()
		var wg sync.WaitGroup
		for _, n := range []int{1, batch - 2, 1, batch, 5} {
			wg.Go(func() {
				if err := put(t.Context(), b, n); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // in this order
		}
		b.Advance(batch, time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := held(b); got != 3*batch {
			t.Errorf("%d held", got)
		}
		b.Advance(2*batch, time.Second)
		time.Sleep(time.Millisecond)
		b.Advance(3*batch, time.Second) // sooner than was expected
		wg.Wait()
		if waited := time.Since(began); waited > 2*time.Second {
			t.Errorf("waited %s", waited)
		}
		if got := held(b); got != 2*batch+5 {
			t.Errorf("%d held in the end", got)
		}
	})
}

// The release in portions ends with the store, whatever is left to release.
func TestNothingIsReleasedAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch = 2000
		b := fullBacklog(t, 3*batch)
		ctx, cancel := context.WithCancel(t.Context())
		var through atomic.Int64
		go func() {
			for put(ctx, b, 1) == nil {
				through.Add(1)
			}
		}()
		synctest.Wait()
		b.Advance(batch, time.Second)
		time.Sleep(time.Second / 4)
		synctest.Wait()
		before := through.Load()
		if before == 0 || before >= batch {
			t.Fatalf("%d puts went through", before)
		}
		b.Stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if after := through.Load(); after != before {
			t.Errorf("%d puts went through after the end", after-before)
		}
		cancel()
	})
}
