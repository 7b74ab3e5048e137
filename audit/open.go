package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// Open opens the store in dir for writing, making it if there is none, recovers it, and replays into
// SQLite what the journal has and SQLite lacks before it returns.
//
// It refuses, and leaves everything as it was, when another writer has the store (ErrLocked), when a
// newer version made it, when it belongs to another user (*OwnerError) or a part of it is a symbolic link
// (*LinkError), and when acknowledged data is hurt or missing: *wal.CorruptError, wal.ErrGap, wal.ErrAhead,
// ErrMismatch, *JournalAwayError. With ReadOnly it opens what SQLite holds; then there must be a store
// (ErrNoStore), and the database must be its own (*ForeignError).
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

// recoveringNote stands in the lock's file while Recover is at work and SQLite still lacks records: others who read
// then do well to wait, which they need not for a writer that goes on. It lies with the lock, so that it is the holder's
// own: nobody else can leave it behind or take it away.
const recoveringNote = "recovering"

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

// NeedsRecovery says why a reader would get less than was acknowledged until Recover, or "": nobody has the store in dir
// open for writing, and the journal holds what SQLite lacks, or SQLite is lost or not to be believed. Also while
// another Recover is at work, which WithLockWait waits for. It changes nothing. What opening the store would refuse at
// first sight it refuses as well: a *LinkError, a *JournalAwayError.
func NeedsRecovery(ctx context.Context, dir string, opts ...Option) (why string, err error) {
	why, err = needsRecovery(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("look at the store: %w", err)
	}
	return why, nil
}

func needsRecovery(ctx context.Context, dir string) (string, error) {
	journalDir, err := JournalDir(dir)
	if err != nil {
		return "", err
	}
	file, lost, err := recallStoreFile(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is nothing but a journal", nil
	case err != nil:
		return "", err
	}
	if held, note, err := heldFor(ctx, journalDir); err != nil || held {
		if note == recoveringNote {
			return "another process recovers the store", nil
		}
		return "", err
	}
	if lost != "" {
		return lost, nil
	}
	segs, err := wal.Segments(journalDir, wal.Options{})
	if err != nil {
		return "", err
	}
	f, err := lookAround(ctx, dir, file, segs)
	if err != nil {
		return "", err
	}
	done := decide(f)
	switch {
	case done.doubt != "":
		return fmt.Sprintf("%s is in doubt: %s", sqliteName, done.doubt), nil
	case done.refuse != nil:
		return "", done.refuse
	case !f.both.Exists:
		return sqliteName + " is missing", nil
	case f.both.Version < sqlstore.Version():
		return sqliteName + " was made by an older version", nil
	case len(f.both.MissingTables()) > 0:
		return "somebody has dropped table " + strings.Join(f.both.MissingTables(), " and "), nil
	case file.Failed != nil:
		return "writing SQLite's files had failed: " + file.Failed.Error, nil
	}
	switch unfinished, err := reindexUnfinished(ctx, dir); {
	case errors.Is(err, sqlstore.ErrMalformed):
		return fmt.Sprintf("%s is in doubt: %v", sqliteName, err), nil
	case err != nil || unfinished:
		return "the forensic tables are not whole", err
	}
	cursor := wal.Offset(f.both.Cursor)
	if len(segs) == 0 {
		if file.Used || cursor > 0 {
			return "the journal is gone", nil
		}
		return "", nil
	}
	// The last file may end in zeros that were written ahead: then there was no clean close, and recovery
	// has nothing to do but to say so.
	last := segs[len(segs)-1]
	if last.Base+wal.Offset(last.Size) != cursor {
		return "the journal holds records that SQLite lacks", nil
	}
	return "", nil
}

