package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// checkTogether finds out, without changing anything, whether opening the store for writing would refuse it because its
// parts contradict each other. p.plan says afterwards why SQLite would be suspect.
func (p *opening) checkTogether(journalDir string) error {
	if _, err := p.findJournal(); err != nil {
		return p.explain(err)
	}
	segs, err := p.inspect(journalDir)
	if err != nil || len(segs) == 0 {
		return p.explain(err)
	}
	if p.plan.DropWAL {
		return nil // with the -wal that is still there, what the database says does not count
	}
	last := segs[len(segs)-1]
	// This may be after the end of the journal: the last segment may end in zeros.
	return p.belongTogether(segs, last.Base+wal.Offset(last.Size), journalDir)
}

// belongTogether compares the newest record that SQLite has with the journal, if the journal still has it. Otherwise a
// journal of another store, or one restored from another time, would be replayed into rows that it never led to.
//
// It takes the journal's segments, of which there is at least one, and its end, so that it can be called while the
// journal is not open.
func (p *opening) belongTogether(segs []wal.Segment, end wal.Offset, journalDir string) error {
	if err := p.checkReached(segs, end, journalDir); err != nil || !p.meta.Exists {
		return err
	}
	// The cursor was the end of something synced, also if SQLite has changed since.
	if wal.Offset(p.meta.Cursor) > end {
		return fmt.Errorf("%s: %w: it ends at offset %d, %s has records up to %d", journalDir, wal.ErrAhead, end, storedir.SQLiteName, p.meta.Cursor)
	}
	newest, err := p.newest()
	if p.rebuild() && err != nil {
		return nil // the database is suspect anyway, and the journal reaches back to the beginning
	}
	if err != nil || newest == nil || wal.Offset(newest.JournalOffset) < segs[0].Base {
		return err
	}
	mismatch := func(why string) error {
		return fmt.Errorf("%s: %w: the newest record, %s, should be in the journal at offset %d, where %s",
			p.dir, ErrMismatch, Hash(newest.QueryID), newest.JournalOffset, why)
	}
	if wal.Offset(newest.JournalOffset) >= end {
		return mismatch("the journal has ended")
	}
	off := wal.Offset(newest.JournalOffset)
	r, err := wal.OpenReader(journalDir, off, p.opts.journal())
	if err != nil {
		return err
	}
	defer r.Close()
	rec, err := r.Next(p.ctx)
	var corrupt *wal.CorruptError
	switch {
	case errors.As(err, &corrupt) && corrupt.Offset < p.from(segs):
		// SQLite has the records before the offset at which the replay begins, so damage there keeps no store from
		// being opened, and verify reports it. After that offset recovery has found the journal intact, so this is no
		// damage but another journal. An intact record that covers the place is no damage either.
		if id, _, err := p.recordAt(journalDir, baseOf(segs, off), off); err == nil && id != nil {
			return mismatch("another one covers it")
		}
		return nil
	case errors.As(err, &corrupt), errors.Is(err, io.EOF), err == nil && rec.Offset > off:
		// A repair that did not trust SQLite may have put a filler over the record. Then the journal does not have it any more, and
		// contradicts nothing.
		if _, filled, err := p.recordAt(journalDir, baseOf(segs, off), off); err == nil && filled {
			return nil
		}
		// Without a writer the end of the data is not known: bytes that are no record look like a torn tail.
		return mismatch("no record begins")
	case err != nil:
		return err
	}
	id, ok := idOf(rec.Payload)
	switch {
	case !ok || id != Hash(newest.QueryID):
		return mismatch("another one is")
	case p.opts.repairing: // the values are what it is for
	case newest.Value == nil && p.trimmed && !p.rebuild(): // or the index in which it is looked up is damaged
		return fmt.Errorf("%w: the newest record, %s, is missing from kv", sqlstore.ErrMalformed, id)
	case newest.Value == nil && !p.rebuild():
		return fmt.Errorf("%s: %w: the newest record, %s, is missing from kv", storedir.SQLitePath(p.dir), ErrMismatch, id)
	case newest.Value != nil && !bytes.Equal(rec.Payload, newest.Value):
		return mismatch("it has other bytes")
	}
	return nil
}

