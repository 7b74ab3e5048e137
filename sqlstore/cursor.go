package sqlstore

import (
	"context"

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
