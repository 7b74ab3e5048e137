package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
)

// auditRow is a row of table audit as far as Select needs it.
type auditRow struct {
	Idx       int64
	Timestamp int64
	QueryID   []byte
	Value     []byte
	Intact    bool // there is a value, and it matches its leaf hash
}

// scanPlace takes a row's place in the order out of its first columns: idx, timestamp, query_id.
func (r *auditRow) scanPlace(row []driver.Value) (size int, err error) {
	idx, ok := row[0].(int64)
	timestamp, also := row[1].(int64)
	if !ok || !also {
		return 0, fmt.Errorf("%w: audit: row %v has the timestamp %v: no numbers", ErrMalformed, row[0], row[1])
	}
	r.Idx, r.Timestamp, r.QueryID = idx, timestamp, bytesOf(row[2])
	return 0, nil
}

// scanValue takes a record out of the first columns: value, leaf.
func (r *auditRow) scanValue(row []driver.Value) (size int, err error) {
	r.Value = bytesOf(row[0])
	r.Intact = isLeafOf(bytesOf(row[1]), r.Value)
	return len(r.Value), nil
}

// scan takes place and record out of a row: idx, timestamp, query_id, value, leaf.
func (r *auditRow) scan(row []driver.Value) (size int, err error) {
	if _, err := r.scanValue(row[3:]); err != nil {
		return 0, err
	}
	_, err = r.scanPlace(row)
	return len(r.Value), err
}

// damage says what is wrong with the record of a row that was read with its place, or nil.
func (r *auditRow) damage() error {
	if r.Intact {
		return nil
	}
	e := &RecordError{Missing: len(r.Value) == 0} // which no record is
	copy(e.QueryID[:], r.QueryID)
	return e
}

// recordQuery is a query for records: its FROM with the rows of table audit, as a, and what follows the join with kv.
type recordQuery struct {
	from, rest string
	args       []any
}

// The ways to join the record that row a of table audit stands for: k.value, or NULL if it is not found. By its row
// in kv a hundred records take three fifths of the time. As a subquery the value would cost a quarter more than by a
// join: SQLite opens kv anew for each row then.
const (
	byRow = ` LEFT JOIN kv k ON k.rowid = a.kv_row AND k.key = ` + keyOfAudit
	byKey = ` LEFT JOIN kv k ON k.key = ` + keyOfAudit
)

// records reads a page of records. Unless placed is set it reads nothing but their values: the columns with their
// places cost a sixth of the time for a hundred records. The places are there all the same if the page was cut, so that
// reading can go on, and if a record is missing or does not match its leaf, to name it.
func (db *DB) records(ctx context.Context, placed bool, q recordQuery) (page []auditRow, cut bool, err error) {
	damaged := func() bool {
		return slices.ContainsFunc(page, func(r auditRow) bool { return !r.Intact })
	}
	join := byRow
	if !placed {
		page, cut, err = readPage(ctx, db.readers, db.sizes.pageBytes, `SELECT k.value, k.leaf `+q.from+join+q.rest, q.args, (*auditRow).scanValue)
		switch {
		case err != nil:
			return nil, false, err
		case damaged(): // or in another row of kv now
			join = byKey
		case !cut:
			return page, false, nil
		}
	}
	for {
		query := `SELECT a.idx, a.timestamp, a.query_id, k.value, k.leaf ` + q.from + join + q.rest
		page, cut, err = readPage(ctx, db.readers, db.sizes.pageBytes, query, q.args, (*auditRow).scan)
		if err != nil || join == byKey || !damaged() {
			return page, cut, err
		}
		join = byKey
	}
}
