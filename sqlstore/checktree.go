package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/tree"
)

// checkTree builds the tree again from the leaves, and compares each full tile as it is completed.
type checkTree struct {
	edge  tree.Edge
	wrong int  // tiles that differ
	gap   bool // an entry is missing: nothing that follows can be compared
}

// maxWrongTiles is how many tiles that differ are reported. One leaf that is wrong changes a tile of each level.
const maxWrongTiles = 16

// compareTiles takes the leaves of a page into the tree, and compares the tiles that they fill with those in table tile.
func (c *checker) compareTiles(ctx context.Context, leaves []tree.Hash) error {
	if c.tree.gap {
		return nil
	}
	full := c.tree.edge.Append(leaves...)
	for _, t := range full {
		stored, err := readTile(ctx, c.db.readers, t.Level, t.N)
		if err != nil {
			return err
		}
		switch {
		case stored == nil:
			c.wrongTile("tile: tile %d of level %d is missing", t.N, t.Level)
		case !bytes.Equal(stored, t.Hashes):
			c.wrongTile("tile: tile %d of level %d is not that of its records", t.N, t.Level)
		}
	}
	return nil
}

func (c *checker) wrongTile(format string, args ...any) {
	if c.tree.wrong++; c.tree.wrong <= maxWrongTiles {
		c.problem(format, args...)
	}
}

// readTile reads a full tile, or nil if there is none.
func readTile(ctx context.Context, q sqlx.QueryerContext, level int, n int64) (hashes []byte, err error) {
	err = sqlx.GetContext(ctx, q, &hashes, `SELECT hashes FROM tile WHERE level = ? AND n = ?`, level, n)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return blob(hashes), err
}

// edges compares the end of the tree with table edge. A writer may have added leaves since the check began: then the hashes
// of the leaves that the check knows are the first of a tile.
func (c *checker) edges(ctx context.Context) error {
	if more := c.tree.wrong - maxWrongTiles; more > 0 {
		c.problem("tile: %d more tiles are not those of their records", more)
	}
	if c.tree.gap {
		return nil
	}
	c.counts.TreeSize, c.counts.Root = uint64(c.tree.edge.Size()), c.tree.edge.Root()
	return c.db.readTx(ctx, func(tx *sqlx.Tx) error {
		edge, err := edgeOf(ctx, tx)
		if errors.Is(err, ErrMalformed) {
			c.problem("edge: %v", err)
			return nil
		}
		if err != nil {
			return err
		}
		for level := range tree.Levels {
			want := c.tree.edge.Level(level)
			have := edge.Level(level)
			n := c.tree.edge.Size() >> (tree.TileHeight * (level + 1))
			if n < edge.Size()>>(tree.TileHeight*(level+1)) {
				if have, err = readTile(ctx, tx, level, n); err != nil {
					return err
				}
			}
			if !bytes.HasPrefix(have, want) {
				c.problem("edge: level %d is not that of the records", level)
			}
		}
		return c.strayTiles(ctx, tx, edge.Size())
	})
}

// strayTiles reports tiles that a tree of the size does not have.
func (c *checker) strayTiles(ctx context.Context, tx *sqlx.Tx, size int64) error {
	const query = `SELECT level, n FROM tile WHERE level < 0 OR level >= ? OR n < 0 OR n >= ? >> (8 * (level + 1)) LIMIT ?`
	var found []struct{ Level, N int64 }
	if err := tx.SelectContext(ctx, &found, query, tree.Levels, size, maxWrongTiles); err != nil {
		return err
	}
	for _, t := range found {
		c.problem("tile: tile %d of level %d belongs to no record", t.N, t.Level)
	}
	return nil
}

// TreeDiffers says how the tree differs from that of the leaf hashes in kv, or "". It reads every entry, and no record.
func (db *DB) TreeDiffers(ctx context.Context) (problem string, err error) {
	const query = `SELECT e.idx, NULL, 0, NULL, k.leaf FROM entry e LEFT JOIN kv k ON k.key = ` + keyOfEntry + `
		WHERE e.idx >= ? ORDER BY e.idx LIMIT ?`
	c := checker{db: db, Check: Check{Report: func(p string) { problem = cmp.Or(problem, p) }}}
	for next := int64(0); problem == ""; {
		page, _, err := readPage(ctx, db.readers, db.sizes.pageBytes, query, []any{next, valuesPage}, (*entryRow).scan)
		if err != nil {
			return "", db.fail("compare the tree", err)
		}
		if len(page) == 0 {
			break
		}
		leaves := make([]tree.Hash, len(page))
		for i, row := range page {
			if row.Idx != next {
				return fmt.Sprintf("entry %d is missing", next), nil
			}
			if len(row.Leaf) != tree.HashSize {
				return fmt.Sprintf("entry %d has no leaf hash", next), nil
			}
			leaves[i] = tree.Hash(row.Leaf)
			next++
		}
		if err := c.compareTiles(ctx, leaves); err != nil {
			return "", db.fail("compare the tree", err)
		}
	}
	if problem == "" {
		if err := c.edges(ctx); err != nil {
			return "", db.fail("compare the tree", err)
		}
	}
	return problem, nil
}

// CheckRecords returns the first record whose value does not match its leaf hash, as a *RecordError, or nil.
func (db *DB) CheckRecords(ctx context.Context) error {
	for _, err := range db.Values(ctx, 0) {
		var damaged *RecordError
		if errors.As(err, &damaged) && damaged.Missing {
			continue
		}
		if err != nil {
			return fmt.Errorf("check the records: %w", err)
		}
	}
	return nil
}

// CheckLeaves hashes the records from entry from up to entry to again, and compares the root that they give the tree of to
// records with that of the stored tree. A record that is not its leaf is a *RecordError. ErrMalformed says that an entry is
// missing, or that the tree is not that of the records.
func (db *DB) CheckLeaves(ctx context.Context, from, to uint64) error {
	const what = "hash the records again"
	_, tiles, err := db.Tree(ctx)
	if err != nil {
		return err
	}
	f, err := tree.ReadFrontier(tiles, int64(from))
	if err != nil {
		return db.fail(what, err)
	}
	for v, err := range db.Values(ctx, from) {
		if err != nil && v.Index < to {
			return err
		}
		if v.Index >= to || v.Index != uint64(f.Size()) {
			break
		}
		f.Append(tree.LeafHash(v.Value))
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	root, err := tree.Root(tiles, int64(to))
	switch {
	case err != nil:
		return db.fail(what, err)
	case uint64(f.Size()) != to:
		return fmt.Errorf("%s: %w: entry %d is missing", what, ErrMalformed, f.Size())
	case f.Root() != root:
		return fmt.Errorf("%s: %w: the tree is not that of the records %d to %d", what, ErrMalformed, from, to-1)
	}
	return nil
}
