package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// DB is the durable store: a journal that is the truth, and SQLite that the journal is replayed into.
// Its methods may be called from any number of goroutines.
//
// A put is acknowledged when the journal has it on disk. One goroutine, the applier, brings it into
// SQLite soon after; until then reads in this process find it in memory. Opened with ReadOnly, a DB
// shows what SQLite holds, which in another process's store lags a little behind.
type DB struct {
	dir        string
	journalDir string
	file       storeFile
	opts       options
	sql        *sqlstore.DB
	recovery   Recovery

	// The writer's; nil when the store is open for reading only.
	journal *wal.Journal
	applier *applier
	pending *pending
	seen    *seen

	partRecords int
	partBytes   int

	life   sync.Mutex // guards closed
	closed bool
	puts   sync.WaitGroup // calls that put, and appends whose callers have gone

	closing   sync.Once
	closeErr  error
	closeNote string

	// reindexing: the forensic tables are being built anew, or that was interrupted.
	reindexing atomic.Bool
	salvaged   atomic.Pointer[string] // see Salvaged

	// background is the filling of the filter, which ends early when quit does: with the beginning of Close.
	background sync.WaitGroup
	quit       context.Context
	quitNow    context.CancelFunc
}

var _ Store = (*DB)(nil)

// Dir returns the store's folder.
func (db *DB) Dir() string { return db.dir }

// JournalDir returns the folder of the store's journal.
func (db *DB) JournalDir() string { return db.journalDir }

// TimeUnit returns the unit of the store's timestamps.
func (db *DB) TimeUnit() TimeUnit { return db.file.TimeUnit }

// Recovery returns what opening found and did.
func (db *DB) Recovery() Recovery { return db.recovery }

