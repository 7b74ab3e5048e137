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

// Rewind sets the cursor back to an offset from which the journal is to be applied again. It is for a database that may
// lack rows before its cursor. A cursor before that offset stays. Until a Reindex has finished, NeedsReindex reports
// that one is due. Meta.Reach still says where the cursor was.
func (db *DB) Rewind(ctx context.Context, to uint64) error {
	const back = `UPDATE store SET value = ? WHERE name = 'cursor' AND value > ?`
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("rewind", err)
	}
	defer unlock()
	const rewound = `INSERT INTO store (name, value) SELECT 'rewound', value FROM store WHERE name = 'cursor'
		ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`
	err = w.tx(ctx, func() error {
		if err := w.markReindex(ctx); err != nil {
			return err
		}
		if _, err := w.conn.ExecContext(ctx, rewound); err != nil {
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
