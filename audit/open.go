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

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// Open is [OpenContext] without an end.
func Open(dir string, opts ...Option) (*DB, error) {
	return OpenContext(context.Background(), dir, opts...)
}

// OpenContext opens the store in dir for writing, and makes it if there is none. Before it returns it recovers the
// journal and replays into SQLite what the journal has and SQLite lacks.
//
// It refuses, and changes nothing, when another writer has the store (ErrLocked), when a
// newer version made it, when it belongs to another user (*OwnerError), when a part of it is a symbolic link
// (*LinkError), and when acknowledged data is corrupt or missing: *wal.CorruptError, wal.ErrGap, wal.ErrAhead,
// ErrMismatch, *JournalAwayError. With ReadOnly it opens what SQLite holds. Then there must be a store
// (ErrNoStore), and the database must be its own (*ForeignError).
//
// When ctx ends first, its error is returned. The next opening continues where this one stopped. Afterwards ctx has no
// effect on the store.
func OpenContext(ctx context.Context, dir string, opts ...Option) (*DB, error) {
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
	o := applyOptions(opts)
	o.recovering = true
	db, err := openWriter(ctx, dir, o)
	if err != nil && db != nil {
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		return Recovery{}, fmt.Errorf("recover store: %w", err)
	}
	return db.recovery, db.Close()
}

// opening is what one opening learns before the store is open.
type opening struct {
	ctx  context.Context
	dir  string
	opts options
	file storedir.File
	// exists: store.json was read. When it was not, adopted says that the id and the unit are those of the journal, or of
	// SQLite.
	exists, adopted bool

	meta   sqlstore.Meta
	plan   storedir.Plan // what becomes of the database
	clean  bool          // as store.json had it
	labels []sqlstore.Label
	report Recovery
}

// suspect reports whether SQLite's files are not what an unclean end leaves.
func (p *opening) suspect() bool { return p.plan.Doubt != "" }

// rebuild reports whether the database will be rebuilt. A suspect one that is not rebuilt is checked, replayed from the
// first offset of the journal, and reindexed.
func (p *opening) rebuild() bool { return p.plan.Action == storedir.Rebuild }

// errMadeMeanwhile means that another process made the store while this one waited for the lock.
var errMadeMeanwhile = errors.New("another process has just made the store")