// Err returns why the store takes no more records, or nil. What was acknowledged before is safe, and
// GetAudit still finds it; opening the store anew recovers it. Of a store that has failed and was closed since it says both.
func (db *DB) Err() error {
	if db.applier == nil {
		return ErrReadOnly
	}
	db.life.Lock()
	closed := db.closed
	db.life.Unlock()
	err := db.applier.failure()
	if err == nil {
		err = db.journal.Err()
	}
	err = journalError(err)
	switch {
	case !closed || errors.Is(err, ErrClosed):
		return err
	case err == nil:
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// begin is the start of every call that puts; done is its end.
func (db *DB) begin() (done func(), err error) {
	if db.applier == nil {
		return nil, ErrReadOnly
	}
	// A store whose SQLite side has failed would fill the backlog and then block: better to say so.
	if err := db.applier.failure(); err != nil {
		return nil, journalError(err)
	}
	db.life.Lock()
	defer db.life.Unlock()
	if db.closed {
		return nil, ErrClosed
	}
	db.puts.Add(1)
	return db.puts.Done, nil
}

// journalError gives the ways in which the journal and SQLite are closed the store's name. What else is wrong stays in
// the error: a disk that fails while a store is being closed has failed all the same.
func journalError(err error) error {
	switch {
	case err == wal.ErrClosed, err == sqlstore.ErrClosed:
		return ErrClosed
	case errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, wal.ErrClosed), errors.Is(err, sqlstore.ErrClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// whileOpen is where streams meet the closing of their store: it yields what seq does, until that.
func whileOpen[T any](ctx context.Context, db *DB, seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range seq {
			if err == nil {
				err = db.readable(ctx)
			}
			if err != nil {
				var none T
				yield(none, journalError(err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Close waits for the calls that put, brings everything to SQLite and to disk, and gives the lock back.
// An error means that it could not; nothing acknowledged is lost by that, the next opening replays it.
//
// For those of other processes who are in the way, a reader that keeps SQLite's -wal at its limit or a shell that holds
// its write lock, it waits some seconds. What they keep from SQLite is left to the next opening, CloseNote tells of it, and
// puts that still wait for room in the backlog fail with ErrClosed.
func (db *DB) Close() error {
	db.closing.Do(func() { db.closeErr = db.close() })
	return db.closeErr
}

func (db *DB) close() error {
	db.life.Lock()
	db.closed = true
	db.life.Unlock()
	if db.quitNow != nil {
		db.quitNow()
	}
	db.background.Wait() // reading a filter that was kept goes on to its end: it takes moments, and it is kept again
	if db.applier == nil {
		return db.sql.Close()
	}
	db.puts.Wait()
	err := db.drain()
	db.pending.stop()
	var heldUp *heldUpError
	var notes []string
	switch {
	case err == nil:
		db.keepSeen()
	case errors.As(err, &heldUp):
		notes, err = append(notes, heldUp.why+": not all of the journal could be brought to SQLite; the next opening sees to it"), nil
	}
	a := db.applier
	if err != nil || db.journal.Err() != nil {
		a.noteSynced() // noteFailure may not have come to it
	}
	note, closed := closeSQLite(db.sql, db.dir, a.file, a.last, a.now())
	if note != "" {
		notes = append(notes, note)
	}
	if db.closeNote = strings.Join(notes, "; "); db.closeNote != "" {
		db.opts.logger.Warn(db.closeNote)
	}
	if err = errors.Join(err, closed, db.journal.Close()); err != nil {
		return fmt.Errorf("close %s: %w", db.dir, err)
	}
	return nil
}

// CloseNote returns what a person should know of how Close has ended, or "". It is for after Close.
func (db *DB) CloseNote() string { return db.closeNote }

// closeSQLite brings the database to disk, notes in store.json that it is there, and closes it. last is the newest complete
// checkpoint that counts. note is what a person should know.
//
// The note in store.json comes between: after the checkpoint nothing depends on -wal any more, and SQLite removes it when
// it closes. Noted later, dying in between would leave a store without a -wal that does not know why.
func closeSQLite(sql *sqlstore.DB, dir string, file storeFile, last *reached, now time.Time) (note string, err error) {
	if cause := sql.Failed(); cause != nil {
		// What was synced of the files is not known. Nothing is copied and nothing called clean.
		file.fail(now, cause)
		return "", errors.Join(writeStoreFile(dir, file), sql.Close())
	}
	ctx := context.Background()
	done, err := sql.Checkpoint(ctx, false)
	switch {
	case err != nil, file.Doubted:
	case done.Complete && file.Rebuilding == "":
		file.Clean, file.Left, file.Failed = true, nil, nil
		file.Reached = last.then(done)
		if err = writeStoreFile(dir, file); err == nil {
			// Only to leave a short file where another process keeps SQLite from removing it.
			_, err = sql.Checkpoint(ctx, true)
		}
	default:
		left := wal.Offset(done.Applied)
		file.Left = &left
		err = writeStoreFile(dir, file)
		if done.Complete {
			break // while it was being built anew, which goes on with the next opening
		}
		note = "somebody has " + sqliteName + " open and reads an earlier state: not all of it could be brought to disk; the next opening looks after that"
	}
	if err != nil {
		// Nothing more is copied, so that -wal stays: without it, and without a note, the next opening would not know why.
		if cause := sql.Failed(); cause != nil {
			file.fail(now, cause)
			err = errors.Join(err, writeStoreFile(dir, file))
		}
		sql.Fail(err)
	}
	return note, errors.Join(err, sql.Close())
}

// drain stops the applier when it has applied everything.
func (db *DB) drain() error {
	ctx := context.Background()
	err := db.journal.Sync(ctx)
	if err == nil {
		err = db.applier.wait(ctx, db.journal.Synced())
	}
	db.applier.halt()
	err = errors.Join(err, db.applier.reader.Close())
	if err == nil {
		// Trims as well, which closing SQLite does not.
		db.applier.busy.Lock()
		err = db.applier.checkpoint(ctx, false)
		db.applier.busy.Unlock()
	}
	return err
}

// caughtUp waits, in the writer's process, until SQLite shows everything that was acknowledged before the
// call.
func (db *DB) caughtUp(ctx context.Context) error {
	if err := db.readable(ctx); err != nil || db.applier == nil {
		return err
	}
	// At SyncInterval a record is acknowledged before it is synced, and applied after. A journal that has
	// failed keeps nobody from reading what it had synced.
	if err := db.journal.Sync(ctx); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return db.applier.wait(ctx, db.journal.Synced())
}

// sqliteFiles are the database and what SQLite keeps beside it, in the order in which they may be moved
// away: a database without its -wal looks like the tampering that it is, and is treated as such again; a
// -wal without its database would be taken for garbage and deleted.
func sqliteFiles(dir string) []string {
	name := filepath.Join(dir, sqliteName)
	return []string{name + "-shm", name + "-wal", name}
}
