package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/wal"
)

// Open is [OpenContext] with a context that never ends.
func Open(dir string, opts ...Option) (*DB, error) {
	return OpenContext(context.Background(), dir, opts...)
}

// OpenContext opens the store in dir for writing, and makes it if there is none. Before it returns it recovers the
// journal and replays into SQLite what the journal has and SQLite lacks.
//
// It refuses, and changes nothing, when another writer has the store (ErrLocked), when a
// newer version made it, when it belongs to another user (*OwnerError), when a part of it is a symbolic link
// (*LinkError), and when acknowledged data is corrupt or missing: *wal.CorruptError, wal.ErrGap, wal.ErrAhead,
// ErrMismatch, *JournalAwayError, *DamagedError. An empty dir is ErrInvalid, and not the working folder. With ReadOnly it opens SQLite alone. Then the store must exist (ErrNoStore), and the
// database must belong to it (*ForeignError).
//
// The replay takes as long as SQLite needs for the records: some 20 seconds for a full backlog of the default size (see WithBacklog).
// WithReplayProgress and WithLogger say how far it is. Meanwhile no record can be put. An opening with ReadOnly, in this process or
// another, shows what SQLite has by then, which is more after each batch.
//
// When ctx ends first, its error is returned. The next opening continues where this one stopped. Afterwards ctx has no
// effect on the store.
func OpenContext(ctx context.Context, dir string, opts ...Option) (*DB, error) {
	if dir == "" {
		return nil, fmt.Errorf("open store: %w", invalid("the store's folder has no name"))
	}
	o := applyOptions(opts)
	open := openWriter
	if o.readOnly {
		open = openReader
	}
	db, err := open(ctx, dir, o)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return db, nil
}

// Init makes the store in dir, unless it exists, and closes it.
func Init(ctx context.Context, dir string, opts ...Option) (created bool, err error) {
	db, err := OpenContext(ctx, dir, opts...)
	if err != nil {
		return false, err
	}
	return db.recovery.Created, db.Close()
}

// Recover opens the store in dir for writing, replays what SQLite lacks, and closes it.
func Recover(ctx context.Context, dir string, opts ...Option) (Recovery, error) {
	if dir == "" {
		return Recovery{}, fmt.Errorf("recover store: %w", invalid("the store's folder has no name"))
	}
	o := applyOptions(opts)
	o.recovering = true
	db, err := openWriter(ctx, dir, o)
	if err != nil {
		return Recovery{}, fmt.Errorf("recover store: %w", err)
	}
	return db.recovery, db.Close()
}

// errMadeMeanwhile means that another process made the store while this one waited for the lock.
var errMadeMeanwhile = errors.New("another process has just made the store")

// openWriter opens a store for writing.
func openWriter(ctx context.Context, dir string, o options) (*DB, error) {
	return retried(func() (*DB, error) { return openOnce(ctx, dir, o) })
}

// retried opens a store again when another try can succeed.
func retried(open func() (*DB, error)) (*DB, error) {
	for again := false; ; {
		db, err := open()
		switch {
		case errors.Is(err, errMadeMeanwhile):
			continue // this cannot happen again: the store.json of that process stays
		case canSalvage(err) && !again && !errors.As(err, new(*DamagedError)):
			// The opening that failed has noted in store.json that SQLite is suspect. So the next one rebuilds SQLite, if the
			// journal reaches back to the beginning.
			again = true
			continue
		}
		return db, err
	}
}

func openOnce(ctx context.Context, dir string, o options) (*DB, error) {
	p := &opening{ctx: ctx, dir: dir, opts: o}
	if err := storedir.CheckOwner(dir); err != nil {
		return nil, err
	}
	journalDir, err := p.findJournal()
	if err != nil {
		return nil, err
	}
	if err := p.makeJournalDir(journalDir); err != nil {
		return nil, err
	}
	segmentBytes := o.segmentBytes
	if segmentBytes == 0 {
		segmentBytes = p.file.SegmentBytes
	}
	journal, recovered, err := wal.OpenContext(ctx, journalDir, wal.Options{
		// Cursor is called when the lock is held, so nobody else changes what it reads.
		Cursor:       func() (wal.Offset, error) { return p.cursor(journalDir) },
		Reached:      p.reached,
		Identity:     p.opts.identity,
		Durability:   o.durability,
		SegmentBytes: segmentBytes,
		// Nothing says any more up to where records were acknowledged. So intact ones are kept, whatever is before them.
		KeepTail: p.alone,
		Archive:  o.archive,
		LockWait: o.lockWait,
		LockNote: o.lockNote(),
		OnSync:   p.onSync(),
		Now:      o.now,
		FS:       o.fs,
	})
	if err != nil {
		return nil, p.withMoved(p.explain(err))
	}
	p.report.Torn, p.filled = recovered.Torn, recovered.Filled
	db, err := p.finish(journal, journalDir)
	if err != nil {
		return nil, p.withMoved(errors.Join(p.foreign(err), journal.Close()))
	}
	return db, nil
}

func (p *opening) onSync() func(wal.Synced) {
	synced := p.opts.metrics.Synced
	if synced == nil {
		return nil
	}
	return func(s wal.Synced) { synced(s.Took, s.Records, s.Bytes) }
}
