// Package tree is the Merkle tree over the records of a store. The tree has one root for each size. It gives short proofs of
// two kinds: that a record is in the tree, and that a smaller tree is the beginning of it.
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
// A full tile never changes: a store inserts it once. Only the [Edge] changes: it consists of the tiles that are not full
// yet, at most eight of them. From the edge and the full tiles ([TileReader]) a store can compute the root and every
// proof, for the present size and for all smaller sizes.
//
// A [Frontier] is for programs that have no tiles. It has only the roots of the tree's perfect subtrees, at most 61 hashes.
// With it a program computes the root of a stream of records, or checks that records continue an older tree.
//
// The package promises that the same leaves have the same root, the same tiles and the same proofs as in every other
// implementation of RFC 6962. No proof, hash, tile or size that a function is given makes it run without end, except that
// [NewTiles] lists the tiles of any size that a tree can have. None makes it panic, except that the two Append methods panic after [MaxSize] leaves. The package does not decide where tiles
// are kept or what a record is, and it signs nothing: package evidence does.
package tree
