package audit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// Where puts come faster than SQLite takes them, each waits about as long as the others, and none for a whole batch.
func TestRoomIsGivenBackBitByBitToThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch = 2000
		apply, put, held, _ := audit.NewBacklog(3 * batch)
		var through atomic.Int64
		var stalled atomic.Bool
		for range 8 {
			go func() {
				for through.Load() < 2*batch && put(t.Context(), 1) == nil {
					through.Add(1)
					for stalled.Load() {
						time.Sleep(time.Millisecond)
					}
				}
			}()
		}
		synctest.Wait()
		if through.Load() != 0 {
			t.Fatal("there was room")
		}
		const tick, batchTakes = 4 * time.Millisecond, time.Second
		for n := range 2 {
			apply((n+1)*batch, batchTakes)
			for at := time.Duration(0); at < batchTakes; at += batchTakes / 4 {
				time.Sleep(tick)
				synctest.Wait()
				got, want := int(through.Load()), n*batch+int(batch*at/batchTakes)
				if got < want || got > want+batch/100 {
					t.Errorf("%s after batch %d: %d puts went through, want %d", at+tick, n+1, got, want)
				}
				// A slow sync: for a tenth of the time nobody waits for room.
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
		apply(3*batch, batchTakes)
		if n := held(); n > 2*batch+8 || n < 2*batch {
			t.Errorf("%d held", n)
		}
	})
}

// Room is not kept from anybody where nobody waits, nor where there is no other batch that will bring more: after the
// one that was most of the backlog, or the last.
func TestRoomIsGivenBackAtOnce(t *testing.T) {
	for name, waits := range map[string]bool{"nobody waits": false, "the batch was most of the backlog": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const batch = 1000
				apply, put, _, _ := audit.NewBacklog(2*batch - 1)
				began := time.Now()
				if !waits {
					apply(batch, time.Second)
				}
				got := make(chan error)
				go func() { got <- put(t.Context(), batch) }()
				synctest.Wait()
				if waits {
					apply(batch, time.Second)
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

// Whoever waits for more than a portion gets it, and so does everybody behind.
func TestRoomIsGivenBackInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch = 1000
		apply, put, held, _ := audit.NewBacklog(3 * batch)
		began := time.Now()
		var wg sync.WaitGroup
		for _, n := range []int{1, batch - 2, 1, batch, 5} {
			wg.Go(func() {
				if err := put(t.Context(), n); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // in this order
		}
		apply(batch, time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := held(); got != 3*batch {
			t.Errorf("%d held", got)
		}
		apply(2*batch, time.Second)
		time.Sleep(time.Millisecond)
		apply(3*batch, time.Second) // sooner than was expected
		wg.Wait()
		if waited := time.Since(began); waited > 2*time.Second {
			t.Errorf("waited %s", waited)
		}
		if got := held(); got != 2*batch+5 {
			t.Errorf("%d held in the end", got)
		}
	})
}

// What gives room back bit by bit ends with the store, whatever is left to give.
func TestNoRoomIsGivenBackAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch = 2000
		apply, put, _, stop := audit.NewBacklog(3 * batch)
		ctx, cancel := context.WithCancel(t.Context())
		var through atomic.Int64
		go func() {
			for put(ctx, 1) == nil {
				through.Add(1)
			}
		}()
		synctest.Wait()
		apply(batch, time.Second)
		time.Sleep(time.Second / 4)
		synctest.Wait()
		before := through.Load()
		if before == 0 || before >= batch {
			t.Fatalf("%d puts went through", before)
		}
		stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if after := through.Load(); after != before {
			t.Errorf("%d puts went through after the end", after-before)
		}
		cancel()
	})
}
