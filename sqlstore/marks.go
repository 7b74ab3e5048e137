package sqlstore

import "context"

// A mark is a row of table store that says that something was begun and is not finished, such as 'reindex'. It is set in the
// transaction that begins, and removed in the one that ends.

// marked reports whether a mark is set.
func (db *DB) marked(ctx context.Context, mark, doing string) (bool, error) {
	const query = `SELECT EXISTS (SELECT 1 FROM store WHERE name = ?)`
	var set bool
	if err := db.readers.GetContext(ctx, &set, query, mark); err != nil {
		return false, db.fail(doing, err)
	}
	return set, nil
}

// inSteps does what the mark 'hashing' stands for, and removes it. The mark has how many entries are done. part does some more of
// them, from index next on, and returns the index to go on with. Each part is a transaction, which notes that it is done too: what is
// interrupted goes on from the last part. progress may be nil.
func (db *DB) inSteps(ctx context.Context, w *writer, part func(next, total int64) (int64, error), progress func(done, total uint64)) error {
	const (
		begun  = `SELECT CAST(value AS INTEGER), (SELECT coalesce(max(idx), -1) + 1 FROM entry) FROM store WHERE name = 'hashing'`
		note   = `UPDATE store SET value = ? WHERE name = 'hashing'`
		finish = `DELETE FROM store WHERE name = 'hashing'`
	)
	var next, total int64
	if err := w.conn.QueryRowxContext(ctx, begun).Scan(&next, &total); err != nil {
		return err
	}
	for next < total {
		err := w.tx(ctx, func() (err error) {
			if next, err = part(next, total); err != nil {
				return err
			}
			_, err = w.conn.ExecContext(ctx, note, next)
			return err
		})
		if err != nil {
			return err
		}
		if progress != nil {
			progress(uint64(next), uint64(total))
		}
		if err := db.keepWALShort(ctx, w); err != nil {
			return err
		}
	}
	return w.tx(ctx, func() error {
		_, err := w.conn.ExecContext(ctx, finish)
		return err
	})
}

// keepWALShort checkpoints between two transactions of a long work, if -wal has grown.
func (db *DB) keepWALShort(ctx context.Context, w *writer) error {
	if db.WALBytes() <= walLimit {
		return nil
	}
	_, err := db.checkpoint(ctx, w, false)
	return err
}
