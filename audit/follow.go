package audit

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"

	"github.com/auditsql/auditsql/sqlstore"
)

// Follow is TailAfter for a receiver that must miss no record, however long it was away: it yields every record whose offset in
// the journal is not before after, in the order of the journal. What was trimmed from the journal it takes from SQLite, which has
// it. With more it then goes on with each record that is acknowledged, until ctx ends. Without more it ends with the last record
// that there is.
//
// In place of a record that is damaged in SQLite it yields a *RecordError, and goes on. Other errors are those of TailAfter,
// except *TrimmedError.
//
// A receiver that is to go on later must not go on after SyncedOffset: see there.
func (db *DB) Follow(ctx context.Context, after Offset, more bool) iter.Seq2[TailRecord, error] {
	return tailOf(ctx, db, func(ctx context.Context, yield func(TailRecord, error) bool) error {
		return db.follow(ctx, after, more, yield)
	})
}

func (db *DB) follow(ctx context.Context, after Offset, more bool, yield func(TailRecord, error) bool) error {
	var closed error
	take := func(rec TailRecord, err error) bool {
		if closed = db.open(ctx); closed != nil {
			return false
		}
		if err == nil {
			after = rec.Next
		}
		return yield(rec, err)
	}
	for {
		err := db.tailAfter(ctx, after, more, take)
		var trimmed *TrimmedError
		if closed != nil || !errors.As(err, &trimmed) {
			return errors.Join(closed, err)
		}
		// Only segments before the cursor are trimmed, so SQLite has every record of them.
		goOn, err := db.fromSQLite(ctx, after, trimmed.First, take)
		if closed != nil || err != nil || !goOn {
			return errors.Join(closed, err)
		}
		after = trimmed.First
	}
}

// fromSQLite yields the records of SQLite whose offset is not before after and before end, in the order of the journal, and
// reports whether the receiver wants more.
func (db *DB) fromSQLite(ctx context.Context, after, end Offset, yield func(TailRecord, error) bool) (goOn bool, err error) {
	from, err := db.sql.EntryFrom(ctx, uint64(after))
	if err != nil {
		return false, err
	}
	for v, err := range db.sql.Values(ctx, from) {
		if err = db.lost(err); err != nil && !ofRecord(err) {
			return false, err
		}
		if Offset(v.JournalOffset) >= end {
			break
		}
		if !yield(tailRecord(v.JournalOffset, v.Value), err) {
			return false, nil
		}
	}
	return true, nil
}

// tailRecord is a record of SQLite's. How long it is in the journal SQLite does not know, but any offset within a record stands for
// the record that follows it.
func tailRecord(offset uint64, raw []byte) TailRecord {
	return TailRecord{Offset: Offset(offset), Next: Offset(offset) + 1, Raw: raw}
}

// Newest are the last records that a filter selects, in the order of the journal.
type Newest struct {
	Records []TailRecord
	// Damaged are records that belong here and cannot be read.
	Damaged []*RecordError
	// Next is where Follow goes on after all that was looked at.
	Next Offset
}

