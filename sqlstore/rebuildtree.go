package sqlstore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/auditsql/auditsql/tree"
)

// RebuiltTree is what RebuildTree wrote.
type RebuiltTree struct {
	Tiles int // full tiles that were missing or wrong, or that belonged to no record
	Edges int // levels of the edge that were missing or wrong
}

// RebuildTree makes the tiles and the edge again from the leaf hashes in kv, where they are missing or wrong. It writes
// nothing else. progress, which may be nil, is called with how many entries are done, and their total.
//
// The caller has compared each record with its leaf hash (Values), and computed size and root from the records. If the
// leaves lead to another root, the error is ErrMalformed: somebody has changed them meanwhile.
//
// It works in transactions of some 20,000 records. Each tile that it writes is the right one, so an interrupted RebuildTree
// leaves nothing to undo. The next one compares from the beginning and writes what is still wrong.
func (db *DB) RebuildTree(ctx context.Context, size uint64, root tree.Hash, progress func(done, total uint64)) (RebuiltTree, error) {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return RebuiltTree{}, db.fail("rebuild the tree", err)
	}
	defer unlock()
	r := treeRebuilder{db: db, w: w, size: int64(size), root: root}
	if progress == nil {
		progress = func(uint64, uint64) {}
	}
	err = r.run(ctx, progress)
	if w.apply != nil {
		w.apply.tree.forget() // it may have the wrong edge in memory
	}
	if err != nil {
		return r.done, db.fail("rebuild the tree", err)
	}
	return r.done, nil
}

type treeRebuilder struct {
	db   *DB
	w    *writer
	size int64
	root tree.Hash
	edge tree.Edge // of the leaves up to here
	done RebuiltTree
}

func (r *treeRebuilder) run(ctx context.Context, progress func(done, total uint64)) error {
	for r.edge.Size() < r.size {
		leaves, err := r.leaves(ctx)
		if err != nil {
			return err
		}
		wrong, err := r.wrongTiles(ctx, leaves)
		if err != nil {
			return err
		}
		if len(wrong) > 0 {
			if err := r.putTiles(ctx, wrong); err != nil {
				return err
			}
		}
		progress(uint64(r.edge.Size()), uint64(r.size))
		if err := r.db.keepWALShort(ctx, r.w); err != nil {
			return err
		}
	}
	if r.edge.Root() != r.root {
		return fmt.Errorf("%w: the leaf hashes were changed while the tree was rebuilt from them", ErrMalformed)
	}
	return r.finish(ctx)
}

// leaves reads the leaf hashes of the next entries.
func (r *treeRebuilder) leaves(ctx context.Context) ([]tree.Hash, error) {
	const query = `SELECT e.idx, e.query_id, 0, NULL, k.leaf
		FROM entry e LEFT JOIN kv k ON k.key = ` + keyOfEntry + `
		WHERE e.idx >= ? ORDER BY e.idx LIMIT ?`
	first := r.edge.Size()
	page, _, err := readPage(ctx, r.db.readers, r.db.sizes.pageBytes, query,
		[]any{first, min(int64(r.db.sizes.treePart), r.size-first)}, (*entryRow).scan)
	if err != nil {
		return nil, err
	}
	leaves := make([]tree.Hash, len(page))
	for i := range page {
		if page[i].Idx != first+int64(i) {
			return nil, fmt.Errorf("%w: entry %d is missing", ErrMalformed, first+int64(i))
		}
		if len(page[i].Leaf) != tree.HashSize {
			return nil, &RecordError{QueryID: page[i].entry().QueryID}
		}
		leaves[i] = tree.Hash(page[i].Leaf)
	}
	if len(leaves) == 0 {
		return nil, fmt.Errorf("%w: entry %d is missing", ErrMalformed, first)
	}
	return leaves, nil
}

// wrongTiles adds leaves to the tree and returns the tiles that they fill and that table tile does not have.
func (r *treeRebuilder) wrongTiles(ctx context.Context, leaves []tree.Hash) (wrong []tree.FullTile, err error) {
	for _, t := range r.edge.Append(leaves...) {
		stored, err := readTile(ctx, r.db.readers, t.Level, t.N)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(stored, t.Hashes) {
			wrong = append(wrong, t)
		}
	}
	return wrong, nil
}

// unguarded calls f in a transaction in which the guards let tiles and edges be removed and made. The mark that they look
// for is gone again when the transaction ends, so nobody else sees it.
func (r *treeRebuilder) unguarded(ctx context.Context, f func() error) error {
	const (
		begin = `INSERT INTO store (name, value) VALUES ('hashing', 0)`
		end   = `DELETE FROM store WHERE name = 'hashing'`
	)
	return r.w.tx(ctx, func() error {
		if _, err := r.w.conn.ExecContext(ctx, begin); err != nil {
			return err
		}
		if err := f(); err != nil {
			return err
		}
		_, err := r.w.conn.ExecContext(ctx, end)
		return err
	})
}

func (r *treeRebuilder) putTiles(ctx context.Context, tiles []tree.FullTile) error {
	const (
		remove = `DELETE FROM tile WHERE level = ? AND n = ?`
		insert = `INSERT INTO tile (level, n, hashes) VALUES (?, ?, ?)`
	)
	err := r.unguarded(ctx, func() error {
		for _, t := range tiles {
			if _, err := r.w.conn.ExecContext(ctx, remove, t.Level, t.N); err != nil {
				return err
			}
			if _, err := r.w.conn.ExecContext(ctx, insert, t.Level, t.N, t.Hashes); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		r.done.Tiles += len(tiles)
	}
	return err
}

// finish removes the tiles that belong to no record, and makes the edge again if it is wrong.
func (r *treeRebuilder) finish(ctx context.Context) error {
	const (
		strays  = `FROM tile WHERE level < 0 OR level >= ? OR n < 0 OR n >= ? >> (8 * (level + 1))`
		forget  = `DELETE FROM edge`
		putEdge = `INSERT INTO edge (level, hashes) VALUES (?, ?)`
	)
	var stray int
	if err := r.db.readers.GetContext(ctx, &stray, `SELECT count(*) `+strays, tree.Levels, r.size); err != nil {
		return err
	}
	wrong, err := r.wrongEdges(ctx)
	if err != nil || stray == 0 && wrong == 0 {
		return err
	}
	err = r.unguarded(ctx, func() error {
		if _, err := r.w.conn.ExecContext(ctx, `DELETE `+strays, tree.Levels, r.size); err != nil || wrong == 0 {
			return err
		}
		if _, err := r.w.conn.ExecContext(ctx, forget); err != nil {
			return err
		}
		for level := range tree.Levels {
			if hashes := r.edge.Level(level); len(hashes) > 0 {
				if _, err := r.w.conn.ExecContext(ctx, putEdge, level, hashes); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		r.done.Tiles += stray
		r.done.Edges = wrong
	}
	return err
}

// wrongEdges counts the levels of the edge that table edge has otherwise.
func (r *treeRebuilder) wrongEdges(ctx context.Context) (wrong int, err error) {
	var rows []struct {
		Level  int64
		Hashes []byte
	}
	if err := r.db.readers.SelectContext(ctx, &rows, `SELECT level, hashes FROM edge`); err != nil {
		return 0, err
	}
	stored := [tree.Levels][]byte{}
	for _, row := range rows {
		if row.Level < 0 || row.Level >= tree.Levels {
			wrong++
			continue
		}
		stored[row.Level] = row.Hashes
	}
	for level := range stored {
		if !bytes.Equal(stored[level], r.edge.Level(level)) {
			wrong++
		}
	}
	return wrong, nil
}
