package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

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

// Recover opens the store in dir for writing, replays what SQLite lacks, and closes it.
func Recover(ctx context.Context, dir string, opts ...Option) (Recovery, error) {
	db, err := openWriter(ctx, dir, applyOptions(opts))
	if err != nil {
		return Recovery{}, fmt.Errorf("recover store: %w", err)
	}
	return db.recovery, db.Close()
}

// NeedsRecovery reports whether no writer has the store in dir open and the journal holds what SQLite
// lacks, or SQLite is lost or not to be believed: a reader then gets less than was acknowledged, until
// Recover. It changes nothing.
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
		return false, err
	}
	meta, err := sqlstore.ReadCursor(ctx, sqlitePath(dir))
	if err == nil && (!meta.Exists || meta.Version < sqlstore.Version()) {
		return true, nil
	}
	doubted, doubtErr := doubtful(dir, file)
	if doubtErr != nil || doubted {
		return doubted, doubtErr
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
		return meta.Cursor > 0, nil
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
	meta   sqlstore.Meta
	report Recovery

	// doubted: SQLite's files are not what an unclean end leaves. rebuild: it will be built anew. Otherwise
	// it is replayed from the first offset that the journal has, and reindexed.
	doubted, rebuild bool
	clean            bool // as store.json had it
	labels           []sqlstore.Label
}

