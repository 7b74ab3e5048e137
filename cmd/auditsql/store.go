package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// recoveryWait is how long a command that reads waits for the lock when it has to recover first: another
// reader may be at it, and is soon done.
const recoveryWait = 5 * time.Second

// openWriter opens the store for writing, and makes it if there is none.
func (a *app) openWriter(options ...audit.Option) (*audit.DB, error) {
	options = append(options, audit.WithLockWait(a.lockWait.Duration), audit.WithCreatedBy("auditsql "+version))
	db, err := audit.Open(a.dir, options...)
	if err != nil {
		return nil, err
	}
	a.tellRecovery(db.Recovery())
	return db, nil
}

// openIntake is openWriter for commands that store records. They make a store only with --create, and only in a folder
// whose parent exists: a store under a path with a typing error in it takes in records that nobody will look for there.
func (a *app) openIntake(options ...audit.Option) (*audit.DB, error) {
	// The folder is looked at first, since opening for writing would make a store.
	if _, err := audit.JournalDir(a.dir); errors.Is(err, audit.ErrNoStore) {
		if !a.create {
			return nil, err
		}
		parent := filepath.Join(a.dir, "..")
		if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w, and none is made there: %s does not exist either", a.dir, audit.ErrNoStore, parent)
		}
	}
	db, err := a.openWriter(options...)
	if err == nil && db.Recovery().Created {
		a.note("made a new store in %s", a.dir)
	}
	return db, err
}

// openExisting is openWriter for commands that have nothing to do in a new store.
func (a *app) openExisting() (*audit.DB, error) {
	// The folder is looked at first, since opening for writing would make a store.
	if _, err := audit.JournalDir(a.dir); errors.Is(err, audit.ErrNoStore) {
		return nil, err
	}
	return a.openWriter()
}

// openReader opens the store for reading, after recovering it if nobody is writing and SQLite lacks
// records.
func (a *app) openReader(ctx context.Context) (*audit.DB, error) {
	if err := a.recoverFirst(ctx); err != nil {
		return nil, err
	}
	db, err := audit.Open(a.dir, audit.ReadOnly())
	if err != nil {
		return nil, err
	}
	a.tellRecovery(db.Recovery())
	return db, nil
}

// openAsItIs opens the store for reading without recovering it, and says why it may show less than was acknowledged.
func (a *app) openAsItIs(ctx context.Context) (*audit.DB, error) {
	why := ""
	if !a.readOnly {
		var err error
		if why, err = audit.NeedsRecovery(ctx, a.dir); err != nil {
			return nil, err
		}
	}
	db, err := audit.Open(a.dir, audit.ReadOnly())
	if err != nil {
		if why != "" && errors.Is(err, audit.ErrNoStore) {
			err = trying(err, "auditsql -d %s recent, which recovers the store first", shellQuote(a.dir))
		}
		return nil, err
	}
	if why != "" {
		a.note("%s; nothing was recovered, this is what SQLite has", why)
	}
	a.tellRecovery(db.Recovery())
	return db, nil
}

// recoverFirst brings SQLite up to date with the journal when nobody else is there to do it.
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
	recovery, err := audit.Recover(ctx, a.dir, audit.WithLockWait(recoveryWait))
	switch {
	case errors.Is(err, audit.ErrLocked):
		// A writer has begun meanwhile, and had them recovered before it took anything; or another reader is at it
		// still, which after a crash with a long backlog takes a minute and more.
		if still, err := audit.NeedsRecovery(ctx, a.dir); err == nil && still != "" {
			a.note("%s still; showing what SQLite has by now", still)
		}
		return nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		a.note("they cannot be recovered without the right to write there (%v); showing what SQLite has", err)
		return nil
	case isFull(err) && !a.lostSQLite():
		a.note("there is no room on the disk for recovering (%v); showing what SQLite has", err)
		return nil
	case err != nil:
		return err
	}
	a.tellRecovery(recovery)
	return nil
}

// isFull reports whether err comes from a disk without room, or from a quota that is used up.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// closeWriter closes a store that was open for writing, and says what is worth saying of it.
func (a *app) closeWriter(db *audit.DB) error {
	err := db.Close()
	if note := db.CloseNote(); note != "" {
		a.note("%s", note)
	}
	return err
}

// tellRecovery says what opening a store did to it, if that is worth saying.
func (a *app) tellRecovery(r audit.Recovery) {
	for _, n := range r.Notes {
		a.note("%s", n)
	}
}

// clock reads and writes times in the store's unit and the zone that --tz names.
func (a *app) clock(unit audit.TimeUnit) (when.Clock, error) {
	zone, err := when.ParseZone(a.zoneName)
	if err != nil {
		return when.Clock{}, usage("--tz: %w", err)
	}
	return when.Clock{Now: a.now(), Zone: zone, Unit: unit, Note: func(s string) { a.note("%s", s) }}, nil
}

// earlyClock is for what is checked before a store is open, and with it its unit known. In seconds every time
// fits that fits at all. It has nothing to tell of numbers.
func (a *app) earlyClock() (when.Clock, error) {
	c, err := a.clock(audit.Seconds)
	c.Note = nil
	return c, err
}
