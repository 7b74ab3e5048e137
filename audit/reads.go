package audit

import (
	"context"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// AwaitApplied waits until SQLite has everything that was acknowledged before the call, so that every question after it sees that (see
// WithReads). A context with a deadline bounds the wait. It ends early with the error of ctx, with ErrClosed, or with the reason for which nothing is applied any more
// (see Err). A store that is open for reading does not know what was acknowledged: there AwaitApplied returns at once.
func (db *DB) AwaitApplied(ctx context.Context) error { return db.caughtUp(ctx) }

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
	LagBytes   uint64 // of journal that is synced and not in SQLite yet
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
func (db *DB) Moment() (records uint64) { return db.Progress().Records }

// progressWait is how long Progress waits for SQLite in a store that is open for reading.
const progressWait = 100 * time.Millisecond

// Progress returns how far SQLite is. In the writer's process it reads a few numbers in memory, and never waits for the
// applier, for SQLite or for the disk. A store that is open for reading asks SQLite for Records, and returns what it said
// last if all readers are busy. It does not know the lag, which is 0 then: see Lag and Stats.
func (db *DB) Progress() Progress {
	if db.applier == nil {
		ctx, cancel := context.WithTimeout(context.Background(), progressWait)
		defer cancel()
		if n, err := db.records(ctx); err == nil {
			db.lastRecords.Store(n)
		}
		return Progress{Records: db.lastRecords.Load()}
	}
	p := Progress{Records: db.applier.records.Load()}
	p.LagRecords, _ = db.backlog.Load()
	applied := db.applier.applied.Load() // before Synced, which it never passes
	if db.journal != nil {
		p.LagBytes = uint64(db.journal.Synced()) - applied
	}
	return p
}
