package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// lookAtSQLite reads what the database says of itself and decides what becomes of one that is not to be
// believed: if the journal reaches back to the beginning it is built anew, else it is kept and checked.
func (p *opening) lookAtSQLite(segs []wal.Segment) (err error) {
	fromBeginning := len(segs) > 0 && segs[0].Base == 0
	doubted, err := doubtful(p.dir, p.file)
	if err != nil {
		return err
	}
	p.meta, err = sqlstore.ReadCursor(p.ctx, sqlitePath(p.dir))
	switch {
	case err != nil && doubted && fromBeginning && !errors.Is(err, sqlstore.ErrNewer) && !errors.Is(err, sqlstore.ErrNotStore):
		p.opts.logger.Warn("the database cannot be read", "error", err)
		p.meta = sqlstore.Meta{Exists: true, StoreID: p.file.StoreID, TimeUnit: p.file.TimeUnit.String()}
	case err != nil:
		return err
	case !p.meta.Exists:
		return nil
	}
	if p.meta.StoreID != p.file.StoreID {
		return fmt.Errorf("%s: %w: it belongs to store %s, %s says %s", sqlitePath(p.dir), ErrMismatch, p.meta.StoreID, storeFileName, p.file.StoreID)
	}
	if p.meta.TimeUnit != p.file.TimeUnit.String() {
		return fmt.Errorf("%s: %w: its time unit is %s, %s says %s", sqlitePath(p.dir), ErrMismatch, p.meta.TimeUnit, storeFileName, p.file.TimeUnit)
	}
	p.doubted, p.rebuild = doubted, doubted && fromBeginning
	return nil
}

// doubtful reports whether SQLite's files are not what the store left. Between the first write and the note
// that all is on disk there is a -wal with something in it: a writer gives it its header when it opens, and
// only shortens it after the note. Without it the database may be a mix of two states, with a cursor ahead
// of its rows, and SQLite would not notice.
func doubtful(dir string, file storeFile) (bool, error) {
	if file.Clean || !file.Used {
		return false, nil
	}
	if _, err := os.Stat(sqlitePath(dir)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // lost, not doubted
		}
		return false, err
	}
	if file.Doubted {
		return true, nil
	}
	st, err := os.Stat(sqlitePath(dir) + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return st.Size() == 0, nil
}

// belongTogether holds the newest record that SQLite has against the journal, if the journal still has it:
// a journal of another store, or one restored from another time, would otherwise be replayed into rows
// that it never led to.
func (p *opening) belongTogether(journal *wal.Journal, journalDir string) error {
	if !p.meta.Exists {
		return nil
	}
	// The cursor was the end of something synced, whatever became of SQLite since.
	if wal.Offset(p.meta.Cursor) > journal.End() {
		return fmt.Errorf("%s: %w: it ends at offset %d, %s has records up to %d", journalDir, wal.ErrAhead, journal.End(), sqliteName, p.meta.Cursor)
	}
	newest, err := p.newest()
	if p.rebuild && err != nil {
		return nil // it is not to be believed anyway, and the journal reaches back to the beginning
	}
	if err != nil || newest == nil || wal.Offset(newest.JournalOffset) < journal.Segments()[0].Base {
		return err
	}
	mismatch := func(why string) error {
		return fmt.Errorf("%s: %w: the newest record, %s, should be in the journal at offset %d, where %s",
			p.dir, ErrMismatch, Hash(newest.QueryID), newest.JournalOffset, why)
	}
	if wal.Offset(newest.JournalOffset) >= journal.End() {
		return mismatch("the journal has ended")
	}
	r, err := wal.OpenReader(journalDir, wal.Offset(newest.JournalOffset), wal.Options{})
	if err != nil {
		return err
	}
	defer r.Close()
	rec, err := r.Next(p.ctx)
	var hurt *wal.CorruptError
	switch {
	case errors.As(err, &hurt) && hurt.Offset < p.from(journal.Segments()):
		// Damage below what is replayed: SQLite has it, so it is told by verify and stops nobody. Above that
		// recovery has found the journal whole, so this is no damage but another journal.
		return nil
	case errors.As(err, &hurt):
		return mismatch("no record begins")
	case err != nil:
		return err
	}
	id, ok := idOf(rec.Payload)
	switch {
	case rec.Offset != wal.Offset(newest.JournalOffset) || !ok || id != Hash(newest.QueryID):
		return mismatch("another one is")
	case newest.Value == nil && !p.rebuild:
		return fmt.Errorf("%s: %w: the newest record, %s, is missing from kv", sqlitePath(p.dir), ErrMismatch, id)
	case newest.Value != nil && !bytes.Equal(rec.Payload, newest.Value):
		return mismatch("it has other bytes")
	}
	return nil
}

// newest returns the newest entry of the database as it is, with its value or without when kv lacks it, and
// takes the labels along should the database be set aside. It is nil when there is no entry.
func (p *opening) newest() (*sqlstore.EntryValue, error) {
	sql, err := sqlstore.Open(p.ctx, sqlitePath(p.dir), sqlstore.Options{ReadOnly: true, Readers: 1})
	if err != nil {
		return nil, err
	}
	defer sql.Close()
	if p.rebuild {
		if p.labels, err = sql.Labels(p.ctx); err != nil {
			p.labels = nil // they stay in what is set aside
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

// setAside moves the database and its companions to a folder of their own. Nothing is deleted: a person
// may want to look at it, and the labels are in it.
func (p *opening) setAside() error {
	aside := filepath.Join(p.dir, fmt.Sprintf("aside-%d", time.Now().UnixNano()))
	if err := wal.OS.Mkdir(aside); err != nil {
		return err
	}
	for _, name := range sqliteFiles(p.dir) {
		err := os.Rename(name, filepath.Join(aside, filepath.Base(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	p.report.Aside = aside
	return errors.Join(wal.OS.SyncDir(aside), wal.OS.SyncDir(p.dir))
}
