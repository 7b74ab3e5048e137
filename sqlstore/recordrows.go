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

func timestampOf(v driver.Value) (int64, error) {
	timestamp, ok := v.(int64)
	if !ok {
		return 0, fmt.Errorf("%w: audit: a row has the timestamp %v: no number", ErrMalformed, v)
	}
	return timestamp, nil
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
	whole      int // the page ends after so many records, with the last of one timestamp; 0: it does not
}

// end reports whether a page ends before a row, see readUntil.
func (q *recordQuery) end(page []auditRow, next *auditRow) bool {
	return q.whole > 0 && len(page) >= q.whole && next.Timestamp != page[len(page)-1].Timestamp
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

// records reads a page of records. Unless placed is set it reads nothing but their values: each further column costs some hundredths
// of the time of a record. The places are there all the same if the page was cut, so that reading can go on, and if a record is
// missing or does not match its leaf, to name it.
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
		query := `SELECT a.idx, a.timestamp, e.query_id, k.value, k.leaf ` + q.from + join + q.rest
		page, cut, err = readUntil(ctx, db.readers, db.sizes.pageBytes, query, q.args, (*auditRow).scan, q.end)
		if err != nil || join == byKey || !damaged() {
			return page, cut, err
		}
		join = byKey
	}
}
