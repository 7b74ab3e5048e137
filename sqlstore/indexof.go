package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// IndexOf returns a record's place in the order of admission, or -1 if table audit does not have it.
//
// The index of ids is divided into generations, and a large store has hundreds of them. So it looks first among the records that have the
// same time as the record, as kv has it. These are few as a rule.
func (db *DB) IndexOf(ctx context.Context, id [32]byte) (int64, error) {
	const (
		most   = 256
		byTime = `SELECT a.idx, a.query_hex FROM kv k CROSS JOIN audit a INDEXED BY audit_by_time
			WHERE k.key = ? AND a.timestamp = CASE WHEN json_valid(CAST(k.value AS TEXT)) THEN json_extract(CAST(k.value AS TEXT), '$.timestamp') END LIMIT ?`
	)
	hex, idx := hexOf(&id), int64(-1)
	err := db.readers.each(ctx, byTime, []any{recordKey(id[:]), most}, func(row []driver.Value) bool {
		if row[1] == hex {
			idx = integer(row[0])
		}
		return idx < 0
	})
	if err == nil && idx < 0 {
		query := generations + `SELECT a.idx FROM ` + byQuery.from("a") + ` WHERE ` + byQuery.match("a") + ` LIMIT 1`
		if err = db.readers.GetContext(ctx, &idx, query, hex); errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
	}
	if err != nil {
		return -1, db.fail("look for a record", err)
	}
	return idx, nil
}
