package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// from returns the offset at which the replay begins.
func (p *opening) from(segs []wal.Segment) wal.Offset {
	switch {
	case !p.meta.Exists, p.rebuild():
		return 0
	case p.suspect() && len(segs) > 0:
		return segs[0].Base
	}
	return wal.Offset(p.meta.Cursor)
}

// start assembles the store of a journal and runs it.
func (p *opening) start(journal *wal.Journal, journalDir string, sql *sqlstore.DB) (*DB, error) {
	segs := journal.Segments()
	from := p.from(segs)
	reader, err := wal.OpenReader(journalDir, from, p.opts.journal())
	if err != nil {
		return nil, err
	}
	s := &journalSource{journal: journal, reader: reader, own: journal.End(), hurry: make(chan struct{}, 1)}
	// A record of any legal size must fit, or it would wait for ever.
	maxBytes := max(p.opts.backlogBytes, MaxEncoded)
	s.backlog = backlog.New(p.opts.backlog, maxBytes, func() {
		s.press()
		journal.Hurry()
	})
	db := p.assemble(s, s.backlog, from, sql)
	db.journal, db.journalDir, db.applier.journal = journal, journalDir, journal
	db.partRecords = max(1, min(partRecords, p.opts.backlog/4))
	db.partBytes = int(min(partBytes, maxBytes/4))
	return db, p.run(db)
}

// assemble makes the parts of a store that is opened for writing. from is the offset up to which SQLite has everything.
func (p *opening) assemble(s source, b *backlog.Backlog, from wal.Offset, sql *sqlstore.DB) *DB {
	a := &applier{
		source: s, sql: sql, backlog: b,
		log: p.opts.logger, metrics: p.opts.metrics, keep: p.file.Retention, limits: p.opts.limits,
		dir: p.dir, now: p.opts.now, file: p.file, last: p.trusted(),
		busy: newMutex(), changed: make(chan struct{}),
	}
	a.applied.Store(uint64(from))
	db := &DB{dir: p.dir, file: p.file, opts: p.opts, sql: sql, applier: a, backlog: b}
	db.quit, db.quitNow = context.WithCancel(context.Background())
	a.closing = db.quit
	return db
}

// run replays, and then starts the applier and fills the filter over ids. After an error it has stopped what it started.
func (p *opening) run(db *DB) error {
	a := db.applier
	err := p.replay(db)
	if err == nil {
		db.file, db.recovery, db.restored = a.file, p.report, p.restored
		db.ids, err = p.openFilter(db)
	}
	if err == nil {
		err = a.countRecords(p.ctx)
	}
	if err != nil {
		// A checkpoint may still be running, and would block the one that closing makes.
		a.busy.Lock()
		defer a.busy.Unlock()
		db.backlog.Stop()
		return errors.Join(err, a.awaitCopying(), a.source.stop())
	}
	a.ids = db.ids
	a.start()
	db.fillFilter()
	if db.signer != nil {
		db.signer.start(db)
	}
	return nil
}

// replay applies what SQLite lacks, after it has put in order what the opening has found suspect.
func (p *opening) replay(db *DB) error {
	if p.suspect() && !p.rebuild() {
		if err := p.check(db); err != nil {
			return err
		}
		if err := p.checkEntries(db); err != nil {
			return err
		}
		if err := db.sql.Rewind(p.ctx, db.applier.applied.Load()); err != nil {
			return err
		}
	}
	if err := p.hashOlder(db); err != nil {
		return err
	}
	// Before anything is applied: that needs the forensic tables.
	if err := p.reindex(db); err != nil {
		return err
	}
	// Before the replay as well: the replay may be interrupted, and the next opening finds the old database moved aside.
	if err := p.takeOverLabels(db); err != nil {
		return fmt.Errorf("take over the labels: %w", err)
	}
	p.tellReplay(db)
	if err := db.applier.replay(p.ctx); err != nil {
		return fmt.Errorf("replay the journal: %w", err)
	}
	p.report.Replayed, p.report.Rejected = db.applier.replayed, db.applier.rejected // nothing of a log that is followed
	if err := p.openLog(db); err != nil {
		return err
	}
	p.describe()
	if p.clean && !p.suspect() && p.report.Replayed == 0 {
		return nil
	}
	return p.toDisk(db)
}

const (
	// replayTold is from how many bytes of the journal on it is told how far their replay is. Less takes a moment, and an identity or a
	// mark alone is nothing to tell.
	replayTold = 1 << 20
	// replayLogged is how often the log says how far a replay is.
	replayLogged = 5 * time.Second
)

