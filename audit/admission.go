package audit

import (
	"context"
	"errors"
	"math"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// admission says which records of the journal the store has. The journal may hold a record twice, or records that were
// refused, if another program has written to it. Who reads the journal in its order asks for each record. What SQLite says
// is compared with the order of admission, so one search is enough for many records.
//
// A record is left out only when something says why. If SQLite lacks a record for which there is no such reason, it is shown.
type admission struct {
	db  *DB
	own wal.Offset // records from here on were put in this process, which has checked their ids

	cursor  wal.Offset       // SQLite had everything before it when it was asked last
	entries []sqlstore.Entry // the next ones in the order of admission
	next    uint64           // index of the entry after them
	begun   bool             // the first entry was searched

	// Records after the cursor that the store will have, by id, and where the last of them is.
	coming     map[QueryID]struct{}
	comingLast wal.Offset
}

func (db *DB) admission() *admission {
	a := &admission{db: db, own: math.MaxUint64, coming: map[QueryID]struct{}{}}
	if db.applier != nil {
		if s, ok := db.applier.source.(*journalSource); ok {
			a.own = s.own
		}
	}
	return a
}

// only returns a visit for readOn that hands the records that the store has to take, until that returns false.
func (a *admission) only(ctx context.Context, take func(wal.Record) bool) func(wal.Record) (bool, error) {
	return func(rec wal.Record) (more bool, err error) {
		ok, err := a.has(ctx, rec)
		if err != nil || !ok {
			return true, err
		}
		return take(rec), nil
	}
}

// has reports whether the store has a record. It is asked for records in the order of the journal.
func (a *admission) has(ctx context.Context, rec wal.Record) (bool, error) {
	if rec.Offset >= a.own {
		return true, nil
	}
	if rec.Offset >= a.cursor {
		if err := a.look(ctx); err != nil {
			return false, err
		}
	}
	if rec.Offset < a.cursor {
		return a.applied(ctx, rec)
	}
	return a.unapplied(ctx, rec)
}

// look asks SQLite how far it is.
func (a *admission) look(ctx context.Context) error {
	cursor, err := a.db.sql.Cursor(ctx)
	if err != nil {
		return err
	}
	a.cursor = wal.Offset(cursor)
	if a.comingLast < a.cursor {
		clear(a.coming) // SQLite has them
	}
	return nil
}

// applied is has for a record before the cursor.
func (a *admission) applied(ctx context.Context, rec wal.Record) (bool, error) {
	if !a.begun {
		index, err := a.db.sql.EntryFrom(ctx, uint64(rec.Offset))
		if err != nil {
			return false, err
		}
		a.next, a.begun = index, true
	}
	for {
		for len(a.entries) > 0 && wal.Offset(a.entries[0].JournalOffset) < rec.Offset {
			a.entries = a.entries[1:]
		}
		if len(a.entries) > 0 {
			break
		}
		const page = 256
		var err error
		if a.entries, err = a.db.sql.EntriesFrom(ctx, a.next, page); err != nil {
			return false, err
		}
		if len(a.entries) == 0 {
			break
		}
		a.next = a.entries[len(a.entries)-1].Index + 1
	}
	if len(a.entries) > 0 && wal.Offset(a.entries[0].JournalOffset) == rec.Offset {
		return true, nil
	}
	// It is a record that was refused, or one that was stored before.
	refused, err := a.db.sql.RejectedBetween(ctx, uint64(rec.Offset), uint64(rec.Offset)+1)
	if err != nil || len(refused) > 0 {
		return false, err
	}
	id, ok := idOf(rec.Payload)
	if !ok {
		return true, nil
	}
	index, err := a.db.sql.IndexOf(ctx, id)
	if err != nil || index < 0 {
		if err = a.db.wholeSince(ctx, err); errors.Is(err, ErrReindexing) {
			err = nil // table audit cannot tell
		}
		return true, err
	}
	entries, err := a.db.sql.EntriesFrom(ctx, uint64(index), 1)
	return len(entries) == 0 || entries[0].QueryID != id || wal.Offset(entries[0].JournalOffset) == rec.Offset, err
}

// unapplied is has for a record after the cursor, of a writer in another process.
func (a *admission) unapplied(ctx context.Context, rec wal.Record) (bool, error) {
	row, err := rowOf(rec.Payload)
	if err != nil {
		return false, nil // SQLite will refuse it
	}
	id := QueryID(row.QueryID)
	if _, twice := a.coming[id]; twice {
		return false, nil
	}
	_, err = a.db.sql.Record(ctx, id)
	var damaged *sqlstore.RecordError
	switch {
	case errors.Is(err, sqlstore.ErrNotFound):
		a.coming[id], a.comingLast = struct{}{}, rec.Offset
		return true, nil
	case err != nil && !errors.As(err, &damaged):
		return false, err
	}
	// SQLite has a record with this id. It is this one if SQLite has gone on since it was asked.
	if err := a.look(ctx); err != nil || rec.Offset >= a.cursor {
		return false, err
	}
	return a.applied(ctx, rec)
}
