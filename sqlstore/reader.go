package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"
)

// sqliteConn is what the driver's connections are.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	sqlite.AuthorizerRegisterer
	backuper
}

// backuper makes copies of the database.
type backuper interface {
	NewBackup(dst string) (*sqlite.Backup, error)
}

// readerConn is a connection that reads. It keeps queries prepared, by their text: to prepare one takes 50 to 100 µs,
// which is more than many of them take to run.
type readerConn struct {
	sqliteConn
	kept map[string]*keptQuery
	uses uint64

	begins bool // a transaction is being begun by BeginTx
}

// keptQuery is a prepared query of one connection.
type keptQuery struct {
	driver.StmtQueryContext
	close func() error
	last  uint64 // which use of all on this connection
}

// maxKept is how many queries a connection keeps prepared. Beyond that, the one that was not used for longest makes room.
const maxKept = 32

// Unwrap returns the driver's connection, which sqlite.Limit looks for.
func (c *readerConn) Unwrap() driver.Conn { return c.sqliteConn }

// prepare returns a query, prepared. It is to be used by one at a time, as the connection is.
func (c *readerConn) prepare(ctx context.Context, query string) (*keptQuery, error) {
	q := c.kept[query]
	if q == nil {
		if len(c.kept) >= maxKept {
			if err := c.evict(); err != nil {
				return nil, err
			}
		}
		s, err := c.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		q = &keptQuery{StmtQueryContext: s.(driver.StmtQueryContext), close: s.Close}
		if c.kept == nil {
			c.kept = map[string]*keptQuery{}
		}
		c.kept[query] = q
	}
	c.uses++
	q.last = c.uses
	return q, nil
}

// evict closes what was not used for longest.
func (c *readerConn) evict() error {
	var oldest string
	for query, q := range c.kept {
		if oldest == "" || q.last < c.kept[oldest].last {
			oldest = query
		}
	}
	q := c.kept[oldest]
	delete(c.kept, oldest)
	return q.close()
}

// Close finalizes the queries first: SQLite keeps a connection half open as long as it has one.
func (c *readerConn) Close() error {
	var errs []error
	for _, q := range c.kept {
		errs = append(errs, q.close())
	}
	clear(c.kept)
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// BeginTx lets BEGIN through, which QueryRows must not run: its connection would go back to the readers with the
// transaction open, show them this state for ever, and hold up checkpoints.
func (c *readerConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	c.begins = true
	defer func() { c.begins = false }()
	return c.sqliteConn.BeginTx(ctx, o)
}

// onlyReads refuses what a connection could do to files although it has mode=ro: write beside the database
// with ATTACH (and VACUUM INTO, which attaches), empty -wal with a checkpoint, or keep others out with
// another journal or locking mode. Of the pragmas, those are let through that only tell.
func (c *readerConn) onlyReads(action sqlite.AuthorizerActionCode, arg1, arg2, _, _ string) sqlite.AuthorizerReturnCode {
	switch {
	case action == sqlite.AuthAttach:
		return sqlite.AuthorizerDeny
	case action == sqlite.AuthPragma && !onlyTells(strings.ToLower(arg1), arg2):
		return sqlite.AuthorizerDeny
	case arg1 == "BEGIN" && (action == sqlite.AuthTransaction && !c.begins || action == sqlite.AuthSavepoint):
		return sqlite.AuthorizerDeny
	}
	return sqlite.AuthorizerOK
}

func onlyTells(pragma, value string) bool {
	switch pragma {
	case "wal_checkpoint", "optimize", "incremental_vacuum":
		return false
	case "table_info", "table_xinfo", "table_list", "index_info", "index_xinfo", "index_list", "foreign_key_list",
		"foreign_key_check", "integrity_check", "quick_check":
		return true
	}
	return value == ""
}

// each hands each row of a query to visit, as the driver reads it: int64, float64, string, []byte or nil. visit must
// not keep the row, but may keep what is in it: the driver makes bytes anew for each. It returns whether it wants
// more, and must not ask another question: it has the connection.
func (c *readerConn) each(ctx context.Context, query string, args []any, visit func(row []driver.Value) (more bool)) (err error) {
	q, err := c.prepare(ctx, query)
	if err != nil {
		return err
	}
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		if n, ok := a.(int); ok {
			a = int64(n)
		}
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	rows, err := q.QueryContext(ctx, named)
	if err != nil {
		return err
	}
	defer func() {
		if closing := rows.Close(); err == nil {
			err = closing
		}
	}()
	row := make([]driver.Value, len(rows.Columns()))
	for ctx.Err() == nil { // the driver looks at it for the first row alone
		err := rows.Next(row)
		if errors.Is(err, io.EOF) || err == nil && !visit(row) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// each runs a query on one of the readers, see [readerConn.each]. ctx also ends the wait for one.
func each(ctx context.Context, readers *sqlx.DB, query string, args []any, visit func(row []driver.Value) (more bool)) error {
	return onReader(ctx, readers, func(c *readerConn) error { return c.each(ctx, query, args, visit) })
}

// onReader calls f with one of the readers, for which it waits as long as ctx. database/sql would start a goroutine to
// watch ctx for each query, check, convert and lock for each row, and copy all bytes once more: for a get by key that
// is a third of the time.
func onReader(ctx context.Context, readers *sqlx.DB, f func(*readerConn) error) error {
	conn, err := readers.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error { return f(c.(*readerConn)) })
}

// all is a visit that wants every row.
func all(visit func(row []driver.Value)) func([]driver.Value) bool {
	return func(row []driver.Value) bool {
		visit(row)
		return true
	}
}

// integer is a column that is never NULL.
func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

// bytesOf is a column of bytes: nil where it is NULL, and only there. What is no blob was written without our checks:
// it is taken as text, so that it can be seen, and is found to be wrong.
func bytesOf(v driver.Value) []byte {
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		return blob(v)
	}
	return blob(fmt.Append(nil, v))
}
