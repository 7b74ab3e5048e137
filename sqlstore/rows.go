package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/jmoiron/sqlx"
)

// scanRows hands each row of a query to visit, which must not keep it, as the driver reads it: int64, float64,
// string, []byte or nil. It is for many rows: database/sql would check and convert each value of each.
func scanRows(ctx context.Context, db *sqlx.DB, query string, args []any, visit func([]driver.Value)) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error {
		named := make([]driver.NamedValue, len(args))
		for i, a := range args {
			named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
		}
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, query, named)
		if err != nil {
			return err
		}
		defer rows.Close()
		row := make([]driver.Value, len(rows.Columns()))
		for {
			switch err := rows.Next(row); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			visit(row)
		}
	})
}

// integer is a column that is never NULL.
func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}
