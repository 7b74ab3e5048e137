package sqlstore

import (
	"context"
	"database/sql/driver"
	"iter"
	"slices"
)

// RejectedRows yields the journal records that could not be stored, the oldest first. It reads them in pages, since each may
// have 16 MiB.
func (db *DB) RejectedRows(ctx context.Context) iter.Seq2[Rejected, error] {
	const query = `SELECT journal_offset, reason, payload FROM rejected WHERE journal_offset >= ? ORDER BY journal_offset`
	return func(yield func(Rejected, error) bool) {
		missing, err := missingTables(ctx, db.readers)
		if err != nil {
			yield(Rejected{}, db.fail("read rejected records", err))
			return
		}
		if slices.Contains(missing, "rejected") {
			return // CheckSchema reports that
		}
		for next, more := int64(0), true; more; {
			var page []Rejected
			page, more, err = readPage(ctx, db.readers, db.sizes.pageBytes, query, []any{next}, (*Rejected).scan)
			if err != nil {
				yield(Rejected{}, db.fail("read rejected records", err))
				return
			}
			for _, r := range page {
				next = int64(r.Offset) + 1
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func (r *Rejected) scan(row []driver.Value) (size int, err error) {
	*r = Rejected{Offset: uint64(integer(row[0])), Reason: string(bytesOf(row[1])), Payload: bytesOf(row[2])}
	return len(r.Reason) + len(r.Payload), nil
}