func openWriter(ctx context.Context, dir string, o options) (*DB, error) {
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
		Durability:   o.durability,
		SegmentBytes: segmentBytes,
		Archive:      o.archive,
		LockWait:     o.lockWait,
		OnSync:       p.onSync(),
	})
	if err != nil {
		return nil, p.explain(err)
	}
	p.report.Torn = recovered.Torn
	db, err := p.finish(journal, journalDir)
	if err != nil {
		return nil, errors.Join(err, journal.Close())
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
			if segs, err := wal.Segments(filepath.Join(p.dir, journalDirName), wal.Options{}); err == nil && len(segs) > 0 {
				return "", fmt.Errorf("%s: %w: it has a journal of its own in %s", p.dir, ErrMismatch, journalDirName)
			}
			abs, err := filepath.Abs(p.opts.journalDir)
			if err != nil {
				return "", err
			}
			segs, err := wal.Segments(abs, wal.Options{})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
			if len(segs) > 0 {
				return "", fmt.Errorf("%s: %w: it holds the journal of another store", abs, ErrMismatch)
			}
			p.file.JournalDir = abs
		}
		return p.file.journalDir(p.dir), nil
	case err != nil:
		return "", err
	}
	p.file, p.exists, p.clean = file, true, file.Clean
	if err := p.checkOptions(); err != nil {
		return "", err
	}
	journalDir := file.journalDir(p.dir)
	if _, err := os.Stat(journalDir); file.Used && errors.Is(err, fs.ErrNotExist) {
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
	// Somebody may have made, or opened and closed, the store before we had the lock.
	switch file, err := readStoreFile(p.dir); {
	case err == nil:
		if file.journalDir(p.dir) != journalDir {
			return 0, fmt.Errorf("%s: %w: somebody else has just made a store with its journal in %s", p.dir, ErrMismatch, file.JournalDir)
		}
		p.file, p.exists, p.clean = file, true, file.Clean
		if err := p.checkOptions(); err != nil {
			return 0, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	segs, err := wal.Segments(journalDir, wal.Options{})
	if err != nil {
		return 0, err
	}
	if err := p.lookAtSQLite(segs); err != nil {
		return 0, err
	}
	if p.file.Used && !p.meta.Exists && len(segs) == 0 {
		return 0, fmt.Errorf("%s: %w: both %s and the journal in %s are lost: the store must be restored from a backup", p.dir, wal.ErrGap, sqliteName, journalDir)
	}
	if !p.exists {
		if err := p.create(); err != nil {
			return 0, err
		}
	}
	return p.from(segs), nil
}

// lookAtSQLite reads what the database says of itself and decides what becomes of one that is not to be
// believed: if the journal reaches back to the beginning it is built anew, else it is kept and checked.
func (p *opening) lookAtSQLite(segs []wal.Segment) (err error) {
	fromBeginning := len(segs) > 0 && segs[0].Base == 0
	doubted, err := doubtful(p.dir, p.file)
	if err != nil {
		return err
	}
	p.meta, err = sqlstore.ReadCursor(p.ctx, sqlitePath(p.dir))
	switch {
	case err != nil && doubted && fromBeginning && !errors.Is(err, sqlstore.ErrNewer) && !errors.Is(err, sqlstore.ErrNotStore):
		p.opts.logger.Warn("the database cannot be read", "error", err)
		p.meta = sqlstore.Meta{Exists: true, StoreID: p.file.StoreID, TimeUnit: p.file.TimeUnit.String()}
	case err != nil:
		return err
	case !p.meta.Exists:
		return nil
	}
	if p.meta.StoreID != p.file.StoreID {
		return fmt.Errorf("%s: %w: it belongs to store %s, %s says %s", sqlitePath(p.dir), ErrMismatch, p.meta.StoreID, storeFileName, p.file.StoreID)
	}
	if p.meta.TimeUnit != p.file.TimeUnit.String() {
		return fmt.Errorf("%s: %w: its time unit is %s, %s says %s", sqlitePath(p.dir), ErrMismatch, p.meta.TimeUnit, storeFileName, p.file.TimeUnit)
	}
	p.doubted, p.rebuild = doubted, doubted && fromBeginning
	return nil
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

// doubtful reports whether SQLite's files are not what the store left. Between the first write and the note
// that all is on disk there is a -wal with something in it: a writer gives it its header when it opens, and
// only shortens it after the note. Without it the database may be a mix of two states, with a cursor ahead
// of its rows, and SQLite would not notice.
func doubtful(dir string, file storeFile) (bool, error) {
	if file.Clean || !file.Used {
		return false, nil
	}
	if _, err := os.Stat(sqlitePath(dir)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // lost, not doubted
		}
		return false, err
	}
	if file.Doubted {
		return true, nil
	}
	st, err := os.Stat(sqlitePath(dir) + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return st.Size() == 0, nil
}

// from returns the offset that replay begins at.
func (p *opening) from(segs []wal.Segment) wal.Offset {
	switch {
	case !p.meta.Exists, p.rebuild:
		return 0
	case p.doubted && len(segs) > 0:
		return segs[0].Base
	}
	return wal.Offset(p.meta.Cursor)
}

// explain adds to an error of the journal what it means for the store.
func (p *opening) explain(err error) error {
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

// belongTogether holds the newest record that SQLite has against the journal, if the journal still has it:
// a journal of another store, or one restored from another time, would otherwise be replayed into rows
// that it never led to.
func (p *opening) belongTogether(journal *wal.Journal, journalDir string) error {
	if !p.meta.Exists {
		return nil
	}
	// The cursor was the end of something synced, whatever became of SQLite since.
	if wal.Offset(p.meta.Cursor) > journal.End() {
		return fmt.Errorf("%s: %w: it ends at offset %d, %s has records up to %d", journalDir, wal.ErrAhead, journal.End(), sqliteName, p.meta.Cursor)
	}
	newest, err := p.newest()
	if p.rebuild && err != nil {
		return nil // it is not to be believed anyway, and the journal reaches back to the beginning
	}
	if err != nil || newest == nil || wal.Offset(newest.JournalOffset) < journal.Segments()[0].Base {
		return err
	}
	mismatch := func(why string) error {
		return fmt.Errorf("%s: %w: the newest record, %s, should be in the journal at offset %d, where %s",
			p.dir, ErrMismatch, Hash(newest.QueryID), newest.JournalOffset, why)
	}
	if wal.Offset(newest.JournalOffset) >= journal.End() {
		return mismatch("the journal has ended")
	}
	r, err := wal.OpenReader(journalDir, wal.Offset(newest.JournalOffset), wal.Options{})
	if err != nil {
		return err
	}
	defer r.Close()
	rec, err := r.Next(p.ctx)
	var hurt *wal.CorruptError
	switch {
	case errors.As(err, &hurt) && hurt.Offset < p.from(journal.Segments()):
		// Damage below what is replayed: SQLite has it, so it is told by verify and stops nobody. Above that
		// recovery has found the journal whole, so this is no damage but another journal.
		return nil
	case errors.As(err, &hurt):
		return mismatch("no record begins")
	case err != nil:
		return err
	}
	id, ok := idOf(rec.Payload)
	switch {
	case rec.Offset != wal.Offset(newest.JournalOffset) || !ok || id != Hash(newest.QueryID):
		return mismatch("another one is")
	case newest.Value == nil && !p.rebuild:
		return fmt.Errorf("%s: %w: the newest record, %s, is missing from kv", sqlitePath(p.dir), ErrMismatch, id)
	case newest.Value != nil && !bytes.Equal(rec.Payload, newest.Value):
		return mismatch("it has other bytes")
	}
	return nil
}

// newest returns the newest entry of the database as it is, with its value or without when kv lacks it, and
// takes the labels along should the database be set aside. It is nil when there is no entry.
func (p *opening) newest() (*sqlstore.EntryValue, error) {
	sql, err := sqlstore.Open(p.ctx, sqlitePath(p.dir), sqlstore.Options{ReadOnly: true, Readers: 1})
	if err != nil {
		return nil, err
	}
	defer sql.Close()
	if p.rebuild {
		if p.labels, err = sql.Labels(p.ctx); err != nil {
			p.labels = nil // they stay in what is set aside
		}
	}
	entry, ok, err := sql.LastEntry(p.ctx)
	if err != nil || !ok {
		return nil, err
	}
	newest := &sqlstore.EntryValue{Entry: entry}
	newest.Value, err = sql.Get(p.ctx, KeyOf(entry.QueryID))
	if errors.Is(err, sqlstore.ErrNotFound) {
		err = nil
	}
	return newest, err
}

// setAside moves the database and its companions to a folder of their own. Nothing is deleted: a person
// may want to look at it, and the labels are in it.
func (p *opening) setAside() error {
	aside := filepath.Join(p.dir, fmt.Sprintf("aside-%d", time.Now().UnixNano()))
	if err := wal.OS.Mkdir(aside); err != nil {
		return err
	}
	for _, name := range sqliteFiles(p.dir) {
		err := os.Rename(name, filepath.Join(aside, filepath.Base(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	p.report.Aside = aside
	return errors.Join(wal.OS.SyncDir(aside), wal.OS.SyncDir(p.dir))
}

// start replays, and lets the applier and the filter run.
func (p *opening) start(journal *wal.Journal, journalDir string, sql *sqlstore.DB) (*DB, error) {
	segs := journal.Segments()
	from := p.from(segs)
	reader, err := wal.OpenReader(journalDir, from, wal.Options{})
	if err != nil {
		return nil, err
	}
	db := &DB{
		dir: p.dir, journalDir: journalDir, file: p.file, opts: p.opts, sql: sql, journal: journal,
		pending: newPending(p.opts.backlog, p.opts.backlogBytes), seen: newSeen(),
	}
	db.partRecords = max(1, min(partRecords, p.opts.backlog/4))
	db.partBytes = int(min(partBytes, db.pending.maxBytes/4))
	a := &applier{
		journal: journal, reader: reader, sql: sql, pending: db.pending, seen: db.seen,
		log: p.opts.logger, metrics: p.opts.metrics, keep: p.file.Retention,
		changed: make(chan struct{}), hurry: make(chan struct{}, 1),
	}
	a.applied.Store(uint64(from))
	db.applier = a
	db.pending.crowded = func() {
		a.press()
		journal.Hurry()
	}
	if err := p.replay(db); err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	db.recovery = p.report
	db.quit, db.quitNow = context.WithCancel(context.Background())
	a.start()
	db.fillSeen()
	return db, nil
}

// replay applies what SQLite lacks, and puts right what opening has found in doubt.
func (p *opening) replay(db *DB) error {
	if p.doubted && !p.rebuild {
		if err := p.check(db); err != nil {
			return err
		}
	}
	// Before anything is applied: without its tables nothing can be.
	if err := p.reindex(db); err != nil {
		return err
	}
	if err := db.applier.replay(p.ctx); err != nil {
		return fmt.Errorf("replay the journal: %w", err)
	}
	p.report.Replayed, p.report.Rejected = db.applier.replayed, db.applier.rejected
	if len(p.labels) > 0 {
		if err := db.sql.PutLabels(p.ctx, p.labels); err != nil {
			return fmt.Errorf("take over the labels: %w", err)
		}
	}
	p.tell()
	if p.clean && p.report.Replayed == 0 {
		return nil
	}
	return p.toDisk(db)
}

// reindex builds the forensic tables anew when they are not whole, or not to be believed.
func (p *opening) reindex(db *DB) error {
	needs, err := db.sql.NeedsReindex(p.ctx)
	if err != nil || !needs && !p.report.Checked {
		return err
	}
	err = db.sql.Reindex(p.ctx, rowOf, nil)
	var skipped *sqlstore.SkippedError
	switch {
	case errors.As(err, &skipped) && !p.doubted:
		p.note("the forensic tables were built anew, without what cannot be read: %v", skipped)
		return nil
	case err != nil:
		return fmt.Errorf("reindex: %w", err)
	}
	p.note("the forensic tables were built anew")
	return nil
}

// toDisk brings SQLite to disk before the first append. After an unclean end a power cut may still take back
// what SQLite has, and the journal may be hurt where it would have to be replayed from. A reader can keep a
// checkpoint from getting through; it is waited for, but not without end.
func (p *opening) toDisk(db *DB) error {
	db.applier.busy.Lock()
	defer db.applier.busy.Unlock()
	for try := 0; ; try++ {
		if err := db.applier.checkpoint(p.ctx, false); err != nil {
			return err
		}
		if db.applier.checkpointed == db.applier.applied.Load() {
			break
		}
		if try == 40 {
			p.note("a reader keeps SQLite from being brought to disk; that is done as soon as it lets go")
			return nil
		}
		select {
		case <-time.After(busyPause):
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
	if !p.file.Doubted {
		return nil
	}
	// Checked, reindexed, replayed, and on disk: from here on it is a database like any other.
	p.file.Doubted = false
	db.file.Doubted = false
	return writeStoreFile(p.dir, p.file)
}

// check is what remains to be done for a database that is not to be believed and cannot be built anew.
func (p *opening) check(db *DB) error {
	problems, err := db.sql.Integrity(p.ctx, false)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s: %w: its -wal is missing, and SQLite finds it damaged (%s): restore the store from a backup",
			sqlitePath(p.dir), ErrMismatch, problems[0])
	}
	p.report.Checked = true
	return nil
}

func (p *opening) note(format string, args ...any) {
	p.report.Notes = append(p.report.Notes, fmt.Sprintf(format, args...))
}

// tell puts into words what was found.
func (p *opening) tell() {
	r := &p.report
	if t := r.Torn; t != nil {
		p.note("a torn tail of %d bytes at offset %d was cut (%s); a copy is in %s", t.Bytes, t.Offset, t.Reason, t.Quarantine)
	}
	switch {
	case r.Rebuilt && r.Aside != "":
		p.note("%s had lost its -wal; it was built anew from the journal (%d records), and the old files are in %s", sqliteName, r.Replayed, r.Aside)
	case r.Rebuilt:
		p.note("%s was missing and was built anew from the journal: %d records (labels are not in the journal)", sqliteName, r.Replayed)
	case r.Checked:
		p.note("%s had lost its -wal; it was checked, %d records were replayed from the journal that is left", sqliteName, r.Replayed)
	case r.Replayed > 0:
		p.note("%d records were replayed from the journal", r.Replayed)
	}
	if r.Rejected > 0 {
		p.note("%d journal records were rejected; verify tells which", r.Rejected)
	}
	for _, note := range r.Notes {
		p.opts.logger.Info(note, "store", p.dir)
	}
}

// fillSeen fills the filter over the ids that SQLite holds, beside everything else.
func (db *DB) fillSeen() {
	db.background.Go(func() {
		ids := make([]QueryID, 0, 1024)
		for entry, err := range db.sql.Entries(db.quit, 0) {
			if err != nil {
				return // every answer stays "maybe", which is right, if slower
			}
			if ids = append(ids, entry.QueryID); len(ids) == cap(ids) {
				db.seen.add(ids...)
				ids = ids[:0]
			}
		}
		db.seen.add(ids...)
		if db.quit.Err() == nil {
			db.seen.complete.Store(true)
		}
	})
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
	return &DB{dir: dir, journalDir: file.journalDir(dir), file: file, opts: o, sql: sql}, nil
}
