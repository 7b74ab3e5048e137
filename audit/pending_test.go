package audit_test

import (
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
		apply, put, held := audit.NewBacklog(3 * batch)
		apply(0)
		var through atomic.Int64
		var stalled atomic.Bool
		for range 8 {
			go func() {
				for through.Load() < 2*batch && put(t.Context()) == nil {
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
		time.Sleep(batchTakes)
		for n := range 2 {
			apply((n + 1) * batch)
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
		apply(3 * batch)
		if n := held(); n > 2*batch+8 || n < 2*batch {
			t.Errorf("%d held", n)
		}
	})
}

func TestRoomIsGivenBackAtOnceWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const batch = 1000
		apply, put, _ := audit.NewBacklog(2 * batch)
		time.Sleep(time.Second)
		apply(batch)
		began := time.Now()
		for range batch {
			if err := put(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %s", waited)
		}
	})
}
