package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

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

// readerConn is a connection that reads. It keeps queries prepared, by their text: to prepare a query takes 50 to 100 µs,
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
	last  uint64 // number of its last use, among the uses of all queries of this connection
}

// maxKept is how many queries a connection keeps prepared. For one more, the one that was used longest ago is closed.
const maxKept = 32

// Unwrap returns the driver's connection, which sqlite.Limit looks for.
func (c *readerConn) Unwrap() driver.Conn { return c.sqliteConn }

// prepare returns a prepared query. One goroutine at a time may use it, as with the connection.
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

// evict closes the query that was used longest ago.
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

// BeginTx lets BEGIN through. QueryRows must not run a BEGIN: the connection would go back to the readers with the
// transaction open, show them this one state for ever, and hold up checkpoints.
func (c *readerConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	c.begins = true
	defer func() { c.begins = false }()
	return c.sqliteConn.BeginTx(ctx, o)
}

// readTx calls f in one read transaction. All that f reads with each is of one moment, and each query is spared the locks of
// a transaction of its own.
func (c *readerConn) readTx(ctx context.Context, f func() error) (err error) {
	tx, err := c.BeginTx(ctx, driver.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() {
		if ended := tx.Rollback(); err == nil {
			err = ended
		}
	}()
	return f()
}

// onlyReads refuses what a connection could do to files although it has mode=ro: write other files
// with ATTACH (and VACUUM INTO, which attaches), empty -wal with a checkpoint, or lock others out with
// another journal or locking mode. A pragma is allowed if it changes nothing.
func (c *readerConn) onlyReads(action sqlite.AuthorizerActionCode, arg1, arg2, _, _ string) sqlite.AuthorizerReturnCode {
	switch {
	case action == sqlite.AuthAttach:
		return sqlite.AuthorizerDeny
	case action == sqlite.AuthPragma && !isQuestion(strings.ToLower(arg1), arg2):
		return sqlite.AuthorizerDeny
	case arg1 == "BEGIN" && (action == sqlite.AuthTransaction && !c.begins || action == sqlite.AuthSavepoint):
		return sqlite.AuthorizerDeny
	}
	return sqlite.AuthorizerOK
}

// isQuestion reports whether a pragma with this value changes nothing.
func isQuestion(pragma, value string) bool {
	switch pragma {
	case "wal_checkpoint", "optimize", "incremental_vacuum":
		return false
	case "table_info", "table_xinfo", "table_list", "index_info", "index_xinfo", "index_list", "foreign_key_list",
		"foreign_key_check", "integrity_check", "quick_check":
		return true
	}
	return value == ""
}
