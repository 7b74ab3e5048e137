package audit

import (
	"context"
	"path/filepath"

	"github.com/auditsql/auditsql/internal/idfilter"
	"github.com/auditsql/auditsql/internal/storedir"
)

func filterPath(dir string) string { return filepath.Join(dir, storedir.FilterName) }

// filterState says which ids SQLite holds now.
func (db *DB) filterState(ctx context.Context) (s idfilter.State, err error) {
	copy(s.StoreID[:], db.file.StoreID)
	if s.Cursor, err = db.sql.Cursor(ctx); err != nil {
		return s, err
	}
	last, ok, err := db.sql.LastEntry(ctx)
	if ok {
		s.Entries, s.Newest = last.Index+1, last.QueryID
	}
	return s, err
}

// openFilter returns the filter over ids, with the file that the last close left if it can be used: the store was closed
// cleanly, SQLite is not suspect, and nothing was replayed since.
func (p *opening) openFilter(db *DB) (*idfilter.Filter, error) {
	path := filterPath(p.dir)
	if !p.clean || p.suspect() || p.report.Replayed > 0 || p.report.Rejected > 0 {
		idfilter.Remove(path)
		return idfilter.New(), nil
	}
	state, err := db.filterState(p.ctx)
	if err != nil {
		return nil, err
	}
	return idfilter.Open(path, state), nil
}

// fewIDs can be read in moments.
const fewIDs = 1 << 16

// fillFilter fills the filter in the background: from the file of the last close, or from SQLite.
func (db *DB) fillFilter() {
	db.background.Go(func() {
		loaded, err := db.ids.Load()
		if err != nil {
			db.opts.logger.Warn("the file of the filter over ids could not be read; the filter is filled from SQLite", "error", err)
		}
		if loaded {
			return
		}
		// Close ends this early, except where it takes only moments: a store that is always closed soon would never
		// have its filter.
		ctx := db.quit
		if last, _, err := db.sql.LastEntry(context.WithoutCancel(ctx)); err == nil && last.Index < fewIDs {
			ctx = context.WithoutCancel(ctx)
		}
		// After an error the filter stays incomplete, which costs lookups and nothing else.
		_ = db.ids.Fill(func(yield func([32]byte, error) bool) {
			for entry, err := range db.sql.Entries(ctx, 0) {
				if !yield(entry.QueryID, err) {
					return
				}
			}
			if err := ctx.Err(); err != nil {
				yield([32]byte{}, err)
			}
		})
	})
}

// saveFilter writes the filter to its file for the next opening. The applier has ended, and the store is about to be
// closed cleanly. A failure costs the next opening time and nothing else.
func (db *DB) saveFilter() {
	if !db.ids.Complete() {
		return
	}
	state, err := db.filterState(context.Background())
	if err == nil {
		err = db.ids.Save(filterPath(db.dir), storedir.OwnedLike(db.dir), state)
	}
	if err != nil {
		db.opts.logger.Warn("the filter over ids was not saved", "error", err)
	}
}
