package sqlstore

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/migrations"
)

// NeedsReindex reports whether the derived tables cannot be what kv and entry say: a Reindex was interrupted, a
// table, index or view is missing, audit does not end where entry does, or somebody has put rows in that belong to no
// entry. It reads a few rows; CheckDerived reads all.
func (db *DB) NeedsReindex(ctx context.Context) (bool, error) {
	const begun = `SELECT EXISTS (SELECT 1 FROM store WHERE name = 'reindex')
		OR EXISTS (SELECT value FROM json_each(?) EXCEPT SELECT name FROM sqlite_schema)`
	// A reindex may have left out the last records, for good: it notes how far it went.
	const short = `SELECT coalesce((SELECT max(idx) FROM entry), -1) <>
		max(coalesce((SELECT max(idx) FROM audit), -1), coalesce((SELECT value FROM store WHERE name = 'reindexed'), -1))`
	names, err := json.Marshal(slices.Concat(derivedTables, derivedIndexes, derivedViews))
	if err != nil {
		return false, db.fail("look at the derived tables", err)
	}
	needs := false
	// In one transaction: between two, another process may drop the tables to make them anew.
	err = db.readTx(ctx, func(tx *sqlx.Tx) error {
		for _, q := range []struct {
			sql  string
			args []any
		}{{begun, []any{string(names)}}, {short, nil}} {
			if err := tx.GetContext(ctx, &needs, q.sql, q.args...); needs || err != nil {
				return err
			}
		}
		ownerless, err := ownerlessRows(ctx, tx)
		needs = len(ownerless) > 0
		return err
	})
	if err != nil {
		return false, db.fail("look at the derived tables", err)
	}
	return needs, nil
}

// ownerlessRows describes rows of derived tables that belong to no entry: their number is below 0 or above that of the
// newest entry. In table hash it is the number of the first record of their generation. Somebody has put them in by hand, and the views show them. A trigger against that would cost an
// eighth of the time to apply a record (measured), so they are searched for instead.
func ownerlessRows(ctx context.Context, q sqlx.QueryerContext) ([]string, error) {
	const query = `SELECT name, first, last, newest
		FROM (SELECT coalesce(max(idx), -1) AS newest FROM entry)
		JOIN (SELECT 'audit' AS name, (SELECT min(idx) FROM audit) AS first, (SELECT max(idx) FROM audit) AS last
		UNION ALL SELECT 'hash', max((SELECT min(generation) FROM hash), -1) << 14, min((SELECT max(generation) FROM hash), 1 << 40) << 14
		UNION ALL SELECT 'contribution', (SELECT min(audit) FROM contribution), (SELECT max(audit) FROM contribution)
		UNION ALL SELECT 'attribute', (SELECT min(audit) FROM attribute), (SELECT max(audit) FROM attribute))
		WHERE first < 0 OR last > newest`
	var rows []struct {
		Name                string
		First, Last, Newest int64
	}
	if err := sqlx.SelectContext(ctx, q, &rows, query); err != nil {
		return nil, err
	}
	var found []string
	for _, r := range rows {
		found = append(found, fmt.Sprintf("%s: rows were put in by hand: they are numbered from %d to %d, and entries from 0 to %d", r.Name, r.First, r.Last, r.Newest))
	}
	return found, nil
}

// CheckOwnerless reports rows of derived tables that belong to no entry. It reads the first and last row of each table.
func (db *DB) CheckOwnerless(ctx context.Context, problem func(string)) error {
	found, err := ownerlessRows(ctx, db.readers)
	if unreadable(err) {
		return nil // a table is missing: CheckSchema reports that
	}
	if err != nil {
		return db.fail("check the derived tables", err)
	}
	for _, f := range found {
		problem(f)
	}
	return nil
}

// Reindexing reports whether a Reindex is running or was interrupted. Then the derived tables are not complete.
func (db *DB) Reindexing(ctx context.Context) (bool, error) {
	return db.marked(ctx, "reindex", "look at the derived tables")
}

// SkippedError says that Reindex found records that cannot be read. Their rows are missing in the derived
// tables. Everything else is there.
type SkippedError struct {
	Count uint64
	Index uint64 // of the first
	Err   error  // why
}

func (e *SkippedError) Error() string {
	return fmt.Sprintf("%d records cannot be read, the first is entry %d: %v", e.Count, e.Index, e.Err)
}

func (e *SkippedError) Unwrap() error { return e.Err }

