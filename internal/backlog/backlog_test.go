package backlog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/wal"
)

// claimed reserves the budget for a record of an id and claims the id.
func claimed(t *testing.T, b *backlog.Backlog, no int) *backlog.Claim {
	t.Helper()
	c := &backlog.Claim{ID: [32]byte{byte(no), byte(no >> 8)}, Timestamp: uint64(no), Raw: make([]byte, recordBytes)}
	if err := put(t.Context(), b, 1); err != nil {
		t.Fatal(err)
	}
	if found, _ := b.Claim(c); found != backlog.Free {
		t.Fatalf("id %d: found %v", no, found)
	}
	return c
}

func TestOneClaimHoldsAnID(t *testing.T) {
	t.Parallel()
	failed := errors.New("the journal has failed")
	for name, c := range map[string]struct {
		end    func(*backlog.Backlog, *backlog.Claim)
		stored bool
		err    error
		next   backlog.Found // what a later claim finds
		held   int
	}{
		"acknowledged": {func(b *backlog.Backlog, c *backlog.Claim) { b.Acknowledge([]*backlog.Claim{c}, []wal.Offset{40}) }, true, nil, backlog.Acknowledged, 1},
		"given up":     {func(b *backlog.Backlog, c *backlog.Claim) { b.GiveUp(c, nil) }, false, nil, backlog.Free, 0},
		"failed":       {func(b *backlog.Backlog, c *backlog.Claim) { b.GiveUp(c, failed) }, false, failed, backlog.Free, 0},
		"applied before it was acknowledged": {func(b *backlog.Backlog, c *backlog.Claim) {
			b.Advance(100, 0)
			b.Acknowledge([]*backlog.Claim{c}, []wal.Offset{40})
		}, true, nil, backlog.Free, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := backlog.New(10, 1<<20, func() {})
			first := claimed(t, b, 1)
			again := &backlog.Claim{ID: first.ID}
			found, holder := b.Claim(again)
			if found != backlog.Held || holder != first {
				t.Fatalf("found %v", found)
			}
			select {
			case <-holder.Settled():
				t.Fatal("settled before its end")
			default:
			}
			c.end(b, first)
			<-holder.Settled()
			if stored, err := holder.Outcome(); stored != c.stored || err != c.err {
				t.Errorf("stored %v, %v", stored, err)
			}
			if found, _ := b.Claim(again); found != c.next {
				t.Errorf("a later claim finds %v, want %v", found, c.next)
			}
			if n := held(b); n != c.held {
				t.Errorf("%d records are held, want %d", n, c.held)
			}
		})
	}
}

// The ledger shows each acknowledged record until SQLite has it, in more chunks than one, and a snapshot does not change.
func TestTheLedgerShowsWhatSQLiteMayLack(t *testing.T) {
	t.Parallel()
	const n = 3000
	b := backlog.New(n, 1<<30, func() {})
	var claims []*backlog.Claim
	var offs []wal.Offset
	for i := range n {
		claims, offs = append(claims, claimed(t, b, i)), append(offs, wal.Offset(10*i))
	}
	b.Acknowledge(claims, offs)
	all := b.Visible()
	for _, applied := range []int{0, 1, 1023, 1024, 1025, 2500, n} {
		b.Advance(wal.Offset(10*applied), 0)
		next := applied
		for r := range b.Visible().All {
			if r.Timestamp != uint64(next) || r.Offset != offs[next] {
				t.Fatalf("with %d applied, record %d is at %d", applied, r.Timestamp, r.Offset)
			}
			next++
		}
		if next != n || held(b) != n-applied {
			t.Fatalf("with %d applied, %d are shown and %d held", applied, next-applied, held(b))
		}
		for _, i := range []int{applied - 1, applied} {
			if i < 0 || i == n {
				continue
			}
			if off, _, ok := b.Find(claims[i].ID); ok != (i >= applied) || ok && off != offs[i] {
				t.Fatalf("with %d applied, record %d is found: %v, at %d", applied, i, ok, off)
			}
		}
	}
	next := 0
	for r := range all.All {
		if r.Timestamp != uint64(next) {
			t.Fatalf("the snapshot has changed at %d", next)
		}
		next++
	}
	if next != n {
		t.Fatalf("the snapshot has %d records", next)
	}
}

