package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// MaxQueried is how long a text or blob may become in SQL that QueryRows runs, in bytes: twice the length of the longest
// record. SQLite's own limit is a gigabyte, which is more than a small machine has.
const MaxQueried = 32 << 20

// ErrTooLong: SQL of QueryRows would have made a text or blob longer than MaxQueried.
var ErrTooLong = fmt.Errorf("a text or blob would be longer than %d MiB", MaxQueried>>20)

// Rows are the rows of QueryRows. They must be closed.
type Rows struct {
	*sqlx.Rows
	conn   *sqlx.Conn
	before int // the connection's limit before QueryRows
}

// QueryRows runs somebody's SQL. The SQL can read everything and write nothing: not to the database, nor to
// other files (ATTACH and VACUUM INTO are refused). A value longer than MaxQueried is an error (ErrTooLong, also from
// Rows.Err). Until the rows are closed they hold one of the readers and a read transaction.
func (db *DB) QueryRows(ctx context.Context, query string, args ...any) (*Rows, error) {
	rows, err := db.queryRows(ctx, query, args)
	if hasCode(err, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err != nil {
		return nil, db.fail("query", tooLong(err))
	}
	return rows, nil
}

func (db *DB) queryRows(ctx context.Context, query string, args []any) (*Rows, error) {
	conn, err := db.readers.Connx(ctx)
	if err != nil {
		return nil, err
	}
	r := &Rows{conn: conn}
	if r.before, err = sqlite.Limit(conn.Conn, sqlite3.SQLITE_LIMIT_LENGTH, MaxQueried); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if r.Rows, err = conn.QueryxContext(ctx, query, args...); err != nil {
		return nil, errors.Join(err, r.release())
	}
	return r, nil
}

// release gives the connection back to the pool with its former limit.
func (r *Rows) release() error {
	_, err := sqlite.Limit(r.conn.Conn, sqlite3.SQLITE_LIMIT_LENGTH, r.before)
	return errors.Join(err, r.conn.Close())
}

// Close ends the query. It may be called again.
func (r *Rows) Close() error {
	err := r.Rows.Close()
	if r.conn != nil {
		err = errors.Join(err, r.release())
		r.conn = nil
	}
	return err
}

// Err returns why Next returned false, nil at the end of the rows.
func (r *Rows) Err() error { return tooLong(r.Rows.Err()) }

func tooLong(err error) error {
	if hasCode(err, sqlite3.SQLITE_TOOBIG) {
		return fmt.Errorf("%w: %w", ErrTooLong, err)
	}
	return err
}
