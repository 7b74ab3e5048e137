package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/migrations"
)

// Options say how to open a database. The zero value opens it for writing with the defaults.
type Options struct {
	ReadOnly bool
	// Older makes a ReadOnly Open take a database of an older version, or one whose records are not all hashed yet. Its
	// records are not compared with their leaf hashes. Select and Beside do not work.
	Older      bool
	Readers    int   // connections that read, at most; 4 if 0
	CacheBytes int64 // page cache of the writer; 64 MiB if 0

	// What a new database stores about itself. An existing one keeps what it has.
	StoreID   string // 32 hex digits, or ""
	TimeUnit  string // of timestamps: s, ms, us or ns; ms if ""
	CreatedBy string // program and version
	// OwnedLike is a file or folder. When root makes a new database, the database gets the owner of that file. "" is
	// the folder of the database. SQLite gives -wal and -shm the owner of the database.
	OwnedLike string

	// How much of the journal is kept, and where the journal is. The database stores both, for when the file that says so
	// is lost. "" leaves what was stored before.
	Retention  string
	JournalDir string
	// Follows is what store.json says about the log that the store follows, if it does. It is stored likewise.
	Follows string

	// LockWait is how long a statement of the writer waits for another process's lock before it fails with ErrBusy; 10 s
	// if 0.
	LockWait time.Duration

	// Heading reads the beginning of a record, and returns false for what does not begin as one. It keeps and changes nothing. With
	// it a short list by time reads nothing but an index and the records, see heading.go. nil: such a list reads table entry too.
	Heading func(record []byte) (Heading, bool)

	Logger *slog.Logger // nil: silent
}

func (o Options) withDefaults() (Options, error) {
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch o.TimeUnit {
	case "":
		o.TimeUnit = "ms"
	case "s", "ms", "us", "ns":
	default:
		return o, fmt.Errorf("time unit %q is none of s, ms, us, ns", o.TimeUnit)
	}
	return o, nil
}

// DB is an open database. All its methods may be called from several goroutines.
type DB struct {
	path    string
	log     *slog.Logger
	sizes   sizes
	heading func(record []byte) (Heading, bool) // see Options
	readers readers
	access  access       // of the readers
	leave   func() error // ends the use of the file, see inUse; nil in a writer, where held does that
	held    *heldFiles   // nil in a read-only DB
	pin     *pin         // likewise
	failed  atomic.Pointer[error]

	// writing is held by whoever uses the writer; a channel, so that waiting for it ends with a context.
	// w is nil in a read-only DB.
	writing chan struct{}
	w       *writer

	// beside is a connection for checkpoints that run while the writer writes. It is opened for the first of them.
	// copying is held during such a checkpoint.
	beside  *sqlx.DB
	copying sync.Mutex

	closing sync.Mutex
	closed  atomic.Bool // set under closing and writing
	opened  bool        // Open with a writer has succeeded

	// See Options.Older: not all records have leaf hashes; kv has no column for them.
	unhashed, leafless bool
}

// Open opens the database at path. A writer makes it (mode 0600) if it does not exist, and migrates it if
// an older version made it. The caller sees to it that there is one writer at a time. A reader (Options.ReadOnly)
// does neither. It works beside a writer in another process, and also in a folder that cannot be written to.
//
// ErrNewer: a newer version of this program made the database. ErrOlder: an older one did, and a reader does not migrate it.
// ErrNotStore: the file is something else. Both are found
// before anything is written, and the file stays byte for byte as it was.
func Open(ctx context.Context, path string, o Options) (*DB, error) {
	o, err := o.withDefaults()
	if err == nil {
		db := &DB{path: path, log: o.Logger, sizes: defaultSizes(), heading: o.Heading, writing: make(chan struct{}, 1)}
		if err = db.open(ctx, o); err == nil {
			return db, nil
		}
		db.Close()
	}
	return nil, fmt.Errorf("open %s: %w", path, explain(err))
}

func (db *DB) open(ctx context.Context, o Options) error {
	meta, err := look(ctx, db.path)
	if err != nil {
		return err
	}
	if o.ReadOnly {
		if _, err := os.Lstat(db.path); err == nil && !meta.Exists {
			return fmt.Errorf("%w: the file is empty", ErrMalformed)
		}
		if !meta.Exists {
			return os.ErrNotExist
		}
		if db.leave, err = enter(ctx, db.path); err != nil {
			return err
		}
		if err := db.openReaders(ctx, o); err != nil {
			return err
		}
		return db.checkOlder(ctx, o)
	}
	if !meta.Exists {
		if err := create(ctx, db.path, o); err != nil {
			return fmt.Errorf("make it: %w", err)
		}
		if meta, err = look(ctx, db.path); err != nil { // perhaps another process made it
			return err
		}
	}
	if db.held, err = hold(ctx, db.path); err != nil {
		return err
	}
	if err := db.tryReaders(ctx, o, accessReader); err != nil {
		return err
	}
	if db.w, err = openWriter(ctx, db.path, o, meta.Version); err != nil {
		return err
	}
	if db.beside, err = connect(db.path, accessWriter, 1, 0); err != nil {
		return err
	}
	if err := db.held.holdWAL(); err != nil {
		return err
	}
	if err := db.held.check(); err != nil {
		return err
	}
	if db.pin, err = newPin(ctx, db.path); err != nil {
		return err
	}
	if err := db.unpin(ctx); err != nil {
		return err
	}
	db.opened = true
	return nil
}

