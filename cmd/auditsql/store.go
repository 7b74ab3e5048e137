package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// openWriter opens the store for writing, and makes it if there is none.
func (a *app) openWriter(ctx context.Context, options ...audit.Option) (*audit.DB, error) {
	progress, end := a.opening()
	options = append(options, audit.WithLockWait(a.lockWait.Duration), audit.WithCreatedBy("auditsql "+version))
	options = append(options, progress...)
	db, err := audit.OpenContext(ctx, a.dir, options...)
	end()
	if err != nil {
		return nil, err
	}
	a.noteRecovery(db.Recovery())
	return db, nil
}

// opening shows, until end, how far an opening is with what can take long: the records of an older version, and what the journal has
// and SQLite lacks.
func (a *app) opening() (options []audit.Option, end func()) {
	var bar *tui.Progress
	var shown string
	end = func() {
		if bar != nil {
			bar.End()
			bar = nil
		}
	}
	show := func(what string, bytes bool) func(done, total uint64) {
		return func(done, total uint64) {
			if what != shown {
				end()
				bar, shown = a.progress(what, int64(total), bytes), what
			}
			bar.At(int64(done), what)
		}
	}
	return []audit.Option{
		audit.WithMigrationProgress(show("migrating the records of an older version", false)),
		audit.WithReplayProgress(show("bringing the journal's records to SQLite", true)),
	}, end
}

// openOrMake is openWriter for commands that store records.
func (a *app) openOrMake(ctx context.Context, options ...audit.Option) (*audit.DB, error) {
	// Whether there is a store is checked first, since opening for writing would make one.
	if _, err := audit.JournalDir(a.dir); errors.Is(err, audit.ErrNoStore) {
		if err := a.mayMake(err); err != nil {
			return nil, err
		}
	}
	db, err := a.openWriter(ctx, options...)
	if err == nil && db.Recovery().Created {
		a.note("made a new store in %s", a.dir)
	}
	return db, err
}

// mayMake refuses to make a store without --create, and in a folder whose parent does not exist. Otherwise a typing error in the
// path would make a store in which nobody looks for the records. why says that there is none.
func (a *app) mayMake(why error) error {
	if !a.create {
		return why
	}
	parent := filepath.Join(a.dir, "..")
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w, and none is made there, since %s does not exist either", a.dir, audit.ErrNoStore, parent)
	}
	return nil
}

// openExisting is openWriter for commands that make no store.
func (a *app) openExisting(ctx context.Context, options ...audit.Option) (*audit.DB, error) {
	// Whether there is a store is checked first, since opening for writing would make one.
	if _, err := audit.JournalDir(a.dir); errors.Is(err, audit.ErrNoStore) {
		return nil, err
	}
	return a.openWriter(ctx, options...)
}

// openReader opens the store for reading. If nobody is writing and SQLite lacks records, it recovers the store first.
func (a *app) openReader(ctx context.Context) (*audit.DB, error) {
	if err := a.recoverFirst(ctx); err != nil {
		return nil, err
	}
	db, err := audit.OpenContext(ctx, a.dir, audit.ReadOnly())
	if err != nil {
		return nil, err
	}
	a.noteRecovery(db.Recovery())
	return db, nil
}

// openAsItIs opens the store for reading without recovering it, and notes why it may show less than was acknowledged.
func (a *app) openAsItIs(ctx context.Context) (*audit.DB, error) {
	why := ""
	if !a.readOnly {
		var err error
		if why, err = audit.NeedsRecovery(ctx, a.dir); err != nil {
			return nil, err
		}
	}
	db, err := audit.OpenContext(ctx, a.dir, audit.ReadOnly())
	if err != nil {
		if why != "" && errors.Is(err, audit.ErrNoStore) {
			err = trying(err, "auditsql -d %s recent, which recovers the store first", shellQuote(a.dir))
		}
		return nil, err
	}
	if why != "" {
		a.note("%s; nothing was recovered, this is what SQLite has", why)
	}
	a.noteRecovery(db.Recovery())
	return db, nil
}

// recoverFirst brings SQLite up to date with the journal, unless another process is doing so.
func (a *app) recoverFirst(ctx context.Context) error {
	if a.readOnly {
		return nil
	}
	why, err := audit.NeedsRecovery(ctx, a.dir)
	if err != nil {
		return err
	}
	if why == "" {
		return nil
	}
	a.note("%s; recovering first", why)
	progress, end := a.opening()
	recovery, err := audit.Recover(ctx, a.dir, append(progress, audit.WithLockWait(a.recoveryWait))...)
	end()
	switch {
	case errors.Is(err, audit.ErrLocked):
		// Either a writer has begun: then it recovered the store before it took its first record. Or another reader is
		// still recovering it. After a crash with a full backlog that can take half a minute.
		if still, err := audit.NeedsRecovery(ctx, a.dir); err == nil && still != "" {
			a.note("%s still; showing what SQLite has by now", still)
		}
		return nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		a.note("it cannot be recovered without the right to write there (%v); showing what SQLite has", err)
		return nil
	case isFull(err) && !a.lostSQLite():
		a.note("there is no room on the disk for recovering (%s); showing what SQLite has", noRoom(err))
		return nil
	case err != nil:
		return err
	}
	a.noteRecovery(recovery)
	return nil
}

// isFull reports whether err comes from a disk without room, or from a quota that is used up.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// noRoom says in a few words what a disk without room has refused. The error itself often says it several times: a write of the journal
// fails, and then SQLite, store.json and the closing of each.
func noRoom(err error) string {
	var file *fs.PathError
	var sqlite interface{ Code() int } // SQLite names no file
	switch {
	case errors.As(err, &file) && isFull(file):
		return file.Error()
	case errors.As(err, &sqlite):
		return "SQLite: database or disk is full"
	}
	return oneLine(err)
}

// fullDisk is what a run says that ends because the disk of the store has no room, "" for any other end.
func (a *app) fullDisk(err error) string {
	var file *fs.PathError
	if !isFull(err) || isDamage(err) || errors.As(err, &file) && a.storeAround(file.Path) == "" {
		return "" // a file of results may lie on a disk of its own
	}
	return fmt.Sprintf("the disk is full (%s); nothing that was acknowledged is lost", noRoom(err))
}

// closeWriter closes a store that was open for writing, and prints the note of closing it, if there is one.
func (a *app) closeWriter(db *audit.DB) error {
	err := db.Close()
	if note := db.CloseNote(); note != "" {
		a.note("%s", note)
	}
	return err
}

// noteRecovery prints what opening a store did to it.
func (a *app) noteRecovery(r audit.Recovery) {
	for _, n := range r.Notes {
		a.note("%s", n)
	}
}

// clock reads and writes times in the store's unit and the zone that --tz or AUDITSQL_TZ names.
func (a *app) clock(unit audit.TimeUnit) (when.Clock, error) {
	name, from := a.zoneName, "--tz"
	if name == "" {
		name, from = os.Getenv("AUDITSQL_TZ"), "AUDITSQL_TZ"
	}
	zone, err := when.ParseZone(name)
	if err != nil {
		return when.Clock{}, usage("%s: %w", from, err)
	}
	return when.Clock{Now: a.now(), Zone: zone, Unit: unit, Note: func(s string) { a.note("%s", s) }}, nil
}

// earlyClock is for checks before a store is open, when its unit is not known. It counts seconds: every time that fits
// into another unit also fits into seconds, so it refuses nothing that the store would take. It prints no notes about
// numbers, since what a number means depends on the unit.
func (a *app) earlyClock() (when.Clock, error) {
	c, err := a.clock(audit.Seconds)
	c.Note = nil
	return c, err
}
