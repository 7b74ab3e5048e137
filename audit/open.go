package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// Open opens the store in dir for writing, making it if there is none, recovers it, and replays into
// SQLite what the journal has and SQLite lacks before it returns.
//
// It refuses, and leaves everything as it was, when another writer has the store (ErrLocked), when a
// newer version made it, and when acknowledged data is hurt or missing: *wal.CorruptError, wal.ErrGap,
// wal.ErrAhead, ErrMismatch. With ReadOnly it opens what SQLite holds; then there must be a store
// (ErrNoStore).
func Open(dir string, opts ...Option) (*DB, error) {
	o := applyOptions(opts)
	open := openWriter
	if o.readOnly {
		open = openReader
	}
	db, err := open(context.Background(), dir, o)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return db, nil
}

// Init makes the store in dir, unless it is there already, and closes it.
func Init(dir string, opts ...Option) (created bool, err error) {
	db, err := Open(dir, opts...)
	if err != nil {
		return false, err
	}
	return db.recovery.Created, db.Close()
}

// recoveringPath is a file that stands in the store's folder while Recover has the lock and SQLite still lacks
// records: others who read then do well to wait, which they need not for a writer that goes on. One that a killed
// process left means nothing while nobody has the lock, and the next to take it makes or removes it.
func recoveringPath(dir string) string { return filepath.Join(dir, "recovering") }

func markRecovering(dir string) error { return os.WriteFile(recoveringPath(dir), nil, 0o600) }

// Recover opens the store in dir for writing, replays what SQLite lacks, and closes it.
func Recover(ctx context.Context, dir string, opts ...Option) (Recovery, error) {
	o := applyOptions(opts)
	o.recovering = true
	// Before the lock is taken, so that nobody finds it held and not why; and once more when it is, since the
	// one who had it before has removed the file. That it cannot be made here, opening will say. A folder with
	// nothing but a journal must stay one until it has its store.json.
	if _, err := readStoreFile(dir); err == nil {
		_ = markRecovering(dir)
	}
	db, err := openWriter(ctx, dir, o)
	// SQLite has everything by now, or nobody is bringing it there any more.
	if gone := os.Remove(recoveringPath(dir)); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	if err != nil && db != nil {
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		return Recovery{}, fmt.Errorf("recover store: %w", err)
	}
	return db.recovery, db.Close()
}

// NeedsRecovery reports whether no writer has the store in dir open and the journal holds what SQLite
// lacks, or SQLite is lost or not to be believed: a reader then gets less than was acknowledged, until
// Recover. It is true as well while another Recover is at work, which WithLockWait waits for. It changes
// nothing.
func NeedsRecovery(ctx context.Context, dir string, opts ...Option) (bool, error) {
	needs, err := needsRecovery(ctx, dir)
	if err != nil {
		return false, fmt.Errorf("look at the store: %w", err)
	}
	return needs, nil
}

func needsRecovery(ctx context.Context, dir string) (bool, error) {
	journalDir, err := JournalDir(dir)
	if err != nil {
		return false, err
	}
	file, err := readStoreFile(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // nothing but a journal
	}
	if err != nil {
		return false, err
	}
	if held, _, err := wal.Holder(journalDir, wal.Options{}); err != nil || held {
		_, none := os.Lstat(recoveringPath(dir))
		return held && none == nil, err
	}
	meta, err := sqlstore.ReadCursor(ctx, sqlitePath(dir))
	if err == nil && (!meta.Exists || meta.Version < sqlstore.Version()) {
		return true, nil
	}
	if err != nil {
		meta = sqlstore.Meta{}
	}
	doubt, doubtErr := doubtful(ctx, dir, file, meta)
	if doubtErr != nil || doubt != "" {
		return doubt != "", doubtErr
	}
	if err != nil {
		return false, err
	}
	if unfinished, err := reindexUnfinished(ctx, dir); err != nil || unfinished {
		return unfinished, err
	}
	segs, err := wal.Segments(journalDir, wal.Options{})
	if err != nil {
		return false, err
	}
	if len(segs) == 0 {
		return file.Used || meta.Cursor > 0, nil
	}
	// The last file may end in zeros that were written ahead: then there was no clean close, and recovery
	// has nothing to do but to say so.
	last := segs[len(segs)-1]
	return last.Base+wal.Offset(last.Size) != wal.Offset(meta.Cursor), nil
}

// reindexUnfinished reports whether the forensic tables are not whole, which the next writer puts right.
func reindexUnfinished(ctx context.Context, dir string) (bool, error) {
	sql, err := sqlstore.Open(ctx, sqlitePath(dir), sqlstore.Options{ReadOnly: true, Readers: 1})
	if err != nil {
		return false, err
	}
	defer sql.Close()
	return sql.NeedsReindex(ctx)
}

