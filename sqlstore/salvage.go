package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Salvage takes the derived tables out of a damaged database, so that a Reindex can make them anew. DROP TABLE does not
// work on a table that has a damaged page, because SQLite reads the pages to free them.
//
// It does so only if the damage is in derived tables and their indexes. If there is other damage, the error is
// ErrMalformed and nothing was changed. keep is called before anything is changed, to keep a copy. Its error ends Salvage.
//
// There are two steps, and after a crash at any instant the database is as it was before or after one of them:
//
//  1. One transaction marks the derived tables as incomplete, as Reindex does, and deletes their rows from sqlite_schema. Their
//     pages are neither read nor freed. So a damaged page that points to a page of another table does no harm.
//  2. VACUUM copies each table that is left, row by row, into a temporary database, and all of that back in one
//     transaction. What it does not copy, the pages of the derived tables, is gone then.
//
// After the first step NeedsReindex returns true, and a Reindex makes the tables anew in any case. If the second step fails,
// the pages of the old tables stay. They belong to no table and do no harm. Integrity reports them, and another
// Salvage removes them.
//
// The temporary database needs as much space in the folder for temporary files as the tables that are left, and -wal
// grows by the same.
func (db *DB) Salvage(ctx context.Context, keep func() error) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("salvage", err)
	}
	defer unlock()
	if err := db.salvage(ctx, w, keep); err != nil {
		return db.fail("salvage", err)
	}
	return nil
}

func (db *DB) salvage(ctx context.Context, w *writer, keep func() error) error {
	if err := db.checkPrimary(ctx); err != nil {
		return err
	}
	if err := keep(); err != nil {
		return err
	}
	if err := w.forgetDerived(ctx); err != nil {
		return fmt.Errorf("take the derived tables out: %w", err)
	}
	if err := w.vacuum(ctx); err != nil {
		return fmt.Errorf("copy the other tables: %w", err)
	}
	_, err := db.checkpoint(ctx, w, false)
	return err
}

// vacuum copies all tables into new pages. The temporary copy is a file, because it may be larger than the memory of a small
// machine.
func (w *writer) vacuum(ctx context.Context) error {
	if _, err := w.conn.ExecContext(ctx, `PRAGMA temp_store=FILE`); err != nil {
		return err
	}
	_, err := w.conn.ExecContext(ctx, `VACUUM`)
	_, reset := w.conn.ExecContext(context.WithoutCancel(ctx), `PRAGMA temp_store=MEMORY`)
	return errors.Join(err, reset)
}

// checkPrimary returns ErrMalformed if SQLite finds damage outside of the derived tables.
func (db *DB) checkPrimary(ctx context.Context) error {
	const tables = `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN (SELECT value FROM json_each(?))`
	derived, err := json.Marshal(forgotten)
	if err != nil {
		return err
	}
	var names []string
	if err := db.readers.SelectContext(ctx, &names, tables, string(derived)); err != nil {
		return err
	}
	// The check of sqlite_schema includes the list of free pages. New pages are taken from that list, so it must be sound.
	for _, name := range append(names, "sqlite_schema") {
		found, err := integrityOf(ctx, db.readers.DB, fmt.Sprintf(`PRAGMA integrity_check('%s')`, strings.ReplaceAll(name, "'", "''")))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return fmt.Errorf("%w: table %s: %s", ErrMalformed, name, strings.TrimPrefix(found[0], "*** in database main ***\n"))
		}
	}
	return nil
}

// forgotten are the tables that a Reindex makes anew: the derived ones, and the planner's statistics.
var forgotten = slices.Concat(derivedTables, []string{"sqlite_stat1"})

// forgetDerived deletes the derived tables from the schema, with their indexes and triggers, and leaves their pages as they
// are. markReindex drops their views.
func (w *writer) forgetDerived(ctx context.Context) error {
	const remove = `DELETE FROM sqlite_schema WHERE tbl_name IN (SELECT value FROM json_each(?))`
	names, err := json.Marshal(forgotten)
	if err != nil {
		return err
	}
	if _, err := w.conn.ExecContext(ctx, `PRAGMA writable_schema=ON`); err != nil {
		return err
	}
	err = w.tx(ctx, func() error {
		if err := w.markReindex(ctx); err != nil {
			return err
		}
		if _, err := w.conn.ExecContext(ctx, remove, string(names)); err != nil {
			return err
		}
		// Other connections read the schema again when this number has changed.
		var version int64
		if err := w.conn.GetContext(ctx, &version, `PRAGMA schema_version`); err != nil {
			return err
		}
		_, err := w.conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA schema_version=%d`, version+1))
		return err
	})
	// RESET also makes this connection read the schema again.
	if _, reset := w.conn.ExecContext(context.WithoutCancel(ctx), `PRAGMA writable_schema=RESET`); err == nil {
		err = reset
	}
	return err
}
