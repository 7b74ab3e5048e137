package audit

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// reached is a state that SQLite had on disk when store.json was written. It has that and more from then on,
// so whatever shows less (the database file, the two files of SQLite together, the journal) was put there by
// somebody. Offsets are never used twice, so it stays true however often SQLite is built anew.
type reached struct {
	Cursor wal.Offset `json:"cursor"`
	Newest *milestone `json:"newest,omitempty"` // the newest record below it; nil when there was none
	// Before is the cursor of the complete checkpoint before this one, 0 when there was none. The journal is trimmed up
	// to here and no further: whatever becomes of the newest checkpoint, the journal reaches back to the one before.
	Before wal.Offset `json:"before,omitempty"`
}

// milestone is where a record lies in the journal. A journal of another store has another one there, or none.
type milestone struct {
	Offset  wal.Offset `json:"offset"`
	QueryID QueryID    `json:"query_id"`
}

// then returns what to note after the next complete checkpoint. A nil r is
// none that counts. A checkpoint that found nothing new takes no other's place.
func (r *reached) then(done sqlstore.Checkpoint) *reached {
	next := &reached{Cursor: wal.Offset(done.Applied)}
	switch {
	case r == nil:
	case r.Cursor < next.Cursor:
		next.Before = r.Cursor
	default:
		next.Before = r.Before
	}
	if newest := done.Newest; newest != nil {
		next.Newest = &milestone{wal.Offset(newest.JournalOffset), newest.QueryID}
	}
	return next
}

// reached returns the offset up to which the journal was synced, by all that SQLite and store.json say of it:
// the cursor was the end of something synced, whatever became of SQLite since.
func (p *opening) reached() (end wal.Offset) {
	if p.meta.Exists {
		end = wal.Offset(p.meta.Cursor)
	}
	if was := p.file.Reached; was != nil {
		end = max(end, was.Cursor)
	}
	return max(end, p.file.Synced)
}

// hasReached holds the journal against what SQLite had: that is all there is to tell by, when SQLite is lost, that
// the journal is another store's, or one of an earlier time.
func (p *opening) hasReached(segs []wal.Segment, end wal.Offset, journalDir string) error {
	was := p.file.Reached
	if was == nil {
		return nil
	}
	if was.Cursor > end {
		return fmt.Errorf("%s: %w: it ends at offset %d, %s had records up to %d", journalDir, wal.ErrAhead, end, sqliteName, was.Cursor)
	}
	newest := was.Newest
	if newest == nil || newest.Offset < segs[0].Base {
		return nil
	}
	// From its own offset on it is found at once. Where none begins there, it is looked for from the segment's
	// base: a repair that had no SQLite to ask may have put a filler over it.
	var hurt *wal.CorruptError
	id, err := p.recordAt(journalDir, newest.Offset, newest.Offset)
	if errors.As(err, &hurt) {
		id, err = p.recordAt(journalDir, baseOf(segs, newest.Offset), newest.Offset)
	}
	switch {
	case errors.As(err, &hurt) && hurt.Offset < p.from(segs):
		return nil // see belongTogether
	case err != nil || id == nil || *id == newest.QueryID:
		return err
	}
	return fmt.Errorf("%s: %w: record %s should be in the journal at offset %d, and is not", p.dir, ErrMismatch, newest.QueryID, newest.Offset)
}

// baseOf returns where the segment of an offset begins, which must not lie below the first.
func baseOf(segs []wal.Segment, off wal.Offset) wal.Offset {
	return segs[sort.Search(len(segs), func(i int) bool { return segs[i].Base > off })-1].Base
}

// recordAt reads the journal from an offset at which something begins, and returns the id of the record that covers
// another one, zeros if it has none or begins before that, and nil if nothing but the journal's own covers it.
func (p *opening) recordAt(journalDir string, from, at wal.Offset) (*QueryID, error) {
	r, err := wal.OpenReader(journalDir, from, p.opts.journal())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		rec, err := r.Next(p.ctx)
		switch {
		case errors.Is(err, io.EOF), err == nil && rec.Offset > at:
			return nil, nil
		case err != nil:
			return nil, err
		case rec.Offset == at:
			id, _ := idOf(rec.Payload)
			return &id, nil
		case rec.Next > at:
			return &QueryID{}, nil
		}
	}
}
