package audit

import (
	"context"
	"errors"
	"fmt"
)

// SizeAt returns how many records the messages up to a number have brought, in a store that follows a log: so many records it had
// when that message was the last one that it had applied.
func (db *DB) SizeAt(ctx context.Context, sequence uint64) (size uint64, err error) {
	if err = db.readable(ctx); err == nil {
		size, err = db.sizeAt(ctx, sequence)
	}
	if err != nil {
		return 0, fmt.Errorf("count records up to message %d: %w", sequence, journalError(err))
	}
	return size, nil
}

func (db *DB) sizeAt(ctx context.Context, sequence uint64) (uint64, error) {
	if db.file.Follows == nil {
		return 0, errors.New("the store follows no log")
	}
	if sequence == 0 {
		return 0, nil
	}
	return db.sql.EntryFrom(ctx, uint64(endOf(sequence)))
}

// IndexOf returns the index of a record in the order of admission, and ok false if there is no such record.
func (db *DB) IndexOf(ctx context.Context, id QueryID) (index uint64, ok bool, err error) {
	if err = db.settled(ctx); err == nil {
		var at int64
		if at, err = db.sql.IndexOf(ctx, id); err == nil && at >= 0 {
			return uint64(at), true, nil
		}
	}
	if err != nil {
		return 0, false, fmt.Errorf("find the index of %s: %w", id, journalError(err))
	}
	return 0, false, nil
}
