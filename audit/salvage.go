package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
)

// salvage replaces a damaged database that no journal can replace by a new one, which has all of its tables that cannot be
// made anew (sqlstore.Salvage says what is checked). The damaged one is moved to a folder aside. The opening then goes on with
// the new database, and makes the forensic tables.
//
// Until the new database is whole, checked and on disk, nothing is changed, and after an error there is nothing new. From then on
// store.json says that it takes the place of the damaged one, and the next opening completes that after a crash.
//
// What was suspect for another reason than the damage stays suspect: the opening checks it, as it would have without the damage.
func (p *opening) salvage() (err error) {
	path, dest := storedir.SQLitePath(p.dir), storedir.ReplacementPath(p.dir)
	if err := p.checkRoom(); err != nil {
		return err
	}
	if err := p.readAlone(); err != nil {
		return err
	}
	// A label that somebody puts after the copy was made would not be in the new database.
	release, err := sqlstore.HoldWrites(p.ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	p.opts.logger.Warn("the database is damaged; what cannot be made anew is copied out of it", "error", p.opts.damage)
	done, err := sqlstore.Salvage(p.ctx, path, dest, sqlstore.Options{
		StoreID: p.file.StoreID, TimeUnit: string(p.file.TimeUnit), CreatedBy: p.opts.createdBy,
		CacheBytes: p.opts.cacheBytes, OwnedLike: storedir.OwnedLike(p.dir), Logger: p.opts.logger,
	}, rowOf)
	if err != nil {
		return err
	}
	next, err := p.salvaged(done)
	if err == nil {
		p.report.Aside, err = storedir.Replace(p.dir, &next)
	}
	if err != nil {
		if next.Replacing == "" { // else the next opening completes it
			err = errors.Join(err, removeReplacement(p.dir))
		}
		return fmt.Errorf("replace a damaged database: %w", err)
	}
	p.report.Salvaged = true
	why := ""
	if damaged := (*DamagedError)(nil); errors.As(p.opts.damage, &damaged) {
		why = fmt.Sprintf(" (%v)", damaged.Err)
	} else if p.opts.damage != nil {
		why = fmt.Sprintf(" (%v)", p.opts.damage)
	}
	p.noteMoved("%s was damaged%s; its records are in a new one, and the old files are in %s", storedir.SQLiteName, why, p.report.Aside)
	return nil
}

// readAlone learns what the damaged database says without its -wal, for salvaged. That needs the file for itself, so it comes before anybody
// is kept from writing to it.
func (p *opening) readAlone() error {
	f := &p.facts
	if !f.HasWAL || f.Examined {
		return nil
	}
	// It counts only if SQLite finds nothing wrong with it.
	problems, ok, err := sqlstore.CheckAlone(p.ctx, f.Path)
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if err != nil || !ok || len(problems) > 0 {
		f.Alone = nil
	}
	return nil
}

// salvaged returns what store.json says of the database that was salvaged, or why it is not this store's.
func (p *opening) salvaged(done sqlstore.Salvaged) (storedir.File, error) {
	f := p.facts
	f.Exists, f.Unread, f.Both = true, nil, done.Meta
	f.File.Doubted = false
	if !f.HasWAL {
		f.Alone = &f.Both
	}
	f.Examined, f.BothProblems = true, nil
	plan := decide(f)
	if plan.Refuse != nil {
		return p.file, plan.Refuse
	}
	next := p.file
	if plan.Doubt != "" || next.Doubted || p.facts.Examined {
		next.Suspect(cmp.Or(plan.Doubt, p.facts.File.Doubt, "it was damaged"))
		next.Clean, next.Left = false, nil
		return next, nil
	}
	// All of it is on disk, and there is no -wal.
	next.Clean, next.Left, next.Failed = true, nil, nil
	next.Reached = next.Reached.Then(sqlstore.Checkpoint{Applied: done.Meta.Cursor, Newest: done.Newest, Complete: true})
	return next, nil
}

// salvageWAL bounds what a Reindex has in -wal before it copies that into the database.
const salvageWAL = 128 << 20

// checkRoom refuses a salvage for which the disk has no room. The new database, with the forensic tables, is at most as large
// as the damaged one with its -wal, which stays. Until they are copied into it, the forensic tables are in its -wal as well.
func (p *opening) checkRoom() error {
	need := uint64(0)
	for _, name := range []string{storedir.SQLitePath(p.dir), storedir.SQLitePath(p.dir) + "-wal"} {
		if st, err := os.Stat(name); err == nil {
			need += uint64(st.Size())
		}
	}
	return p.checkFree("salvage", need+min(need, salvageWAL), p.leftOfSalvage())
}

// leftOfSalvage is how much a salvage has left that was killed. The next one deletes it first.
func (p *opening) leftOfSalvage() (size uint64) {
	entries, _ := os.ReadDir(p.dir) // else nothing is known to be left
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() && strings.HasPrefix(e.Name(), filepath.Base(storedir.ReplacementPath(p.dir))) {
			size += uint64(st.Size())
		}
	}
	return size
}

// emptyDatabase is more than what the files of a database without a record take.
const emptyDatabase = 2 << 20

// checkRebuildRoom refuses to rebuild the database on a disk that has no room for it, before anything is changed. An opening that moved
// the old database aside and then could not make the new one would leave readers with neither. The new one is about as large as the old
// one, which stays; what an interrupted rebuild has left is deleted first.
func (p *opening) checkRebuildRoom() error {
	size := uint64(0)
	if st, err := os.Stat(storedir.SQLitePath(p.dir)); err == nil {
		size = uint64(st.Size())
	}
	gain := uint64(0)
	if p.file.Rebuilding != "" && !p.moving() {
		gain = size
	}
	return p.checkFree("rebuild", size+emptyDatabase, gain)
}

// checkFree refuses work on the database that needs more than what is free on the store's disk. gain is what will be freed before.
func (p *opening) checkFree(work string, need, gain uint64) error {
	free, known := durable.Free(p.dir)
	if !known || free+gain >= need {
		return nil
	}
	return fmt.Errorf("%s %s: it needs %s on the disk of %s, and %s are free: %w",
		work, storedir.SQLiteName, humanize.IBytes(need), p.dir, humanize.IBytes(free+gain), syscall.ENOSPC)
}

// removeReplacement deletes a database that was made to replace another one, and did not.
func removeReplacement(dir string) error {
	err := os.Remove(storedir.ReplacementPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// finishReplacing completes a salvage that was interrupted after the new database was whole.
func (p *opening) finishReplacing() error {
	file, err := storedir.Recall(p.ctx, p.dir)
	if err != nil || file.Replacing == "" {
		return nil // who reads it next reports an error
	}
	aside := file.Replacing
	if err := storedir.FinishReplacing(p.dir, &file); err != nil {
		return fmt.Errorf("replace a damaged database: %w", err)
	}
	p.noteMoved("%s was damaged, and its records were copied to a new one; the old files are in %s", storedir.SQLiteName, aside)
	return nil
}

// canSalvage reports whether an opening that failed with err could go on with a salvaged database.
func canSalvage(err error) bool {
	var primary *PrimaryError
	return errors.Is(err, sqlstore.ErrMalformed) && !errors.Is(err, ErrMismatch) && !errors.As(err, &primary)
}
