package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// finish opens SQLite once the journal is recovered, replays, and starts the applier.
func (p *opening) finish(journal *wal.Journal, journalDir string) (*DB, error) {
	compare := func() error { return p.belongTogether(journal.Segments(), journal.End(), journalDir) }
	return p.finishWith(compare, journal.End() > 0, func(sql *sqlstore.DB) (*DB, error) { return p.start(journal, journalDir, sql) })
}

// finishWith opens SQLite and starts the store. compare compares the database with where the records come from. records says
// whether there are records that a lost database had, or could have had. start assembles the store and runs it.
//
// store.json says Clean until finish notes that the store is open. If it can, finish writes this note after SQLite was
// opened. Until then it has written nothing but the header of -wal, so a process that dies before the note leaves no
// suspect database. But a migration, a move of the database and a replay change the database: they come after the note.
func (p *opening) finishWith(compare func() error, records bool, start func(*sqlstore.DB) (*DB, error)) (*DB, error) {
	// A store that was restored or moved may lie in a folder that nobody has synced. What is acknowledged must not vanish with that name.
	if err := durable.SyncAround(p.dir); err != nil {
		return nil, err
	}
	if journalDir := p.file.JournalPath(p.dir); p.file.Follows == nil && filepath.IsAbs(p.file.JournalDir) {
		if err := durable.SyncAround(journalDir); err != nil {
			return nil, err
		}
	}
	if p.rebuild() {
		if err := p.checkRebuildRoom(); err != nil {
			return nil, err
		}
	}
	if p.plan.DropWAL {
		// SQLite reads -wal whenever it is there, so it goes before the database is read.
		aside, err := storedir.SetWALAside(p.dir)
		if err != nil {
			return nil, fmt.Errorf("move the -wal of %s aside: %w", storedir.SQLiteName, err)
		}
		p.noteMoved("the -wal of %s did not fit it (%s); %s is whole without it, and the -wal is in %s", storedir.SQLiteName, p.plan.Doubt, storedir.SQLiteName, aside)
	}
	// A database that an interrupted opening began to move aside was compared before that. It may be without its -wal by now.
	if !p.moving() {
		if err := compare(); err != nil {
			return nil, p.noteMalformed(err)
		}
	}
	if err := p.checkOlder(); err != nil {
		return nil, err
	}
	if p.opts.retention != nil {
		p.file.Retention = storedir.Retention(*p.opts.retention)
	}
	p.file.Used, p.file.Clean, p.file.Left = true, false, nil
	if p.suspect() {
		p.file.Suspect(p.plan.Doubt)
	} else {
		p.file.Trust()
	}
	if p.file.Failed != nil {
		p.note("SQLite's files could not be written when the store was open last: %s", strings.ReplaceAll(p.file.Failed.Error, "\n", "; "))
	}
	early := p.suspect() || !p.meta.Exists || p.meta.Version < sqlstore.Version()
	if p.rebuild() {
		if err := p.setAside(); err != nil {
			return nil, fmt.Errorf("move a suspect database aside: %w", err)
		}
	} else if early {
		if err := storedir.Write(p.dir, p.file); err != nil {
			return nil, err
		}
	}
	if p.meta.Exists == p.rebuild() && records {
		p.report.Rebuilt = true // the database is lost, or was moved aside just now
	}
	if aside := filepath.Join(p.dir, p.file.Rebuilding); !p.meta.Exists && p.file.Rebuilding != "" && storedir.MovedAside(aside) {
		p.report.Aside = aside // an opening that died has moved it
	}
	sql, err := sqlstore.Open(p.ctx, storedir.SQLitePath(p.dir), sqlstore.Options{
		StoreID: p.file.StoreID, TimeUnit: string(p.file.TimeUnit), CreatedBy: p.opts.createdBy,
		CacheBytes: p.opts.cacheBytes, LockWait: p.opts.limits.lockWait, Logger: p.opts.logger, OwnedLike: storedir.OwnedLike(p.dir),
		Retention: p.file.Retention.String(), JournalDir: p.file.JournalDir, Follows: p.file.Follows.Text(),
		Heading: headingOf,
	})
	if err != nil {
		return nil, p.noteMalformed(err)
	}
	if !early {
		if err := storedir.Write(p.dir, p.file); err != nil {
			return nil, errors.Join(err, sql.Close())
		}
	}
	db, err := start(sql)
	if err != nil {
		if errors.Is(err, sqlstore.ErrMalformed) {
			sql.Fail(err)
			why := err.Error()
			err = p.noteMalformed(err)
			p.file.Suspect(why) // and not that a write has failed
		}
		// The next opening continues the replay where it stopped.
		_, closed := closeSQLite(sql, p.dir, p.file, p.trusted(), p.opts.now())
		return nil, errors.Join(err, closed)
	}
	return db, nil
}

