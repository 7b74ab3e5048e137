package tree

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// TileReader reads the hashes of a tree.
type TileReader interface {
	// ReadTile returns the first t.Width hashes of the tile, or more of them. The caller does not change these bytes. The
	// TileReader must not change them either while the proof is being made, or while the [Prover] is in use.
	ReadTile(t Tile) ([]byte, error)
}

// ReadFrontier reads the frontier of the tree of the first size leaves. r may have a larger tree. It reads at most one tile
// of each level.
func ReadFrontier(r TileReader, size int64) (*Frontier, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	return newReader(r, size).frontier()
}

// Root returns the root of the tree of the first size leaves. r may have a larger tree.
func Root(r TileReader, size int64) (Hash, error) {
	f, err := ReadFrontier(r, size)
	if err != nil {
		return Hash{}, err
	}
	return f.Root(), nil
}

// Inclusion returns the proof that the leaf at index is in the tree of the first size leaves: RFC 6962 section 2.1.1, from
// the leaf's sibling up. r may have a larger tree. Inclusion does not check the hashes that r returns. A caller that knows
// the root should check the proof with [VerifyInclusion] before it hands it out.
//
// To make many proofs in one tree, use a [Prover].
func Inclusion(r TileReader, index, size int64) ([]Hash, error) {
	if err := checkIndex(index, size); err != nil {
		return nil, err
	}
	return tlog.ProveRecord(size, index, newReader(r, size))
}

// VerifyInclusion checks that the proof leads from the leaf at index to the root of the tree with size leaves. If it does
// not, the error is [ErrProof]. If no tree of that size has such an index, it is another error.
func VerifyInclusion(proof []Hash, index, size int64, leaf, root Hash) error {
	if err := checkIndex(index, size); err != nil {
		return err
	}
	if tlog.CheckRecord(proof, size, root, index, leaf) != nil {
		return ErrProof
	}
	return nil
}

func checkIndex(index, size int64) error {
	if err := checkSize(size); err != nil {
		return err
	}
	if index < 0 || index >= size {
		return fmt.Errorf("a tree of %d leaves has no index %d", size, index)
	}
	return nil
}

// Consistency returns the proof that the tree of the first old leaves is the beginning of the tree of the first size leaves:
// RFC 6962 section 2.1.2. r may have a larger tree. The proof is empty when old is 0 or equal to size.
func Consistency(r TileReader, old, size int64) ([]Hash, error) {
	if err := checkSizes(old, size); err != nil {
		return nil, err
	}
	if old == 0 {
		return []Hash{}, nil
	}
	return tlog.ProveTree(size, old, newReader(r, size))
}

// VerifyConsistency checks that the tree with old leaves and oldRoot is the beginning of the tree with size leaves and root.
// If the proof does not show that, the error is [ErrProof]. If the sizes are such that no proof can show it, it is another
// error. The empty tree is the beginning of every tree: its root must be [EmptyRoot], and the proof must be empty.
func VerifyConsistency(proof []Hash, old, size int64, oldRoot, root Hash) error {
	if err := checkSizes(old, size); err != nil {
		return err
	}
	if old == 0 {
		if len(proof) > 0 || oldRoot != EmptyRoot() || size == 0 && root != EmptyRoot() {
			return ErrProof
		}
		return nil
	}
	if tlog.CheckTree(proof, size, root, old, oldRoot) != nil {
		return ErrProof
	}
	return nil
}

func checkSizes(old, size int64) error {
	if err := checkSize(old); err != nil {
		return err
	}
	if err := checkSize(size); err != nil {
		return err
	}
	if old > size {
		return fmt.Errorf("a tree of %d leaves is no beginning of one of %d", old, size)
	}
	return nil
}
