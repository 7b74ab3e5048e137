package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sort"
)

// EntryFrom returns the index of the first entry whose record is at or after a journal offset. If there is none, it
// returns an index above those of all entries. Entries are numbered in the order of the journal, so a binary search finds it.
func (db *DB) EntryFrom(ctx context.Context, offset uint64) (index uint64, err error) {
	last, ok, err := db.LastEntry(ctx)
	if err != nil || !ok {
		return 0, err
	}
	const query = `SELECT journal_offset FROM entry WHERE idx >= ? ORDER BY idx LIMIT 1`
	found := sort.Search(int(last.Index)+1, func(i int) bool {
		if err != nil {
			return true
		}
		var at int64
		if err = db.readers.GetContext(ctx, &at, query, i); errors.Is(err, sql.ErrNoRows) {
			err = nil // no entry is so new any more
			return true
		}
		return uint64(at) >= offset
	})
	if err != nil {
		return 0, db.fail("find an entry", err)
	}
	return uint64(found), nil
}

// RejectedBetween returns the journal records in [from, to) that could not be stored, the oldest first.
func (db *DB) RejectedBetween(ctx context.Context, from, to uint64) ([]Rejected, error) {
	const query = `SELECT journal_offset, reason, payload FROM rejected
		WHERE journal_offset >= ? AND journal_offset < ? ORDER BY journal_offset`
	var rs []Rejected
	if err := db.readers.SelectContext(ctx, &rs, query, int64(from), int64(to)); err != nil {
		return nil, db.fail("read rejected records", err)
	}
	return rs, nil
}
