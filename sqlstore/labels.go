package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"modernc.org/sqlite"
)

// Label is a name that somebody gave to a hash.
type Label struct {
	Hash  string // 64 hex digits
	Label string
}

// Labels returns all labels, in order, those that are alike by their hash.
func (db *DB) Labels(ctx context.Context) ([]Label, error) {
	var ls []Label
	if err := db.readers.SelectContext(ctx, &ls, `SELECT hash, label FROM label ORDER BY label, hash`); err != nil {
		return nil, db.fail("read labels", err)
	}
	return ls, nil
}

// PutLabels sets labels, all or none; an empty one takes the hash's label away. Hashes may be in either case.
func (db *DB) PutLabels(ctx context.Context, labels []Label) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("write labels", err)
	}
	defer unlock()
	if err := w.putLabels(ctx, labels); err != nil {
		return db.fail("write labels", err)
	}
	return nil
}

// PutLabels is [DB.PutLabels] for a process that is not the writer: labels are the one thing that is also
// written beside a live one. The database must exist, with the version of this program.
//
// What it writes goes to -wal; it does not empty one that holds something, which after a crash is for the
// next writer to see.
func PutLabels(ctx context.Context, path string, labels []Label) error {
	err := putLabelsBeside(ctx, path, labels)
	if err != nil {
		return fmt.Errorf("write labels in %s: %w", path, explain(err))
	}
	return nil
}

func putLabelsBeside(ctx context.Context, path string, labels []Label) error {
	m, err := look(ctx, path)
	if err != nil {
		return err
	}
	if !m.Exists {
		return ErrNotFound
	}
	wal, err := fileSize(path + walSuffix)
	if err != nil {
		return err
	}
	o, err := Options{CacheBytes: 1 << 20}.withDefaults()
	if err != nil {
		return err
	}
	leave, err := enter(path)
	if err != nil {
		return err
	}
	defer leave()
	w, err := connectWriter(ctx, path, o)
	if err != nil {
		return err
	}
	defer w.close()
	if wal > 0 {
		// Were we the last to close, SQLite would remove -wal, or with a size limit empty it.
		if err := w.keepWAL(ctx); err != nil {
			return err
		}
	}
	if err := w.putLabels(ctx, labels); err != nil {
		return err
	}
	return w.close()
}

func (w *writer) keepWAL(ctx context.Context) error {
	if _, err := w.conn.ExecContext(ctx, `PRAGMA journal_size_limit=-1`); err != nil {
		return err
	}
	return w.raw(func(c driver.ConnPrepareContext) error {
		_, err := c.(sqlite.FileControl).FileControlPersistWAL("main", 1)
		return err
	})
}

func (w *writer) putLabels(ctx context.Context, labels []Label) error {
	const (
		set    = `INSERT INTO label (hash, label) VALUES (?, ?) ON CONFLICT (hash) DO UPDATE SET label = excluded.label`
		remove = `DELETE FROM label WHERE hash = ?`
	)
	return w.tx(ctx, func() error {
		for _, l := range labels {
			hash := strings.ToLower(l.Hash)
			var err error
			if l.Label == "" {
				_, err = w.conn.ExecContext(ctx, remove, hash)
			} else {
				_, err = w.conn.ExecContext(ctx, set, hash, l.Label)
			}
			if err != nil {
				return fmt.Errorf("label of %q: %w", l.Hash, err)
			}
		}
		return nil
	})
}
