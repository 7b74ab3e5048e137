// Package treespec has the definitions of RFC 6962, section 2.1, word for word: a second implementation of the tree, for
// tests. They are slow, but easy to compare with the RFC.
package treespec

import (
	"crypto/sha256"

	"github.com/auditsql/auditsql/tree"
)

// Hash is the SHA-256 of the parts, one after the other.
func Hash(parts ...[]byte) tree.Hash {
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

// Root is MTH(D[n]) over leaf hashes.
func Root(d []tree.Hash) tree.Hash {
	switch len(d) {
	case 0:
		return Hash()
	case 1:
		return d[0]
	}
	k := split(len(d))
	left, right := Root(d[:k]), Root(d[k:])
	return Hash([]byte{1}, left[:], right[:])
}

// Path is PATH(m, D[n]).
func Path(m int, d []tree.Hash) []tree.Hash {
	if len(d) == 1 {
		return nil
	}
	k := split(len(d))
	if m < k {
		return append(Path(m, d[:k]), Root(d[k:]))
	}
	return append(Path(m-k, d[k:]), Root(d[:k]))
}

// Subproof is SUBPROOF(m, D[n], b). PROOF(m, D[n]) is Subproof(m, d, true).
func Subproof(m int, d []tree.Hash, b bool) []tree.Hash {
	if m == len(d) {
		if b {
			return nil
		}
		return []tree.Hash{Root(d)}
	}
	k := split(len(d))
	if m <= k {
		return append(Subproof(m, d[:k], b), Root(d[k:]))
	}
	return append(Subproof(m-k, d[k:], false), Root(d[:k]))
}

// RootOf is MTH over records, whose leaf hashes it computes.
func RootOf(records [][]byte) tree.Hash {
	d := make([]tree.Hash, len(records))
	for i, r := range records {
		d[i] = Hash([]byte{0}, r)
	}
	return Root(d)
}
