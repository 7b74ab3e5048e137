package backlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// budget bounds the records, and their bytes, that are put and not yet applied. What is reserved is released when the
// record is applied or given up. heldRecords and heldBytes count what is not applied. The semaphores may be released later
// than that, see releaseBatch.
type budget struct {
	records, bytes       *semaphore.Weighted
	maxRecords, maxBytes int64
	heldRecords          atomic.Int64
	heldBytes            atomic.Int64
	blocked              atomic.Int32 // puts that wait in Reserve

	// The part of applied batches that is still to be released, in portions.
	releasing   sync.Mutex // guards what follows
	lastBlocked time.Time  // when a put stopped waiting last
	owed        amount
	portions    int           // that are left of owed
	every       time.Duration // between portions
	next        *time.Timer   // releases the next portion
	stopped     bool          // nothing more is released

	full func() // see New

	// down ends, with its cause, when nothing will be released any more.
	down context.Context
	fail context.CancelCauseFunc // ends down
}

// amount is a part of the budget.
type amount struct {
	records int
	bytes   int64
}

func (b *budget) init(records int, bytes int64, full func()) {
	b.maxRecords, b.maxBytes = int64(records), bytes
	b.records, b.bytes = semaphore.NewWeighted(b.maxRecords), semaphore.NewWeighted(b.maxBytes)
	b.down, b.fail = context.WithCancelCause(context.Background())
	b.full = full
}

// ErrFull says that the context of a Reserve ended while it waited. The error also is that of the context.
var ErrFull = errors.New("the backlog is full")

// Reserve takes a part of the budget. It waits until that much is free, until ctx ends (then the error is an ErrFull), or until
// Fail. The error of a context that has ended before is that of the context alone.
func (b *budget) Reserve(ctx context.Context, records int, bytes int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := context.Cause(b.down); err != nil {
		return err
	}
	if !b.records.TryAcquire(int64(records)) {
		if err := b.wait(ctx, b.records, int64(records)); err != nil {
			return err
		}
	}
	if !b.bytes.TryAcquire(bytes) {
		if err := b.wait(ctx, b.bytes, bytes); err != nil {
			b.records.Release(int64(records))
			return err
		}
	}
	b.heldRecords.Add(int64(records))
	b.heldBytes.Add(bytes)
	return nil
}

func (b *budget) wait(ctx context.Context, of *semaphore.Weighted, n int64) error {
	b.blocked.Add(1) // before full is called: Acknowledge calls full again only while somebody is blocked
	defer func() {
		b.releasing.Lock()
		b.lastBlocked = time.Now()
		b.releasing.Unlock()
		b.blocked.Add(-1)
	}()
	b.full()
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.down, func() { cancel(context.Cause(b.down)) })()
	if of.Acquire(waiting, n) == nil {
		return nil
	}
	if err := context.Cause(b.down); err != nil {
		return err
	}
	err, cause := ctx.Err(), context.Cause(ctx)
	if !errors.Is(cause, err) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return fmt.Errorf("%w: %w", ErrFull, err)
}

// Release returns a part of the budget that was reserved for records that were not stored, or were applied already.
func (b *budget) Release(records int, bytes int64) {
	a := amount{records, bytes}
	b.uncount(a)
	b.release(a)
}

const (
	portionEvery   = 2 * time.Millisecond // the least time between portions
	longestRelease = 10 * time.Second     // the longest time that the portions of a batch take
)

// releaseBatch releases the part of the budget that a batch had. took is how long the batch took to apply. While puts are
// blocked, releaseBatch works in portions, and spreads them over the time that the next batch is expected to take. If it
// released all at once, as many puts as the batch has records would go through in a moment, and then all would stand
// still, for seconds, until the next batch is applied. (Measured with 64 writers for longer than the backlog lasts: the
// slowest put in a thousand took 1.7 s without this, 0.1 s with it.)
//
// When the batch was most of the backlog there is no next batch to wait for, and all is released at once.
func (b *budget) releaseBatch(a amount, took time.Duration) {
	b.uncount(a)
	b.releasing.Lock()
	defer b.releasing.Unlock()
	b.release(b.owed) // the rest of the batch before: this batch took less time than expected
	b.owed, b.portions = a, 1
	if b.scarce() && b.fill() > 0.5 {
		took = min(took, longestRelease)
		b.portions = max(1, min(int(took/portionEvery), a.records))
		b.every = took / time.Duration(b.portions)
	}
	b.releasePortion()
}

// releasePortion releases the next portion and sets the timer for the one after it. The caller holds releasing.
func (b *budget) releasePortion() {
	if b.stopped {
		return
	}
	part := b.owed
	if b.portions > 1 && b.scarce() {
		part = amount{b.owed.records / b.portions, b.owed.bytes / int64(b.portions)}
	}
	b.release(part)
	b.owed.records -= part.records
	b.owed.bytes -= part.bytes
	b.portions--
	if b.next != nil {
		b.next.Stop()
	}
	if b.owed != (amount{}) {
		b.next = time.AfterFunc(b.every, func() {
			b.releasing.Lock()
			defer b.releasing.Unlock()
			b.releasePortion()
		})
	}
}

// scarce reports whether puts have to wait for the budget, or had to within the last second: a slow sync, of tenths of
// a second while a checkpoint shares the disk, holds all of them up elsewhere for a moment. The caller holds releasing.
func (b *budget) scarce() bool {
	return b.blocked.Load() > 0 || time.Since(b.lastBlocked) < time.Second
}

// release lets blocked puts have a part of the budget.
func (b *budget) release(a amount) {
	if a != (amount{}) {
		b.records.Release(int64(a.records))
		b.bytes.Release(a.bytes)
	}
}

// uncount subtracts a from what counts as not applied.
func (b *budget) uncount(a amount) {
	b.heldRecords.Add(-int64(a.records))
	b.heldBytes.Add(-a.bytes)
}

// Fail ends Reserve with err, now and from now on: nothing more will be applied.
func (b *budget) Fail(err error) { b.fail(err) }

// Stop ends the release in portions: the store is closed.
func (b *budget) Stop() {
	b.releasing.Lock()
	defer b.releasing.Unlock()
	b.stopped = true
	if b.next != nil {
		b.next.Stop()
	}
}

// Load returns how many records are put and not yet applied, and their bytes.
func (b *budget) Load() (records int, bytes int64) {
	return int(b.heldRecords.Load()), b.heldBytes.Load()
}

// nearlyFull is the part of the budget above which the applier goes before the puts: otherwise they would soon have to wait
// for it.
const nearlyFull = 0.9

// fill returns how much of the budget is held: 0 is none, 1 all.
func (b *budget) fill() float64 {
	records, bytes := b.Load()
	return max(float64(records)/float64(b.maxRecords), float64(bytes)/float64(b.maxBytes))
}
