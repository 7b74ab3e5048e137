package sqlstore

import (
	"context"
	"database/sql/driver"
)

// NewestOf returns the timestamp from which on a filter selects its newest records, n or more of them, and how many these are: all
// records of that timestamp are among them. If it selects fewer than n, ok is false. The filter may have an agent, a time and a moment
// (AsOf) alone. An index has the answer, and no record is read.
func (db *DB) NewestOf(ctx context.Context, f Filter, n int) (from, records int64, ok bool, err error) {
	selected := func() (from string, where clause) {
		p := f.path(false)
		return p.from, p.where()
	}
	f.ByAdmission = false
	index, where := selected()
	nth := `SELECT a.timestamp FROM ` + index + ` WHERE ` + where.sql + ` ORDER BY a.timestamp DESC LIMIT 1 OFFSET ?`
	err = first(ctx, db.readers, nth, append(where.args, n-1), func(row []driver.Value) {
		from, ok = integer(row[0]), true
	})
	if err == nil && ok {
		f.From = &from
		index, where = selected()
		err = first(ctx, db.readers, `SELECT count(*) FROM `+index+` WHERE `+where.sql, where.args, func(row []driver.Value) { records = integer(row[0]) })
	}
	if err != nil {
		return 0, 0, false, db.fail("look for the newest records", err)
	}
	return from, records, ok, nil
}
