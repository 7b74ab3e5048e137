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

// scanTimed takes a record with its place by time out of a row: value, leaf, timestamp, query_id.
func (r *auditRow) scanTimed(row []driver.Value) (size int, err error) {
	timestamp, ok := row[2].(int64)
	if !ok {
		return 0, fmt.Errorf("%w: audit: a row has the timestamp %v: no number", ErrMalformed, row[2])
	}
	r.Timestamp, r.QueryID = timestamp, bytesOf(row[3])
	return r.scanValue(row)
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

// withEntry joins table entry, as e. It has the id of the record that row a of table audit stands for.
const withEntry = ` LEFT JOIN entry e ON e.idx = a.idx`

// The ways to join the record that row a of table audit stands for: k.value, or NULL if it is not found. By its row
// in kv a hundred records take three fifths of the time. As a subquery the value would cost a quarter more than by a
// join: SQLite opens kv anew for each row then.
const (
	byRow = withEntry + ` LEFT JOIN kv k ON k.rowid = a.kv_row AND k.key = ` + keyOfEntry
	byKey = withEntry + ` LEFT JOIN kv k ON k.key = ` + keyOfEntry
)

// beside says what a query for records reads besides their values. Each column costs some hundredths of the time of a record.
type beside uint8

const (
	nothing  beside = iota
	itsTime         // the timestamp and the id, by which records are ordered by time
	itsPlace        // and the index, so that reading can go on after a row
)

// records reads a page of records. The places are there also where they were not asked for, if the page was cut, so that
// reading can go on, and if a record is missing or does not match its leaf, to name it.
func (db *DB) records(ctx context.Context, b beside, q recordQuery) (page []auditRow, cut bool, err error) {
	damaged := func() bool {
		return slices.ContainsFunc(page, func(r auditRow) bool { return !r.Intact })
	}
	join := byRow
	if b != itsPlace {
		columns, scan := `SELECT k.value, k.leaf `, (*auditRow).scanValue
		if b == itsTime {
			columns, scan = `SELECT k.value, k.leaf, a.timestamp, e.query_id `, (*auditRow).scanTimed
		}
		page, cut, err = readPage(ctx, db.readers, db.sizes.pageBytes, columns+q.from+join+q.rest, q.args, scan)
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
		query := `SELECT a.idx, a.timestamp, e.query_id, k.value, k.leaf ` + q.from + join + q.rest
		page, cut, err = readPage(ctx, db.readers, db.sizes.pageBytes, query, q.args, (*auditRow).scan)
		if err != nil || join == byKey || !damaged() {
			return page, cut, err
		}
		join = byKey
	}
}
