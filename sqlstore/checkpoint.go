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
	mode := `PRAGMA wal_checkpoint(PASSIVE)`
	if truncate {
		mode = `PRAGMA wal_checkpoint(TRUNCATE)`
	}
	var r struct {
		Busy         int
		Log          int // frames in -wal
		Checkpointed int // of them, copied
	}
	if err := w.conn.GetContext(ctx, &r, mode); err != nil {
		return c, err
	}
	c.Applied = cursor
	c.Complete = r.Busy == 0 && r.Log == r.Checkpointed
	return c, nil
}

// WALBytes returns the size of -wal, 0 if there is none.
func (db *DB) WALBytes() int64 {
	fi, err := os.Stat(db.path + "-wal")
	if err != nil {
		return 0
	}
	return fi.Size()
}