// Reindex drops the derived tables, makes them anew and fills them from kv and entry. It also puts back triggers,
// indexes and views of the primary tables that are missing or changed (see CheckSchema). decode takes a value
// of kv apart as Apply expects it; Offset and the keys are not needed. progress, which may be nil, is called
// now and then with the number of records done and their total.
//
// The writer is busy until the end. Readers see the tables as far as they are filled, and no views of them. If Reindex is
// interrupted, by its context or the end of the process, NeedsReindex returns true until another Reindex has finished.
// Records that decode refuses are left out and reported as a *SkippedError, after everything else was done.
func (db *DB) Reindex(ctx context.Context, decode func(payload []byte) (Record, error), progress func(done, total uint64)) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("reindex", err)
	}
	defer unlock()
	if err := db.reindex(ctx, w, decode, progress); err != nil {
		return db.fail("reindex", clash(err))
	}
	return nil
}

// markReindex marks the derived tables as incomplete until a Reindex has finished, and drops their views. A shell does not
// check the mark, and would show a part of the rows as if they were all. It runs in a transaction.
func (w *writer) markReindex(ctx context.Context) error {
	const mark = `INSERT INTO store (name, value) VALUES ('reindex', 'running') ON CONFLICT DO NOTHING`
	if _, err := w.conn.ExecContext(ctx, mark); err != nil {
		return err
	}
	return w.hideViews(ctx)
}