// openWriter opens a store for writing.
func openWriter(ctx context.Context, dir string, o options) (*DB, error) {
	for again := false; ; {
		db, err := openOnce(ctx, dir, o)
		switch {
		case errors.Is(err, errMadeMeanwhile):
			continue // its store.json exists now, and stays
		case errors.Is(err, sqlstore.ErrMalformed) && !errors.Is(err, ErrMismatch) && !again:
			// Opening has found this, and has noted it. SQLite is suspect now, and is rebuilt if that is possible.
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
		// Called when the lock is held: nobody else changes what it reads.
		Cursor:       func() (wal.Offset, error) { return p.cursor(journalDir) },
		Reached:      p.reached,
		Identity:     p.opts.identity,
		Durability:   o.durability,
		SegmentBytes: segmentBytes,
		Archive:      o.archive,
		LockWait:     o.lockWait,
		LockNote:     o.lockNote(),
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
	synced := p.opts.metrics.Synced
	if synced == nil {
		return nil
	}
	return func(s wal.Synced) { synced(s.Took, s.Records, s.Bytes) }
}

// findJournal reads store.json, or drafts the first one, and returns the journal's folder. With a
// *JournalAwayError it returns the folder as well.
func (p *opening) findJournal() (string, error) {
	file, err := storedir.Recall(p.ctx, p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := storedir.CheckVacant(p.dir); err != nil {
			return "", err
		}
		return p.draft(file.Lost)
	case err != nil:
		return "", err
	}
	p.use(file)
	if err := p.checkOptions(); err != nil {
		return "", err
	}
	if err := storedir.CheckJournalLinks(p.dir, p.file.JournalDir); err != nil {
		return "", err
	}
	return p.file.JournalPath(p.dir), journalAway(p.file, p.dir, p.opts.fs)
}

// draft makes the file of a store that has none, and returns the journal's folder. lost says why the one that exists is
// of no use, or is "".
func (p *opening) draft(lost string) (string, error) {
	p.file = newStoreFile(p.opts)
	p.file.Lost = lost
	if p.opts.journalDir != "" {
		abs, err := p.vacantJournalDir()
		if err != nil {
			return "", err
		}
		p.file.JournalDir = abs
	}
	journalDir := p.file.JournalPath(p.dir)
	if err := p.adopt(journalDir); err != nil {
		return "", err
	}
	p.opts.identity = p.file.Identity()
	return journalDir, nil
}

// vacantJournalDir returns the folder that a new store's journal is to have, which must not hold a journal.
func (p *opening) vacantJournalDir() (string, error) {
	if segs, err := wal.Segments(filepath.Join(p.dir, storedir.JournalName), p.opts.journal()); err == nil && len(segs) > 0 {
		return "", fmt.Errorf("%s: %w: it has a journal of its own in %s", p.dir, ErrMismatch, storedir.JournalName)
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
	return abs, storedir.CheckJournalLinks(p.dir, abs)
}

// newStoreFile is the file of a new store with these options.
func newStoreFile(o options) storedir.File {
	file := storedir.New(o.createdBy)
	file.SegmentBytes = o.segmentBytes
	if o.unit != nil {
		file.TimeUnit = storedir.Unit(o.unit.String())
	}
	if o.retention != nil {
		file.Retention = storedir.Retention(*o.retention)
	}
	return file
}

// use continues with what store.json says. When that is derived, the caller's option says where the journal is.
func (p *opening) use(file storedir.File) {
	p.file, p.exists, p.clean, p.opts.identity = file, file.Lost == "", file.Clean, file.Identity()
	p.adopted = file.Lost != ""
	if want, err := filepath.Abs(p.opts.journalDir); p.adopted && p.opts.journalDir != "" && err == nil {
		p.file.JournalDir = want
	}
}

// makeJournalDir makes the folder of a journal outside of the store, for the owner of the store: the folder
// above it may be root's. The journal itself makes one within the store.
func (p *opening) makeJournalDir(journalDir string) error {
	if p.opts.fs != wal.OS || !filepath.IsAbs(p.file.JournalDir) {
		return nil
	}
	like := storedir.OwnedLike(p.dir)
	if _, err := os.Stat(p.dir); err == nil && like == "" {
		like = p.dir
	}
	return durable.MkdirAll(journalDir, like)
}

// checkOptions refuses options that contradict an existing store.
func (p *opening) checkOptions() error {
	if u := p.opts.unit; u != nil && *u != unitOf(p.file.TimeUnit) {
		return fmt.Errorf("%s: %w: the store's time unit is %s, for good, not %s", p.dir, ErrInvalid, p.file.TimeUnit, *u)
	}
	if want := p.opts.journalDir; want != "" {
		want, err := filepath.Abs(want)
		if err != nil {
			return err
		}
		have, err := filepath.Abs(p.file.JournalPath(p.dir))
		if err != nil {
			return err
		}
		if want != have {
			return fmt.Errorf("%s: %w: the store's journal is in %s, not in %s", p.dir, ErrInvalid, have, want)
		}
	}
	return nil
}

// cursor returns the offset up to which SQLite has everything. It writes store.json if there is none, and
// nothing else.
func (p *opening) cursor(journalDir string) (wal.Offset, error) {
	segs, err := p.inspect(journalDir)
	if err != nil {
		return 0, err
	}
	if p.file.Used && p.meta.Exists && p.meta.Cursor == 0 && len(segs) == 0 {
		// A store that was opened once has a segment. Its records may have been acknowledged although SQLite has none:
		// the applier lags.
		return 0, fmt.Errorf("%s: %w: no segment is left, and %s has no record: bring them back, or restore the store from a backup", journalDir, wal.ErrGap, storedir.SQLiteName)
	}
	if !p.exists {
		if err := p.create(); err != nil {
			return 0, err
		}
	}
	return p.from(segs), nil
}

// inspect reads store.json again and decides what becomes of the database, once nobody else can change them. It
// returns the journal's segments.
func (p *opening) inspect(journalDir string) ([]wal.Segment, error) {
	// Another process may have made, or opened and closed, the store before this one had the lock.
	file, err := storedir.Recall(p.ctx, p.dir)
	switch {
	case err == nil:
		if !p.exists && file.Lost == "" && !bytes.Equal(file.Identity(), p.opts.identity) {
			return nil, errMadeMeanwhile
		}
		p.use(file)
		if p.file.JournalPath(p.dir) != journalDir {
			return nil, fmt.Errorf("%s: %w: somebody else has just made a store with its journal in %s", p.dir, ErrMismatch, file.JournalDir)
		}
		if err := p.checkOptions(); err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrNotExist):
		p.file.Lost = file.Lost
	default:
		return nil, err
	}
	segs, err := wal.Segments(journalDir, p.opts.journal())
	if err != nil {
		return nil, err
	}
	if err := p.decide(segs); err != nil {
		return nil, err
	}
	if p.file.Used && !p.meta.Exists && len(segs) == 0 {
		return nil, fmt.Errorf("%s: %w: both %s and the journal in %s are lost: the store must be restored from a backup", p.dir, wal.ErrGap, storedir.SQLiteName, journalDir)
	}
	return segs, nil
}

// decide decides what becomes of the database.
func (p *opening) decide(segs []wal.Segment) error {
	f, err := storedir.ReadFacts(p.ctx, p.dir, p.file, segs)
	if err != nil {
		return err
	}
	plan := decide(f)
	if plan.Action == storedir.Examine {
		if err := f.Examine(p.ctx); err != nil {
			return err
		}
		was := plan.Doubt
		if plan = decide(f); plan.Doubt == "" && plan.Refuse == nil {
			p.note("%s was suspect (%s); it was checked and is whole", storedir.SQLiteName, was)
		}
	}
	if plan.Refuse != nil {
		return plan.Refuse
	}
	p.meta, p.plan = f.Both, plan
	if f.Unread != nil {
		p.opts.logger.Warn("the database cannot be read", "error", f.Unread)
		p.meta = sqlstore.Meta{Exists: true, StoreID: p.file.StoreID, TimeUnit: string(p.file.TimeUnit)}
	}
	return nil
}

// create writes the first store.json, and makes the name of its folder durable.
func (p *opening) create() error {
	if err := durable.MkdirAll(p.dir, ""); err != nil {
		return err
	}
	// The folder may have been made by a process that died before it synced the name.
	if err := durable.SyncDir(filepath.Dir(filepath.Clean(p.dir))); err != nil {
		return err
	}
	p.report.Created = !p.file.Used
	if p.file.Lost != "" {
		if err := p.replaceStoreFile(); err != nil {
			return err
		}
	}
	return storedir.Write(p.dir, p.file)
}

// replaceStoreFile moves a store.json that is of no use aside, and notes that there is a new one.
func (p *opening) replaceStoreFile() error {
	name := filepath.Join(p.dir, storedir.FileName)
	if _, err := os.Lstat(name); err == nil {
		aside, err := storedir.MakeAside(p.dir)
		if err != nil {
			return err
		}
		if err := os.Rename(name, filepath.Join(aside, storedir.FileName)); err != nil {
			return err
		}
		if err := durable.SyncDir(aside); err != nil {
			return err
		}
		p.note("%s; what was there is in %s", p.file.Lost, aside)
	}
	if p.file.Used {
		p.note("%s: it was made anew from what %s says; all of the journal is kept until init --wal-retain says otherwise", p.file.Lost, storedir.SQLiteName)
	}
	return nil
}

// explain adds to an error of the journal what it means for the store.
func (p *opening) explain(err error) error {
	err = p.explainAhead(p.foreign(err))
	if errors.Is(err, wal.ErrGap) && !p.meta.Exists {
		return fmt.Errorf("%w; %s is lost, and the journal no longer reaches back to the beginning: the store must be restored from a backup", err, storedir.SQLiteName)
	}
	return err
}

// explainAhead adds to a wal.ErrAhead that only store.json says how far SQLite and the journal had been.
func (p *opening) explainAhead(err error) error {
	was := p.file.Reached
	if !errors.Is(err, wal.ErrAhead) || !p.meta.Exists || was == nil || max(wal.Offset(p.meta.Cursor), p.file.Synced) >= was.Cursor {
		return err
	}
	return fmt.Errorf("%w; only %s says so, and %s ends at offset %d: either both are of an earlier time, or %s was changed; in the latter case move it out of the folder, and it is made anew",
		err, storedir.FileName, storedir.SQLiteName, p.meta.Cursor, storedir.FileName)
}

// finish opens SQLite once the journal is recovered, replays, and starts the applier.
//
// store.json says Clean until SQLite is open. Up to then nothing was written but the header of its -wal, so a process
// that dies before the note leaves no suspect database. Only what changes the database comes after the note: a
// migration, moving it aside, replay.
func (p *opening) finish(journal *wal.Journal, journalDir string) (*DB, error) {
	if err := p.belongTogether(journal.Segments(), journal.End(), journalDir); err != nil {
		return nil, p.noteMalformed(err)
	}
	if p.opts.retention != nil {
		p.file.Retention = storedir.Retention(*p.opts.retention)
	}
	p.file.Used, p.file.Clean, p.file.Left, p.file.Doubted = true, false, nil, p.suspect()
	if p.file.Failed != nil {
		p.note("SQLite's files could not be written when the store was open last: %s", p.file.Failed.Error)
	}
	early := p.suspect() || !p.meta.Exists || p.meta.Version < sqlstore.Version()
	if early {
		if err := storedir.Write(p.dir, p.file); err != nil {
			return nil, err
		}
	}
	if p.rebuild() {
		// Doubted is noted until the database is out of the way. From then on the database that is there is the new
		// one. If the process dies in the middle of that, there is no reason to start again.
		if err := p.outOfTheWay(); err != nil {
			return nil, fmt.Errorf("move a suspect database aside: %w", err)
		}
		p.file.Doubted, p.file.Rebuilding = false, filepath.Base(p.report.Aside)
		if err := storedir.Write(p.dir, p.file); err != nil {
			return nil, err
		}
	}
	if p.meta.Exists == p.rebuild() && journal.End() > 0 {
		p.report.Rebuilt = true // lost, or set aside
	}
	sql, err := sqlstore.Open(p.ctx, storedir.SQLitePath(p.dir), sqlstore.Options{
		StoreID: p.file.StoreID, TimeUnit: string(p.file.TimeUnit), CreatedBy: p.opts.createdBy,
		CacheBytes: p.opts.cacheBytes, LockWait: p.opts.limits.lockWait, Logger: p.opts.logger, OwnedLike: storedir.OwnedLike(p.dir),
		Retention: p.file.Retention.String(), JournalDir: p.file.JournalDir,
	})
	if err != nil {
		return nil, p.noteMalformed(err)
	}
	if !early {
		if err := storedir.Write(p.dir, p.file); err != nil {
			return nil, errors.Join(err, sql.Close())
		}
	}
	db, err := p.start(journal, journalDir, sql)
	if err != nil {
		if errors.Is(err, sqlstore.ErrMalformed) {
			sql.Fail(err)
			err = p.noteMalformed(err)
		}
		// The next opening continues the replay where it stopped.
		_, closed := closeSQLite(sql, p.dir, p.file, p.trusted(), time.Now())
		return nil, errors.Join(err, closed)
	}
	return db, nil
}

// outOfTheWay moves a database that is rebuilt aside. What an interrupted rebuild has left was made from the journal
// alone, and is deleted: the database from before that was moved aside already.
func (p *opening) outOfTheWay() (err error) {
	if p.file.Rebuilding == "" {
		p.report.Aside, err = storedir.SetAside(p.dir)
		return err
	}
	p.report.Aside = filepath.Join(p.dir, p.file.Rebuilding)
	return storedir.RemoveSQLite(p.dir)
}

// noteMalformed notes that SQLite refuses its file, which this opening has found. When the database was suspect before
// and cannot be rebuilt, nothing is left to try.
func (p *opening) noteMalformed(err error) error {
	if !errors.Is(err, sqlstore.ErrMalformed) {
		return err
	}
	if p.suspect() && !p.rebuild() {
		return storedir.NeedsBackup(storedir.SQLitePath(p.dir), p.plan.Doubt, err.Error())
	}
	p.file.Fail(time.Now(), err)
	return errors.Join(err, storedir.Write(p.dir, p.file))
}
