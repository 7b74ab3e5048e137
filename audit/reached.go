package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
}

// milestone is where a record lies in the journal. A journal of another store has another one there, or none.
type milestone struct {
	Offset  wal.Offset `json:"offset"`
	QueryID QueryID    `json:"query_id"`
}

// reachedBy notes what SQLite has, when a checkpoint up to cursor is complete and nothing was applied since.
func reachedBy(ctx context.Context, sql *sqlstore.DB, cursor uint64) (*reached, error) {
	r := &reached{Cursor: wal.Offset(cursor)}
	newest, ok, err := sql.LastEntry(ctx)
	if err == nil && ok {
		r.Newest = &milestone{wal.Offset(newest.JournalOffset), newest.QueryID}
	}
	return r, err
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
	return end
}

// otherTimes says why the database and its -wal cannot be what the store left, though each looks well: SQLite
// puts any -wal over any database, and what comes out can have one record under the id of another. both is what
// the two say together; it is only looked at when it exists.
//
// What it cannot tell apart are two files of one time between two notes (noteEvery).
func otherTimes(ctx context.Context, dir string, file storeFile, both sqlstore.Meta) (why string) {
	was := file.Reached
	if was == nil {
		return "" // made before this was noted
	}
	// In the middle of a checkpoint the file alone may not be readable, and this process may have it open.
	// Then the two together have to do.
	alone, ok, err := sqlstore.ReadAlone(ctx, sqlitePath(dir))
	switch {
	case ok && err == nil && wal.Offset(alone.Cursor) < was.Cursor:
		return fmt.Sprintf("it ends at offset %d, and had everything up to %d", alone.Cursor, was.Cursor)
	case !both.Exists:
		return ""
	case wal.Offset(both.Cursor) < was.Cursor, file.Clean && wal.Offset(both.Cursor) != was.Cursor:
		return fmt.Sprintf("with its -wal it ends at offset %d, and had everything up to %d", both.Cursor, was.Cursor)
	}
	return ""
}

// hasReached holds the journal against what SQLite had: that is all there is to tell by, when SQLite is lost, that
// the journal is another store's, or one of an earlier time.
func (p *opening) hasReached(journal *wal.Journal, journalDir string) error {
	was := p.file.Reached
	if was == nil {
		return nil
	}
	if was.Cursor > journal.End() {
		return fmt.Errorf("%s: %w: it ends at offset %d, %s had records up to %d", journalDir, wal.ErrAhead, journal.End(), sqliteName, was.Cursor)
	}
	newest := was.Newest
	if newest == nil || newest.Offset < journal.Segments()[0].Base {
		return nil
	}
	// From its own offset on it is found at once. Where none begins there, it is looked for from the segment's
	// base: a repair that had no SQLite to ask may have put a filler over it.
	segs := journal.Segments()
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

// hasWAL reports whether there is a -wal with something in it.
func hasWAL(dir string) (bool, error) {
	st, err := os.Stat(sqlitePath(dir) + "-wal")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && st.Size() > 0, err
}
