package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// AwaitApplied waits until SQLite has everything that was acknowledged before the call, so that every question after it sees that (see
// WithReads). A context with a deadline bounds the wait. It ends early with the error of ctx, with ErrClosed, or with the reason for which nothing is applied any more
// (see Err).
//
// A store that is open for reading waits until SQLite has what the journal has at the call. That is everything that was acknowledged,
// and perhaps records that the writer is about to sync. Without a writer in another process nothing brings them to SQLite: then only
// ctx ends the wait. The error is ErrEndUnknown when the journal is not in its place or cannot be read, and in the copy of a store that
// follows a log.
func (db *DB) AwaitApplied(ctx context.Context) error {
	if db.applier == nil {
		return db.caughtUpBeside(ctx)
	}
	return db.caughtUp(ctx)
}

// ErrEndUnknown means that a store that is open for reading cannot know what was acknowledged.
var ErrEndUnknown = errors.New("what was acknowledged is not known here")

// besidePoll is how often a store that is open for reading looks whether SQLite has more. Nothing tells it that.
const besidePoll = 5 * time.Millisecond

// caughtUpBeside waits, beside a writer in another process, until SQLite has what the journal has now.
func (db *DB) caughtUpBeside(ctx context.Context) error {
	if err := db.readable(ctx); err != nil {
		return err
	}
	cursor, end, err := db.cursorAndEnd(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(besidePoll)
	defer tick.Stop()
	for cursor < end {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-db.quit.Done():
			return ErrClosed
		case <-tick.C:
		}
		at, err := db.sql.Cursor(ctx)
		if err != nil {
			return err
		}
		cursor = wal.Offset(at)
	}
	return nil
}

// A journalEnd reads on from where the journal's last record ended when it was looked for last.
type journalEnd struct {
	reader *wal.Reader // at rest
	end    wal.Offset
}

// cursorAndEnd returns how far SQLite has the journal, and where the last record of the journal ends, for a store that is open for reading.
// Every record that was acknowledged before the call ends at that end or before it. When ctx ends first, the end is where reading has come
// to, and the error is that of ctx.
func (db *DB) cursorAndEnd(ctx context.Context) (cursor, end wal.Offset, err error) {
	if db.file.Follows != nil {
		return 0, 0, fmt.Errorf("%w: the log that the store follows has it", ErrEndUnknown)
	}
	if err := db.journalAway(); err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrEndUnknown, err)
	}
	for tries := 1; ; tries++ {
		at, err := db.sql.Cursor(ctx)
		if err != nil {
			return 0, 0, err
		}
		cursor = wal.Offset(at)
		// What another call has read needs not be read again. The end of a segment's file says nothing: zeros may be written ahead there.
		last := db.lastEnd.Swap(nil) // another call meanwhile opens a reader of its own
		again := last != nil && last.end >= cursor
		if !again {
			last = &journalEnd{end: cursor}
			last.reader, err = db.openJournal(cursor, false)
		}
		if err == nil {
			err = readOn(ctx, last.reader, func(rec wal.Record) (bool, error) {
				last.end = rec.Next
				return true, nil
			})
			err = cmp.Or(err, last.reader.Rest())
		}
		var trimmed *wal.TrimmedError
		switch {
		case err == nil, ctx.Err() != nil && last.reader != nil:
			db.lastEnd.Store(last)
			return cursor, last.end, cmp.Or(err, ctx.Err())
		case errors.As(err, &trimmed) && tries < 5:
			// It was trimmed meanwhile, so SQLite has it by now.
		case again: // a recovery may have cut off what this place was found in
		default:
			return 0, 0, fmt.Errorf("%w: %w", ErrEndUnknown, journalError(err))
		}
	}
}

// awaitRecord waits for the applier if it has not applied a record that was acknowledged: SQLite alone knows its number.
func (db *DB) awaitRecord(ctx context.Context, id QueryID) error {
	if err := db.readable(ctx); err != nil || db.journal == nil {
		return err
	}
	off, _, waiting := db.backlog.Find(id)
	if !waiting {
		return nil
	}
	return db.appliedUpTo(ctx, func() wal.Offset { return off + 1 })
}

// AwaitShown waits until SQLite has what a question that begins now is to see (see WithReads), as each question does. Moment says no less
// then: who fixes the moment of a question by it calls AwaitShown before.
func (db *DB) AwaitShown(ctx context.Context) error { return db.settled(ctx) }

