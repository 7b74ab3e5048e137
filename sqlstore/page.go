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
	defer rows.Close()
	n := 0
	for rows.Next() {
		if n >= pageBytes {
			return page, true, nil
		}
		var row T
		if err := rows.StructScan(&row); err != nil {
			return nil, false, err
		}
		n += size(&row)
		page = append(page, row)
	}
	return page, false, rows.Err()
}
