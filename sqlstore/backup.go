package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/auditsql/auditsql/internal/durable"
)

// backupPages is how many pages are copied before the context is checked again.
const backupPages = 512

// Backup writes the database as it is now to a new file (mode 0600, of the owner of its folder), and returns its cursor. The copy is
// one consistent state, also while a writer writes in this process or another. The whole copy is one read, so -wal grows
// meanwhile. If Backup fails, nothing is left at dest.
func (db *DB) Backup(ctx context.Context, dest string) (cursor uint64, err error) {
	// The file is made here, so that it is nobody else's and has the right mode. SQLite has not opened it yet, so
	// closing our descriptor drops no locks.
	f, err := durable.Create(dest, "")
	if err != nil {
		return 0, fmt.Errorf("back up %s: %w", db.path, err)
	}
	if err = f.Close(); err == nil {
		cursor, err = db.copyTo(ctx, dest)
	}
	if err == nil {
		err = syncDir(filepath.Dir(dest))
	}
	if err != nil {
		removeDatabase(dest)
		return 0, fmt.Errorf("back up %s to %s: %w", db.path, dest, explain(err))
	}
	return cursor, nil
}

func (db *DB) copyTo(ctx context.Context, dest string) (cursor uint64, err error) {
	name, err := uri(dest)
	if err != nil {
		return 0, err
	}
	conn, err := db.readers.Connx(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// One transaction for the cursor and all steps of the copy: they see one state. Without it, each commit
	// between two steps would make SQLite begin again.
	tx, err := conn.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	if cursor, err = readCursor(ctx, tx); err != nil {
		return 0, err
	}
	return cursor, conn.Raw(func(c any) (err error) {
		b, err := c.(backuper).NewBackup(name + "?mode=rw")
		if err != nil {
			return err
		}
		for more := true; more && err == nil; {
			if err = ctx.Err(); err == nil {
				more, err = b.Step(backupPages)
			}
		}
		return errors.Join(err, b.Finish())
	})
}
