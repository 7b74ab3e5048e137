package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"

	sqlite3 "modernc.org/sqlite/lib"
)

// Checkpoint is what a checkpoint did.
type Checkpoint struct {
	Applied  uint64 // the cursor when the checkpoint began; what is before it is durable, if Complete
	Newest   *Entry // the last entry at that time; nil: there was none
	Complete bool   // no reader held it up, and every frame of -wal was copied and synced
	WALBytes int64  // size of -wal afterwards
}

// Checkpoint copies committed pages from -wal into the database and syncs it. Without truncate it
// waits for nobody and copies what it can; the writer then begins -wal anew once no reader needs it.
// With truncate it waits for readers, up to the busy timeout, and leaves -wal empty. Callers use truncate just before Close.
//
// Only if it is Complete are the rows up to Applied safe from a power cut.
//
// An error other than ErrBusy and the end of ctx is final (ErrFailed): after a failed sync the kernel may have
// dropped what it was to write, and a later checkpoint would succeed without writing it. Neither a later Checkpoint nor
// Close copies anything then. Before SQLite opens these files again, Open rewrites -wal.
func (db *DB) Checkpoint(ctx context.Context, truncate bool) (Checkpoint, error) {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return Checkpoint{}, db.fail("checkpoint", err)
	}
	defer unlock()
	c, err := db.checkpoint(ctx, w, truncate)
	if err != nil {
		return c, db.fail("checkpoint", err)
	}
	c.WALBytes = db.WALBytes()
	return c, nil
}

// checkpoint is Checkpoint for a caller who holds the writer.
func (db *DB) checkpoint(ctx context.Context, w *writer, truncate bool) (Checkpoint, error) {
	if err := db.held.check(); err != nil {
		return Checkpoint{}, db.poison(err)
	}
	makeWay := db.unpin
	if truncate {
		makeWay = func(context.Context) error { return db.pin.release() }
	}
	if err := makeWay(ctx); err != nil {
		if db.Failed() != nil || ctx.Err() != nil {
			return Checkpoint{}, err
		}
		// Nothing is wrong with the files. Nothing was copied either, and the next checkpoint tries again.
		db.log.Warn("nothing was copied out of -wal", "error", err)
		applied, err := readCursor(ctx, w.conn)
		return Checkpoint{Applied: applied}, err
	}
	c, err := w.checkpoint(ctx, truncate)
	if err != nil {
		return c, db.poisonUnlessEnded(ctx, err)
	}
	if !c.Complete {
		return c, nil
	}
	db.held.copied()
	// A sync of our own: a foreign connection may have copied pages that it never synced. And another check: the file that
	// was synced may have been deleted meanwhile.
	err = db.held.sync()
	if err == nil {
		err = db.held.check()
	}
	if err != nil {
		return Checkpoint{}, db.poison(err)
	}
	if !truncate {
		// The pin moves to the newest state, which needs nothing of -wal, so that -wal can begin anew. There is nothing to
		// sync: all of -wal was synced just now.
		if err := db.pin.move(ctx, func() error { return nil }); err != nil {
			db.log.Warn("-wal cannot begin anew yet", "error", err)
		}
	}
	return c, nil
}

// unpin syncs -wal and moves the pin to its end, so that checkpoints can copy all of it.
func (db *DB) unpin(ctx context.Context) error {
	return db.pin.move(ctx, func() error {
		if err := db.held.wal.Sync(); err != nil {
			return db.poison(err)
		}
		return nil
	})
}

// CheckFiles checks that the database and its -wal are still the files that were opened. If they are not, nothing
// more is written to them (ErrMoved, ErrFailed).
func (db *DB) CheckFiles() error {
	if err := db.Failed(); err != nil {
		return err
	}
	if db.held == nil {
		return nil
	}
	if err := db.held.check(); err != nil {
		return db.fail("check the files", db.poison(err))
	}
	return nil
}