// hideViews drops the views of the derived tables while the mark of a Reindex is there. A migration that empties the tables sets the
// mark too, and has made the views. It runs in a transaction.
func (w *writer) hideViews(ctx context.Context) error {
	const (
		marked = `SELECT EXISTS (SELECT 1 FROM store WHERE name = 'reindex')`
		there  = `SELECT name FROM sqlite_schema WHERE type = 'view'`
	)
	var due bool
	if err := w.conn.GetContext(ctx, &due, marked); err != nil || !due {
		return err
	}
	var views []string
	if err := w.conn.SelectContext(ctx, &views, there); err != nil {
		return err
	}
	for _, name := range views {
		if !slices.Contains(derivedViews, name) {
			continue
		}
		if _, err := w.conn.ExecContext(ctx, "DROP VIEW "+name); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) reindex(ctx context.Context, w *writer, decode func([]byte) (Record, error), progress func(done, total uint64)) error {
	const (
		finish = `DELETE FROM store WHERE name IN ('reindex', 'activity')`
		count  = `UPDATE store SET value = ? WHERE name = 'contributions'`
		note   = `INSERT INTO store (name, value) VALUES ('reindexed', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
		newest = `SELECT coalesce(max(idx), -1) FROM entry`
	)
	// The mark comes first, in a transaction of its own: it is there whatever happens from here on.
	if err := w.tx(ctx, func() error { return w.markReindex(ctx) }); err != nil {
		return err
	}
	if err := w.tx(ctx, func() error { return w.remakeDerived(ctx) }); err != nil {
		return fmt.Errorf("make the derived tables again: %w", err)
	}
	isView := func(o *schemaObject) bool { return o.Type == "view" }
	if err := w.tx(ctx, func() error {
		return db.restoreGuards(ctx, w, func(o *schemaObject) bool { return !isView(o) })
	}); err != nil {
		return err
	}
	if err := w.prepareApply(); err != nil {
		return err
	}
	w.apply.forget()
	w.apply.derived.hashes.most = db.sizes.hashes

	var last int64
	if err := w.conn.GetContext(ctx, &last, newest); err != nil {
		return err
	}
	r := refill{w: w, sizes: &db.sizes, decode: decode}
	for next := int64(0); next <= last; {
		var done int64
		if err := w.tx(ctx, func() (err error) {
			done, err = r.page(ctx, next)
			return err
		}); err != nil {
			w.apply.forget()
			return err
		}
		if done == 0 {
			break // the rest of entry is gone; CheckDerived reports that
		}
		next += done
		if progress != nil {
			progress(uint64(next), uint64(last)+1)
		}
		if err := db.keepWALShort(ctx, w); err != nil {
			return err
		}
	}
	if err := w.tx(ctx, func() error {
		if _, err := w.conn.ExecContext(ctx, count, r.contributions); err != nil {
			return err
		}
		if _, err := w.conn.ExecContext(ctx, note, last); err != nil {
			return err
		}
		// The views come last: nobody sees them before all rows are there.
		if err := db.restoreGuards(ctx, w, isView); err != nil {
			return err
		}
		_, err := w.conn.ExecContext(ctx, finish)
		return err
	}); err != nil {
		return err
	}
	if r.skipped.Count > 0 {
		return &r.skipped
	}
	return nil
}

// remakeDerived drops the derived tables and makes them as the migrations do, but for the views. It runs in a
// transaction.
func (w *writer) remakeDerived(ctx context.Context) error {
	p, err := readPattern(ctx)
	if err != nil {
		return err
	}
	for _, o := range p.derived {
		if o.Type == "table" {
			if _, err := w.conn.ExecContext(ctx, "DROP TABLE IF EXISTS "+o.Name); err != nil {
				return err
			}
		}
	}
	// Somebody may have made an index on another table under one of these names. It stays, and making ours fails.
	for _, o := range p.derived {
		if o.Type == "view" || o.SQL == "" {
			continue
		}
		if _, err := w.conn.ExecContext(ctx, o.SQL); err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
	}
	// The planner's statistics of the migration, in place of those of an ANALYZE.
	for _, query := range []string{`ANALYZE sqlite_schema`, `DELETE FROM sqlite_stat1`, `INSERT INTO agent (id) VALUES (0)`} {
		if _, err := w.conn.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	for _, row := range p.planner {
		if _, err := w.conn.ExecContext(ctx, `INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)`, row.Tbl, row.Idx, row.Stat); err != nil {
			return err
		}
	}
	_, err = w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", migrations.Newest))
	return err
}

// refill fills the derived tables, for Reindex.
type refill struct {
	w             *writer
	sizes         *sizes
	decode        func([]byte) (Record, error)
	contributions int64
	skipped       SkippedError
}

// page adds the rows of the next records, from entry first on, inside a transaction. It returns how many entries it has passed.
func (r *refill) page(ctx context.Context, first int64) (done int64, err error) {
	const query = `SELECT e.idx, e.query_id, 0, k.value, k.leaf, k.rowid
		FROM entry e LEFT JOIN kv k ON k.key = ` + keyOfEntry + `
		WHERE e.idx >= ? ORDER BY e.idx LIMIT ?`
	page, _, err := readPage(ctx, r.w, r.sizes.pageBytes, query, []any{first, r.sizes.reindexPage}, (*entryRow).scan)
	if err != nil || len(page) == 0 {
		return 0, err
	}
	err = r.w.raw(func(driver.ConnPrepareContext) error {
		if err := r.w.apply.derived.begin(); err != nil {
			return err
		}
		if err := r.w.apply.rollup.begin(); err != nil {
			return err
		}
		records := make([]derived, 0, len(page))
		pause := func(i int) error {
			if i%lookEvery == 0 {
				return ctx.Err()
			}
			return nil
		}
		for i := range page {
			if err := pause(i); err != nil {
				return err
			}
			if err := r.record(&records, &page[i]); err != nil {
				return err
			}
		}
		if err := r.w.apply.derived.put(records, pause); err != nil {
			return err
		}
		if err := r.w.apply.agents.write(); err != nil {
			return err
		}
		return r.w.apply.rollup.write()
	})
	return page[len(page)-1].Idx + 1 - first, err
}

// record appends a record to those whose rows are to be written, unless it is damaged.
func (r *refill) record(records *[]derived, row *entryRow) error {
	rec, err := Record{}, error(nil)
	if damage := row.damage(); damage != nil && len(row.Value) == 0 {
		err = fmt.Errorf("%w: %w", ErrMalformed, damage)
	} else if err = damage; err != nil {
		// left out: its columns would be those of another record
	} else if rec, err = r.decode(row.Value); err == nil && string(rec.QueryID[:]) != string(row.QueryID) {
		err = fmt.Errorf("kv has record %x under %x", rec.QueryID, row.QueryID)
	}
	if err != nil {
		if r.skipped.Count++; r.skipped.Count == 1 {
			r.skipped.Index, r.skipped.Err = uint64(row.Idx), err
		}
		return nil
	}
	agent, err := r.w.apply.agents.count(rec.AgentID, rec.Timestamp)
	if err != nil {
		return err
	}
	r.contributions += int64(len(rec.Contributions))
	r.w.apply.rollup.count(agent, rec.Timestamp, rec.unapproved())
	*records = append(*records, derived{row.Idx, *row.KVRow, agent, &rec})
	return nil
}
