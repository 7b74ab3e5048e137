package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
)

// ReindexReport is what Reindex did.
type ReindexReport struct {
	Records   uint64   // whose rows were made anew
	Recovery  Recovery // what opening the store found and did
	CloseNote string   // see DB.CloseNote
}

// Reindex opens the store in dir, rebuilds its forensic tables as [DB.Reindex] does, and closes it. If the database is
// damaged, so that the store cannot be opened or the tables not be rebuilt, Reindex replaces the database:
//
//   - by one that is built anew from the journal, if the journal reaches back to the beginning (Recovery.Rebuilt);
//   - else by one with everything of the damaged one that cannot be made anew: the records and their order, the tree, the
//     labels and what was rejected (Recovery.Salvaged). The forensic tables and all indexes are made anew. This needs up to twice
//     the space of the database, and at most 128 MiB more than that space.
//
// The damaged database is kept in Recovery.Aside. If something of it is lost that cannot be made anew, the error is a
// *PrimaryError, and nothing was changed. When a record is not what was stored, the error is a *RecordError, after everything
// else was done where the database was salvaged, and before anything was changed where it is not damaged.
func Reindex(ctx context.Context, dir string, progress func(done, total uint64), opts ...Option) (ReindexReport, error) {
	r := reindexing{ctx: ctx, dir: dir, o: applyOptions(opts)}
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	if err := r.run(progress); err != nil {
		return r.ReindexReport, fmt.Errorf("reindex: %w", err)
	}
	return r.ReindexReport, nil
}

// reindexing is a Reindex under way.
type reindexing struct {
	ReindexReport
	ctx context.Context
	dir string
	o   options
	db  *DB
}

func (r *reindexing) run(progress func(done, total uint64)) error {
	err := r.open()
	if err == nil && !r.replaced() {
		err = r.db.remakeForensic(r.ctx, func(done, total uint64) {
			r.Records = done
			progress(done, total)
		})
		if errors.Is(err, sqlstore.ErrMalformed) {
			damage := err
			_ = r.close() // it fails for the same reason, or the next opening meets another one
			r.o.salvage, r.o.damage = true, damage
			err = r.open()
			if err == nil && !r.replaced() {
				err = damage // nothing that an opening reads is damaged, and the journal cannot help
			}
		}
	}
	if err == nil && r.replaced() {
		err = r.count()
	}
	if r.db == nil {
		return err
	}
	return errors.Join(err, r.close())
}

// open opens the store. If that meets damage that no journal can undo, it opens the store again and salvages its database.
func (r *reindexing) open() (err error) {
	r.db, err = openWriter(r.ctx, r.dir, r.o)
	if err != nil && canSalvage(err) && !r.o.salvage {
		r.o.salvage, r.o.damage = true, err
		r.db, err = openWriter(r.ctx, r.dir, r.o)
	}
	if err == nil {
		notes := append(r.Recovery.Notes, r.db.recovery.Notes...)
		r.Recovery = r.db.recovery
		r.Recovery.Notes = notes
	}
	return err
}

// replaced reports whether the opening has put another database in the place of the one that was there. It has made the
// forensic tables anew then.
func (r *reindexing) replaced() bool { return r.Recovery.Rebuilt || r.Recovery.Salvaged }

// count counts the records of a database that was replaced, and looks for one that is not what was stored.
func (r *reindexing) count() error {
	stats, err := r.db.sql.Stats(r.ctx)
	if err != nil {
		return err
	}
	r.Records = stats.Audits
	return r.db.lost(r.db.sql.CheckRecords(r.ctx))
}

func (r *reindexing) close() error {
	err := r.db.Close()
	r.CloseNote = cmp.Or(r.db.CloseNote(), r.CloseNote)
	r.db = nil
	return err
}

// checkFile returns sqlstore.ErrMalformed when SQLite finds its file damaged.
func (db *DB) checkFile(ctx context.Context) error {
	problems, err := db.sql.Integrity(ctx, false)
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("%s: %w: %s", storedir.SQLitePath(db.dir), sqlstore.ErrMalformed, problems[0])
	}
	return err
}

// Reindex rebuilds the forensic tables from kv and entry. Puts continue meanwhile, and what they acknowledge is applied
// afterwards. Questions that need those tables fail with ErrReindexing until the rebuild is complete. When ctx ends
// first, the next opening for writing completes it.
//
// If the database is damaged, the error is sqlstore.ErrMalformed. [Reindex] says what can be done about that, for which the store
// must be closed. If the journal reaches back to the beginning, the store takes no more records then, and the next opening for writing
// rebuilds the database. If the journal was trimmed, nothing was changed. When a record is not what was stored, the error is a
// *RecordError, and nothing was changed.
//
// progress, if not nil, is called with how many records are done.
func (db *DB) Reindex(ctx context.Context, progress func(done, total uint64)) error {
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	if err := db.remakeForensic(ctx, progress); err != nil {
		return fmt.Errorf("reindex: %w", err)
	}
	return nil
}

func (db *DB) remakeForensic(ctx context.Context, progress func(done, total uint64)) error {
	done, err := db.begin()
	if err != nil {
		return err
	}
	defer done()
	if err := db.caughtUp(ctx); err != nil {
		return err
	}
	if err := db.applier.busy.LockContext(ctx); err != nil {
		return err
	}
	defer db.applier.busy.Unlock()
	start := time.Now()
	trimmed := db.journal == nil || db.journal.Segments()[0].Base > 0
	if trimmed {
		// The journal is not enough to rebuild the database. So the tables are not dropped before it is known that they can be
		// made anew.
		if err := db.checkFile(ctx); err != nil {
			return err
		}
	}
	// Nothing is made from a record that is not what was stored. Other errors are for the rebuild itself.
	if err := db.lost(db.sql.CheckRecords(ctx)); ofRecord(err) {
		return err
	}
	db.reindexing.Store(true)
	err = db.sql.Reindex(ctx, rowOf, progress)
	if ctx.Err() == nil {
		// The forensic tables are new. So damage that SQLite still finds is in the tables that they were made from, and
		// it may be why the rebuild has failed.
		err = cmp.Or(db.checkFile(ctx), err)
	}
	if err != nil {
		if errors.Is(err, sqlstore.ErrMalformed) && !trimmed {
			db.sql.Fail(err)
		}
		return err
	}
	db.reindexing.Store(false)
	db.opts.logger.Info("the forensic tables were rebuilt", "took", time.Since(start))
	return nil
}