// tellReplay lets the caller and the log know how far the replay of the journal is.
func (p *opening) tellReplay(db *DB) {
	if db.journal == nil {
		return // nothing of a log that is followed is replayed
	}
	from, end := wal.Offset(db.applier.applied.Load()), db.journal.End()
	if end < from+replayTold {
		return
	}
	var logged time.Time
	tell := func(applied wal.Offset) {
		done, total := uint64(min(applied, end)-from), uint64(end-from)
		if now := p.opts.now(); applied >= end || now.Sub(logged) >= replayLogged {
			logged = now
			p.opts.logger.Info("replaying the journal into SQLite", "store", p.dir, "bytes", done, "of", total)
		}
		if p.opts.replaying != nil {
			p.opts.replaying(done, total)
		}
	}
	tell(from)
	db.applier.toldReplay = tell
}

// takeOverLabels copies the labels of a database that was moved aside into the new one, which has none.
func (p *opening) takeOverLabels(db *DB) error {
	labels := p.labels
	if len(labels) == 0 && p.file.Rebuilding != "" {
		// This opening has moved it aside, or one that was interrupted, perhaps before it copied the labels.
		have, err := db.sql.Labels(p.ctx)
		if err != nil {
			return err
		}
		if len(have) == 0 {
			labels = p.labelsOf(filepath.Join(p.dir, p.file.Rebuilding, storedir.SQLiteName))
		}
	}
	if len(labels) == 0 {
		return nil
	}
	return db.sql.PutLabels(p.ctx, labels)
}

// labelsOf returns the labels of a database that was moved aside. When they cannot be read they stay there, and a note says so.
func (p *opening) labelsOf(path string) []sqlstore.Label {
	sql, err := sqlstore.Open(p.ctx, path, sqlstore.Options{ReadOnly: true, Older: true, Readers: 1})
	if err != nil {
		p.note("the labels of the old database could not be read: %v", err)
		return nil
	}
	defer sql.Close()
	labels, err := sql.Labels(p.ctx)
	if err != nil {
		p.note("the labels of the old database could not be read: %v", err)
	}
	return labels
}

// reindex rebuilds the forensic tables when they are incomplete or suspect.
func (p *opening) reindex(db *DB) error {
	needs, err := db.sql.NeedsReindex(p.ctx)
	if err != nil || !needs && !p.report.Checked {
		return err
	}
	if p.trimmed && !p.report.Checked && !p.whole {
		// As in DB.Reindex: nothing is dropped before it is known that it can be made anew.
		if err := p.checkPages(db.sql); err != nil {
			return err
		}
	}
	var progress func(done, total uint64)
	if p.meta.Exists && p.meta.Version < sqlstore.Version() {
		progress = p.migrating("the forensic tables of an older version are being filled anew")
	}
	err = db.sql.Reindex(p.ctx, rowOf, progress)
	var skipped *sqlstore.SkippedError
	switch {
	case errors.As(err, &skipped) && (!p.suspect() || !errors.Is(err, sqlstore.ErrMalformed)):
		// Each such record is left out of every answer, which says so. In a suspect database no record may be missing.
		p.note("the forensic tables were rebuilt, without what cannot be read: %v", skipped)
		return nil
	case err != nil:
		return fmt.Errorf("reindex: %w", err)
	}
	p.note("the forensic tables were rebuilt")
	return nil
}

