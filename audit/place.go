package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/wal"
)

// ErrOtherHistory means that the records before a Place are not those that were there when it was taken: the store was restored from a
// backup and went on, or it is another store. The next record after the offset would be another one than the receiver waits for.
var ErrOtherHistory = errors.New("these are not the records that were followed")

// A Place is how far a receiver of Follow has come, and what shows later that the records before it are the same.
type Place struct {
	Offset Offset // where Follow goes on
	Store  string // the id of the store
	// Record and RecordAt are the id and the offset of the last record before Offset. The id is zero when there was none.
	Record   QueryID
	RecordAt Offset
}

// PlaceBefore returns where a receiver that has seen everything before an offset goes on later: there, or earlier, see SyncedOffset.
func (db *DB) PlaceBefore(ctx context.Context, at Offset) (Place, error) {
	p, err := db.placeBefore(ctx, at)
	if err != nil {
		return Place{}, fmt.Errorf("tail: %w", err)
	}
	return p, nil
}

func (db *DB) placeBefore(ctx context.Context, at Offset) (Place, error) {
	if err := db.readable(ctx); err != nil {
		return Place{}, err
	}
	// SQLite gets only what is synced.
	cursor, err := db.sql.Cursor(ctx)
	if err != nil {
		return Place{}, err
	}
	p := Place{Offset: min(at, Offset(cursor)), Store: db.file.StoreID}
	index, err := db.sql.EntryFrom(ctx, uint64(p.Offset))
	if err != nil || index == 0 {
		return p, err
	}
	entries, err := db.sql.EntriesFrom(ctx, index-1, 1)
	if err == nil && len(entries) > 0 {
		p.Record, p.RecordAt = entries[0].QueryID, Offset(entries[0].JournalOffset)
	}
	return p, err
}

// CheckPlace returns an ErrOtherHistory if a receiver would miss records that went on at a place: the last record before it is another one
// now. It is ErrRewound if the journal ends before that record. A place without a store was taken by nobody, and is not checked.
func (db *DB) CheckPlace(ctx context.Context, p Place) error {
	if p.Store == "" {
		return nil
	}
	if err := db.checkPlace(ctx, p); err != nil {
		return fmt.Errorf("tail: %w", journalError(err))
	}
	return nil
}

func (db *DB) checkPlace(ctx context.Context, p Place) error {
	if err := db.tailable(ctx); err != nil {
		return err
	}
	if p.Store != db.file.StoreID {
		return fmt.Errorf("%w: they were those of store %s, and this is store %s", ErrOtherHistory, p.Store, db.file.StoreID)
	}
	if p.Record == (QueryID{}) {
		return nil
	}
	other := func(found string) error {
		return fmt.Errorf("%w: the last one was %s at offset %d, where there is %s", ErrOtherHistory, p.Record, p.RecordAt, found)
	}
	index, err := db.sql.EntryFrom(ctx, uint64(p.RecordAt))
	if err != nil {
		return err
	}
	entries, err := db.sql.EntriesFrom(ctx, index, 2)
	if err != nil {
		return err
	}
	switch {
	case len(entries) == 0 && db.file.Follows == nil:
		return db.checkInJournal(ctx, p, other) // SQLite lags
	case len(entries) == 0 || Offset(entries[0].JournalOffset) != p.RecordAt:
		return other("none")
	case entries[0].QueryID != p.Record:
		return other(Hash(entries[0].QueryID).String())
	case len(entries) > 1 && Offset(entries[1].JournalOffset) < p.Offset:
		return fmt.Errorf("%w: %s at offset %d was not among them", ErrOtherHistory, Hash(entries[1].QueryID), entries[1].JournalOffset)
	}
	return nil
}

// checkInJournal is checkPlace for a record that SQLite does not have yet.
func (db *DB) checkInJournal(ctx context.Context, p Place, other func(found string) error) error {
	at, err := db.recordFrom(ctx, p.RecordAt)
	if err != nil {
		return err
	}
	if at != p.RecordAt {
		return other("none")
	}
	found := other("none")
	_, err = db.readJournal(ctx, at, func(rec wal.Record) (more bool, err error) {
		if id, ok := idOf(rec.Payload); ok && id == p.Record {
			found = nil
		} else if ok {
			found = other(id.String())
		}
		return false, nil
	})
	return errors.Join(err, found)
}
