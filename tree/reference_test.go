package tree_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/auditsql/auditsql/tree"
)

// These are the definitions of RFC 6962, section 2.1, word for word. They are slow, but easy to compare with the RFC.

func hash(parts ...[]byte) tree.Hash {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return tree.Hash(h.Sum(nil))
}

// split returns the largest power of two below n.
func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

// mth is MTH(D[n]) over leaf hashes.
func mth(d []tree.Hash) tree.Hash {
	switch len(d) {
	case 0:
		return hash()
	case 1:
		return d[0]
	}
	k := split(len(d))
	left, right := mth(d[:k]), mth(d[k:])
	return hash([]byte{1}, left[:], right[:])
}

// path is PATH(m, D[n]).
func path(m int, d []tree.Hash) []tree.Hash {
	if len(d) == 1 {
		return nil
	}
	k := split(len(d))
	if m < k {
		return append(path(m, d[:k]), mth(d[k:]))
	}
	return append(path(m-k, d[k:]), mth(d[:k]))
}

// subproof is SUBPROOF(m, D[n], b). PROOF(m, D[n]) is subproof(m, d, true).
func subproof(m int, d []tree.Hash, b bool) []tree.Hash {
	if m == len(d) {
		if b {
			return nil
		}
		return []tree.Hash{mth(d)}
	}
	k := split(len(d))
	if m <= k {
		return append(subproof(m, d[:k], b), mth(d[k:]))
	}
	return append(subproof(m-k, d[k:], false), mth(d[:k]))
}

// leaves returns the hashes of n records that differ.
func leaves(n int) []tree.Hash {
	d := make([]tree.Hash, n)
	for i := range d {
		d[i] = hash([]byte{0}, binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	return d
}

// kept is a tree as a store keeps it: full tiles that are inserted once, and the edge.
type kept struct {
	edge  *tree.Edge
	tiles map[[2]int64][]byte
}

func newKept() *kept {
	return &kept{&tree.Edge{}, map[[2]int64][]byte{}}
}

func (k *kept) append(d ...tree.Hash) {
	for _, t := range k.edge.Append(d...) {
		key := [2]int64{int64(t.Level), t.N}
		if _, ok := k.tiles[key]; ok {
			panic(fmt.Sprintf("tile %v is inserted twice", key))
		}
		k.tiles[key] = t.Hashes
	}
}

func (k *kept) reader() tree.TileReader {
	return k.edge.Reader(func(level int, n int64) ([]byte, error) {
		b, ok := k.tiles[[2]int64{int64(level), n}]
		if !ok {
			return nil, fmt.Errorf("no tile %d of level %d", n, level)
		}
		return b, nil
	})
}