// Failed returns why nothing more is written to SQLite's files (ErrFailed), or nil.
func (db *DB) Failed() error {
	if err := db.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// refusal returns why nothing may be written: the database is closed, or has failed, or both.
func (db *DB) refusal() error {
	failed := db.Failed()
	switch {
	case !db.closed.Load():
		return failed
	case failed == nil:
		return ErrClosed
	}
	return &closedError{failed}
}

// poison makes an error final: nothing is written any more. It returns the first such error.
func (db *DB) poison(cause error) error {
	if db.w == nil || errors.Is(cause, ErrFailed) {
		return cause
	}
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	db.failed.CompareAndSwap(nil, &err)
	return *db.failed.Load()
}

// poisonUnlessEnded is poison for the error of a checkpoint, except for two kinds of error that are not final. A checkpoint
// that was interrupted has only copied less. One that another connection held up has copied nothing.
func (db *DB) poisonUnlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil || hasCode(err, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) {
		return err
	}
	return db.poison(err)
}

// checkpoint lets SQLite copy pages. It reads the cursor and the newest entry first, because only what was committed before
// the copying began is durable after it.
func (w *writer) checkpoint(ctx context.Context, truncate bool) (Checkpoint, error) {
	var c Checkpoint
	cursor, err := readCursor(ctx, w.conn)
	if err != nil {
		return c, err
	}
	newest, err := entryBefore(ctx, w.conn, 0)
	if err != nil {
		return c, err
	}
	mode := passive
	if truncate {
		mode = `PRAGMA wal_checkpoint(TRUNCATE)`
	}
	var r copied
	if err := w.conn.GetContext(ctx, &r, mode); err != nil {
		return c, err
	}
	c.Applied, c.Newest = cursor, newest
	c.Complete = r.Busy == 0 && r.Log == r.Checkpointed
	return c, nil
}

const passive = `PRAGMA wal_checkpoint(PASSIVE)`

// copied is what SQLite returns for a checkpoint.
type copied struct {
	Busy         int
	Log          int // frames in -wal
	Checkpointed int // how many of these frames are copied
}

// CheckpointBeside copies into the database, and syncs, what was committed when it began. The writer goes on writing, so
// -wal grows meanwhile. It does not say what is on disk. Its purpose is that the next Checkpoint, which stops the writer,
// has little to do. After it has begun, the end of ctx has no effect.
//
// Its errors are final like those of Checkpoint.
func (db *DB) CheckpointBeside(ctx context.Context) error {
	db.copying.Lock()
	defer db.copying.Unlock()
	switch {
	case db.beside == nil:
		return db.fail("checkpoint", ErrReadOnly)
	case db.closed.Load():
		return db.fail("checkpoint", db.refusal())
	case ctx.Err() != nil:
		return db.fail("checkpoint", ctx.Err())
	}
	if err := db.CheckFiles(); err != nil {
		return db.fail("checkpoint", err)
	}
	steady := context.WithoutCancel(ctx)
	if err := db.unpin(steady); err != nil {
		if db.Failed() == nil {
			db.log.Warn("nothing was copied out of -wal beside the writer", "error", err)
			return nil
		}
		return db.fail("checkpoint beside the writer", err)
	}
	conn, err := db.beside.Connx(steady)
	if err != nil {
		// Perhaps the process has no descriptor left. Nothing was copied, and the next Checkpoint copies all.
		db.log.Warn("no connection for a checkpoint beside the writer", "error", err)
		return nil
	}
	defer conn.Close()
	var r copied
	if err := conn.GetContext(steady, &r, passive); err != nil {
		return db.fail("checkpoint beside the writer", db.poisonUnlessEnded(steady, err))
	}
	return nil
}

// WALBytes returns the size of -wal, 0 if there is none.
func (db *DB) WALBytes() int64 {
	fi, err := os.Stat(db.path + walSuffix)
	if err != nil {
		return 0
	}
	return fi.Size()
}
