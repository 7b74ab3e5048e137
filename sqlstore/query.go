package sqlstore

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// QueryRows runs somebody's SQL. It can read everything and write nothing: not to the database, nor to
// other files (ATTACH and VACUUM INTO are refused). The rows hold one of the readers, and a read
// transaction, until they are closed.
func (db *DB) QueryRows(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	rows, err := db.readers.QueryxContext(ctx, query, args...)
	if err != nil {
		return nil, db.fail("query", err)
	}
	return rows, nil
}
