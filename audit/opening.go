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

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// opening is what one opening learns before the store is open.
type opening struct {
	ctx  context.Context
	dir  string
	opts options
	file storedir.File
	// exists says that store.json was read. If it was not, adopted says that the id and the unit were taken from the journal
	// or from SQLite.
	exists, adopted bool
	// alone says that the journal is all that is left of the store.
	alone bool

	meta    sqlstore.Meta
	facts   storedir.Facts // from which the plan was made
	plan    storedir.Plan  // what becomes of the database
	trimmed bool           // the journal no longer has its beginning
	clean   bool           // File.Clean, as this opening found it
	whole   bool           // SQLite has checked all of the database before its migration
	labels  []sqlstore.Label
	// restored are records of an older version that a repair took from the journal.
	restored []QueryID
	report   Recovery
	moved    []string // those of the report's notes that are about files which were moved
	filled   []wal.TornTail
}

// suspect reports whether SQLite's files are in a state that the store cannot have left, not even by an unclean end.
func (p *opening) suspect() bool { return p.plan.Doubt != "" }

// rebuild reports whether the database will be rebuilt. A suspect one that is not rebuilt is checked, replayed from the
// first offset of the journal, and reindexed.
func (p *opening) rebuild() bool { return p.plan.Action == storedir.Rebuild }

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
	if file.Follows != nil {
		return "", &FollowsError{Dir: p.dir, Log: file.Follows.Log}
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

// draft makes the content of store.json for a store that has none, and returns the journal's folder. If a damaged
// store.json exists, lost says what is wrong with it, else it is "".
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
	return journalDir, p.draftOfOld(journalDir)
}

// draftOfOld makes a draft careful if the store is not new: it has a journal, and has lost the rest. How much of the journal was to be
// kept is not known, so all of it is. A database that somebody puts back later must be checked: what it had is not known either.
func (p *opening) draftOfOld(journalDir string) error {
	segs, err := wal.Segments(journalDir, p.opts.journal())
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(segs) == 0:
		return nil
	case err != nil:
		return err
	}
	p.alone = true
	p.file.Lost = cmp.Or(p.file.Lost, storedir.FileName+" is missing")
	p.file.Used, p.file.Clean, p.file.Doubted = true, false, true
	if p.opts.retention == nil {
		p.file.Retention = storedir.RetainAll
	}
	return nil
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

// use takes over what store.json says. If store.json was lost and file was derived, the caller's option, if there is one,
// says where the journal is.
func (p *opening) use(file storedir.File) {
	p.file, p.exists, p.clean, p.opts.identity = file, file.Lost == "", file.Clean, file.Identity()
	p.adopted = file.Lost != ""
	if want, err := filepath.Abs(p.opts.journalDir); p.adopted && p.opts.journalDir != "" && err == nil {
		p.file.JournalDir = want
	}
}

// makeJournalDir makes the folder of a journal that lies outside of the store. The owner of the store gets it, because
// the folder above it may be root's. Package wal makes a folder within the store.
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
		return fmt.Errorf("%s: %w", p.dir, invalid("the store's time unit is %s, for good, not %s", p.file.TimeUnit, *u))
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
	if err := p.finishReplacing(); err != nil {
		return 0, err
	}
	segs, err := p.inspect(journalDir)
	if p.opts.salvage && p.trimmed && p.exists && (err == nil || canSalvage(err)) {
		if err = p.salvage(); err == nil {
			segs, err = p.inspect(journalDir)
		}
	}
	if err != nil {
		return 0, err
	}
	if p.file.Used && p.meta.Exists && p.meta.Cursor == 0 && len(segs) == 0 {
		// A store that was opened once has a segment. Its records may have been acknowledged although SQLite has none:
		// the applier lags.
		return 0, fmt.Errorf("%s: %w: no segment is left, and %s has no record: bring them back, or restore the store from a backup", journalDir, wal.ErrGap, storedir.SQLiteName)
	}
	if !p.exists {
		if p.trimmed && !p.meta.Exists {
			// Recovery would say so too, but nothing is written for a store that is refused.
			return 0, fmt.Errorf("%s: %w: the log begins at offset %d", segs[0].Path, wal.ErrGap, segs[0].Base)
		}
		if err := p.create(); err != nil {
			return 0, err
		}
	}
	return p.from(segs), nil
}

