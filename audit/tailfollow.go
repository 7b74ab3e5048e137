package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// A store that follows a log has no journal to read on. Its order of admission is that of the log, and so the entries in SQLite are
// what a tail yields.

// lookPause is how often a tail asks SQLite for new records when another process writes them.
const lookPause = 100 * time.Millisecond

// tailFollowed is tail for a store that follows a log.
func (db *DB) tailFollowed(ctx context.Context, n int, follow bool, yield func([]byte, error) bool) error {
	have, err := db.entries(ctx)
	if err != nil {
		return err
	}
	return db.tailEntries(ctx, have-min(have, uint64(max(n, 0))), follow, func(rec TailRecord) bool { return yield(rec.Raw, nil) })
}

// tailFollowedAfter is tailAfter for a store that follows a log.
func (db *DB) tailFollowedAfter(ctx context.Context, after Offset, follow bool, yield func(TailRecord, error) bool) error {
	cursor, err := db.sql.Cursor(ctx)
	if err != nil {
		return err
	}
	if end := endOf(lastBefore(Offset(cursor))); after > end {
		return fmt.Errorf("%w %d: it ends at %d", wal.ErrRewound, after, end)
	}
	index, err := db.sql.EntryFrom(ctx, uint64(after))
	if err != nil {
		return err
	}
	return db.tailEntries(ctx, index, follow, func(rec TailRecord) bool { return yield(rec, nil) })
}

// entries returns how many entries SQLite has.
func (db *DB) entries(ctx context.Context) (uint64, error) {
	last, ok, err := db.sql.LastEntry(ctx)
	if err != nil || !ok {
		return 0, err
	}
	return last.Index + 1, nil
}

// tailEntries hands take the records from an index on, until take returns false. With follow it waits for those to come.
func (db *DB) tailEntries(ctx context.Context, index uint64, follow bool, take func(TailRecord) bool) error {
	for {
		// Before SQLite is asked: what is applied afterwards ends the wait.
		var changed <-chan struct{}
		if db.applier != nil {
			changed = db.applier.next()
		}
		for v, err := range db.sql.Values(ctx, index) {
			if err != nil {
				return db.lost(err)
			}
			if !take(tailRecord(v.JournalOffset, v.Value)) {
				return nil
			}
			index = v.Index + 1
		}
		if !follow {
			return ctx.Err()
		}
		var pause <-chan time.Time
		if changed == nil {
			pause = time.After(lookPause)
		}
		select {
		case <-changed:
		case <-pause:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := db.readable(ctx); err != nil {
			return err
		}
		if db.applier != nil {
			if err := db.applier.failure(); err != nil {
				return err
			}
		}
	}
}