// opening is what is learnt on the way to an open store.
type opening struct {
	ctx    context.Context
	dir    string
	opts   options
	file   storeFile
	exists bool // store.json was there
	// adopted: it was not, and id and unit are those of the journal.
	adopted bool
	meta    sqlstore.Meta
	report  Recovery

	// doubted: SQLite's files are not what an unclean end leaves. rebuild: it will be built anew. Otherwise
	// it is replayed from the first offset that the journal has, and reindexed.
	doubted, rebuild bool
	doubt            string // why it is doubted
	clean            bool   // as store.json had it
	labels           []sqlstore.Label
}

// openOnce is openWriter, which may have to begin anew.
func openOnce(ctx context.Context, dir string, o options) (*DB, error) {
	p := &opening{ctx: ctx, dir: dir, opts: o}
	journalDir, err := p.findJournal()
	if err != nil {
		return nil, err
	}
	segmentBytes := o.segmentBytes
	if segmentBytes == 0 {
		segmentBytes = p.file.SegmentBytes
	}
	journal, recovered, err := wal.Open(journalDir, wal.Options{
		// Called when the lock is held: what it reads nobody else can be changing.
		Cursor:       func() (wal.Offset, error) { return p.cursor(journalDir) },
		Reached:      p.reached,
		Identity:     p.opts.identity,
		Durability:   o.durability,
		SegmentBytes: segmentBytes,
		Archive:      o.archive,
		LockWait:     o.lockWait,
		OnSync:       p.onSync(),
		Now:          o.now,
		FS:           o.fs,
	})
	if err != nil {
		return nil, p.explain(err)
	}
	p.report.Torn = recovered.Torn
	db, err := p.finish(journal, journalDir)
	if err != nil {
		return nil, errors.Join(p.foreign(err), journal.Close())
	}
	return db, nil
}

func (p *opening) onSync() func(wal.Synced) {
	told := p.opts.metrics.Synced
	if told == nil {
		return nil
	}
	return func(s wal.Synced) { told(s.Took, s.Records, s.Bytes) }
}

// findJournal reads store.json, or lays out what it will say, and returns the journal's folder.
func (p *opening) findJournal() (string, error) {
	file, err := readStoreFile(p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := checkVacant(p.dir); err != nil {
			return "", err
		}
		p.file = newStoreFile(p.opts)
		if p.opts.journalDir != "" {
			if segs, err := wal.Segments(filepath.Join(p.dir, journalDirName), p.opts.journal()); err == nil && len(segs) > 0 {
				return "", fmt.Errorf("%s: %w: it has a journal of its own in %s", p.dir, ErrMismatch, journalDirName)
			}
			abs, err := filepath.Abs(p.opts.journalDir)
			if err != nil {
				return "", err
			}
			segs, err := wal.Segments(abs, p.opts.journal())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
			if len(segs) > 0 {
				return "", fmt.Errorf("%s: %w: it holds the journal of another store", abs, ErrMismatch)
			}
			p.file.JournalDir = abs
		}
		journalDir := p.file.journalDir(p.dir)
		if err := p.adopt(journalDir); err != nil {
			return "", err
		}
		p.opts.identity = p.file.identity()
		return journalDir, nil
	case err != nil:
		return "", err
	}
	p.file, p.exists, p.clean, p.opts.identity = file, true, file.Clean, file.identity()
	if err := p.checkOptions(); err != nil {
		return "", err
	}
	journalDir := file.journalDir(p.dir)
	if _, err := p.opts.fs.List(journalDir); file.Used && errors.Is(err, fs.ErrNotExist) {
		// Not made anew: the disk that it lies on may only not be mounted.
		return "", fmt.Errorf("%w: the journal's folder %s is gone; bring it back, or restore the store from a backup", wal.ErrGap, journalDir)
	}
	return journalDir, nil
}

// checkOptions refuses what an existing store was made without.
func (p *opening) checkOptions() error {
	if u := p.opts.unit; u != nil && *u != p.file.TimeUnit {
		return fmt.Errorf("%s: %w: the store's time unit is %s, for good, not %s", p.dir, ErrInvalid, p.file.TimeUnit, *u)
	}
	if want := p.opts.journalDir; want != "" {
		want, err := filepath.Abs(want)
		if err != nil {
			return err
		}
		have, err := filepath.Abs(p.file.journalDir(p.dir))
		if err != nil {
			return err
		}
		if want != have {
			return fmt.Errorf("%s: %w: the store's journal is in %s, not in %s", p.dir, ErrInvalid, have, want)
		}
	}
	return nil
}

// cursor finds out up to which offset SQLite has everything. It writes store.json if there is none, and
// nothing else.
func (p *opening) cursor(journalDir string) (wal.Offset, error) {
	segs, err := p.look(journalDir)
	if err != nil {
		return 0, err
	}
	if p.file.Used && p.meta.Exists && p.meta.Cursor == 0 && len(segs) == 0 {
		// A store that was opened once has a segment. What was in it may have been acknowledged all the same: the
		// applier lags behind.
		return 0, fmt.Errorf("%s: %w: no segment is left, and %s has no record: bring them back, or restore the store from a backup", journalDir, wal.ErrGap, sqliteName)
	}
	if !p.exists {
		if err := p.create(); err != nil {
			return 0, err
		}
	}
	if p.opts.recovering {
		err = markRecovering(p.dir)
	} else if err = os.Remove(recoveringPath(p.dir)); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return p.from(segs), err
}

