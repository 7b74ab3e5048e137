package sqlstore

import (
	"bytes"
	"context"
	"database/sql/driver"
	"slices"
)

// A short list by time reads its records by the rows of kv that the index names, and nothing else: neither table audit, nor
// table entry, which has the ids.
//
// The row that an index names may be that of another record (see the column kv_row), and nothing beside the list says which record
// should be there. So the list is right, or is not used:
//
//   - Each record matches its leaf hash, and what it begins with is what the index has: the timestamp, and the agent or the subject.
//   - The list has all rows of each of its timestamps, and no record twice.
//
// So for each timestamp the list has as many records as there are, and each of them belongs there. Which of them the index
// meant does not matter, because they are sorted by id.

// A Heading is the beginning of a record.
type Heading struct {
	QueryID   [32]byte
	AgentID   [32]byte
	Anonymous bool // there is no AgentID
	Timestamp int64
	Subject   []byte // nil: none. It may share memory with the record.
}

// begins reports whether a record that begins so meets the conditions of a path by time that is not selective.
func (f *Filter) begins(h *Heading) bool {
	switch name, exact := f.subject(); {
	case f.Agent != nil:
		return !h.Anonymous && h.AgentID == *f.Agent
	case f.Anonymous:
		return h.Anonymous
	case exact:
		return h.Subject != nil && string(h.Subject) == name
	}
	return true
}

// inRow joins the record in a row of kv that row a of table audit names. A row with a key of a program's own is none: such rows have no
// guard.
const inRow = ` LEFT JOIN kv k ON k.rowid = a.kv_row AND k.key >= ` + keyPrefixSQL + ` AND k.key < ` + keyPrefixEndSQL

// scanFound takes a record that inRow has found out of a row: value, leaf, timestamp. It is intact if it is one that a filter asks
// for, with the timestamp of the index.
func (r *auditRow) scanFound(row []driver.Value, q *question, heading func([]byte) (Heading, bool)) (size int, err error) {
	if r.Timestamp, err = timestampOf(row[2]); err != nil {
		return 0, err
	}
	if size, err = r.scanValue(row); err != nil || !r.Intact {
		return size, err
	}
	h, ok := heading(r.Value)
	r.Intact = ok && h.Timestamp == r.Timestamp && q.begins(&h)
	r.QueryID = bytes.Clone(h.QueryID[:])
	return size, nil
}

// found is first by the rows of kv alone, in order. ok is false if it is not certain that these are the records.
func (w *walker) found(ctx context.Context, q *question, n int) (page []auditRow, ok bool, err error) {
	query, most := w.firstQuery(n)
	scan := func(r *auditRow, row []driver.Value) (int, error) { return r.scanFound(row, q, w.db.heading) }
	page, cut, err := readUntil(ctx, w.db.readers, w.db.sizes.pageBytes,
		`SELECT k.value, k.leaf, a.timestamp `+query.from+inRow+query.rest, query.args, scan, query.end)
	if err != nil || cut || len(page) == most || slices.ContainsFunc(page, func(r auditRow) bool { return !r.Intact }) {
		return nil, false, err
	}
	q.sort(page)
	for i := 1; i < len(page); i++ {
		if bytes.Equal(page[i-1].QueryID, page[i].QueryID) {
			return nil, false, nil
		}
	}
	return page, true, nil
}
