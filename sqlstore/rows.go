package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/jmoiron/sqlx"
)

// How a SELECT is run. There are two ways:
//
//   - each and readPage, for many rows and for the questions that are asked all the time. They use the driver directly
//     and keep a reader's queries prepared (see readerConn). database/sql would start a goroutine to watch the context of
//     each query, check, convert and lock for each row, and copy all bytes once more. That would be a third of the time
//     of a get by key.
//   - sqlx's Get and Select, for a few rows that are read into a struct, and inside a transaction.

// querier runs a query and hands each row to visit, as the driver reads it: int64, float64, string, []byte or nil.
//
// visit must not keep the row, but may keep the values in it: the driver allocates new bytes for each row. It returns whether
// it wants more rows. It must not run another query, because the connection is in use until visit returns.
type querier interface {
	each(ctx context.Context, query string, args []any, visit func(row []driver.Value) (more bool)) error
}

// readers is the pool of connections that read.
type readers struct{ *sqlx.DB }

// each implements querier. ctx also ends the wait for a connection.
func (r readers) each(ctx context.Context, query string, args []any, visit func(row []driver.Value) (more bool)) error {
	return r.use(ctx, func(c *readerConn) error { return c.each(ctx, query, args, visit) })
}

// use calls f with one of the connections. It waits for a free one until ctx ends.
func (r readers) use(ctx context.Context, f func(*readerConn) error) error {
	conn, err := r.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error { return f(c.(*readerConn)) })
}

// each implements querier on one connection.
func (c *readerConn) each(ctx context.Context, query string, args []any, visit func(row []driver.Value) (more bool)) error {
	q, err := c.prepare(ctx, query)
	if err != nil {
		return err
	}
	return visitRows(ctx, q, args, visit)
}

// each implements querier on the connection that writes, inside a transaction too. The query is prepared for this call
// alone.
func (w *writer) each(ctx context.Context, query string, args []any, visit func(row []driver.Value) (more bool)) error {
	return w.raw(func(c driver.ConnPrepareContext) error {
		s, err := c.PrepareContext(ctx, query)
		if err != nil {
			return err
		}
		err = visitRows(ctx, s.(driver.StmtQueryContext), args, visit)
		return errors.Join(err, s.Close())
	})
}

// visitRows runs a prepared query, see querier.
func visitRows(ctx context.Context, q driver.StmtQueryContext, args []any, visit func(row []driver.Value) (more bool)) (err error) {
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
	for ctx.Err() == nil { // the driver looks at ctx only for the first row
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

// all is a visit that wants every row.
func all(visit func(row []driver.Value)) func([]driver.Value) bool {
	return func(row []driver.Value) bool {
		visit(row)
		return true
	}
}

// first runs a query and hands its first row to visit, if there is one.
func first(ctx context.Context, q querier, query string, args []any, visit func(row []driver.Value)) error {
	return q.each(ctx, query, args, func(row []driver.Value) bool {
		visit(row)
		return false
	})
}

// readPage reads rows until their sizes add up to pageBytes, and at least one row. scan fills in a row and returns its
// size. cut says that the query has more rows.
func readPage[T any](ctx context.Context, q querier, pageBytes int, query string, args []any, scan func(*T, []driver.Value) (size int, err error)) (page []T, cut bool, err error) {
	never := func([]T, *T) bool { return false }
	return readUntil(ctx, q, pageBytes, query, args, scan, never)
}

// readUntil is readPage that ends before a row for which end is true. cut does not count that row.
func readUntil[T any](ctx context.Context, q querier, pageBytes int, query string, args []any, scan func(*T, []driver.Value) (size int, err error), end func(page []T, next *T) bool) (page []T, cut bool, err error) {
	size := 0
	var bad error
	err = q.each(ctx, query, args, func(row []driver.Value) bool {
		if cut = size >= pageBytes; cut {
			return false
		}
		var none T
		page = append(page, none) // the row is read into its place, so that it is not allocated by itself
		before, r := page[:len(page)-1], &page[len(page)-1]
		n := 0
		if n, bad = scan(r, row); bad != nil || end(before, r) {
			page = before
			return false
		}
		size += n
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, false, err
	}
	return page, cut, nil
}

// integer returns the value of an integer column that is never NULL.
func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

// bytesOf returns the value of a column of bytes, and nil only for NULL. A value that is no blob was not written by this
// package. It is returned as text, so that whoever checks the bytes can show it, and finds it wrong.
func bytesOf(v driver.Value) []byte {
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		return blob(v)
	}
	return blob(fmt.Append(nil, v))
}

// optionalBlob binds nil as NULL.
func optionalBlob(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// blob returns an empty slice for nil: the driver reads an empty blob as nil, and binds nil as NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
