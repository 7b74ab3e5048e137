package sqlstore

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
	sqlite3 "modernc.org/sqlite/lib"
)

// QueryRows runs somebody's SQL. It can read everything and write nothing: not to the database, nor to
// other files (ATTACH and VACUUM INTO are refused). The rows hold one of the readers, and a read
// transaction, until they are closed.
func (db *DB) QueryRows(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	rows, err := db.readers.QueryxContext(ctx, query, args...)
	if hasCode(err, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err != nil {
		return nil, db.fail("query", err)
	}
	return rows, nil
}
