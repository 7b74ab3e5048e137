package sqlstore

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// Cursor returns the journal offset after the last record that is applied.
func (db *DB) Cursor(ctx context.Context) (uint64, error) {
	c, err := readCursor(ctx, db.readers)
	if err != nil {
		return 0, db.fail("read cursor", err)
	}
	return c, nil
}

func readCursor(ctx context.Context, q sqlx.QueryerContext) (uint64, error) {
	var c int64
	err := sqlx.GetContext(ctx, q, &c, `SELECT value FROM store WHERE name = 'cursor'`)
	return uint64(c), err
}

// Rewind sets the cursor back to an offset from which the journal is applied again, for a database that may
// lack rows below its cursor: its guards take records only from there on. Until a Reindex has finished,
// NeedsReindex says that one is due. A cursor that lies below stays.
func (db *DB) Rewind(ctx context.Context, to uint64) error {
	const back = `UPDATE store SET value = ? WHERE name = 'cursor' AND value > ?`
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("rewind", err)
	}
	defer unlock()
	err = w.tx(ctx, func() error {
		if _, err := w.conn.ExecContext(ctx, markReindex); err != nil {
			return err
		}
		_, err := w.conn.ExecContext(ctx, back, int64(to), int64(to))
		return err
	})
	if err != nil {
		return db.fail(fmt.Sprintf("rewind to offset %d", to), err)
	}
	return nil
}

// NoteStore keeps a copy of what store.json says of the journal, in case that file is lost: how much of it is kept,
// and where it lies.
func (db *DB) NoteStore(ctx context.Context, retention, journalDir string) error {
	const note = `INSERT INTO store (name, value) VALUES ('wal_retain', ?), ('wal_dir', ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value`
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("note the journal's folder", err)
	}
	defer unlock()
	if err := w.tx(ctx, func() error {
		_, err := w.conn.ExecContext(ctx, note, retention, journalDir)
		return err
	}); err != nil {
		return db.fail("note the journal's folder", err)
	}
	return nil
}