// settled waits until SQLite has what a question is to see.
func (db *DB) settled(ctx context.Context) error {
	if db.opts.reads == Applied {
		return db.readable(ctx)
	}
	return db.caughtUp(ctx)
}

// reaches waits until SQLite has the records that a question as of a moment is about, and returns an *AsOfError if the store
// does not have so many. Most often they are there already.
func (db *DB) reaches(ctx context.Context, asOf *uint64) error {
	if asOf == nil {
		return nil
	}
	// What is on its way, before what is there: a record that is applied in between counts twice, and none is forgotten.
	coming := 0
	if db.backlog != nil && db.opts.reads == Applied {
		coming, _ = db.backlog.Load()
	}
	have, err := db.records(ctx)
	// Nobody waits for the whole backlog because of a number that somebody has made up.
	if err == nil && *asOf > have && *asOf-have <= uint64(coming) {
		if err = db.caughtUp(ctx); err == nil {
			have, err = db.records(ctx)
		}
	}
	if err == nil && *asOf > have {
		// Unless the newest ones are missing: then the tree has more records than table entry.
		if err = db.sql.CheckEntries(ctx); err == nil {
			err = &AsOfError{AsOf: *asOf, Have: have}
		}
	}
	return err
}

// records returns how many records SQLite has.
func (db *DB) records(ctx context.Context) (uint64, error) {
	if db.applier != nil {
		return db.applier.records.Load(), nil
	}
	return db.entries(ctx)
}

// Progress says how much of the journal SQLite has.
type Progress struct {
	Records    uint64 // that SQLite has: the highest AsOf that a question can have without a wait
	LagRecords int    // that were put and are not in SQLite yet, those on their way to the journal included
	LagBytes   uint64 // of journal that is synced and not in SQLite yet; if Unknown, at least
	// Unknown says that the lag is not known. The store is open for reading, and its journal or its SQLite cannot be read, or not
	// within a tenth of a second.
	Unknown bool
	// Applied is where a TailAfter begins with what SQLite does not have: no question as of a moment that is fixed later lacks what is before
	// it. 0 if Unknown, and of a Union.
	Applied Offset
}

// AwaitWritten waits until SQLite has what this process has acknowledged. From then on other processes see it too. Unlike AwaitApplied it
// asks no log on other machines.
func (db *DB) AwaitWritten(ctx context.Context) error {
	if db.feed() != nil {
		return db.readable(ctx)
	}
	return db.caughtUp(ctx)
}

// Moment returns how many records SQLite has, as Progress does. A question can be as of it (Filter.AsOf) from then on.
func (db *DB) Moment() (records uint64) {
	if db.applier != nil {
		return db.applier.records.Load()
	}
	ctx, cancel := context.WithTimeout(context.Background(), progressWait)
	defer cancel()
	return db.recordsBeside(ctx)
}

// recordsBeside returns how many records SQLite has, or what it said last if all readers are busy until ctx ends.
func (db *DB) recordsBeside(ctx context.Context) uint64 {
	if n, err := db.records(ctx); err == nil {
		db.lastRecords.Store(n)
	}
	return db.lastRecords.Load()
}

// progressWait is how long Progress waits for SQLite in a store that is open for reading.
const progressWait = 100 * time.Millisecond

// Progress returns how far SQLite is. In the writer's process it reads a few numbers in memory, and never waits for the
// applier, for SQLite or for the disk. A store that is open for reading asks SQLite for Records, and returns what it said
// last if all readers are busy. It reads the journal after what SQLite has for LagBytes. It does not count LagRecords: see Lag and Stats.
func (db *DB) Progress() Progress {
	if db.applier == nil {
		ctx, cancel := context.WithTimeout(context.Background(), progressWait)
		defer cancel()
		p := Progress{Records: db.recordsBeside(ctx)}
		cursor, end, err := db.cursorAndEnd(ctx)
		if p.Unknown = err != nil; end > cursor {
			p.LagBytes = uint64(end - cursor)
		}
		if !p.Unknown {
			p.Applied = cursor
		}
		return p
	}
	p := Progress{Records: db.applier.records.Load()}
	p.LagRecords, _ = db.backlog.Load()
	applied := db.applier.applied.Load() // before Synced, which it never passes
	p.Applied = Offset(applied)
	if db.journal != nil {
		p.LagBytes = uint64(db.journal.Synced()) - applied
	}
	return p
}
