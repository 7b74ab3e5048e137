package sqlstore

import (
	"context"
	"iter"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/tree"
)

// DamagedRecord is a record that does not match its leaf hash, with all that the database has of it.
type DamagedRecord struct {
	Entry
	Value []byte // as kv has it; nil if it is missing
	Leaf  []byte // beside it in kv; nil if it is missing
	Tile  []byte // its leaf in the tree; nil if it is missing
}

// Damaged yields the records whose value is missing or does not match the leaf hash beside it, in the order of admission.
func (db *DB) Damaged(ctx context.Context) iter.Seq2[DamagedRecord, error] {
	const query = `SELECT value, leaf FROM kv WHERE key = ?`
	return func(yield func(DamagedRecord, error) bool) {
		for v, err := range db.Values(ctx, 0) {
			d := DamagedRecord{Entry: v.Entry}
			if err == nil {
				continue
			}
			if !isRecordError(err) {
				yield(d, err)
				return
			}
			err = db.readTx(ctx, func(tx *sqlx.Tx) error {
				var rows []struct{ Value, Leaf []byte }
				if err := tx.SelectContext(ctx, &rows, query, recordKey(v.QueryID[:])); err != nil {
					return err
				}
				if len(rows) > 0 {
					d.Value, d.Leaf = rows[0].Value, rows[0].Leaf
				}
				d.Tile, err = leafInTree(ctx, tx, int64(v.Index))
				return err
			})
			if err != nil {
				yield(d, db.fail("read a damaged record", err))
				return
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// leafInTree reads the leaf of an entry from the tiles or the edge, or nil if it is missing.
func leafInTree(ctx context.Context, q sqlx.QueryerContext, idx int64) ([]byte, error) {
	hashes, err := readTile(ctx, q, 0, idx/tree.TileWidth)
	if err != nil {
		return nil, err
	}
	if hashes == nil {
		var edge [][]byte
		if err := sqlx.SelectContext(ctx, q, &edge, `SELECT hashes FROM edge WHERE level = 0`); err != nil || len(edge) == 0 {
			return nil, err
		}
		hashes = edge[0]
	}
	at := int(idx%tree.TileWidth) * tree.HashSize
	if len(hashes) < at+tree.HashSize {
		return nil, nil
	}
	return hashes[at : at+tree.HashSize], nil
}

// Restore writes the true value of an entry to kv, with its leaf hash. The caller knows that it is the true one. kv may lack the
// record. Nothing else is changed, unless the derived tables lack the record, because a Reindex has left it out while it was damaged.
// Then they need a Reindex from now on (see Reindexing): questions would leave out a record that get has again.
func (db *DB) Restore(ctx context.Context, e Entry, value []byte) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("restore a record", err)
	}
	defer unlock()
	if err := w.tx(ctx, func() error {
		if err := w.restore(ctx, e.QueryID, value); err != nil {
			return err
		}
		var shown bool
		if err := w.conn.GetContext(ctx, &shown, `SELECT EXISTS (SELECT 1 FROM audit WHERE idx = ?)`, int64(e.Index)); err != nil || shown {
			return err
		}
		return w.markReindex(ctx)
	}); err != nil {
		return db.fail("restore a record", err)
	}
	return nil
}

// restore writes the value of a record to kv, with its leaf hash, and nothing else. It runs in a transaction.
func (w *writer) restore(ctx context.Context, id [32]byte, value []byte) error {
	const (
		begin  = `INSERT INTO store (name, value) VALUES ('repairing', 'now'), ('applying', 'now') ON CONFLICT DO NOTHING`
		end    = `DELETE FROM store WHERE name IN ('repairing', 'applying')`
		update = `UPDATE kv SET value = ?, leaf = ? WHERE key = ?`
		insert = `INSERT INTO kv (value, leaf, key) SELECT ?, ?, ? WHERE changes() = 0`
	)
	leaf := tree.LeafHash(value)
	if _, err := w.conn.ExecContext(ctx, begin); err != nil {
		return err
	}
	for _, statement := range []string{update, insert} {
		if _, err := w.conn.ExecContext(ctx, statement, value, leaf[:], recordKey(id[:])); err != nil {
			return err
		}
	}
	_, err := w.conn.ExecContext(ctx, end)
	return err
}
