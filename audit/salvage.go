package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
)

// salvage makes a Reindex possible in a store whose journal was trimmed, so that no journal can replace the database. SQLite
// cannot drop a table with a damaged page. If the damage is in the forensic tables alone, these are taken out
// (sqlstore.DB.Salvage says how, and why a crash is harmless), after the damaged database was copied to a folder beside
// it. If there is other damage, the error is sqlstore.ErrMalformed, and nothing was changed: what works now still works.
//
// The caller holds the applier.
func (db *DB) salvage(ctx context.Context) error {
	err := db.checkFile(ctx)
	if !errors.Is(err, sqlstore.ErrMalformed) {
		return err
	}
	db.opts.logger.Warn("SQLite finds damage; the forensic tables are taken out", "error", err)
	db.reindexing.Store(true)
	err = db.sql.Salvage(ctx, func() error {
		aside, err := storedir.MakeAside(db.dir)
		if err != nil {
			return err
		}
		if _, err := db.sql.Backup(ctx, storedir.SQLitePath(aside)); err != nil {
			return fmt.Errorf("keep a copy of the damaged database: %w", err)
		}
		db.salvaged.Store(&aside)
		return errors.Join(durable.SyncDir(aside), durable.SyncDir(db.dir))
	})
	if err != nil {
		// Are the tables out already? Then questions wait for a Reindex, which the next opening runs.
		out, asked := db.sql.Reindexing(context.WithoutCancel(ctx))
		db.reindexing.Store(out || asked != nil)
	}
	return err
}

// Salvaged returns the folder that has a copy of the damaged database, if a Reindex of this DB has taken damaged tables out
// of it, or "".
func (db *DB) Salvaged() string {
	if aside := db.salvaged.Load(); aside != nil {
		return *aside
	}
	return ""
}