// toDisk brings SQLite to disk before the first append. After an unclean end a power cut may still undo
// what SQLite has, and the journal may be damaged where it would then have to be replayed from. A reader can block the
// checkpoint. It is waited for, but not without end.
func (p *opening) toDisk(db *DB) error {
	if err := db.applier.busy.LockContext(p.ctx); err != nil {
		return err
	}
	defer db.applier.busy.Unlock()
	for try := 0; ; try++ {
		if err := db.applier.checkpoint(p.ctx, false); err != nil {
			return err
		}
		if db.applier.durable.Load() == db.applier.applied.Load() {
			return nil
		}
		if try == p.opts.limits.tries {
			p.note("a reader keeps SQLite from being brought to disk; that is done as soon as the reader ends")
			return nil
		}
		select {
		case <-time.After(busyPause):
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

// trusted returns the complete checkpoint of an earlier life that trimming may rely on: this opening has read from
// SQLite at least what it had then, and nothing is suspect.
func (p *opening) trusted() *storedir.Reached {
	was := p.file.Reached
	if p.suspect() || was == nil || !p.meta.Exists || wal.Offset(p.meta.Cursor) < was.Cursor {
		return nil
	}
	return was
}

// check lets SQLite check a suspect database that cannot be rebuilt.
func (p *opening) check(db *DB) error {
	err := p.checkPages(db.sql)
	p.report.Checked = err == nil
	return err
}

// checkPages lets SQLite check a database that cannot be rebuilt.
func (p *opening) checkPages(sql *sqlstore.DB) error {
	problems, err := sql.Damage(p.ctx)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return p.damaged(fmt.Errorf("%w: SQLite finds: %s", sqlstore.ErrMalformed, problems[0]))
	}
	return nil
}

// checkEntries refuses a suspect database that lacks entries which the journal lacks too. Its pages can be whole and of two
// times, or be those of another table. From here on the tree is made to fit the entries that are there, and nothing else
// says how many there were.
func (p *opening) checkEntries(db *DB) error {
	var incomplete *sqlstore.IncompleteError
	missing := db.sql.CheckEntries(p.ctx)
	if !errors.As(missing, &incomplete) {
		return missing
	}
	left := map[QueryID]bool{} // of the journal, and not in SQLite
	reader, err := wal.OpenReader(db.journalDir, db.journal.Segments()[0].Base, p.opts.journal())
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		rec, err := reader.Next(p.ctx)
		if errors.Is(err, io.EOF) || err == nil && rec.Offset >= wal.Offset(p.meta.Reach) {
			break
		}
		if err != nil {
			return err
		}
		if id, ok := idOf(rec.Payload); ok {
			left[id] = true
		}
	}
	for entry, err := range db.sql.Entries(p.ctx, 0) {
		if errors.As(err, &incomplete) {
			break
		}
		if err != nil {
			return err
		}
		delete(left, entry.QueryID)
	}
	if incomplete.Have+uint64(len(left)) < incomplete.Want {
		return missing
	}
	return nil
}

func (p *opening) note(format string, args ...any) {
	p.report.Notes = append(p.report.Notes, fmt.Sprintf(format, args...))
}

// noteMoved is note for files that were moved.
func (p *opening) noteMoved(format string, args ...any) {
	p.note(format, args...)
	p.moved = append(p.moved, p.report.Notes[len(p.report.Notes)-1])
}

// withMoved adds to the error of an opening which files it had moved. Notes are for those who get a store, and the next opening
// does not know.
func (p *opening) withMoved(err error) error {
	if err == nil || len(p.moved) == 0 {
		return err
	}
	return fmt.Errorf("%w; before that, %s", err, strings.Join(p.moved, "; "))
}

// describe adds notes on what was found and done, and logs all notes.
func (p *opening) describe() {
	r := &p.report
	doubt := cmp.Or(p.plan.Doubt, p.facts.File.Doubt, "a recovery that was interrupted found it so")
	if t := r.Torn; t != nil {
		p.note("a torn tail of %d bytes at offset %d was cut (%s); a copy is in %s", t.Bytes, t.Offset, t.Reason, t.Quarantine)
	}
	for _, f := range p.filled {
		p.note("%d bytes of the journal at offset %d are damaged (%s); what was acknowledged there is lost, and the records after it are kept; a copy of the bytes is in %s",
			f.Bytes, f.Offset, f.Reason, f.Quarantine)
	}
	switch {
	case r.Rebuilt && p.file.Follows != nil && r.Aside != "":
		p.note("%s was suspect (%s); it is filled again from %s, and the old files are in %s", storedir.SQLiteName, doubt, p.file.Follows.Log, r.Aside)
	case r.Rebuilt && p.file.Follows != nil:
		p.note("%s was missing and is filled again from %s (labels are not there)", storedir.SQLiteName, p.file.Follows.Log)
	case r.Rebuilt && r.Aside != "":
		p.note("%s was suspect (%s); it was rebuilt from the journal (%d records), and the old files are in %s", storedir.SQLiteName, doubt, r.Replayed, r.Aside)
	case r.Rebuilt:
		p.note("%s was missing and was rebuilt from the journal: %d records (labels are not in the journal)", storedir.SQLiteName, r.Replayed)
	case r.Checked:
		p.note("%s was suspect (%s); it was checked, and %d records were replayed from the journal that is left", storedir.SQLiteName, p.plan.Doubt, r.Replayed)
	case r.Replayed > 0:
		p.note("%d records were replayed from the journal", r.Replayed)
	}
	if r.Rejected > 0 {
		p.note("%d journal records were rejected; verify says which", r.Rejected)
	}
	for _, note := range r.Notes {
		p.opts.logger.Info(note, "store", p.dir)
	}
}
