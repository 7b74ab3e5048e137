package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// followed is the source of a store that follows a log: what Decide is given.
//
//	Decide ─► given ─► open batch ─► applier ─► SQLite
//	   │                                          │
//	   └──► ahead ◄────────── forget ◄────────────┘
//
// A record is decided before SQLite has it. Meanwhile it is in ahead, so that what comes after it is held against it.
type followed struct {
	dir, log string
	lock     wal.Lock
	applier  *applier

	given chan *batch
	hurry chan struct{} // holds one token when a call waits for what is not applied yet
	ended chan struct{} // closed when the applier takes no more batches

	mu    mutex         // held by Decide
	end   atomic.Uint64 // of what was given to the applier; written with mu held
	shown atomic.Uint64 // the offset before which SQLite must have everything when a question begins

	unforeseen wal.Offset // the end of the last batch whose outcomes were not foreseen; guarded by mu

	ahead ahead
}

// In SQLite a message with the number n begins at offset n, and the next one where it ends, at n+1. So the cursor, which is after
// the last message, is the number of the one that comes next, or 0 in a database that has none.

// endOf returns the offset after a message.
func endOf(sequence uint64) wal.Offset { return wal.Offset(sequence) + 1 }

// lastBefore returns the number of the last message before an offset, 0 if there is none.
func lastBefore(end wal.Offset) uint64 { return max(uint64(end), 1) - 1 }

// give hands a batch over, to be applied together with what comes before and after it. The next batch that is given may be added to it.
func (s *followed) give(ctx context.Context, b *batch) error {
	// If the lock's file was replaced, another process may write to the store.
	if current, err := s.lock.Current(); err != nil || !current {
		return errors.Join(fmt.Errorf("%s: %w: the file of the writer's lock was removed or replaced", s.dir, ErrMismatch), err)
	}
	end := uint64(b.cursor)
	// Before it is handed over: it may be applied, and forgotten, at once. If it is not handed over, the store is closed, or the same
	// messages are given again.
	s.ahead.add(b)
	select {
	case s.given <- b:
		s.end.Store(end)
		return nil
	case <-s.ended:
		s.ahead.drop(b)
		return s.applier.wait(ctx, wal.Offset(end))
	case <-ctx.Done():
		s.ahead.drop(b)
		return ctx.Err()
	}
}

// gatherFollowed is gather for what comes from a log. A question that must see a message closes the batch at once.
const gatherFollowed = 50 * time.Millisecond

// feed gathers what is given into batches. A batch stays open while the batch before it is being applied. It also stays open for a
// moment after its first message, unless a call waits for it. A batch that is full makes Decide wait.
func (s *followed) feed(ctx context.Context, out chan<- *batch, toEnd bool) error {
	if toEnd {
		return nil // what is in the log comes through Decide
	}
	defer close(s.ended)
	moment := time.NewTimer(gatherFollowed)
	defer moment.Stop()
	var open *batch
	for {
		take, ready := s.given, out
		if open == nil || !open.full() && !open.hurried && time.Since(open.began) < gatherFollowed {
			ready = nil
		}
		if open != nil && open.full() {
			take = nil
		}
		select {
		case b := <-take:
			if open == nil {
				open = b
				moment.Reset(gatherFollowed)
			} else {
				open.append(b)
			}
		case ready <- open:
			open = nil
		case <-moment.C:
		case <-s.hurry:
			if open != nil {
				open.hurried = true
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// append adds the messages of a batch that follows this one.
func (b *batch) append(next *batch) {
	b.rows, b.rejected = append(b.rows, next.rows...), append(b.rejected, next.rejected...)
	b.outcomes, b.want = append(b.outcomes, next.outcomes...), append(b.want, next.want...)
	b.bytes += next.bytes
	b.cursor = next.cursor
}

func (s *followed) press() {
	select {
	case s.hurry <- struct{}{}:
	default:
	}
}

// sync has nothing to do: the log is durable.
func (s *followed) sync(context.Context) error { return nil }
func (s *followed) synced() wal.Offset         { return wal.Offset(s.end.Load()) }
func (s *followed) err() error                 { return nil }
func (s *followed) stop() error                { return nil }
func (s *followed) close() error               { return s.lock.Unlock() }

// ahead has the records that were decided to be new and that SQLite does not have yet.
type ahead struct {
	mu      sync.Mutex
	records map[QueryID][]byte
	order   []aheadRecord
}

type aheadRecord struct {
	id     QueryID
	offset wal.Offset
}

// add adds the new records of a batch, if they are known.
func (a *ahead) add(b *batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, want := range b.want {
		if want == New {
			a.records[b.rows[i].QueryID] = b.rows[i].Payload
			a.order = append(a.order, aheadRecord{b.rows[i].QueryID, wal.Offset(b.rows[i].Offset)})
		}
	}
}

// drop takes the records of the batch that was added last out again.
func (a *ahead) drop(b *batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, want := range b.want {
		if want == New {
			delete(a.records, b.rows[i].QueryID)
			a.order = a.order[:len(a.order)-1]
		}
	}
}

// forget removes what SQLite has.
func (a *ahead) forget(applied wal.Offset) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for n < len(a.order) && a.order[n].offset < applied {
		delete(a.records, a.order[n].id)
		n++
	}
	if a.order = a.order[n:]; len(a.order) == 0 {
		a.order = nil // the memory of a long list
	}
}

// find returns the bytes of a record, nil if it is not there.
func (a *ahead) find(id QueryID) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.records[id]
}
