package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/wal"
)

// TailRange returns the first offset that the journal has, and the one after its last record: a TailAfter from there on yields
// only what is acknowledged later. What a put has acknowledged before the call is before that offset.
func (db *DB) TailRange(ctx context.Context) (first, end Offset, err error) {
	if first, end, err = db.tailRange(ctx); err != nil {
		return 0, 0, fmt.Errorf("tail: %w", journalError(err))
	}
	return first, end, nil
}

func (db *DB) tailRange(ctx context.Context) (first, end Offset, err error) {
	if err := db.tailable(ctx); err != nil {
		return 0, 0, err
	}
	if db.file.Follows != nil {
		cursor, err := db.sql.Cursor(ctx)
		return 0, endOf(lastBefore(Offset(cursor))), err
	}
	segs, err := db.segments()
	if err != nil {
		return 0, 0, err
	}
	if len(segs) > 0 {
		first = segs[0].Base
	}
	if db.journal != nil {
		// At SyncInterval a record is acknowledged before it is synced. When the journal has failed, what it had synced can
		// still be read.
		if err := db.journal.Sync(ctx); err != nil && ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		return first, db.journal.Synced(), nil
	}
	// The end of a segment's file says nothing: zeros may be written ahead there.
	cursor, err := db.sql.Cursor(ctx)
	if err != nil {
		return 0, 0, err
	}
	end, err = db.readJournal(ctx, max(first, Offset(cursor)), func(wal.Record) (bool, error) { return true, nil })
	return first, end, err
}

// tailAfter yields what TailAfter yields, or without follow what there is of it by now.
func (db *DB) tailAfter(ctx context.Context, after Offset, follow bool, yield func(TailRecord, error) bool) error {
	if err := db.tailable(ctx); err != nil {
		return err
	}
	if db.file.Follows != nil {
		return db.tailFollowedAfter(ctx, after, follow, yield)
	}
	from, err := db.recordFrom(ctx, after)
	if err != nil {
		return trimmedSince(err)
	}
	rest, err := db.openJournal(from, follow)
	if err != nil {
		return trimmedSince(err)
	}
	defer rest.Close()
	if err := db.readable(ctx); err != nil { // see tail
		return err
	}
	return trimmedSince(readOn(ctx, rest, db.admission().only(ctx, func(rec wal.Record) bool {
		return yield(TailRecord{Offset: rec.Offset, Next: rec.Next, Raw: rec.Payload}, nil)
	})))
}

// trimmedSince makes a *TrimmedError of that of package wal.
func trimmedSince(err error) error {
	var trimmed *wal.TrimmedError
	if errors.As(err, &trimmed) {
		return &TrimmedError{After: trimmed.Wanted, First: trimmed.First}
	}
	return err
}

// recordFrom returns where the first record begins whose offset is not before after, or where the next record will begin.
// Somebody gives the offset from outside, so it may be any number.
func (db *DB) recordFrom(ctx context.Context, after Offset) (Offset, error) {
	for {
		from, err := db.boundaryBefore(ctx, after)
		if err != nil {
			return 0, err
		}
		found := false
		at := from
		end, err := db.readJournal(ctx, from, func(rec wal.Record) (more bool, err error) {
			if found = rec.Offset >= after; found {
				at = rec.Offset
			}
			return !found, nil
		})
		var trimmed *wal.TrimmedError
		switch {
		case errors.As(err, &trimmed) && trimmed.First <= after:
			continue // trimmed since boundaryBefore, and not as far as this
		case err != nil:
			return 0, err
		case found:
			return at, nil
		case end < after:
			return 0, fmt.Errorf("%w %d: it ends at %d", wal.ErrRewound, after, end)
		}
		return end, nil
	}
}

// boundaryBefore returns where some record begins, or the journal ends, not after an offset and near to it.
func (db *DB) boundaryBefore(ctx context.Context, after Offset) (Offset, error) {
	segs, err := db.segments()
	if err != nil {
		return 0, err
	}
	var at Offset
	for _, seg := range segs {
		if seg.Base <= after {
			at = seg.Base
		}
	}
	if len(segs) > 0 && after < segs[0].Base {
		return 0, &TrimmedError{After: after, First: segs[0].Base}
	}
	cursor, err := db.sql.Cursor(ctx)
	if err != nil {
		return 0, err
	}
	if Offset(cursor) <= after {
		at = max(at, Offset(cursor))
		if db.backlog != nil {
			for r := range db.backlog.Visible().All {
				if r.Offset <= after {
					at = max(at, r.Offset)
				}
			}
		}
		return at, nil
	}
	index, err := db.sql.EntryFrom(ctx, uint64(after))
	if err != nil {
		return 0, err
	}
	// The entry itself is the record, or the one before it is the last that begins before the offset.
	entries, err := db.sql.EntriesFrom(ctx, max(index, 1)-1, 2)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if Offset(e.JournalOffset) <= after {
			at = max(at, Offset(e.JournalOffset))
		}
	}
	return at, nil
}
