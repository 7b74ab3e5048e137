package audit

import (
	"context"
	"fmt"

	"github.com/auditsql/auditsql/wal"
)

// wake wakes the calls that wait for records to be applied. err, if not nil, is why none will be any more.
func (a *applier) wake(err error) {
	a.mu.Lock()
	if a.err == nil {
		a.err = err
	}
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
}

// next returns a channel that is closed when more is applied, or nothing will be any more.
func (a *applier) next() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// countRecords sets records to what SQLite has. It is called once, before the applier starts.
func (a *applier) countRecords(ctx context.Context) error {
	last, ok, err := a.sql.LastEntry(ctx)
	if err != nil || !ok {
		return err
	}
	a.records.Store(last.Index + 1) // in place of what the replay has counted
	return nil
}

// failure returns why the applier has stopped, or why it will stop at the next batch, or nil.
func (a *applier) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		if err := a.sql.Failed(); err != nil {
			return a.failed(err)
		}
	}
	return a.err
}

// wait returns when everything before off is applied.
func (a *applier) wait(ctx context.Context, off wal.Offset) error {
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	for {
		a.mu.Lock()
		changed, err := a.changed, a.err
		a.mu.Unlock()
		if wal.Offset(a.applied.Load()) >= off {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for SQLite: %w", err)
		}
		a.source.press()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mutex is a lock that a call waits for no longer than its context.
type mutex chan struct{}

func newMutex() mutex { return make(mutex, 1) }

func (m mutex) Lock()   { m <- struct{}{} }
func (m mutex) Unlock() { <-m }

// LockContext is Lock that fails with the error of ctx when ctx ends first.
func (m mutex) LockContext(ctx context.Context) error {
	select {
	case m <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
