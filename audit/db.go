package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/internal/idfilter"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// DB is the durable store: a journal that is the truth, and SQLite, into which the journal is replayed.
// Its methods may be called from any number of goroutines.
//
// A put is acknowledged when the journal has it on disk. One goroutine, the applier, brings it into
// SQLite soon after. Until then reads in this process find it in memory. Opened with ReadOnly, a DB
// shows what SQLite holds. When another process writes to the store, that is a little less than was acknowledged.
type DB struct {
	dir        string
	journalDir string
	file       storedir.File
	opts       options
	sql        *sqlstore.DB
	recovery   Recovery
	restored   []QueryID // by the opening of RepairRecords

	// Of a writer; nil when the store is open for reading only. journal is nil too when the store follows a log.
	journal *wal.Journal
	applier *applier
	backlog *backlog.Backlog
	ids     *idfilter.Filter // over the ids that SQLite has
	signer  *signer          // nil when the store has no log, too

	// How much of a large put is appended at a time.
	partRecords int
	partBytes   int

	life   sync.Mutex // guards closed
	closed bool
	puts   sync.WaitGroup // calls that put, and appends whose callers have returned

	closing   sync.Once
	closeErr  error
	closeNote string

	// inbox is what was found in the inbox when it was read last.
	inbox struct {
		mu     sync.Mutex
		seen   string // the files that were read
		damage string
		told   string // the damage that a receiver has found; "" if none has found any
		lost   *int64 // see InboxState.Lost
	}

	// lastRecords is what Progress returned last in a store that is open for reading.
	lastRecords atomic.Uint64

	// lastEnd is the end of the journal when a store that is open for reading looked for it last, or nil.
	lastEnd atomic.Pointer[journalEnd]

	// reindexing says that the derived tables are being made again, or that this was interrupted.
	reindexing atomic.Bool

	// background are the goroutines that fill the filter and sign the log. They stop early when quit ends, which is when Close
	// begins.
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
func (db *DB) TimeUnit() TimeUnit { return unitOf(db.file.TimeUnit) }

// Recovery returns what opening found and did.
func (db *DB) Recovery() Recovery { return db.recovery }

// Err returns why the store takes no more records, or nil. What was acknowledged before is safe, and GetAudit still
// finds it. Opening the store again recovers it. For a store that has failed and was closed since, the error says both.
func (db *DB) Err() error {
	if db.applier == nil {
		return ErrReadOnly
	}
	db.life.Lock()
	closed := db.closed
	db.life.Unlock()
	err := db.applier.failure()
	if err == nil {
		err = db.applier.source.err()
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

// Sync returns when everything is on disk that was acknowledged before the call. Only a store that was opened with wal.SyncInterval (see
// WithDurability) has to wait for that. For a store that follows a log it is so already.
func (db *DB) Sync(ctx context.Context) error {
	done, err := db.begin()
	if err != nil {
		return err
	}
	defer done()
	return journalError(db.applier.source.sync(ctx))
}

// beginPut is begin of a call that puts records.
func (db *DB) beginPut() (done func(), err error) {
	if err := db.follows(); err != nil {
		return nil, err
	}
	return db.begin()
}

// begin is the start of every call that writes, and done its end.
func (db *DB) begin() (done func(), err error) {
	if db.applier == nil {
		return nil, ErrReadOnly
	}
	// A store that can no longer write to SQLite would fill the backlog and then block.
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

// journalError adds ErrClosed to an error that says that the journal or SQLite is closed. Other causes stay in
// the error: a disk may fail while a store is being closed.
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

// Root returns how many records the store has, and the root of the Merkle tree over them (package tree): leaf n is the
// record that was admitted as number n. They are those that SQLite has (see WithReads). It reads a few rows, however large the store
// is.
func (db *DB) Root(ctx context.Context) (size uint64, root tree.Hash, err error) {
	if err = db.settled(ctx); err == nil {
		size, root, err = db.sql.Root(ctx)
	}
	if err != nil {
		return 0, tree.Hash{}, fmt.Errorf("root of the tree: %w", err)
	}
	return size, root, nil
}

// Tree returns a reader of the Merkle tree over the records (package tree), and how many records it covers. From it every
// proof and root can be computed, for this size and all smaller ones. The reader goes on showing the tree of this moment when
// records are added. It works until ctx ends or the store is closed.
//
// A tile is not compared with the records. Check a proof that you make from it against a root that was signed, or that
// Verify found.
func (db *DB) Tree(ctx context.Context) (size uint64, tiles tree.TileReader, err error) {
	if err = db.settled(ctx); err == nil {
		size, tiles, err = db.sql.Tree(ctx)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read the tree: %w", err)
	}
	return size, tiles, nil
}

// whileOpen yields what seq yields. Once the store is closed it yields an error instead, and ends.
func whileOpen[T any](ctx context.Context, db *DB, seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range seq {
			if err == nil {
				err = db.open(ctx) // what the question is to see was waited for when it began
			}
			if err != nil {
				var none T
				if !yield(none, journalError(err)) || !ofRecord(err) {
					return
				}
				continue
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Close waits for the calls that put, brings everything to SQLite and to disk, and releases the lock.
// An error means that it could not. Nothing acknowledged is lost then: the next opening replays it.
//
// Close waits some seconds for another process that blocks it: a reader that keeps SQLite's -wal at its limit, or a
// shell that holds SQLite's write lock. Then the rest is left to the next opening, CloseNote says so, and puts that are
// still blocked by a full backlog fail with ErrClosed.
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
	db.background.Wait() // reading the filter's file is not interrupted, nor is a signature: that takes moments
	if db.applier == nil {
		return db.sql.Close()
	}
	db.puts.Wait()
	err := db.drain()
	db.backlog.Stop()
	var heldUp *heldUpError
	var notes []string
	switch {
	case err == nil:
		db.saveFilter()
	case errors.As(err, &heldUp):
		notes, err = append(notes, heldUp.why+": not all of the journal could be brought to SQLite; the next opening does that"), nil
	}
	if db.signer != nil {
		notes = append(notes, db.signer.finish(err != nil)...)
	}
	a := db.applier
	if err != nil || a.source.err() != nil {
		a.noteSynced() // noteFailure may not have run
	}
	note, closed := closeSQLite(db.sql, db.dir, a.file, a.last, a.now())
	if note != "" {
		notes = append(notes, note)
	}
	if db.closeNote = strings.Join(notes, "; "); db.closeNote != "" {
		db.opts.logger.Warn(db.closeNote)
	}
	if err = errors.Join(err, closed, a.source.close()); err != nil {
		return fmt.Errorf("close %s: %w", db.dir, err)
	}
	return nil
}

// CloseNote returns what a person should know about how Close ended, or "". Call it after Close.
func (db *DB) CloseNote() string { return db.closeNote }

// closeSQLite brings the database to disk, notes that in store.json, and closes the database. last is the newest complete
// checkpoint that counts. note is what a person should know.
//
// store.json is written between checkpoint and close. After the checkpoint nothing depends on -wal any more, and SQLite
// removes it when it closes. If store.json were written after that, a process that dies in between would leave a
// missing -wal that nothing explains.
func closeSQLite(sql *sqlstore.DB, dir string, file storedir.File, last *storedir.Reached, now time.Time) (note string, err error) {
	if cause := sql.Failed(); cause != nil {
		// Nobody knows which part of the files was synced. So nothing is copied, and the end is not clean.
		file.Fail(now, cause)
		return "", errors.Join(storedir.Write(dir, file), sql.Close())
	}
	ctx := context.Background()
	done, err := sql.Checkpoint(ctx, false)
	switch {
	case err != nil, file.Doubted:
	case done.Complete && file.Rebuilding == "":
		file.Clean, file.Left, file.Failed = true, nil, nil
		file.Reached = last.Then(done)
		if err = storedir.Write(dir, file); err == nil {
			// This leaves a short -wal where another process keeps SQLite from removing it.
			_, err = sql.Checkpoint(ctx, true)
		}
	default:
		left := wal.Offset(done.Applied)
		file.Left = &left
		err = storedir.Write(dir, file)
		if done.Complete {
			break // in the middle of a rebuild, which the next opening continues
		}
		note = "somebody has " + storedir.SQLiteName + " open and reads an earlier state: not all of it could be brought to disk; the next opening does that"
	}
	if err != nil {
		// Nothing more is copied, so that -wal stays: a -wal that is missing without a note would make the database
		// suspect.
		if cause := sql.Failed(); cause != nil {
			file.Fail(now, cause)
			err = errors.Join(err, storedir.Write(dir, file))
		}
		sql.Fail(err)
	}
	return note, errors.Join(err, sql.Close())
}

// drain stops the applier when it has applied everything.
func (db *DB) drain() error {
	ctx := context.Background()
	source := db.applier.source
	err := source.sync(ctx)
	if err == nil {
		err = db.applier.wait(ctx, source.synced())
	}
	db.applier.halt()
	err = errors.Join(err, source.stop())
	if err == nil {
		// This also trims the journal, which closing SQLite does not.
		db.applier.busy.Lock()
		err = db.applier.checkpoint(ctx, false)
		db.applier.busy.Unlock()
	}
	return err
}

// caughtUp waits, in the writer's process, until SQLite has everything that was acknowledged before the
// call.
func (db *DB) caughtUp(ctx context.Context) error {
	if err := db.readable(ctx); err != nil || db.applier == nil {
		return err
	}
	return db.appliedUpTo(ctx, db.applier.source.synced)
}

// appliedUpTo waits until SQLite has everything before an offset of the journal, which end returns once all is synced.
func (db *DB) appliedUpTo(ctx context.Context, end func() wal.Offset) error {
	// At SyncInterval a record is acknowledged before it is synced, and applied after that. When the journal has
	// failed, what it had synced can still be read.
	if err := db.applier.source.sync(ctx); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return db.applier.wait(ctx, end())
}
