package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Label is a name that somebody gave to a hash.
type Label struct {
	Hash  string // 64 hex digits
	Label string
}

// Labels returns all labels in order; equal labels are in the order of their hashes.
func (db *DB) Labels(ctx context.Context) ([]Label, error) {
	var ls []Label
	if err := db.readers.SelectContext(ctx, &ls, `SELECT hash, label FROM label ORDER BY label, hash`); err != nil {
		return nil, db.fail("read labels", err)
	}
	return ls, nil
}

// PutLabels sets all these labels or none. An empty label removes the hash's label. Hashes may be in either case. When
// PutLabels returns without an error the labels are on disk: the journal does not have them.
func (db *DB) PutLabels(ctx context.Context, labels []Label) error {
	return db.writeLabels(ctx, func(w *writer) error {
		return w.putLabels(ctx, labels, func() error { return nil })
	})
}

// AddLabels is PutLabels for labels that no person has given: a hash that has a label keeps it, and a label that another hash has is
// not given a second time. Labels may not be empty.
func (db *DB) AddLabels(ctx context.Context, labels []Label) error {
	const add = `INSERT INTO label (hash, label) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM label WHERE label = ?2)
		ON CONFLICT (hash) DO NOTHING`
	return db.writeLabels(ctx, func(w *writer) error {
		return w.tx(ctx, func() error {
			for _, l := range labels {
				if _, err := w.conn.ExecContext(ctx, add, strings.ToLower(l.Hash), l.Label); err != nil {
					return fmt.Errorf("label of %q: %w", l.Hash, err)
				}
			}
			return nil
		})
	})
}

// writeLabels calls write with the connection that writes, and syncs what it has committed.
func (db *DB) writeLabels(ctx context.Context, write func(*writer) error) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("write labels", err)
	}
	defer unlock()
	err = write(w)
	if err == nil {
		// The writer commits without a sync (synchronous=NORMAL).
		if err = db.held.wal.Sync(); err != nil {
			err = db.poison(err)
		}
	}
	if err != nil {
		return db.fail("write labels", err)
	}
	return nil
}

// PutLabels is [DB.PutLabels] for a process that is not the writer. Only labels are written beside a live
// writer. The database must exist, with the version of this program. whose, which may be nil, is called with what the
// database says about itself, in the transaction that writes. If it returns an error, no label is written.
//
// PutLabels writes to -wal. It does not empty a -wal that holds something: after a crash the next writer must find it.
//
// If another database has taken the place of this one before PutLabels is done, the error is ErrMoved: the other one may not have the
// labels. HoldWrites makes PutLabels wait, and ErrBusy says that it has waited long enough.
func PutLabels(ctx context.Context, path string, labels []Label, whose func(Meta) error) error {
	err := putLabelsBeside(ctx, path, labels, whose)
	if err != nil {
		return fmt.Errorf("write labels in %s: %w", path, explain(err))
	}
	return nil
}

func putLabelsBeside(ctx context.Context, path string, labels []Label, whose func(Meta) error) (err error) {
	m, err := look(ctx, path)
	if err != nil {
		return err
	}
	if !m.Exists {
		return ErrNotFound
	}
	b, err := openBeside(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	// Each commit is synced: see DB.PutLabels.
	if _, err := b.w.conn.ExecContext(ctx, `PRAGMA synchronous=FULL`); err != nil {
		return err
	}
	allowed := func() error { return nil }
	if whose != nil {
		allowed = func() error {
			m, err := factsOf(ctx, b.w.conn)
			if err != nil {
				return err
			}
			return whose(m)
		}
	}
	if err := b.w.putLabels(ctx, labels, allowed); err != nil {
		return err
	}
	// Whoever replaces a database reads its labels after it has moved it. So if this one is still in its place, they will be read.
	return b.moved()
}

// putLabels writes labels in a transaction that begins with a call of allowed. An error of allowed ends it.
func (w *writer) putLabels(ctx context.Context, labels []Label, allowed func() error) error {
	const (
		set    = `INSERT INTO label (hash, label) VALUES (?, ?) ON CONFLICT (hash) DO UPDATE SET label = excluded.label`
		remove = `DELETE FROM label WHERE hash = ?`
	)
	return w.tx(ctx, func() error {
		if err := allowed(); err != nil {
			return err
		}
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
