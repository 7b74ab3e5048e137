package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// ErrNoStore means that the folder holds no store.
var ErrNoStore = storedir.ErrNoStore

// ErrMismatch means that the parts of a store do not belong together: a database or a journal of another
// store, or of another time.
var ErrMismatch = storedir.ErrMismatch

// ErrDamaged means that a store was found damaged. Verify says where.
var ErrDamaged = storedir.ErrDamaged

// A DamagedError says that SQLite cannot read all of the store's database, and that no journal can replace it, since the
// journal was trimmed. Opening the store is refused, and nothing was changed. [Reindex] salvages the database if the damage is
// in what can be made anew. It is a sqlstore.ErrMalformed.
//
// Its fields are Path, of the database, Doubt, why it was suspect before, and Err, what SQLite says.
type DamagedError = storedir.DamagedError

// A PrimaryError says why a damaged database cannot be salvaged: the damage is in a table that nothing can make anew. Nothing
// was changed. The records that can still be read can be exported from the store, opened with ReadOnly. It is a
// sqlstore.ErrMalformed.
//
// Its fields are Path, of the database, Table, and Found, what is wrong with it.
type PrimaryError = sqlstore.PrimaryError

// LinkError refuses a part of a store that is a symbolic link. errors.As finds it in what Open returns. A link in
// a folder that came from somebody else could lead to any file of this machine, and SQLite keeps -wal beside
// the file that a link leads to, where nobody would look for it. The store's folder itself may be a link.
//
// Its fields are Path, the link, and Target, where it leads.
type LinkError = durable.LinkError

// OwnerError refuses to write to another user's store: files that are made or replaced there would lock that user
// out. It is a fs.ErrPermission. root may write, and what root makes belongs to the owner of the store.
//
// Its fields are Path, the UID and GID of its owner, and Euid, the user of this process. Its method Owner returns the
// owner's name.
type OwnerError = durable.OwnerError

// A ForeignError says that the database in the store's folder is another store's, or has another time unit.
// Readers are refused as well: the records in it are not this store's. It is an ErrMismatch.
type ForeignError struct {
	Path string // of the database
	Why  string
	// Edited: the journal agrees with the database, so it is store.json that was changed.
	Edited bool
}

func (e *ForeignError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Path, ErrMismatch, e.Why) }
func (e *ForeignError) Unwrap() error { return ErrMismatch }

// SQLiteMissingError means that there is nothing to read: the store's database is missing. Opening the store for writing
// rebuilds it from the journal, when that reaches back to the beginning. It is an ErrNoStore.
type SQLiteMissingError struct{ Path string }

func (e *SQLiteMissingError) Error() string {
	return fmt.Sprintf("%s is missing; opening the store for writing rebuilds it from the journal, if that reaches back to the beginning", e.Path)
}

// Is makes a SQLiteMissingError an ErrNoStore.
func (e *SQLiteMissingError) Is(target error) bool { return target == ErrNoStore }

// JournalAwayError means that the journal of a store that was in use is not in its place. No new one is made
// there: the disk that it lies on may only not be mounted. It is a wal.ErrGap, and a wal.ErrAhead as well when
// the folder exists and is empty.
type JournalAwayError struct {
	Dir   string // the journal's folder
	Empty bool   // the folder exists, and has no segment
	// Unknown: store.json is lost, so the journal may be in another place (WithJournalDir).
	Unknown bool
	// NoSQLite: audit.db is missing as well, so ReadOnly has nothing to show.
	NoSQLite bool
}

func (e *JournalAwayError) Error() string {
	what := "is gone"
	if e.Empty {
		what = "holds no segment"
	}
	if e.NoSQLite {
		return fmt.Sprintf("%v: the journal's folder %s %s, and %s is missing too; bring them back, or restore the store from a backup", wal.ErrGap, e.Dir, what, storedir.SQLiteName)
	}
	return fmt.Sprintf("%v: the journal's folder %s %s; bring it back, or restore the store from a backup", wal.ErrGap, e.Dir, what)
}

func (e *JournalAwayError) Unwrap() []error {
	if e.Empty {
		return []error{wal.ErrGap, wal.ErrAhead}
	}
	return []error{wal.ErrGap}
}

// decide is storedir.Decide with the errors of this package.
func decide(f storedir.Facts) storedir.Plan {
	plan := storedir.Decide(f)
	plan.Refuse = public(plan.Refuse)
	return plan
}

