package audit

import (
	"context"
	"errors"
	"fmt"
	"os"

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
	r, err := wal.OpenReader(journalDir, newest.Offset, p.opts.journal())
	if err != nil {
		return err
	}
	defer r.Close()
	rec, err := r.Next(p.ctx)
	var hurt *wal.CorruptError
	switch {
	case errors.As(err, &hurt) && hurt.Offset < p.from(journal.Segments()):
		return nil // see belongTogether
	case err != nil && !errors.As(err, &hurt):
		return err
	case err == nil && rec.Offset > newest.Offset:
		return nil // a filler is in its place: the journal was repaired, without a SQLite that had it
	}
	if id, ok := idOf(rec.Payload); err != nil || !ok || id != newest.QueryID {
		return fmt.Errorf("%s: %w: record %s should be in the journal at offset %d, and is not", p.dir, ErrMismatch, newest.QueryID, newest.Offset)
	}
	return nil
}

// hasWAL reports whether there is a -wal with something in it.
func hasWAL(dir string) (bool, error) {
	st, err := os.Stat(sqlitePath(dir) + "-wal")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && st.Size() > 0, err
}