// look reads what there is, once nobody else can change it, and lists the journal's segments.
func (p *opening) look(journalDir string) ([]wal.Segment, error) {
	// Somebody may have made, or opened and closed, the store before we had the lock.
	switch file, err := readStoreFile(p.dir); {
	case err == nil:
		if file.journalDir(p.dir) != journalDir {
			return nil, fmt.Errorf("%s: %w: somebody else has just made a store with its journal in %s", p.dir, ErrMismatch, file.JournalDir)
		}
		if !p.exists && !bytes.Equal(file.identity(), p.opts.identity) {
			return nil, errMadeMeanwhile
		}
		p.file, p.exists, p.clean = file, true, file.Clean
		if err := p.checkOptions(); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	segs, err := wal.Segments(journalDir, p.opts.journal())
	if err != nil {
		return nil, err
	}
	if err := p.lookAtSQLite(segs); err != nil {
		return nil, err
	}
	if p.file.Used && !p.meta.Exists && len(segs) == 0 {
		return nil, fmt.Errorf("%s: %w: both %s and the journal in %s are lost: the store must be restored from a backup", p.dir, wal.ErrGap, sqliteName, journalDir)
	}
	return segs, nil
}

// create writes the first store.json, with the folder that holds it durable.
func (p *opening) create() error {
	if err := wal.MakeDir(wal.OS, p.dir); err != nil {
		return err
	}
	// The folder may have been made by a process that died before it synced the name.
	if err := wal.OS.SyncDir(filepath.Dir(filepath.Clean(p.dir))); err != nil {
		return err
	}
	p.report.Created = true
	return writeStoreFile(p.dir, p.file)
}

// explain adds to an error of the journal what it means for the store.
func (p *opening) explain(err error) error {
	err = p.foreign(err)
	if errors.Is(err, wal.ErrGap) && !p.meta.Exists {
		return fmt.Errorf("%w; %s is lost, and the journal no longer reaches back to the beginning: the store must be restored from a backup", err, sqliteName)
	}
	return err
}

// finish opens SQLite behind a journal that has been recovered, replays, and starts the applier.
//
// store.json says Clean as long as SQLite was opened and nothing was written but the header of its -wal: dying
// before the note is then no reason for doubt. Only what changes the database comes after it: a migration,
// moving it aside, replay.
func (p *opening) finish(journal *wal.Journal, journalDir string) (*DB, error) {
	if err := p.belongTogether(journal, journalDir); err != nil {
		return nil, err
	}
	if p.opts.retention != nil {
		p.file.Retention = *p.opts.retention
	}
	p.file.Used, p.file.Clean, p.file.Doubted = true, false, p.doubted && !p.rebuild
	early := p.doubted || !p.meta.Exists || p.meta.Version < sqlstore.Version()
	if early {
		if err := writeStoreFile(p.dir, p.file); err != nil {
			return nil, err
		}
	}
	if p.rebuild {
		if err := p.setAside(); err != nil {
			return nil, fmt.Errorf("move a database aside that is not to be believed: %w", err)
		}
	}
	if p.meta.Exists == p.rebuild && journal.End() > 0 {
		p.report.Rebuilt = true // lost, or set aside
	}
	sql, err := sqlstore.Open(p.ctx, sqlitePath(p.dir), sqlstore.Options{
		StoreID: p.file.StoreID, TimeUnit: p.file.TimeUnit.String(), CreatedBy: p.opts.createdBy,
		CacheBytes: p.opts.cacheBytes, Logger: p.opts.logger,
	})
	if err != nil {
		return nil, err
	}
	if !early {
		if err := writeStoreFile(p.dir, p.file); err != nil {
			return nil, errors.Join(err, sql.Close())
		}
	}
	db, err := p.start(journal, journalDir, sql)
	if err != nil {
		// Replay is taken up again where it stopped.
		return nil, errors.Join(err, closeSQLite(sql, p.dir, p.file))
	}
	return db, nil
}

func openReader(ctx context.Context, dir string, o options) (*DB, error) {
	file, err := readStoreFile(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := JournalDir(dir); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w: it holds a journal and no %s; opening it for writing makes one", dir, ErrNoStore, sqliteName)
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(sqlitePath(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %s is missing; opening the store for writing builds it anew from the journal", dir, ErrNoStore, sqliteName)
	}
	sql, err := sqlstore.Open(ctx, sqlitePath(dir), sqlstore.Options{ReadOnly: true, Logger: o.logger})
	if err != nil {
		return nil, err
	}
	o.identity = file.identity()
	db := &DB{dir: dir, journalDir: file.journalDir(dir), file: file, opts: o, sql: sql}
	db.quit, db.quitNow = context.WithCancel(context.Background())
	return db, nil
}