// heldFor tells whether somebody has the journal open for writing, and what for.
func heldFor(ctx context.Context, journalDir string) (held bool, note string, err error) {
	const patience = 100 * time.Millisecond
	for began := time.Now(); ; {
		held, owner, err := wal.Holder(journalDir, wal.Options{})
		// Between taking the lock and writing who has it lies a moment; and a reader that looks at the lock holds it
		// for one.
		if err != nil || !held || owner.PID != 0 || time.Since(began) > patience {
			return held, owner.Note, err
		}
		select {
		case <-time.After(patience / 20):
		case <-ctx.Done():
			return false, "", ctx.Err()
		}
	}
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
	exists bool   // store.json was there
	lost   string // why it is made anew, or ""
	// adopted: it was not, and id and unit are those of the journal, or of SQLite.
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

// openWriter opens a store for writing.
func openWriter(ctx context.Context, dir string, o options) (*DB, error) {
	for again := false; ; {
		db, err := openOnce(ctx, dir, o)
		switch {
		case errors.Is(err, errMadeMeanwhile):
			continue // its store.json is there now, and stays
		case errors.Is(err, sqlstore.ErrMalformed) && !errors.Is(err, ErrMismatch) && !again:
			// Found on the way, and noted: SQLite is in doubt now, and built anew if that can be.
			again = true
			continue
		}
		return db, err
	}
}

// openOnce is openWriter, which may have to begin anew.
func openOnce(ctx context.Context, dir string, o options) (*DB, error) {
	p := &opening{ctx: ctx, dir: dir, opts: o}
	if err := checkOwner(dir); err != nil {
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
	journal, recovered, err := wal.Open(journalDir, wal.Options{
		// Called when the lock is held: what it reads nobody else can be changing.
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
	told := p.opts.metrics.Synced
	if told == nil {
		return nil
	}
	return func(s wal.Synced) { told(s.Took, s.Records, s.Bytes) }
}

// findJournal reads store.json, or lays out what it will say, and returns the journal's folder. With a
// *JournalAwayError it returns the folder as well.
func (p *opening) findJournal() (string, error) {
	file, lost, err := recallStoreFile(p.ctx, p.dir)
	p.lost = lost
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
			if err := checkJournalLinks(p.dir, abs); err != nil {
				return "", err
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
	p.take(file)
	if err := p.checkOptions(); err != nil {
		return "", err
	}
	if err := checkJournalLinks(p.dir, p.file.JournalDir); err != nil {
		return "", err
	}
	return p.file.journalDir(p.dir), p.file.journalAway(p.dir, p.opts.fs)
}

// take goes by what store.json says, or what it is made anew from. Then it is a person's word where the journal lies.
func (p *opening) take(file storeFile) {
	p.file, p.exists, p.clean, p.opts.identity = file, p.lost == "", file.Clean, file.identity()
	p.adopted = p.lost != ""
	if want, err := filepath.Abs(p.opts.journalDir); p.lost != "" && p.opts.journalDir != "" && err == nil {
		p.file.JournalDir = want
	}
}

// makeJournalDir makes the folder of a journal outside of the store, for the user whose store it is: the folder
// above it may be root's. One within the store is made by the journal.
func (p *opening) makeJournalDir(journalDir string) error {
	if p.opts.fs != wal.OS || !filepath.IsAbs(p.file.JournalDir) {
		return nil
	}
	like := ownedLike(p.dir)
	if _, err := os.Stat(p.dir); err == nil && like == "" {
		like = p.dir
	}
	return durable.MkdirAll(journalDir, like)
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
	return p.from(segs), nil
}

// look reads what there is, once nobody else can change it, and lists the journal's segments.
func (p *opening) look(journalDir string) ([]wal.Segment, error) {
	// Somebody may have made, or opened and closed, the store before we had the lock.
	file, lost, err := recallStoreFile(p.ctx, p.dir)
	p.lost = lost
	switch {
	case err == nil:
		if !p.exists && lost == "" && !bytes.Equal(file.identity(), p.opts.identity) {
			return nil, errMadeMeanwhile
		}
		p.take(file)
		if p.file.journalDir(p.dir) != journalDir {
			return nil, fmt.Errorf("%s: %w: somebody else has just made a store with its journal in %s", p.dir, ErrMismatch, file.JournalDir)
		}
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
	if err := durable.MkdirAll(p.dir, ""); err != nil {
		return err
	}
	// The folder may have been made by a process that died before it synced the name.
	if err := durable.SyncDir(filepath.Dir(filepath.Clean(p.dir))); err != nil {
		return err
	}
	p.report.Created = !p.file.Used
	if p.lost != "" {
		if err := p.remadeStoreFile(); err != nil {
			return err
		}
	}
	return writeStoreFile(p.dir, p.file)
}

// remadeStoreFile keeps a store.json that is of no use, and tells that there is a new one.
func (p *opening) remadeStoreFile() error {
	if _, err := os.Lstat(filepath.Join(p.dir, storeFileName)); err == nil {
		aside, err := p.aside()
		if err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(p.dir, storeFileName), filepath.Join(aside, storeFileName)); err != nil {
			return err
		}
		if err := durable.SyncDir(aside); err != nil {
			return err
		}
		p.note("%s; what was there is in %s", p.lost, aside)
	}
	if p.file.Used {
		p.note("%s: it was made anew from what %s says; all of the journal is kept until init --wal-retain says otherwise", p.lost, sqliteName)
	}
	return nil
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
	if err := p.belongTogether(journal.Segments(), journal.End(), journalDir); err != nil {
		return nil, p.malformed(err)
	}
	if p.opts.retention != nil {
		p.file.Retention = *p.opts.retention
	}
	p.file.Used, p.file.Clean, p.file.Left, p.file.Doubted = true, false, nil, p.doubted
	if p.file.Failed != nil {
		p.note("SQLite's files could not be written when the store was open last: %s", p.file.Failed.Error)
	}
	early := p.doubted || !p.meta.Exists || p.meta.Version < sqlstore.Version()
	if early {
		if err := writeStoreFile(p.dir, p.file); err != nil {
			return nil, err
		}
	}
	if p.rebuild {
		// The doubt is noted until the database is out of the way. From then on what is there is being built, and an end
		// in the middle of that is no reason to begin anew.
		if err := p.outOfTheWay(); err != nil {
			return nil, fmt.Errorf("move a database aside that is not to be believed: %w", err)
		}
		p.file.Doubted, p.file.Rebuilding = false, filepath.Base(p.report.Aside)
		if err := writeStoreFile(p.dir, p.file); err != nil {
			return nil, err
		}
	}
	if p.meta.Exists == p.rebuild && journal.End() > 0 {
		p.report.Rebuilt = true // lost, or set aside
	}
	sql, err := sqlstore.Open(p.ctx, sqlitePath(p.dir), sqlstore.Options{
		StoreID: p.file.StoreID, TimeUnit: p.file.TimeUnit.String(), CreatedBy: p.opts.createdBy,
		CacheBytes: p.opts.cacheBytes, Logger: p.opts.logger, OwnedLike: ownedLike(p.dir),
		Retention: p.file.Retention.String(), JournalDir: p.file.JournalDir,
	})
	if err != nil {
		return nil, p.malformed(err)
	}
	if !early {
		if err := writeStoreFile(p.dir, p.file); err != nil {
			return nil, errors.Join(err, sql.Close())
		}
	}
	db, err := p.start(journal, journalDir, sql)
	if err != nil {
		if errors.Is(err, sqlstore.ErrMalformed) {
			sql.Fail(err)
			err = p.malformed(err)
		}
		// Replay is taken up again where it stopped.
		_, closed := closeSQLite(sql, p.dir, p.file, p.counts(), time.Now())
		return nil, errors.Join(err, closed)
	}
	return db, nil
}

// malformed notes that SQLite refuses its file, which opening has found on the way. When it was in doubt before and
// cannot be built anew, nothing is left to try.
func (p *opening) malformed(err error) error {
	if !errors.Is(err, sqlstore.ErrMalformed) {
		return err
	}
	if p.doubted && !p.rebuild {
		return p.needsBackup(err.Error())
	}
	p.file.fail(time.Now(), err)
	return errors.Join(err, writeStoreFile(p.dir, p.file))
}

func openReader(ctx context.Context, dir string, o options) (*DB, error) {
	file, lost, err := recallStoreFile(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := JournalDir(dir); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w: it holds a journal and no %s that can be read; opening it for writing makes one", dir, ErrNoStore, sqliteName)
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(sqlitePath(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %s is missing; opening the store for writing builds it anew from the journal", dir, ErrNoStore, sqliteName)
	}
	if err := checkAlone(ctx, dir, file); err != nil {
		return nil, err
	}
	doubt := doubtOf(ctx, dir, file)
	sql, err := sqlstore.Open(ctx, sqlitePath(dir), sqlstore.Options{ReadOnly: true, Logger: o.logger})
	if err != nil {
		return nil, err
	}
	// By what is open: whatever lies under the name now may be another file.
	meta, err := sql.Meta(ctx)
	if err == nil {
		err = cmp.Or(file.checkStore(sqlitePath(dir), meta), file.checkUnit(sqlitePath(dir), meta))
	}
	if err != nil {
		return nil, errors.Join(err, sql.Close())
	}
	o.identity = file.identity()
	db := &DB{dir: dir, journalDir: file.journalDir(dir), file: file, opts: o, sql: sql}
	db.quit, db.quitNow = context.WithCancel(context.Background())
	switch {
	case lost != "":
		db.recovery.Notes = []string{lost + "; this is what SQLite has"}
	case doubt != "":
		db.recovery.Notes = []string{fmt.Sprintf("%s is in doubt: %s; this is what it has", sqliteName, doubt)}
	}
	return db, nil
}

// doubtOf says why the next opening for writing would doubt the database, or "". Beside a writer there is no doubt. It
// is for a note: what cannot be found out is left out.
func doubtOf(ctx context.Context, dir string, file storeFile) string {
	if held, _, err := heldFor(ctx, file.journalDir(dir)); err != nil || held {
		return ""
	}
	segs, err := wal.Segments(file.journalDir(dir), wal.Options{})
	if err != nil {
		return ""
	}
	f, err := lookAround(ctx, dir, file, segs)
	if err != nil {
		return ""
	}
	return decide(f).doubt
}

// checkAlone refuses the database of another store with a -wal of this one over it: together they say that they are
// this store's. The database alone may say anything while somebody copies pages into it, but not that it is another
// store's: what does not say whose it is, or cannot be read, is left to whoever reads both.
func checkAlone(ctx context.Context, dir string, file storeFile) error {
	alone, ok, err := sqlstore.ReadAlone(ctx, sqlitePath(dir))
	if err != nil || !ok || alone.StoreID == "" {
		return nil
	}
	return file.checkStore(sqlitePath(dir), alone)
}
