package sqlstore

import (
	"context"
	"os"
)

// Checkpoint is what a checkpoint achieved.
type Checkpoint struct {
	Applied  uint64 // the cursor as it was before: durable now, if Complete
	Complete bool   // nobody was in the way, and every frame of -wal was copied and synced
	WALBytes int64  // size of -wal afterwards
}

// Checkpoint copies committed pages from -wal into the database and syncs it. A passive one (truncate
// false) waits for nobody and copies what it can; the writer then begins -wal anew once no reader needs it.
// With truncate it waits for readers, up to the busy timeout, and leaves -wal empty: for just before Close.
//
// Only when it is Complete are the rows up to Applied safe from a power cut.
func (db *DB) Checkpoint(ctx context.Context, truncate bool) (Checkpoint, error) {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return Checkpoint{}, db.fail("checkpoint", err)
	}
	defer unlock()
	if err := db.copyFailed.Load(); err != nil {
		return Checkpoint{}, db.fail("checkpoint", *err)
	}
	c, err := w.checkpoint(ctx, truncate)
	if err != nil {
		return c, db.fail("checkpoint", err)
	}
	c.WALBytes = db.WALBytes()
	return c, nil
}

func (w *writer) checkpoint(ctx context.Context, truncate bool) (Checkpoint, error) {
	var c Checkpoint
	cursor, err := readCursor(ctx, w.conn)
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
	c.Applied = cursor
	c.Complete = r.Busy == 0 && r.Log == r.Checkpointed
	return c, nil
}

const passive = `PRAGMA wal_checkpoint(PASSIVE)`

// copied is what SQLite says of a checkpoint.
type copied struct {
	Busy         int
	Log          int // frames in -wal
	Checkpointed int // of them, copied
}

// CheckpointBeside copies into the database, and syncs, what was committed when it began, while the writer goes on
// to write. It tells nothing of what is on disk, and -wal grows meanwhile: it is there to leave a Checkpoint that
// follows little to do. It ends early only where ctx had ended before.
//
// After an error nothing is known of what its sync has dropped, though a later one may succeed: from then on every
// Checkpoint of this DB fails with it.
func (db *DB) CheckpointBeside(ctx context.Context) error {
	db.copying.Lock()
	defer db.copying.Unlock()
	switch {
	case db.beside == nil:
		return db.fail("checkpoint", ErrReadOnly)
	case db.closed.Load():
		return db.fail("checkpoint", ErrClosed)
	case ctx.Err() != nil:
		return db.fail("checkpoint", ctx.Err())
	}
	steady := context.WithoutCancel(ctx)
	conn, err := db.beside.Connx(steady)
	if err != nil {
		// No descriptor was left, perhaps. Nothing was copied, and the Checkpoint that follows does it all.
		db.log.Warn("no connection for a checkpoint beside the writer", "error", err)
		return nil
	}
	defer conn.Close()
	var r copied
	if err := conn.GetContext(steady, &r, passive); err != nil {
		err = db.fail("checkpoint beside the writer", err)
		db.copyFailed.Store(&err)
		return err
	}
	return nil
}

// WALBytes returns the size of -wal, 0 if there is none.
func (db *DB) WALBytes() int64 {
	fi, err := os.Stat(db.path + "-wal")
	if err != nil {
		return 0
	}
	return fi.Size()
}
