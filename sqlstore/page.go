package sqlstore

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// pageBytes is where a page of rows ends early: a record may have 16 MiB. A variable, so that tests need no large ones.
var pageBytes = 4 << 20

// readPage reads rows of a query until they have pageBytes together, at least one. cut says that there may
// be more.
func readPage[T any](ctx context.Context, q sqlx.QueryerContext, size func(*T) int, query string, args ...any) (page []T, cut bool, err error) {
	rows, err := q.QueryxContext(ctx, query, args...)
	if err != nil {
		return nil, false, err
	}
	return pageOf(rows, size)
}

// pageOf is readPage for a query that runs already. It closes rows.
func pageOf[T any](rows *sqlx.Rows, size func(*T) int) (page []T, cut bool, err error) {
	return scanPage(rows, size, func(row *T) error { return rows.StructScan(row) })
}

// scanPage is pageOf with a scan of its own.
func scanPage[T any](rows *sqlx.Rows, size func(*T) int, scan func(*T) error) (page []T, cut bool, err error) {
	defer rows.Close()
	n := 0
	for rows.Next() {
		if n >= pageBytes {
			return page, true, nil
		}
		var row T
		if err := scan(&row); err != nil {
			return nil, false, err
		}
		n += size(&row)
		page = append(page, row)
	}
	return page, false, rows.Err()
}
