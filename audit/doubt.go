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

// lookAtSQLite finds out what becomes of the database.
func (p *opening) lookAtSQLite(segs []wal.Segment) error {
	f, err := lookAround(p.ctx, p.dir, p.file, segs)
	if err != nil {
		return err
	}
	done := decide(f)
	if done.action == lookAt {
		if err := p.lookThrough(&f); err != nil {
			return err
		}
		was := done.doubt
		if done = decide(f); done.doubt == "" && done.refuse == nil {
			p.note("%s was in doubt (%s); it was checked and is whole", sqliteName, was)
		}
	}
	if done.refuse != nil {
		return done.refuse
	}
	p.meta, p.doubt = f.both, done.doubt
	p.doubted, p.rebuild = done.doubt != "", done.action == rebuild
	if f.unread != nil {
		p.opts.logger.Warn("the database cannot be read", "error", f.unread)
		p.meta = sqlstore.Meta{Exists: true, StoreID: p.file.StoreID, TimeUnit: p.file.TimeUnit.String()}
	}
	return nil
}

// holdTogether finds out, without changing anything, whether opening the store for writing would refuse it for what its
// parts say of each other, and why SQLite would be doubted.
func (p *opening) holdTogether(journalDir string) error {
	if _, err := p.findJournal(); err != nil {
		return p.explain(err)
	}
	segs, err := p.look(journalDir)
	if err != nil || len(segs) == 0 {
		return p.explain(err)
	}
	last := segs[len(segs)-1]
	// A little above its end, perhaps: the last segment may end in zeros.
	return p.belongTogether(segs, last.Base+wal.Offset(last.Size), journalDir)
}

// lookThrough asks SQLite what is wrong with the database, without its -wal and with it. It takes as long as the database
// is large.
func (p *opening) lookThrough(f *facts) (err error) {
	f.looked = true
	if f.hasWAL {
		var ok bool
		if f.aloneHas, ok, err = sqlstore.CheckAlone(p.ctx, f.path); err != nil || !ok {
			f.aloneHas = append(f.aloneHas, "it cannot be looked at alone")
		}
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
	}
	sql, err := sqlstore.Open(p.ctx, f.path, sqlstore.Options{ReadOnly: true, Readers: 1})
	if err != nil {
		return err
	}
	defer sql.Close()
	if f.bothHas, err = sql.Integrity(p.ctx, false); !f.hasWAL {
		f.aloneHas = f.bothHas
	}
	return err
}

// needsBackup refuses a database that is not to be believed and cannot be built anew.
func (p *opening) needsBackup(found string) error {
	return fmt.Errorf("%s: %w: %s (%s): restore the store from a backup", sqlitePath(p.dir), ErrMismatch, p.doubt, found)
}

// belongTogether holds the newest record that SQLite has against the journal, if the journal still has it:
// a journal of another store, or one restored from another time, would otherwise be replayed into rows
// that it never led to.
//
// It takes the journal's segments, of which there is one at least, and its end, so that it can be asked without the
// journal being open.
func (p *opening) belongTogether(segs []wal.Segment, end wal.Offset, journalDir string) error {
	if err := p.hasReached(segs, end, journalDir); err != nil || !p.meta.Exists {
		return err
	}
	// The cursor was the end of something synced, whatever became of SQLite since.
	if wal.Offset(p.meta.Cursor) > end {
		return fmt.Errorf("%s: %w: it ends at offset %d, %s has records up to %d", journalDir, wal.ErrAhead, end, sqliteName, p.meta.Cursor)
	}
	newest, err := p.newest()
	if p.rebuild && err != nil {
		return nil // it is not to be believed anyway, and the journal reaches back to the beginning
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
	r, err := wal.OpenReader(journalDir, wal.Offset(newest.JournalOffset), p.opts.journal())
	if err != nil {
		return err
	}
	defer r.Close()
	rec, err := r.Next(p.ctx)
	var hurt *wal.CorruptError
	switch {
	case errors.As(err, &hurt) && hurt.Offset < p.from(segs):
		// Damage below what is replayed: SQLite has it, so it is told by verify and stops nobody. Above that
		// recovery has found the journal whole, so this is no damage but another journal.
		// An intact record that covers the place is no damage either.
		off := wal.Offset(newest.JournalOffset)
		if id, err := p.recordAt(journalDir, baseOf(segs, off), off); err == nil && id != nil {
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

// asidePrefix begins the name of a folder with what was moved out of the way.
const asidePrefix = "aside-"

// aside makes a folder for what is moved out of the way.
func (p *opening) aside() (string, error) {
	for nanos := time.Now().UnixNano(); ; nanos++ {
		dir := filepath.Join(p.dir, fmt.Sprintf("%s%d", asidePrefix, nanos))
		if err := durable.Mkdir(dir, ownedLike(p.dir)); !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
	}
}

// outOfTheWay makes room for a database that is built anew. What an interrupted rebuild has left was made from the journal
// alone, and goes; what was there before that is aside already.
func (p *opening) outOfTheWay() error {
	if p.file.Rebuilding == "" {
		return p.setAside()
	}
	for _, name := range sqliteFiles(p.dir) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	p.report.Aside = filepath.Join(p.dir, p.file.Rebuilding)
	return durable.SyncDir(p.dir)
}

// setAside moves the database and its companions to a folder of their own. Nothing is deleted: a person
// may want to look at it, and the labels are in it.
func (p *opening) setAside() error {
	aside, err := p.aside()
	if err != nil {
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
