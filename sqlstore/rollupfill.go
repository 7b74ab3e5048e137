package sqlstore

import (
	"context"
	"database/sql/driver"
)

// A database of an older version has records that are not in the rollup. Its migration leaves the mark 'activity' in table
// store: how many entries are counted. The caller calls FillActivity before it applies anything, since what is applied is
// counted at once.

// ActivityDue reports whether the rollup has to be filled first: a FillActivity is due, or was interrupted.
func (db *DB) ActivityDue(ctx context.Context) (bool, error) {
	return db.marked(ctx, "activity", "look at table activity")
}

// FillActivity counts the records that are not in the rollup yet, and ends the state that ActivityDue reports. It reads the
// derived tables, which must be complete. progress, which may be nil, is called with how many entries are done, and their
// total.
//
// It works in transactions of some 20,000 records. If it is interrupted, the next FillActivity goes on from the last of them.
func (db *DB) FillActivity(ctx context.Context, progress func(done, total uint64)) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("count the records by time", err)
	}
	defer unlock()
	if err := db.fillActivity(ctx, w, progress); err != nil {
		return db.fail("count the records by time", clash(err))
	}
	return nil
}

func (db *DB) fillActivity(ctx context.Context, w *writer, progress func(done, total uint64)) error {
	if err := w.prepareApply(); err != nil {
		return err
	}
	err := db.inParts(ctx, w, "activity", "audit", func(next, _ int64) (int64, error) { return db.fillPart(ctx, w, next) }, progress)
	if err != nil {
		w.apply.rollup.forget()
	}
	return err
}

// fillPart counts the next records, from index next on, inside a transaction. It returns the index to go on with.
func (db *DB) fillPart(ctx context.Context, w *writer, next int64) (int64, error) {
	const query = `SELECT a.idx, a.agent, a.timestamp, ` + unapproved + ` FROM audit a WHERE a.idx >= ? ORDER BY a.idx LIMIT ?`
	u := w.apply.rollup
	err := w.raw(func(driver.ConnPrepareContext) error { return u.begin() })
	if err != nil {
		return next, err
	}
	err = w.each(ctx, query, []any{next, db.sizes.rollupPart}, all(func(row []driver.Value) {
		next = integer(row[0]) + 1
		u.count(integer(row[1]), integer(row[2]), integer(row[3]) != 0)
	}))
	if err != nil {
		return next, err
	}
	return next, w.raw(func(driver.ConnPrepareContext) error { return u.write() })
}
