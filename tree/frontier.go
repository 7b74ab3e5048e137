package tree

import (
	"fmt"
	"math/bits"
	"slices"
)

// Frontier is a tree without its tiles. It has the roots of the tree's perfect subtrees from left to right, one for each
// bit that is set in the size. Others call it a compact range, or the right edge of a tree.
//
//	size 13 = 8 + 4 + 1:   [root of leaves 0–7] [root of leaves 8–11] [leaf 12]
//
// To append leaves and to compute the root, nothing else is needed. The zero value is the empty tree.
//
// Only one goroutine at a time may use a Frontier.
type Frontier struct {
	size   int64
	hashes []Hash
}

// NewFrontier returns the frontier of a tree with size leaves. It copies the hashes. It cannot check that they are the right
// ones: the caller must compare the frontier's Root with a signed root.
func NewFrontier(size int64, hashes []Hash) (*Frontier, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	if want := bits.OnesCount64(uint64(size)); len(hashes) != want {
		return nil, fmt.Errorf("the frontier of %d leaves has %d hashes, not %d", size, want, len(hashes))
	}
	return &Frontier{size, slices.Clone(hashes)}, nil
}

// Size returns the number of leaves.
func (f *Frontier) Size() int64 { return f.size }

// Hashes returns a copy of the roots of the perfect subtrees, the largest subtree first.
func (f *Frontier) Hashes() []Hash { return slices.Clone(f.hashes) }

// Append adds a leaf. It panics when the tree would have more than [MaxSize] leaves.
func (f *Frontier) Append(leaf Hash) {
	if f.size == MaxSize {
		panic("tree: more leaves than MaxSize")
	}
	// Each of the size's lowest bits, up to the first 0, is a subtree that the leaf makes part of a larger perfect one.
	for s := f.size; s&1 == 1; s >>= 1 {
		last := len(f.hashes) - 1
		leaf = NodeHash(f.hashes[last], leaf)
		f.hashes = f.hashes[:last]
	}
	f.hashes = append(f.hashes, leaf)
	f.size++
}

// Root returns the root of the tree.
func (f *Frontier) Root() Hash {
	if f.size == 0 {
		return EmptyRoot()
	}
	last := len(f.hashes) - 1
	root := f.hashes[last]
	for _, h := range slices.Backward(f.hashes[:last]) {
		root = NodeHash(h, root)
	}
	return root
}
