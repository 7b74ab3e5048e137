package sqlstore

import (
	"context"
	"database/sql"
	"errors"
)

// IndexOf returns a record's place in the order of admission, or -1 if table audit does not have it.
func (db *DB) IndexOf(ctx context.Context, id [32]byte) (int64, error) {
	query := generations + `SELECT a.idx FROM ` + byQuery.from("a") + ` WHERE ` + byQuery.match("a") + ` LIMIT 1`
	idx := int64(-1)
	if err := db.readers.GetContext(ctx, &idx, query, hexOf(&id)); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return -1, db.fail("look for a record", err)
	}
	return idx, nil
}
