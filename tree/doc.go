// Package tree is the Merkle tree over the records of a store: an append-only list of hashes, one root for each
// size, and short proofs that a record is in it and that a smaller tree is its beginning.
//
// The tree is the one of RFC 6962, section 2.1, with SHA-256. A leaf is the hash of 0x00 and the record's bytes, a
// node is the hash of 0x01 and its two children. For five records:
//
//	           root                 size 5
//	      ┌──────┴──────┐
//	      ∘             │
//	  ┌───┴───┐         │
//	  ∘       ∘         │
//	┌─┴─┐   ┌─┴─┐       │
//	0   1   2   3       4           leaves
//
// Hashes are kept in tiles, as c2sp.org/tlog-tiles serves them. A full tile has 256 hashes. Those of level 0 are
// leaves, and each hash of level l+1 is the root of a full tile of level l:
//
//	level 1   [ h0    h1    h2                          edge
//	            │     │     │
//	level 0   [256] [256] [256]   [ l768 l769 l770      three full tiles, edge
//
// A full tile never changes. So a store inserts full tiles and never updates them, and rewrites only the [Edge]:
// at most eight tiles, however large the tree is.
//
// A [Frontier] is the other way to hold a tree: the roots of its perfect subtrees, at most 61 hashes. It computes the
// root of a stream of records without tiles, and it shows that records continue an older tree.
//
// The package promises that the same leaves have the same root, the same tiles and the same proofs as in every other
// implementation of RFC 6962, and that no proof, hash, tile or size makes it panic or run without end. It leaves to
// others where tiles are kept ([TileReader]), what a record is, and who signs a root (package evidence).
package tree