// checkOlder refuses a database without all leaf hashes, or notes that it is one.
func (db *DB) checkOlder(ctx context.Context, o Options) error {
	// The open file is asked: a writer may have migrated it meanwhile.
	meta, err := metaOf(ctx, db.readers.DB)
	if err != nil {
		return err
	}
	db.unhashed = meta.Unhashed()
	if (db.unhashed || meta.Version < migrations.Runs) && !o.Older {
		return ErrOlder
	}
	db.leafless = meta.Version < migrations.Tree
	return nil
}

// leafColumn is the column of kv with the leaf hash, in SQL. prefix is the name of kv in the query, with a dot.
func (db *DB) leafColumn(prefix string) string {
	if db.leafless {
		return "NULL"
	}
	return prefix + "leaf"
}

// openReaders opens the pool of a database that is open for reading only.
func (db *DB) openReaders(ctx context.Context, o Options) error {
	err := db.tryReaders(ctx, o, accessReader)
	if !cannotShare(err) {
		return err
	}
	wal, serr := fileSize(db.path + walSuffix)
	switch {
	case serr != nil:
		return serr
	case wal == 0:
		return db.tryReaders(ctx, o, accessImmutable)
	}
	return db.tryReaders(ctx, o, accessLone)
}

// tryReaders opens the pool that reads, and one connection of it to see that it can.
func (db *DB) tryReaders(ctx context.Context, o Options, a access) error {
	pool, err := connect(db.path, a, o.Readers, 8<<20)
	if err != nil {
		return err
	}
	var tables int
	if err = pool.GetContext(ctx, &tables, `SELECT count(*) FROM sqlite_schema`); err == nil {
		_, err = get(ctx, readers{pool}, nil)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		pool.Close()
		return err
	}
	db.readers, db.access = readers{pool}, a
	return nil
}

// Path returns the file that Open was given.
func (db *DB) Path() string { return db.path }

// Close waits for the write in progress and closes every connection. It closes the writer's last, because the last
// connection to close copies what is left of -wal into the database and removes -wal, and only a writer
// can do that. If another process has the database open, or a stream of this process is not at its end, -wal stays. Close
// makes no other checkpoint; see Checkpoint. After ErrFailed, or when Open has failed halfway, Close copies nothing.
func (db *DB) Close() error {
	db.closing.Lock()
	defer db.closing.Unlock()
	if db.closed.Load() {
		return nil
	}
	db.writing <- struct{}{}
	defer func() { <-db.writing }()
	db.closed.Store(true)
	closers := []func() error{db.closeReaders, db.pin.close, db.closeBeside, db.closeWriter}
	if db.w != nil && (db.Failed() != nil || !db.opened) {
		// In the opposite order: a reader that is the last to close copies nothing.
		if err := db.keepReader(); err != nil {
			return fmt.Errorf("close %s: %w", db.path, err)
		}
		slices.Reverse(closers)
	}
	errs := []error{db.held.closeWAL()}
	for _, f := range closers {
		errs = append(errs, f())
	}
	if db.leave != nil {
		errs = append(errs, db.leave())
	}
	errs = append(errs, db.held.close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", db.path, err)
	}
	return nil
}

// keepReader makes sure that a reading connection is open, and stays open until the pool is closed. If none can be opened,
// the writer's connections stay open until the process ends: closing the last of them would copy pages.
func (db *DB) keepReader() error {
	const doing = "SQLite's files have failed, and no reader is open: its other connections stay open"
	switch {
	case db.readers.DB == nil:
		return errors.New(doing)
	case db.readers.Stats().OpenConnections > 0:
		return nil // the pool keeps it
	}
	var tables int
	if err := db.readers.Get(&tables, `SELECT count(*) FROM sqlite_schema`); err != nil {
		return fmt.Errorf(doing+": %w", err)
	}
	return nil
}

func (db *DB) closeReaders() error {
	if db.readers.DB == nil {
		return nil
	}
	return db.readers.Close()
}

func (db *DB) closeBeside() error {
	if db.beside == nil {
		return nil
	}
	db.copying.Lock()
	defer db.copying.Unlock()
	return db.beside.Close()
}

func (db *DB) closeWriter() error {
	if db.w == nil {
		return nil
	}
	return db.w.close()
}

// Fail stops all writing from now on, that of Close too, as after a failed sync. It is for a
// caller who has found that the files are not what they should be. A read-only DB ignores it.
func (db *DB) Fail(cause error) { db.poison(cause) }

// lockWriter returns the writer. The caller alone uses it, until it calls unlock.
func (db *DB) lockWriter(ctx context.Context) (w *writer, unlock func(), err error) {
	if db.w == nil {
		return nil, nil, ErrReadOnly
	}
	select {
	case db.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if err := db.refusal(); err != nil {
		<-db.writing
		return nil, nil, err
	}
	return db.w, func() { <-db.writing }, nil
}