// checkOlder lets SQLite check a database whose migration drops tables, if no journal can fill them again. After the migration the older
// program cannot read it any more, and it answers everything that is not damaged.
func (p *opening) checkOlder() error {
	if !p.trimmed || p.rebuild() || !p.meta.Refilled() {
		return nil
	}
	sql, err := sqlstore.Open(p.ctx, storedir.SQLitePath(p.dir), sqlstore.Options{ReadOnly: true, Older: true, Readers: 1})
	if err != nil {
		return err
	}
	if err := errors.Join(p.checkPages(sql), sql.Close()); err != nil {
		return err
	}
	p.whole = true
	return nil
}

// setAside moves a database that will be rebuilt to a folder aside, and makes store.json say so. The process may die after each step:
//
//	the folder is made     store.json is as it was, and an empty folder is left
//	store.json is written  it says Doubted, and Rebuilding names the folder. The database is in its place. The next opening moves it there
//	files are moved        the same. audit.db is moved last
//	audit.db is moved      none is in its place. The next opening makes a new one, and takes the labels from the folder
//	store.json is written  it says Rebuilding alone. From then on a database in that place is a new one. If the process dies while it fills
//	                       the new one, the next opening goes on with that, unless it is suspect as well. Then it is deleted: it was made
//	                       from the journal alone
//
// So the labels are always in a folder that store.json names, or in the database that is in its place.
func (p *opening) setAside() (err error) {
	again := p.file.Rebuilding != "" && !p.moving()
	if p.file.Rebuilding != "" {
		p.report.Aside = filepath.Join(p.dir, p.file.Rebuilding)
	} else if p.report.Aside, err = storedir.MakeAside(p.dir); err != nil {
		return err
	}
	p.file.Rebuilding = filepath.Base(p.report.Aside)
	if err := storedir.Write(p.dir, p.file); err != nil {
		return err
	}
	if again {
		err = p.removeUnfinished()
	} else {
		err = storedir.MoveAside(p.dir, p.report.Aside)
		p.labels = nil // they are read in the folder: a label may have been put since they were read
	}
	if err != nil {
		return err
	}
	p.file.Trust()
	return storedir.Write(p.dir, p.file)
}

// removeUnfinished deletes a database that an interrupted rebuild has left. Its labels are taken over, with those that were put meanwhile.
func (p *opening) removeUnfinished() error {
	path := storedir.SQLitePath(p.dir)
	release, err := sqlstore.HoldWrites(p.ctx, path)
	if err != nil {
		return err
	}
	p.labels = p.labelsOf(path)
	return errors.Join(storedir.RemoveSQLite(p.dir), release())
}

// moving reports whether the process of an earlier opening may have died while it moved the suspect database aside: the database is
// still in its place, or what is left of it.
func (p *opening) moving() bool {
	found := p.facts.File
	return found.Doubted && found.Rebuilding != "" && !storedir.MovedAside(filepath.Join(p.dir, found.Rebuilding))
}

// noteMalformed writes to store.json that SQLite refuses its file, if that is what err says. The next opening rebuilds the
// database. If the journal was trimmed, nothing is written, and the error says what is left to try.
func (p *opening) noteMalformed(err error) error {
	switch {
	case !errors.Is(err, sqlstore.ErrMalformed):
		return err
	case p.trimmed && !p.rebuild():
		return p.damaged(err)
	}
	p.file.Fail(p.opts.now(), err)
	return errors.Join(err, storedir.Write(p.dir, p.file))
}

// damaged is the error of a database that SQLite refuses, and that no journal can replace.
func (p *opening) damaged(err error) error {
	if damaged := (*DamagedError)(nil); errors.As(err, &damaged) {
		return err
	}
	return storedir.Damaged(storedir.SQLitePath(p.dir), p.plan.Doubt, err)
}
