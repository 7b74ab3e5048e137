package sqlstore

import (
	"context"
	"slices"
)

// RejectedRows returns journal records that could not be stored, the oldest first, at most limit.
func (db *DB) RejectedRows(ctx context.Context, limit int) ([]Rejected, error) {
	const query = `SELECT journal_offset, reason, payload FROM rejected ORDER BY journal_offset LIMIT ?`
	var rs []Rejected
	missing, err := missingTables(ctx, db.readers)
	if err != nil {
		return nil, db.fail("read rejected records", err)
	}
	if slices.Contains(missing, "rejected") {
		return nil, nil // CheckSchema reports that
	}
	if err := db.readers.SelectContext(ctx, &rs, query, limit); err != nil {
		return nil, db.fail("read rejected records", err)
	}
	return rs, nil
}