// A record that was acknowledged before one with a lower offset is shown until that one is applied.
func TestTheLedgerKeepsTheOrderOfAcknowledgement(t *testing.T) {
	t.Parallel()
	b := backlog.New(10, 1<<20, func() {})
	higher, lower := claimed(t, b, 1), claimed(t, b, 2)
	b.Acknowledge([]*backlog.Claim{higher}, []wal.Offset{80})
	b.Acknowledge([]*backlog.Claim{lower}, []wal.Offset{40})
	b.Advance(80, 0)
	if _, _, ok := b.Find(lower.ID); !ok {
		t.Error("the lower one is gone")
	}
	b.Advance(120, 0)
	if _, _, ok := b.Find(higher.ID); ok || held(b) != 0 {
		t.Errorf("%d are held", held(b))
	}
}

func TestReserveEndsWithItsContextAndWithTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("the applier has stopped")
		calls := 0
		b := backlog.New(1, 1<<20, func() { calls++ })
		claimed(t, b, 1)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 2)
		go func() { got <- put(ctx, b, 1) }()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		go func() { got <- put(t.Context(), b, 1) }()
		synctest.Wait()
		b.Fail(down)
		if err := <-got; !errors.Is(err, down) {
			t.Errorf("got %v", err)
		}
		if err := put(t.Context(), b, 1); !errors.Is(err, down) {
			t.Errorf("afterwards: %v", err)
		}
		if calls != 2 || held(b) != 1 {
			t.Errorf("%d calls, %d held", calls, held(b))
		}
	})
}

// The applier waits for writers while the budget lasts: 16 times as long as its last batch took, and less when the
// backlog is nearly full, when few write, or when somebody waits for it.
func TestMakeWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		writers, budget int
		wanted          bool
		want            time.Duration
	}{
		"many writers":              {16, 1000, false, 1600 * time.Millisecond},
		"few writers":               {15, 1000, false, 0},
		"somebody waits":            {16, 1000, true, 0},
		"the backlog is filling up": {80, 100, false, 535 * time.Millisecond},
		"the backlog is full":       {91, 100, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := backlog.New(c.budget, 1<<30, func() {})
				for i := range c.writers {
					claimed(t, b, i)
				}
				began := time.Now()
				b.MakeWay(t.Context(), 100*time.Millisecond, func() bool { return c.wanted })
				if waited := time.Since(began); waited != c.want {
					t.Errorf("waited %s, want %s", waited, c.want)
				}
			})
		})
	}
}

// A sync ends the puts of many writers at once. The applier goes on waiting for them, as they come again, until they have stayed away
// for a moment.
func TestMakeWayForWritersThatComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, away = 16, 50 * time.Millisecond
		b := backlog.New(10_000, 1<<30, func() {})
		no := 0
		began := time.Now()
		var last time.Time
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 4 {
				var claims []*backlog.Claim
				var offs []wal.Offset
				for range writers {
					claims, offs = append(claims, claimed(t, b, no)), append(offs, wal.Offset(no))
					no++
				}
				last = time.Now()
				b.Acknowledge(claims, offs)
				time.Sleep(away - time.Millisecond)
			}
		}()
		synctest.Wait()
		b.MakeWay(t.Context(), time.Second, func() bool { return false })
		<-done
		if ended := time.Since(last); last.Sub(began) != 3*(away-time.Millisecond) || ended < away || ended > away+10*time.Millisecond {
			t.Errorf("the last put was after %s, and the wait ended %s later", last.Sub(began), ended)
		}
	})
}
