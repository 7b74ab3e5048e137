package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
)

// IndexOf returns a record's place in the order of admission, or -1 if table audit does not have it.
func (db *DB) IndexOf(ctx context.Context, id [32]byte) (int64, error) {
	const query = `WITH RECURSIVE gen (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM gen WHERE n < (SELECT max(idx) >> 14 FROM audit))
		SELECT a.idx FROM gen CROSS JOIN audit a INDEXED BY audit_by_query WHERE a.generation = gen.n AND a.query_hex = ? LIMIT 1`
	idx := int64(-1)
	if err := db.readers.GetContext(ctx, &idx, query, hex.EncodeToString(id[:])); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return -1, db.fail("look for a record", err)
	}
	return idx, nil
}

// Beside returns an agent's records just before and just after a place in time, (timestamp, query id), as
// canonical JSON: at most n each, the nearest, both in the order of time.
func (db *DB) Beside(ctx context.Context, agent [32]byte, timestamp int64, id [32]byte, n int) (before, after [][]byte, err error) {
	const start = `SELECT a.idx, a.timestamp, a.query_id, k.value FROM audit a INDEXED BY audit_by_agent` + byKey + `
		WHERE a.agent = (SELECT id FROM agent WHERE agent_hex = lower(hex(?))) AND (a.timestamp, a.query_id) `
	read := func(query string) (values [][]byte, err error) {
		page, _, err := readPage(ctx, db.readers, (*auditRow).size, query, agent[:], timestamp, id[:], n)
		for _, r := range page {
			values = append(values, r.Value)
		}
		return values, err
	}
	if before, err = read(start + `< (?, ?) ORDER BY a.timestamp DESC, a.query_id DESC LIMIT ?`); err != nil {
		return nil, nil, db.fail("read what came before", err)
	}
	slices.Reverse(before)
	if after, err = read(start + `> (?, ?) ORDER BY a.timestamp, a.query_id LIMIT ?`); err != nil {
		return nil, nil, db.fail("read what came after", err)
	}
	return before, after, nil
}
