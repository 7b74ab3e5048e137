package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/auditsql/auditsql/tree"
)

// A database of an older version has records without leaf hashes. Its migration leaves the mark 'hashing' in table store:
// how many entries are in the tree. The caller then calls BuildTree before it applies anything: it knows the journal, with
// which records are compared before they are hashed.

// Hashing reports whether the tree has to be built first: a BuildTree is due, or was interrupted.
func (db *DB) Hashing(ctx context.Context) (bool, error) {
	return db.marked(ctx, "hashing", "look at the tree")
}

// DropTree removes all tiles, so that BuildTree makes them again from the leaves in kv. It is for a database whose files may
// be a mixture of two states.
func (db *DB) DropTree(ctx context.Context) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("drop the tree", err)
	}
	defer unlock()
	err = w.tx(ctx, func() error {
		for _, statement := range []string{
			`INSERT INTO store (name, value) VALUES ('hashing', 0) ON CONFLICT (name) DO UPDATE SET value = 0`,
			`DELETE FROM tile`,
			`DELETE FROM edge`,
		} {
			if _, err := w.conn.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if w.apply != nil {
		w.apply.tree.forget()
	}
	if err != nil {
		return db.fail("drop the tree", err)
	}
	return nil
}

// BuildTree builds the tree from the entries that are not in it yet, and ends the state that Hashing reports. A record
// that has a leaf keeps it. Of a record without one check is called first, with the value that kv has, nil if it has none.
// It returns the true value, which kv gets if it has another one. Its error ends BuildTree. progress, which may be nil, is
// called with how many entries are done, and their total.
//
// It works in transactions of some 20,000 records. If it is interrupted, the next BuildTree goes on from the last of them.
func (db *DB) BuildTree(ctx context.Context, check func(EntryValue) ([]byte, error), progress func(done, total uint64)) error {
	w, unlock, err := db.lockWriter(ctx)
	if err != nil {
		return db.fail("build the tree", err)
	}
	defer unlock()
	b := treeBuilder{db: db, w: w, check: check}
	err = db.inSteps(ctx, w, func(next, total int64) (int64, error) { return b.part(ctx, next, total) }, progress)
	if err != nil {
		return db.fail("build the tree", err)
	}
	return nil
}

// treeBuilder hashes the records of a database, for BuildTree.
type treeBuilder struct {
	db     *DB
	w      *writer
	check  func(EntryValue) ([]byte, error)
	leaves []tree.Hash
}

// part adds the next entries to the tree, from entry next on, inside a transaction. It returns the entry to go on with.
func (b *treeBuilder) part(ctx context.Context, next, total int64) (int64, error) {
	first := next
	b.leaves = b.leaves[:0]
	size := 0
	for next < total && next-first < int64(b.db.sizes.treePart) && size < b.db.sizes.treeBytes {
		n, bytes, err := b.page(ctx, next)
		if err != nil {
			return first, err
		}
		next, size = next+n, size+bytes
	}
	edge, err := edgeAt(ctx, b.w.conn, first)
	if err != nil {
		return first, err
	}
	err = b.w.raw(func(c driver.ConnPrepareContext) error {
		p := preparer{conn: c}
		defer p.close()
		t := newTreeWriter(&p)
		if p.err != nil {
			return p.err
		}
		t.edge = edge
		return t.append(first, b.leaves)
	})
	return next, err
}

// page finds the leaves of the next entries, and gives those to kv that it lacks.
func (b *treeBuilder) page(ctx context.Context, first int64) (n int64, bytes int, err error) {
	const query = `SELECT e.idx, e.query_id, e.journal_offset, k.value, k.leaf, k.rowid
		FROM entry e LEFT JOIN kv k ON k.key = ` + keyOfEntry + `
		WHERE e.idx >= ? ORDER BY e.idx LIMIT ?`
	const put = `UPDATE kv SET leaf = ? WHERE rowid = ?`
	page, _, err := readPage(ctx, b.w, b.db.sizes.pageBytes, query, []any{first, min(b.db.sizes.treePart, valuesPage)}, (*entryRow).scan)
	if err != nil {
		return 0, 0, err
	}
	var others []EntryValue // that kv gets in place of what it has
	err = b.w.raw(func(c driver.ConnPrepareContext) error {
		p := preparer{conn: c}
		defer p.close()
		update := p.prepare(put)
		if p.err != nil {
			return p.err
		}
		for i := range page {
			row := &page[i]
			if err := ctx.Err(); err != nil {
				return err
			}
			if row.Idx != first+int64(i) {
				return fmt.Errorf("%w: entry %d is missing", ErrMalformed, first+int64(i))
			}
			bytes += len(row.Value)
			if len(row.Leaf) == tree.HashSize {
				b.leaves = append(b.leaves, tree.Hash(row.Leaf))
				continue
			}
			value, err := b.check(EntryValue{row.entry(), row.Value})
			if err != nil {
				return err
			}
			leaf := tree.LeafHash(value)
			if b.leaves = append(b.leaves, leaf); row.KVRow == nil || !slices.Equal(value, row.Value) {
				others = append(others, EntryValue{row.entry(), value})
				continue
			}
			if err := update.exec(leaf[:], *row.KVRow); err != nil {
				return err
			}
		}
		return nil
	})
	for _, other := range others {
		if err == nil {
			err = b.w.restore(ctx, other.QueryID, other.Value)
		}
	}
	if err == nil && len(page) == 0 {
		err = fmt.Errorf("%w: entry %d is missing", ErrMalformed, first)
	}
	return int64(len(page)), bytes, err
}
