package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// lookAtSQLite reads what the database says of itself and decides what becomes of one that is not to be
// believed: if the journal reaches back to the beginning it is built anew, else it is kept and checked.
func (p *opening) lookAtSQLite(segs []wal.Segment) (err error) {
	fromBeginning := len(segs) > 0 && segs[0].Base == 0
	var unread error
	if p.meta, unread = sqlstore.ReadCursor(p.ctx, sqlitePath(p.dir)); unread != nil {
		p.meta = sqlstore.Meta{}
	}
	if p.doubt, err = doubtful(p.ctx, p.dir, p.file, p.meta); err != nil {
		return err
	}
	p.doubted = p.doubt != ""
	p.rebuild = p.doubted && fromBeginning
	switch {
	case errors.Is(unread, sqlstore.ErrNewer), errors.Is(unread, sqlstore.ErrNotStore):
		return unread
	case unread != nil && p.rebuild:
		p.opts.logger.Warn("the database cannot be read", "error", unread)
		p.meta = sqlstore.Meta{Exists: true, StoreID: p.file.StoreID, TimeUnit: p.file.TimeUnit.String()}
	case unread != nil && p.doubted:
		return p.needsBackup(unread.Error())
	case unread != nil:
		return unread
	case !p.meta.Exists:
		p.doubt, p.doubted, p.rebuild = "", false, false
		return nil
	}
	// A -wal of ours over another store's database says of itself that it is ours.
	alone, ok, err := sqlstore.ReadAlone(p.ctx, sqlitePath(p.dir))
	if !ok || err != nil {
		alone = p.meta
	}
	for _, m := range []sqlstore.Meta{p.meta, alone} {
		if m.StoreID != p.file.StoreID {
			return fmt.Errorf("%s: %w: it belongs to store %s, %s says %s", sqlitePath(p.dir), ErrMismatch, m.StoreID, storeFileName, p.file.StoreID)
		}
	}
	if p.meta.TimeUnit != p.file.TimeUnit.String() {
		return fmt.Errorf("%s: %w: its time unit is %s, %s says %s", sqlitePath(p.dir), ErrMismatch, p.meta.TimeUnit, storeFileName, p.file.TimeUnit)
	}
	if !p.doubted || p.rebuild || len(segs) == 0 {
		return nil
	}
	// What was trimmed from the journal is in SQLite alone. Without a -wal the database has what it had on disk
	// when the journal was trimmed, unless it is older than that. Together with a -wal of another time it can have
	// anything.
	mixed, err := hasWAL(p.dir)
	switch {
	case err != nil:
		return err
	case mixed && otherTimes(p.ctx, p.dir, p.file, p.meta) != "":
		return p.needsBackup("another -wal lies beside it than its own")
	case wal.Offset(p.meta.Cursor) < segs[0].Base:
		return fmt.Errorf("%s: %w: it ends at offset %d, and the journal that is left begins at %d: restore the store from a backup",
			sqlitePath(p.dir), wal.ErrGap, p.meta.Cursor, segs[0].Base)
	}
	return nil
}

// needsBackup refuses a database that is not to be believed and cannot be built anew.
func (p *opening) needsBackup(found string) error {
	return fmt.Errorf("%s: %w: %s (%s): restore the store from a backup", sqlitePath(p.dir), ErrMismatch, p.doubt, found)
}

// doubtful says why SQLite's files are not what the store left, or nothing when they may be. Between the first
// write and the note that all is on disk there is a -wal with something in it: a writer gives it its header when
// it opens, and only shortens it after the note. Without it the database may be a mix of two states, with a
// cursor ahead of its rows, and SQLite would not notice. both is what the database says of itself, if it can be
// read.
func doubtful(ctx context.Context, dir string, file storeFile, both sqlstore.Meta) (why string, err error) {
	if !file.Used {
		return "", nil
	}
	if _, err := os.Stat(sqlitePath(dir)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // lost, not doubted
		}
		return "", err
	}
	if why := otherTimes(ctx, dir, file, both); why != "" {
		return why, nil
	}
	switch {
	case file.Clean:
		return "", nil
	case file.Doubted:
		return "it was found not to be believed, and was not checked to the end", nil
	}
	if has, err := hasWAL(dir); err != nil || has {
		return "", err
	}
	return "its -wal is missing", nil
}

// belongTogether holds the newest record that SQLite has against the journal, if the journal still has it:
// a journal of another store, or one restored from another time, would otherwise be replayed into rows
// that it never led to.
func (p *opening) belongTogether(journal *wal.Journal, journalDir string) error {
	if err := p.hasReached(journal, journalDir); err != nil || !p.meta.Exists {
		return err
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
	r, err := wal.OpenReader(journalDir, wal.Offset(newest.JournalOffset), p.opts.journal())
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
		// An intact record that covers the place is no damage either.
		off := wal.Offset(newest.JournalOffset)
		if id, err := p.recordAt(journalDir, baseOf(journal.Segments(), off), off); err == nil && id != nil {
			return mismatch("another one covers it")
		}
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
	if err := durable.Mkdir(aside, ownedLike(p.dir)); err != nil {
		return err
	}
	for _, name := range sqliteFiles(p.dir) {
		err := os.Rename(name, filepath.Join(aside, filepath.Base(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	p.report.Aside = aside
	return errors.Join(durable.SyncDir(aside), durable.SyncDir(p.dir))
}