// public returns a *ForeignError of this package for one of package storedir.
func public(err error) error {
	if foreign, ok := err.(*storedir.ForeignError); ok {
		return &ForeignError{foreign.Path, foreign.Why, foreign.Edited}
	}
	return err
}

// checkStore refuses the database of the store in dir when it says that it belongs to another store.
func checkStore(file storedir.File, dir string, m sqlstore.Meta) error {
	return public(file.CheckStore(storedir.SQLitePath(dir), m, storedir.JournalIdentity(dir, file)))
}

// checkUnit is checkStore for the time unit.
func checkUnit(file storedir.File, dir string, m sqlstore.Meta) error {
	return public(file.CheckUnit(storedir.SQLitePath(dir), m, storedir.JournalIdentity(dir, file)))
}

// journalAway returns a *JournalAwayError when the journal of a store that was in use is not there.
func journalAway(file storedir.File, dir string, fsys wal.FS) error {
	gone := file.JournalAbsent(dir, fsys)
	if gone == nil {
		return nil
	}
	return &JournalAwayError{Dir: gone.Dir, Empty: gone.Empty, Unknown: file.Lost != "", NoSQLite: gone.NoSQLite}
}

// journalAway is journalAway of a store that is open for reading. The journal of a writer notices by itself when its
// files are removed.
func (db *DB) journalAway() error {
	if db.journal != nil {
		return nil
	}
	return journalAway(db.file, db.dir, db.opts.fs)
}

// isEmpty reports whether err says that the journal's folder exists and has no segment. A repair can do something about
// that.
func isEmpty(err error) bool {
	var away *JournalAwayError
	return errors.As(err, &away) && away.Empty
}

// JournalDir returns the folder of the journal of the store in dir. A folder with nothing but wal/ in it is a store
// too. Anything else without store.json is ErrNoStore, unless SQLite says where the journal is. When the journal is not
// in its place, JournalDir returns the folder and a *JournalAwayError.
func JournalDir(dir string) (string, error) {
	file, err := storedir.Recall(context.Background(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		if st, err := os.Stat(filepath.Join(dir, storedir.JournalName)); err == nil && st.IsDir() {
			return filepath.Join(dir, storedir.JournalName), nil
		}
		return "", fmt.Errorf("%s: %w", dir, ErrNoStore)
	}
	if err != nil {
		return "", err
	}
	return file.JournalPath(dir), journalAway(file, dir, wal.OS)
}

// JournalIdentity returns the identity of the journal of the store in dir, for wal.Options: from store.json, or
// from SQLite when that is lost, or nil when only a journal is left.
func JournalIdentity(dir string) ([]byte, error) {
	file, known, err := recalled(context.Background(), dir)
	if !known {
		return nil, err
	}
	return file.Identity(), nil
}

// StoreID returns the id of the store in dir, in hex: from store.json, or from SQLite when that is lost. It is empty when only a journal is
// left, or nothing.
func StoreID(dir string) (string, error) {
	file, _, err := recalled(context.Background(), dir)
	return file.StoreID, err
}

// JournalReached returns an offset up to which the journal of the store in dir is known to have been synced, for wal.Options: the newest one
// that SQLite, store.json and log.json say. It is 0 when they say nothing, or when only a journal is left. It must be asked before the
// journal is read.
func JournalReached(ctx context.Context, dir string) (wal.Offset, error) {
	file, known, err := recalled(ctx, dir)
	if !known {
		return 0, err
	}
	p := opening{dir: dir, file: file}
	// A database that cannot be read says nothing, and one of another store says nothing about this journal.
	m, err := sqlstore.ReadCursor(ctx, storedir.SQLitePath(dir))
	if err == nil && checkStore(file, dir, m) == nil {
		p.meta = m
	}
	return p.reached(), ctx.Err()
}

// recalled returns what store.json says, or SQLite when that is lost. When neither is there it is not known, which is no error.
func recalled(ctx context.Context, dir string) (file storedir.File, known bool, err error) {
	file, err = storedir.Recall(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return storedir.File{}, false, nil
	}
	return file, err == nil, err
}

// unitOf returns a unit of store.json, which has been checked.
func unitOf(u storedir.Unit) TimeUnit {
	unit, _ := ParseTimeUnit(string(u))
	return unit
}
