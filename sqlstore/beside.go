package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
)

// IndexOf returns a record's place in the order of admission, or -1 if table audit does not have it.
func (db *DB) IndexOf(ctx context.Context, id [32]byte) (int64, error) {
	query := generations + `SELECT a.idx FROM ` + byQuery.from("a") + ` WHERE ` + byQuery.match("a") + ` LIMIT 1`
	idx := int64(-1)
	if err := db.readers.GetContext(ctx, &idx, query, hexOf(&id)); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return -1, db.fail("look for a record", err)
	}
	return idx, nil
}

// Beside returns an agent's nearest records before and after a place in time, (timestamp, query id), as
// canonical JSON: at most n of each, both in the order of time. Records that kv lacks, or whose value does not match its
// leaf hash, are left out and named in damaged.
func (db *DB) Beside(ctx context.Context, agent [32]byte, timestamp int64, id [32]byte, n int) (before, after [][]byte, damaged []*RecordError, err error) {
	const start = `SELECT a.idx, a.timestamp, a.query_id, k.value, k.leaf FROM audit a INDEXED BY audit_by_agent` + byKey + `
		WHERE a.agent = ` + agentNumber + ` AND (a.timestamp, a.query_id) `
	read := func(query string) (values [][]byte, err error) {
		page, _, err := readPage(ctx, db.readers, db.sizes.pageBytes, query, []any{hexOf(&agent), timestamp, id[:], n}, (*auditRow).scan)
		for _, r := range page {
			if err := (*RecordError)(nil); errors.As(r.damage(), &err) {
				damaged = append(damaged, err)
				continue
			}
			values = append(values, r.Value)
		}
		return values, err
	}
	if before, err = read(start + `< (?, ?) ORDER BY a.timestamp DESC, a.query_id DESC LIMIT ?`); err != nil {
		return nil, nil, nil, db.fail("read the records before", err)
	}
	slices.Reverse(before)
	if after, err = read(start + `> (?, ?) ORDER BY a.timestamp, a.query_id LIMIT ?`); err != nil {
		return nil, nil, nil, db.fail("read the records after", err)
	}
	return before, after, damaged, nil
}
