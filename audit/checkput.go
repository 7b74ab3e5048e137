package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// CheckAudits returns for each record what PutAudits would say about it now, and stores nothing. A result is about the record
// alone: another record of the same call is not in the store.
//
// A store that is open for reading only does not know the records that a writer in another process has acknowledged and SQLite does
// not have yet. Only the error of the whole call says that nothing could be checked.
func (db *DB) CheckAudits(ctx context.Context, qs []*QueryAudit) ([]PutResult, error) {
	if err := db.readable(ctx); err != nil {
		return nil, err
	}
	results := make([]PutResult, len(qs))
	for i, q := range qs {
		raw, err := q.Canonical()
		if err != nil {
			results[i].Err = err
			continue
		}
		if results[i], err = db.checkPut(ctx, raw); err != nil {
			return nil, fmt.Errorf("check a record: %w", journalError(err))
		}
	}
	return results, nil
}

// checkPut returns what a put of a record would say, or why that cannot be known.
func (db *DB) checkPut(ctx context.Context, raw []byte) (r PutResult, err error) {
	r.ID, _ = idOf(raw)
	stored, err := db.stored(ctx, r.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return r, nil
	case ofRecord(err):
		r.Err = err // as a put has it: whether this is the same record cannot be told
	case err != nil:
		return PutResult{}, err
	case bytes.Equal(raw, stored):
		r.Duplicate = true
	default:
		r.Err = conflict(r.ID)
	}
	return r, nil
}