// inspect reads store.json again and decides what becomes of the database. An opening calls it when it has the lock, so
// that nobody else can change what it reads. It returns the journal's segments.
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
		p.file.Lost = cmp.Or(file.Lost, p.file.Lost)
	default:
		return nil, err
	}
	segs, err := wal.Segments(journalDir, p.opts.journal())
	if err != nil {
		return nil, err
	}
	p.trimmed = len(segs) > 0 && segs[0].Base > 0
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
	p.facts = f
	if plan.Refuse != nil {
		return plan.Refuse
	}
	p.meta, p.plan = f.Both, plan
	if plan.DropWAL {
		p.meta = *f.Alone
	} else if f.Unread != nil {
		p.opts.logger.Warn("the database cannot be read", "error", f.Unread)
		p.meta = sqlstore.Meta{Exists: true, StoreID: p.file.StoreID, TimeUnit: string(p.file.TimeUnit)}
	}
	return nil
}

// create writes the first store.json. finishWith makes the name of its folder durable.
func (p *opening) create() error {
	if err := durable.MkdirAll(p.dir, ""); err != nil {
		return err
	}
	p.report.Created = !p.file.Used || p.alone
	if p.file.Lost != "" {
		if err := p.replaceStoreFile(); err != nil {
			return err
		}
	}
	return storedir.Write(p.dir, p.file)
}

// replaceStoreFile moves a damaged store.json aside, and adds a note to the report that there is a new one.
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
		p.noteMoved("%s; what was there is in %s", p.file.Lost, aside)
	}
	switch {
	case p.file.Follows != nil:
		p.note("%s: it was made again from what %s says", p.file.Lost, storedir.SQLiteName)
	case p.file.Used:
		from := storedir.SQLiteName
		if !p.meta.Exists || p.facts.Unread != nil {
			from = "the journal"
		}
		kept := ""
		if p.file.Retention == storedir.RetainAll {
			kept = "; all of the journal is kept until init --wal-retain says otherwise"
		}
		p.note("%s: it was made again from what %s says%s", p.file.Lost, from, kept)
	}
	return nil
}

// explain adds to an error of package wal what the error means for the store.
func (p *opening) explain(err error) error {
	err = p.explainSigned(p.explainAhead(p.foreign(err)))
	if errors.Is(err, wal.ErrGap) && !p.meta.Exists {
		return fmt.Errorf("%w; %s is lost, and the journal no longer reaches back to the beginning: the store must be restored from a backup", err, storedir.SQLiteName)
	}
	return err
}

// explainAhead adds a hint to a wal.ErrAhead if only store.json says that the journal was longer. SQLite and the journal
// do not show it, so store.json may have been changed.
func (p *opening) explainAhead(err error) error {
	was := p.file.Reached
	if !errors.Is(err, wal.ErrAhead) || !p.meta.Exists || was == nil || max(wal.Offset(p.meta.Cursor), p.file.Synced) >= was.Cursor {
		return err
	}
	return fmt.Errorf("%w; only %s says so, and %s ends at offset %d: either both are of an earlier time, or %s was changed; in the latter case move it out of the folder, and it is made again",
		err, storedir.FileName, storedir.SQLiteName, p.meta.Cursor, storedir.FileName)
}

// explainSigned makes an ErrBehind of a wal.ErrAhead if only log.json says that the journal was longer: then the rest of the store
// may have been restored from a backup, and the ways out are those of a store that lacks records which were signed.
func (p *opening) explainSigned(err error) error {
	signed := p.signedUpTo()
	if !errors.Is(err, wal.ErrAhead) || signed == 0 {
		return err
	}
	withoutLog := *p
	withoutLog.opts.withoutLog = true
	if withoutLog.reached() >= signed {
		return err
	}
	only := "only " + storedir.LogName + " says so"
	if c, readErr := signing.ReadConfig(p.dir); readErr == nil {
		if known, readErr := c.Known(p.dir); readErr == nil && known.Memory.Note != nil {
			only = signing.ConfigAlone
		}
	}
	return fmt.Errorf("%w: %w; %s", ErrBehind, err, only)
}
