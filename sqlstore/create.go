package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/migrations"
)

// newSuffix ends the name of a database that is being made.
const newSuffix = ".new"

// create makes a database at path, unless another process was faster.
//
// It makes the whole database under another name and then moves it into place. So a crash leaves either nothing under
// path or a database with all its tables.
func create(ctx context.Context, path string, o Options) (err error) {
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	if size, err := fileSize(path); err != nil || size > 0 {
		return err
	}
	// Remove what a crash has left. An empty file holds nothing. A write-ahead log without its database
	// must go: SQLite would replay it into the new database.
	tmp := path + newSuffix
	if err := errors.Join(removeDatabase(path), removeDatabase(tmp)); err != nil {
		return err
	}
	// The file is made here for its mode, which SQLite copies to -wal and -shm. Closing our descriptor
	// drops no locks: SQLite has not opened it yet.
	f, err := durable.Create(tmp, o.OwnedLike)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			removeDatabase(tmp)
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	// Closing the last connection copies everything out of -wal, syncs the file and removes -wal.
	if err := migrate(ctx, tmp, o.CacheBytes); err != nil {
		return err
	}
	if err := writeFacts(ctx, tmp, o); err != nil {
		return err
	}
	if n, err := fileSize(tmp + walSuffix); err != nil || n != 0 {
		return errors.Join(errors.New("the new database could not be written whole"), err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// removeDatabase removes the file at path and those beside it. A file that is not there is no error.
func removeDatabase(path string) error {
	var errs []error
	for _, f := range []string{path + walSuffix, path + "-shm", path + "-journal", path} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// migrate applies the migrations that the database lacks, each in a transaction.
func migrate(ctx context.Context, path string, cacheBytes int64) error {
	err := withGoose(path, cacheBytes, func(p *goose.Provider) error {
		_, err := p.Up(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// withGoose calls f with our migrations on a connection of its own, without goose's global state and output.
func withGoose(path string, cacheBytes int64, f func(*goose.Provider) error) error {
	pool, err := connect(path, accessWriter, 1, cacheBytes)
	if err != nil {
		return err
	}
	versions, err := database.NewStore(goose.DialectSQLite3, goose.DefaultTablename)
	var p *goose.Provider
	if err == nil {
		p, err = goose.NewProvider("", pool.DB, migrations.FS, goose.WithStore(versionStore{versions}),
			goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	}
	if err == nil {
		err = f(p)
	}
	return errors.Join(err, pool.Close())
}

// versionStore is goose's table of versions, with a check that tells a missing table from one that cannot be read.
// Without it goose takes any error for a missing table, and tries to make the table again and again for three seconds.
type versionStore struct{ database.Store }

func (s versionStore) TableExists(ctx context.Context, db database.DBTxConn) (exists bool, err error) {
	const query = `SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = ?`
	err = db.QueryRowContext(ctx, query, s.Tablename()).Scan(&exists)
	return exists, err
}

// format is the version of what the tables mean, apart from their columns.
const format = 1

// writeFacts notes in table store what is fixed when a database is made.
func writeFacts(ctx context.Context, path string, o Options) error {
	const insert = `INSERT INTO store (name, value) VALUES
		('format', ?), ('store_id', ?), ('time_unit', ?), ('created_at', ?), ('created_by', ?),
		('cursor', 0), ('contributions', 0), ('rejected', 0)`
	w, err := connectWriter(ctx, path, o)
	if err != nil {
		return err
	}
	_, err = w.conn.ExecContext(ctx, insert, format, o.StoreID, o.TimeUnit,
		time.Now().UTC().Format(time.RFC3339), o.CreatedBy)
	return errors.Join(err, w.close())
}
