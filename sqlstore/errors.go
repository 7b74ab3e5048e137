package sqlstore

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("not found")

	// ErrReadOnly: the database was opened with Options.ReadOnly.
	ErrReadOnly = errors.New("opened read-only")

	// ErrClosed: Close has been called.
	ErrClosed = errors.New("closed")

	// ErrNewer: the database was made or migrated by a newer version of this program. It is left as it is.
	ErrNewer = errors.New("made by a newer version of auditsql")

	// ErrOlder: an older version of this program made the database, or its migration is not finished. A writer migrates it.
	ErrOlder = errors.New("made by an older version of auditsql, and not migrated yet")

	// ErrNotStore: the file is no database of this program.
	ErrNotStore = errors.New("no auditsql database")

	// ErrMalformed: SQLite refuses the content of the file, or a table is missing that only a journal can fill again.
	ErrMalformed = errors.New("the database is damaged")

	// ErrMoved: the database or its -wal was deleted, replaced or cut by somebody while it was open.
	ErrMoved = errors.New("deleted or replaced by somebody while it was open")

	// ErrFailed: a sync or a checkpoint of SQLite's files has failed. It is not known any more what they hold on disk, so
	// nothing is written to them until they are opened again.
	ErrFailed = errors.New("writing SQLite's files has failed")

	// ErrBusy: somebody else, a shell perhaps, had the write lock for longer than the busy timeout. Nothing
	// was written; trying again is safe.
	ErrBusy = errors.New("busy: somebody else is writing")

	// ErrWriteOnce: an audit key would get another value, or be deleted.
	ErrWriteOnce = errors.New("audit data is append-only")
)

// A RecordError says that kv does not have a record as it was admitted. The value is not served.
type RecordError struct {
	QueryID [32]byte
	Missing bool // kv has nothing under its key; else its value does not have the leaf hash that stands beside it
}

func (e *RecordError) Error() string {
	if e.Missing {
		return fmt.Sprintf("record %x is missing in kv: %v", e.QueryID, ErrNotFound)
	}
	return fmt.Sprintf("record %x is not what was stored: its value in kv does not match its leaf hash", e.QueryID)
}

// Unwrap makes the error of a missing record an ErrNotFound.
func (e *RecordError) Unwrap() error {
	if e.Missing {
		return ErrNotFound
	}
	return nil
}

func isRecordError(err error) bool {
	var damaged *RecordError
	return errors.As(err, &damaged)
}

// hasCode reports whether err comes from SQLite with one of these result codes, primary or extended.
func hasCode(err error, codes ...int) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code() == c || e.Code()&0xff == c {
			return true
		}
	}
	return false
}

// isScanError reports whether err says that a value is not of its column's kind. The schema fixes the kinds, so this comes
// from a page of another table, or another damage. database/sql has no type for the error.
func isScanError(err error) bool {
	return err != nil && strings.Contains(err.Error(), "sql: Scan error on column")
}

// isClash reports whether err says that rows which this package makes violate a constraint of its own schema. The rows
// that were there before cannot be those that it has written.
func isClash(err error) bool {
	return hasCode(err, sqlite3.SQLITE_CONSTRAINT) && !hasCode(err, sqlite3.SQLITE_CONSTRAINT_TRIGGER)
}

// clash makes an error of rows that clash an ErrMalformed.
func clash(err error) error {
	if isClash(err) {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return err
}

// An IncompleteError says that a walk over all records has found fewer than there are, or more: SQLite passes over rows of a
// damaged page without an error, or shows a page twice. It is an ErrMalformed.
type IncompleteError struct {
	Table      string
	Have, Want uint64
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("%v: table %s shows %d of %d records", ErrMalformed, e.Table, e.Have, e.Want)
}

// Unwrap makes every IncompleteError an ErrMalformed.
func (e *IncompleteError) Unwrap() error { return ErrMalformed }

// explain turns an error of SQLite into one that a person can act on, and leaves others alone.
func explain(err error) error {
	switch {
	case errors.Is(err, ErrMalformed):
		return err
	case hasCode(err, sqlite3.SQLITE_NOTADB):
		return fmt.Errorf("%w: %w: the file is not an SQLite database", ErrNotStore, ErrMalformed)
	case hasCode(err, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR_SHORT_READ), isScanError(err):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case hasCode(err, sqlite3.SQLITE_BUSY):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case hasCode(err, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE) && !errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %w", err, syscall.ENOSPC)
	case hasCode(err, sqlite3.SQLITE_READONLY):
		return fmt.Errorf("the file or its folder cannot be written to: %w", err)
	case hasCode(err, sqlite3.SQLITE_CONSTRAINT_TRIGGER):
		return fmt.Errorf("%w: %w", ErrWriteOnce, err)
	}
	return err
}

// closedError is ErrClosed for a call that failed while the database was being closed, or after that. Mostly the closing is
// the reason. If there is another reason, it is the cause.
type closedError struct{ cause error }

func (e *closedError) Error() string {
	// database/sql has several errors that mean closed, and most have no name.
	switch text := e.cause.Error(); {
	case strings.Contains(text, "database is closed"), strings.Contains(text, "connection is already closed"),
		strings.Contains(text, "statement is closed"), errors.Is(e.cause, sql.ErrTxDone), errors.Is(e.cause, driver.ErrBadConn):
		return ErrClosed.Error()
	default:
		return ErrClosed.Error() + ": " + text
	}
}

func (e *closedError) Unwrap() []error { return []error{ErrClosed, e.cause} }

// fail wraps err with what was being done and to which file. It makes the error of a sync final, see poison.
func (db *DB) fail(doing string, err error) error {
	if hasCode(err, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC) {
		err = db.poison(err)
	}
	if db.closed.Load() && !errors.Is(err, ErrClosed) {
		err = &closedError{err}
	}
	return fmt.Errorf("%s in %s: %w", doing, db.path, explain(err))
}
