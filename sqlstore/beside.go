package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/jmoiron/sqlx"
)

// beside is a connection that writes to a database of which this process is not the writer.
type beside struct {
	path string
	use  *usage
	w    *writer
	keep *sqlx.DB // reads, and is closed last; nil if -wal held nothing before
}

// openBeside opens the database at path, which exists.
func openBeside(ctx context.Context, path string) (*beside, error) {
	wal, err := fileSize(path + walSuffix)
	if err != nil {
		return nil, err
	}
	o, err := Options{CacheBytes: 1 << 20}.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &beside{path: path}
	if b.use, err = claim(ctx, path, false); err != nil {
		return nil, err
	}
	if wal > 0 {
		// If our writing connection were the last to close, SQLite would copy what -wal holds into the database. After a crash
		// only the writer may do that, after it has rewritten -wal. A reader that closes last copies nothing.
		b.keep, err = keepOpen(ctx, path)
	}
	if err == nil {
		b.w, err = connectWriter(ctx, path, o)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// moved returns ErrMoved if the name belongs to another file now.
func (b *beside) moved() error {
	named, err := os.Stat(b.path)
	switch {
	case err == nil && os.SameFile(named, b.use.info):
		return nil
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", b.path, ErrMoved)
	}
	return err
}

// close closes the connections. SQLite deletes no -wal of a database that was moved: that name belongs to the one in its place.
func (b *beside) close() error {
	var errs []error
	if b.w != nil {
		errs = append(errs, b.w.close())
	}
	if b.keep != nil {
		errs = append(errs, b.keep.Close())
	}
	return errors.Join(append(errs, b.use.leave())...)
}

// keepOpen returns an open connection that reads.
func keepOpen(ctx context.Context, path string) (*sqlx.DB, error) {
	pool, err := connect(path, accessReader, 1, 0)
	if err != nil {
		return nil, err
	}
	var tables int
	if err := pool.GetContext(ctx, &tables, `SELECT count(*) FROM sqlite_schema`); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return pool, nil
}

// HoldWrites keeps everybody else from writing to the database at path until release, as a transaction that writes would. It can be read
// meanwhile, and moved. If somebody else is writing it waits, and ErrBusy says that it has waited long enough.
//
// Damage can keep SQLite from beginning such a transaction. It keeps everybody else from that too, and HoldWrites reports no error.
func HoldWrites(ctx context.Context, path string) (release func() error, err error) {
	b, err := openBeside(ctx, path)
	if err == nil {
		if _, err = b.w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			err = errors.Join(err, b.close())
		}
	}
	err = explain(err)
	switch {
	case ctx.Err() != nil && err != nil, errors.Is(err, ErrBusy):
		return nil, fmt.Errorf("keep others from writing to %s: %w", path, err)
	case err != nil:
		return func() error { return nil }, nil
	}
	return sync.OnceValue(func() error {
		_, err := b.w.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, b.close())
	}), nil
}
