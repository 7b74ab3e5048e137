package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/auditsql/auditsql/migrations"
	"github.com/auditsql/auditsql/tree"
)

// How the Merkle tree over the records is kept. Leaf n is the record of entry n.
//
//	kv.leaf   the hash of each record, beside its value; each read compares the two (isLeafOf)
//	tile      full tiles of 256 hashes, inserted once
//	edge      the tiles that are not full yet, a row per level
//
// They are written in the transaction of the records, so the tree always has as many leaves as entry has rows.

// isLeafOf reports whether a record's value has this leaf hash.
func isLeafOf(leaf, value []byte) bool {
	if len(leaf) != tree.HashSize {
		return false
	}
	h := tree.LeafHash(value)
	return bytes.Equal(leaf, h[:])
}

// treeWriter adds leaves to the tree, within a transaction of the writer.
type treeWriter struct {
	putEdge, putTile *stmt
	edge             *tree.Edge // as the transaction leaves it; nil when it has to be read
}

func newTreeWriter(p *preparer) *treeWriter {
	return &treeWriter{
		putEdge: p.prepare(`INSERT INTO edge (level, hashes) VALUES (?, ?) ON CONFLICT (level) DO UPDATE SET hashes = excluded.hashes`),
		putTile: p.prepare(`INSERT OR FAIL INTO tile (level, n, hashes) VALUES (?, ?, ?)`),
	}
}

// forget drops what is remembered of a transaction that failed.
func (t *treeWriter) forget() { t.edge = nil }

// load reads the edge of the tree over all entries, unless it is known. append needs it.
func (t *treeWriter) load(ctx context.Context, tx sqlx.QueryerContext) (err error) {
	if t.edge == nil {
		t.edge, err = edgeOf(ctx, tx)
	}
	return err
}

// append adds leaves to the tree, which must have size leaves.
func (t *treeWriter) append(size int64, leaves []tree.Hash) error {
	if len(leaves) == 0 {
		return nil
	}
	if have := t.edge.Size(); have != size {
		return fmt.Errorf("%w: the tree has %d leaves, and there are %d entries", ErrMalformed, have, size)
	}
	for _, full := range t.edge.Append(leaves...) {
		if err := t.putTile.exec(int64(full.Level), full.N, full.Hashes); err != nil {
			return fmt.Errorf("tile %d of level %d: %w", full.N, full.Level, err)
		}
	}
	for level := range tree.Levels {
		if size>>(tree.TileHeight*level) == t.edge.Size()>>(tree.TileHeight*level) {
			break // no level from here on has changed
		}
		if err := t.putEdge.exec(int64(level), blob(t.edge.Level(level))); err != nil {
			return fmt.Errorf("edge of level %d: %w", level, err)
		}
	}
	return nil
}

// Root returns how many records the tree has, and its root. They are those of one moment.
func (db *DB) Root(ctx context.Context) (size uint64, root tree.Hash, err error) {
	edge, err := db.readEdge(ctx)
	if err != nil {
		return 0, root, db.fail("read the root", err)
	}
	return uint64(edge.Size()), edge.Root(), nil
}

// Tree returns a reader of the tree, and how many leaves the tree has. The reader goes on showing the tree of this moment when
// records are added. ctx ends its reads too. The reader's error wraps ErrMalformed when a full tile is missing.
func (db *DB) Tree(ctx context.Context) (size uint64, tiles tree.TileReader, err error) {
	edge, err := db.readEdge(ctx)
	if err != nil {
		return 0, nil, db.fail("read the tree", err)
	}
	return uint64(edge.Size()), edge.Reader(func(level int, n int64) ([]byte, error) {
		hashes, err := readTile(ctx, db.readers, level, n)
		if err == nil && len(hashes) != tree.TileSize {
			err = fmt.Errorf("%w: tile %d of level %d has %d bytes, not %d", ErrMalformed, n, level, len(hashes), tree.TileSize)
		}
		if err != nil {
			return nil, db.fail("read the tree", err)
		}
		return hashes, nil
	}), nil
}

