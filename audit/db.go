package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

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

	// life guards closed. Calls that write hold it for reading, so that Close can wait for them.
	life   sync.Mutex
	closed bool
	puts   sync.WaitGroup // calls that put, and appends whose callers have gone

	// background is the filling of the filter, which ends early when quit is closed.
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

// Err returns why the store takes no more records, or nil. What was acknowledged before is safe, and can
// still be read; opening the store anew recovers it.
func (db *DB) Err() error {
	if db.applier == nil {
		return ErrReadOnly
	}
	db.life.Lock()
	closed := db.closed
	db.life.Unlock()
	if closed {
		return ErrClosed
	}
	if err := db.journal.Err(); err != nil {
		return journalError(err)
	}
	return db.applier.failure()
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

// journalError gives the journal's own way of being closed the store's name.
func journalError(err error) error {
	if errors.Is(err, wal.ErrClosed) {
		return ErrClosed
	}
	return err
}

// Close waits for the calls that put, brings everything to SQLite and to disk, and gives the lock back.
// An error means that it could not; nothing acknowledged is lost by that, the next opening replays it.
func (db *DB) Close() error {
	db.life.Lock()
	closed := db.closed
	db.closed = true
	db.life.Unlock()
	if closed {
		return nil
	}
	if db.quitNow != nil {
		db.quitNow()
	}
	db.background.Wait()
	if db.applier == nil {
		return db.sql.Close()
	}
	db.puts.Wait()
	onDisk, err := db.drain()
	err = errors.Join(err, closeSQLite(db.sql, db.dir, db.file, onDisk))
	if err = errors.Join(err, db.journal.Close()); err != nil {
		return fmt.Errorf("close %s: %w", db.dir, err)
	}
	return nil
}

// closeSQLite closes the database and notes in store.json whether everything in it is on disk: onDisk says
// that a checkpoint has seen to it, and a -wal that is gone says the same, since SQLite removes it only then.
// It is noted while the lock is still held, and after SQLite has let go of its files: from then on an end
// is unclean only if it was opened again.
func closeSQLite(sql *sqlstore.DB, dir string, file storeFile, onDisk bool) error {
	if err := sql.Close(); err != nil {
		return err
	}
	if !onDisk {
		_, err := os.Stat(sqlitePath(dir) + "-wal")
		onDisk = errors.Is(err, fs.ErrNotExist)
	}
	if !onDisk {
		return nil
	}
	file.Clean = true
	return writeStoreFile(dir, file)
}

// drain stops the applier when it has applied everything, and checkpoints. It reports whether SQLite has
// all of it on disk.
func (db *DB) drain() (onDisk bool, err error) {
	ctx := context.Background()
	err = db.journal.Sync(ctx)
	if err == nil {
		err = db.applier.wait(ctx, db.journal.Synced())
	}
	db.applier.halt()
	err = errors.Join(err, db.applier.reader.Close())
	if err != nil {
		return false, err
	}
	db.applier.busy.Lock()
	defer db.applier.busy.Unlock()
	if err := db.applier.checkpoint(ctx, true); err != nil {
		return false, err
	}
	return db.applier.durable.Load() == db.applier.applied.Load(), nil
}

// caughtUp waits, in the writer's process, until SQLite shows everything that was acknowledged before the
// call.
func (db *DB) caughtUp(ctx context.Context) error {
	if db.applier == nil {
		return nil
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
