package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/migrations"
)

// writer is the one connection that writes.
type writer struct {
	pool *sqlx.DB
	conn *sqlx.Conn // the pool's only connection

	getKV, putKV, delKV *sqlx.Stmt

	apply    *applier // made by the first Apply
	prepared preparer // its statements
}

// openWriter opens the connection that writes to the existing database at path, which has this version.
//
// A reader must be open, and stay open: the last connection to close checkpoints, and SQLite reports its errors to nobody.
func openWriter(ctx context.Context, path string, o Options, version int) (*writer, error) {
	w, err := connectWriter(ctx, path, o)
	if err != nil {
		return nil, err
	}
	// Before anything can copy pages out of -wal.
	err = w.renewWAL(ctx, path)
	if err == nil && version < migrations.Newest {
		o.Logger.Info("migrating", "file", path, "from", version, "to", migrations.Newest)
		if err = w.remakeDerivedOf(ctx, version); err == nil {
			err = migrate(ctx, path, o.CacheBytes)
		}
		if err == nil {
			err = w.tx(ctx, func() error { return w.hideViews(ctx) }) // which a migration may have made
		}
	}
	if err == nil {
		err = w.remakeTables(ctx)
	}
	if err == nil {
		err = w.prepare(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// renewWAL rewrites what is in -wal, while nobody else can write to it or empty it.
func (w *writer) renewWAL(ctx context.Context, path string) error {
	if size, err := fileSize(path + walSuffix); err != nil || size == 0 {
		return err
	}
	return w.tx(ctx, func() error { return renewWAL(path) })
}

// connectWriter opens a connection that writes. It holds the connection itself and not only its pool: statements that are
// prepared on a connection stay prepared, and those of a pool would be prepared again for each transaction.
func connectWriter(ctx context.Context, path string, o Options) (*writer, error) {
	pool, err := connect(path, accessWriter, 1, o.CacheBytes)
	if err != nil {
		return nil, err
	}
	conn, err := pool.Connx(ctx)
	if err != nil {
		pool.Close()
		return nil, err
	}
	w := &writer{pool: pool, conn: conn}
	if o.LockWait > 0 {
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout=%d", o.LockWait.Milliseconds())); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

// prepare makes the first change and prepares the statements of key/value writes.
func (w *writer) prepare(ctx context.Context, o Options) error {
	// The first change shows at once whether the file can be written to. And it gives -wal a header, synced, so
	// that an empty -wal from here on means that somebody else has emptied it. It has to change something: SQLite does not
	// write a page that stays the same.
	const opened = `INSERT INTO store (name, value) VALUES ('opened', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1`
	const note = `INSERT INTO store (name, value) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value`
	if err := w.tx(ctx, func() error {
		for name, value := range map[string]string{"wal_retain": o.Retention, "wal_dir": o.JournalDir, "follows": o.Follows} {
			if value == "" {
				continue
			}
			if _, err := w.conn.ExecContext(ctx, note, name, value); err != nil {
				return err
			}
		}
		_, err := w.conn.ExecContext(ctx, opened)
		return err
	}); err != nil {
		return err
	}
	for _, s := range []struct {
		to  **sqlx.Stmt
		sql string
	}{
		{&w.getKV, `SELECT value FROM kv WHERE key = ?`},
		{&w.putKV, `INSERT INTO kv (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`},
		{&w.delKV, `DELETE FROM kv WHERE key = ?`},
	} {
		var err error
		if *s.to, err = w.conn.PreparexContext(ctx, s.sql); err != nil {
			return err
		}
	}
	return nil
}

// tx runs f in a transaction. The wait for the lock ends with ctx. f checks ctx by itself, and the COMMIT does not end
// with it.
func (w *writer) tx(ctx context.Context, f func() error) error {
	steady := context.WithoutCancel(ctx)
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		// The driver reports the end of ctx even when BEGIN was done; left open, it would stop every later write.
		w.conn.ExecContext(steady, "ROLLBACK")
		return err
	}
	err := f()
	if err == nil {
		_, err = w.conn.ExecContext(steady, "COMMIT")
	}
	if err != nil {
		// After some errors, such as a full disk, SQLite has rolled back already. Then this ROLLBACK fails, and that means nothing.
		w.conn.ExecContext(steady, "ROLLBACK")
	}
	return err
}

// raw calls f with the driver's connection.
func (w *writer) raw(f func(driver.ConnPrepareContext) error) error {
	return w.conn.Raw(func(c any) error { return f(c.(driver.ConnPrepareContext)) })
}

// prepareApply prepares the statements of Apply. This is not done when the database is opened: if a derived table is
// missing, everything but Apply still works, and Reindex makes the table again.
func (w *writer) prepareApply() error {
	if w.apply != nil {
		return nil
	}
	return w.raw(func(c driver.ConnPrepareContext) error {
		w.prepared = preparer{conn: c}
		a := newApplier(&w.prepared)
		if err := w.prepared.err; err != nil {
			w.prepared.close()
			return err
		}
		w.apply = a
		return nil
	})
}

// close closes the connection. Closing again does nothing.
func (w *writer) close() error {
	if w.conn == nil {
		return nil
	}
	errs := []error{w.raw(func(driver.ConnPrepareContext) error { return w.prepared.close() })}
	// database/sql does not close what was prepared on a connection of its own, and SQLite keeps a connection
	// open, with its files, as long as it has a statement.
	for _, s := range []*sqlx.Stmt{w.getKV, w.putKV, w.delKV} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	errs = append(errs, w.conn.Close(), w.pool.Close())
	w.conn = nil
	return errors.Join(errs...)
}