// readEdge reads the edge of the tree as it is at one moment. If it is not that of the entries, the error is ErrMalformed.
func (db *DB) readEdge(ctx context.Context) (edge *tree.Edge, err error) {
	err = db.readTx(ctx, func(tx *sqlx.Tx) error {
		edge, err = edgeOf(ctx, tx)
		return err
	})
	return edge, err
}

// TreeProblem says why the tree cannot be that of the entries, or "". It reads a few rows; CheckDerived reads all. SQLite's own
// check does not find a table that is of another moment than the others.
func (db *DB) TreeProblem(ctx context.Context) (problem string, err error) {
	if problem, err = treeProblem(ctx, db.readers); err != nil {
		return "", db.fail("look at the tree", err)
	}
	return problem, nil
}

func treeProblem(ctx context.Context, q sqlx.QueryerContext) (problem string, err error) {
	const due = `SELECT (SELECT user_version FROM pragma_user_version) < ? OR EXISTS (SELECT 1 FROM store WHERE name = 'hashing')`
	const newest = `SELECT k.leaf FROM entry e JOIN kv k ON k.key = ` + keyOfEntry + ` WHERE e.idx = ?`
	var none bool
	if err := sqlx.GetContext(ctx, q, &none, due, migrations.Tree); err != nil || none {
		return "", err
	}
	edge, err := edgeOf(ctx, q)
	if errors.Is(err, ErrMalformed) {
		return err.Error(), nil
	}
	if err != nil || edge.Size() == 0 {
		return "", err
	}
	last := edge.Level(0)
	if len(last) == 0 {
		if last, err = readTile(ctx, q, 0, edge.Size()/tree.TileWidth-1); err != nil {
			return "", err
		}
	}
	var leaf []byte
	if err := sqlx.GetContext(ctx, q, &leaf, newest, edge.Size()-1); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	if len(leaf) != tree.HashSize || !bytes.HasSuffix(last, leaf) {
		return fmt.Sprintf("the last leaf of the tree is not that of entry %d", edge.Size()-1), nil
	}
	return "", nil
}

// readTx calls f in one read transaction.
func (db *DB) readTx(ctx context.Context, f func(*sqlx.Tx) error) error {
	tx, err := db.readers.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	return errors.Join(f(tx), tx.Rollback())
}

// edgeOf is readEdge inside a transaction.
func edgeOf(ctx context.Context, tx sqlx.QueryerContext) (*tree.Edge, error) {
	const entries = `SELECT coalesce(max(idx), -1) + 1 FROM entry`
	var size int64
	if err := sqlx.GetContext(ctx, tx, &size, entries); err != nil {
		return nil, err
	}
	return edgeAt(ctx, tx, size)
}

// edgeAt reads the edge of the tree, which must have size leaves. If it is not that of so many entries, the error is
// ErrMalformed.
func edgeAt(ctx context.Context, tx sqlx.QueryerContext, size int64) (*tree.Edge, error) {
	const edges = `SELECT level, hashes FROM edge`
	var rows []struct {
		Level  int64
		Hashes []byte
	}
	if err := sqlx.SelectContext(ctx, tx, &rows, edges); err != nil {
		return nil, err
	}
	levels := make([][]byte, tree.Levels)
	for _, r := range rows {
		if r.Level < 0 || r.Level >= tree.Levels {
			return nil, fmt.Errorf("%w: the edge of the tree has a level %d", ErrMalformed, r.Level)
		}
		levels[r.Level] = r.Hashes
	}
	edge, err := tree.NewEdge(size, levels)
	if err != nil {
		return nil, fmt.Errorf("%w: the edge of the tree is not that of %d entries: %w", ErrMalformed, size, err)
	}
	return edge, nil
}