// newest returns the newest entry of the database as it is, with its value, or without when kv lacks it. It is nil when
// there is no entry. If the database will be set aside, its labels are read here as well.
func (p *opening) newest() (*sqlstore.EntryValue, error) {
	sql, err := sqlstore.Open(p.ctx, storedir.SQLitePath(p.dir), sqlstore.Options{ReadOnly: true, Older: true, Readers: 1})
	if err != nil {
		return nil, err
	}
	defer sql.Close()
	if p.rebuild() {
		if p.labels, err = sql.Labels(p.ctx); err != nil {
			p.labels = nil // they stay in the database that is set aside
		}
	}
	if !p.suspect() {
		// An opening must not take entries that are missing for entries that never were.
		if err := sql.CheckEntries(p.ctx); err != nil {
			return nil, err
		}
	}
	entry, ok, err := sql.LastEntry(p.ctx)
	if err != nil || !ok {
		return nil, err
	}
	newest := &sqlstore.EntryValue{Entry: entry}
	newest.Value, err = sql.Get(p.ctx, KeyOf(entry.QueryID))
	if errors.Is(err, sqlstore.ErrNotFound) {
		err = nil
	}
	return newest, err
}

// reached returns the offset up to which the journal was synced, by all that SQLite, store.json and log.json say: the cursor was
// the end of something synced, also if SQLite has changed since.
func (p *opening) reached() (end wal.Offset) {
	if p.meta.Exists {
		end = wal.Offset(p.meta.Cursor)
	}
	if was := p.file.Reached; was != nil {
		end = max(end, was.Cursor)
	}
	return max(end, p.file.Synced, p.signedUpTo())
}

// checkReached compares the journal with what store.json says that SQLite had. When SQLite is lost, only this shows that
// the journal is another store's, or one of an earlier time.
func (p *opening) checkReached(segs []wal.Segment, end wal.Offset, journalDir string) error {
	was := p.file.Reached
	if was == nil {
		return nil
	}
	if was.Cursor > end {
		return p.explainAhead(fmt.Errorf("%s: %w: it ends at offset %d, %s had records up to %d", journalDir, wal.ErrAhead, end, storedir.SQLiteName, was.Cursor))
	}
	newest := was.Newest
	if newest == nil || newest.Offset < segs[0].Base {
		return nil
	}
	// Read from its own offset it is found at once. When no record begins there, it is searched for from the segment's
	// base: a repair that had no SQLite to ask may have put a filler over it.
	var corrupt *wal.CorruptError
	id, _, err := p.recordAt(journalDir, newest.Offset, newest.Offset)
	if errors.As(err, &corrupt) {
		id, _, err = p.recordAt(journalDir, baseOf(segs, newest.Offset), newest.Offset)
	}
	switch {
	case errors.As(err, &corrupt) && corrupt.Offset < p.from(segs):
		return nil // as in belongTogether
	case err != nil || id == nil || *id == QueryID(newest.QueryID):
		return err
	}
	return fmt.Errorf("%s: %w: record %s should be in the journal at offset %d, and is not", p.dir, ErrMismatch, newest.QueryID, newest.Offset)
}

// baseOf returns where the segment of an offset begins. The offset must not be before the first segment.
func baseOf(segs []wal.Segment, off wal.Offset) wal.Offset {
	return segs[sort.Search(len(segs), func(i int) bool { return segs[i].Base > off })-1].Base
}

// recordAt reads the journal from an offset at which a record begins, and returns the id of the record that covers the
// offset at. The id is zero for a record without an id, or one that begins before at. It is nil if no record of the caller's covers
// the offset; control says then that a control record does.
func (p *opening) recordAt(journalDir string, from, at wal.Offset) (id *QueryID, control bool, err error) {
	r, err := wal.OpenReader(journalDir, from, p.opts.journal())
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	for {
		rec, err := r.Next(p.ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil, r.Offset() > at, nil
		case err != nil:
			return nil, false, err
		case rec.Offset > at:
			return nil, true, nil
		case rec.Offset == at:
			id, _ := idOf(rec.Payload)
			return &id, false, nil
		case rec.Next > at:
			return &QueryID{}, false, nil
		}
	}
}