// LastRecords returns the last n records that a filter selects, in the order of the journal, so that Follow can go on after them
// without a gap and without a double. It has also those that SQLite does not have yet, and those that were trimmed from the
// journal. The filter's AsOf, After, Limit and order count for nothing.
func (db *DB) LastRecords(ctx context.Context, n int, f Filter) (*Newest, error) {
	f.AsOf, f.After, f.Limit, f.Descending, f.ByAdmission = nil, nil, 0, false, false
	if err := db.tailable(ctx); err != nil {
		return nil, err
	}
	// What SQLite has at this moment, and then all that comes after it in the journal.
	cursor, err := db.sql.Cursor(ctx)
	if err != nil {
		return nil, err
	}
	known, err := db.sql.EntryFrom(ctx, cursor)
	if err != nil {
		return nil, err
	}
	newest, bare, matches := &Newest{Next: Offset(cursor)}, f.bare(), f.Matcher()
	for rec, err := range db.Follow(ctx, newest.Next, false) {
		var damaged *RecordError
		if errors.As(err, &damaged) {
			newest.Damaged = append(newest.Damaged, damaged)
			continue
		}
		if err != nil {
			return nil, err
		}
		newest.Next = rec.Next
		fits := bare
		if !fits {
			q, err := storedAudit(rec.Raw)
			if err != nil {
				return nil, err
			}
			fits = matches(&q)
		}
		if fits {
			newest.Records = append(newest.Records, rec)
		}
		if over := len(newest.Records) - n; over > 0 {
			newest.Records = slices.Delete(newest.Records, 0, over)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if need := n - len(newest.Records); need > 0 && known > 0 {
		if err := db.lastApplied(ctx, need, known, f, newest); err != nil {
			return nil, err
		}
	}
	return newest, nil
}

// lastApplied puts the last n of the first known records that a filter selects before those that are there.
func (db *DB) lastApplied(ctx context.Context, n int, known uint64, f Filter, newest *Newest) error {
	var older []TailRecord
	var damaged []*RecordError
	take := func(offset uint64, raw []byte, err error) error {
		var lost *RecordError
		switch err = db.lost(err); {
		case errors.As(err, &lost):
			damaged = append(damaged, lost)
		case err != nil:
			return err
		default:
			older = append(older, tailRecord(offset, raw))
		}
		return nil
	}
	if f.bare() { // this needs no derived table
		for v, err := range db.sql.Values(ctx, known-min(known, uint64(n))) {
			if (err == nil || db.ofOne(err)) && v.Index >= known {
				break
			}
			if err := take(v.JournalOffset, v.Value, err); err != nil {
				return err
			}
		}
	} else {
		asOf := min(known, math.MaxInt64)
		f.AsOf, f.Limit, f.Descending, f.ByAdmission = &asOf, n, true, true
		for v, err := range selected(ctx, db, f, db.sql.SelectNumbered) {
			offset := uint64(0)
			if err == nil {
				entries, entryErr := db.sql.EntriesFrom(ctx, v.Index, 1)
				if err = entryErr; err == nil && (len(entries) == 0 || entries[0].Index != v.Index) {
					err = &sqlstore.IncompleteError{Table: "entry", Have: v.Index, Want: v.Index + 1}
				}
				if err == nil {
					offset = entries[0].JournalOffset
				}
			}
			if err := take(offset, v.Value, err); err != nil {
				return err
			}
		}
		slices.Reverse(older)
		slices.Reverse(damaged)
	}
	newest.Records = append(older, newest.Records...)
	newest.Damaged = append(damaged, newest.Damaged...)
	return nil
}

// ofOne reports whether an error of SQLite is about one record.
func (db *DB) ofOne(err error) bool { return ofRecord(db.lost(err)) }

// SyncedOffset returns an offset of the journal before which everything is on disk for good. A receiver of Follow or TailAfter
// that will go on after its own end, or after a crash, must go on with the lower one of its own offset and this one. A reader
// beside a writer in another process may see a record before that is synced. If the power failed then, the journal would lose
// the record, and put another one in its place: a receiver that goes on after the place would miss that one. So it may see a
// record twice, and misses none.
//
// In the writer's process it is what the journal has synced. Another process knows less: it is how far SQLite is, which gets
// only what is synced.
func (db *DB) SyncedOffset(ctx context.Context) (Offset, error) {
	if err := db.readable(ctx); err != nil {
		return 0, err
	}
	if db.journal != nil {
		return db.journal.Synced(), nil
	}
	cursor, err := db.sql.Cursor(ctx)
	return Offset(cursor), err
}

// Matches reports whether a record meets the conditions of the filter: a list of a store that has the record would have it. It
// asks no store, so it also tells about a record that SQLite does not have yet, as Follow yields them. AsOf, After, Limit and
// the order are about a list, and count for nothing here.
func (f Filter) Matches(q *QueryAudit) bool { return f.Matcher()(q) }

// Matcher returns Matches as a function, for many records. The filter and what it points to must not change while the function
// is in use. Several goroutines may call it.
func (f Filter) Matcher() func(*QueryAudit) bool {
	if f.none() {
		return func(*QueryAudit) bool { return false }
	}
	g := f.lower()
	return func(q *QueryAudit) bool {
		row := toRow(q)
		return g.Matches(&row)
	}
}
