package tree_test

import (
	"testing"

	"github.com/auditsql/auditsql/internal/treespec"
	"github.com/auditsql/auditsql/tree"
)

// No input makes it panic or run without end. And a leaf that verifies against the root of a tree is in that tree.
func FuzzVerifyInclusion(f *testing.F) {
	d := leaves(40)
	k := newKept()
	k.append(d...)
	for _, index := range []int64{0, 7, 31, 39} {
		p, err := tree.Inclusion(k.reader(), index, 40)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(index, int64(40), index, flat(p))
	}
	f.Add(int64(1), int64(1)<<62, int64(0), []byte{})
	f.Fuzz(func(t *testing.T, index, size, leaf int64, proof []byte) {
		l := d[uint64(leaf)%uint64(len(d))]
		root := treespec.Root(d[:uint64(size)%uint64(len(d)+1)])
		err := tree.VerifyInclusion(unflat(proof), index, size, l, root)
		if err == nil && (size > int64(len(d)) || d[index] != l) {
			t.Errorf("leaf %d is at %d of %d", leaf, index, size)
		}
	})
}

func FuzzVerifyConsistency(f *testing.F) {
	d := leaves(40)
	k := newKept()
	k.append(d...)
	for _, old := range []int64{0, 1, 8, 31, 39, 40} {
		p, err := tree.Consistency(k.reader(), old, 40)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(old, int64(40), flat(p))
	}
	f.Add(int64(1)<<62, int64(1)<<62+1, []byte{})
	f.Fuzz(func(t *testing.T, old, size int64, proof []byte) {
		oldRoot, root := treespec.Root(d[:uint64(old)%uint64(len(d)+1)]), treespec.Root(d[:uint64(size)%uint64(len(d)+1)])
		err := tree.VerifyConsistency(unflat(proof), old, size, oldRoot, root)
		if err == nil && (old > size || old > 0 && old < size && size > int64(len(d))) {
			t.Errorf("%d is the beginning of %d", old, size)
		}
		if fork := tree.LeafHash([]byte("fork")); old > 0 && tree.VerifyConsistency(unflat(proof), old, size, fork, root) == nil {
			t.Errorf("another root at %d is the beginning of %d", old, size)
		}
	})
}

func flat(p []tree.Hash) (b []byte) {
	for _, h := range p {
		b = append(b, h[:]...)
	}
	return b
}

func unflat(b []byte) (p []tree.Hash) {
	for ; len(b) >= tree.HashSize; b = b[tree.HashSize:] {
		p = append(p, tree.Hash(b[:tree.HashSize]))
	}
	return p
}
