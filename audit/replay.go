package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

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

// start replays, and lets the applier and the filter run.
func (p *opening) start(journal *wal.Journal, journalDir string, sql *sqlstore.DB) (*DB, error) {
	segs := journal.Segments()
	from := p.from(segs)
	reader, err := wal.OpenReader(journalDir, from, p.opts.journal())
	if err != nil {
		return nil, err
	}
	db := &DB{
		dir: p.dir, journalDir: journalDir, file: p.file, opts: p.opts, sql: sql, journal: journal,
		pending: newPending(p.opts.backlog, p.opts.backlogBytes), seen: newSeen(),
	}
	db.partRecords = max(1, min(partRecords, p.opts.backlog/4))
	db.partBytes = int(min(partBytes, db.pending.maxBytes/4))
	db.quit, db.quitNow = context.WithCancel(context.Background())
	a := &applier{
		journal: journal, reader: reader, own: journal.End(), sql: sql, pending: db.pending, seen: db.seen,
		log: p.opts.logger, metrics: p.opts.metrics, keep: p.file.Retention, limit: p.opts.walLimit,
		dir: p.dir, now: p.opts.now, file: p.file, last: p.counts(),
		closing: db.quit, changed: make(chan struct{}), hurry: make(chan struct{}, 1),
	}
	a.applied.Store(uint64(from))
	if a.now == nil {
		a.now = time.Now
	}
	db.applier = a
	db.pending.crowded = func() {
		a.press()
		journal.Hurry()
	}
	if err := p.replay(db); err != nil {
		// A checkpoint may be under way still, and would be in the way of the one that closing makes.
		a.busy.Lock()
		defer a.busy.Unlock()
		db.pending.stop()
		return nil, errors.Join(err, a.awaitCopying(), reader.Close())
	}
	db.file = a.file
	db.recovery = p.report
	kept, err := p.keptSeen(db)
	if err != nil {
		db.pending.stop()
		return nil, errors.Join(err, reader.Close())
	}
	a.start()
	db.fillSeen(kept)
	return db, nil
}

// replay applies what SQLite lacks, and puts right what opening has found in doubt.
func (p *opening) replay(db *DB) error {
	if p.doubted && !p.rebuild {
		if err := p.check(db); err != nil {
			return err
		}
		if err := db.sql.Rewind(p.ctx, db.applier.applied.Load()); err != nil {
			return err
		}
	}
	// Before anything is applied: without its tables nothing can be.
	if err := p.reindex(db); err != nil {
		return err
	}
	// Before the replay as well: it may be interrupted, and the next opening finds the old database aside.
	if err := p.takeOverLabels(db); err != nil {
		return fmt.Errorf("take over the labels: %w", err)
	}
	if err := db.applier.replay(p.ctx); err != nil {
		return fmt.Errorf("replay the journal: %w", err)
	}
	p.report.Replayed, p.report.Rejected = db.applier.replayed, db.applier.rejected
	p.tell()
	if p.clean && !p.doubted && p.report.Replayed == 0 {
		return nil
	}
	return p.toDisk(db)
}

// takeOverLabels puts the labels of a database that was moved aside into the new one, which has none.
func (p *opening) takeOverLabels(db *DB) error {
	labels := p.labels
	if len(labels) == 0 && p.file.Rebuilding != "" {
		// The opening that has moved it aside was interrupted, perhaps before it came to the labels.
		have, err := db.sql.Labels(p.ctx)
		if err != nil {
			return err
		}
		if len(have) == 0 {
			labels = p.labelsOf(filepath.Join(p.dir, p.file.Rebuilding, sqliteName))
		}
	}
	if len(labels) == 0 {
		return nil
	}
	return db.sql.PutLabels(p.ctx, labels)
}

// labelsOf returns the labels of a database that was moved aside. Those that cannot be read stay there.
func (p *opening) labelsOf(path string) []sqlstore.Label {
	sql, err := sqlstore.Open(p.ctx, path, sqlstore.Options{ReadOnly: true, Readers: 1})
	if err != nil {
		return nil
	}
	defer sql.Close()
	labels, err := sql.Labels(p.ctx)
	if err != nil {
		return nil
	}
	return labels
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
		if db.applier.checkpointed.Load() == db.applier.applied.Load() {
			break
		}
		if try == busyTries {
			p.note("a reader keeps SQLite from being brought to disk; that is done as soon as it lets go")
			return nil
		}
		select {
		case <-time.After(busyPause):
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
	return nil
}

// counts returns the complete checkpoint of an earlier life that trimming may rest on: this opening has read from
// SQLite at least what it had then, and nothing is in doubt.
func (p *opening) counts() *reached {
	was := p.file.Reached
	if p.doubted || was == nil || !p.meta.Exists || wal.Offset(p.meta.Cursor) < was.Cursor {
		return nil
	}
	return was
}

// check is what remains to be done for a database that is not to be believed and cannot be built anew.
func (p *opening) check(db *DB) error {
	problems, err := db.sql.Integrity(p.ctx, false)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return p.needsBackup("SQLite finds: " + problems[0])
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
		p.note("%s was not to be believed (%s); it was built anew from the journal (%d records), and the old files are in %s", sqliteName, p.doubt, r.Replayed, r.Aside)
	case r.Rebuilt:
		p.note("%s was missing and was built anew from the journal: %d records (labels are not in the journal)", sqliteName, r.Replayed)
	case r.Checked:
		p.note("%s was not to be believed (%s); it was checked, and %d records were replayed from the journal that is left", sqliteName, p.doubt, r.Replayed)
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
