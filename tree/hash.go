package tree

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a SHA-256 hash: a leaf, a node or a root. Its String is the base64 form that checkpoints use.
type Hash = tlog.Hash

// HashSize is the size of a [Hash] in bytes.
const HashSize = tlog.HashSize

// MaxSize is the largest number of leaves of a tree: 2^61. tlog numbers all nodes of a tree with an int64, so larger trees
// overflow. Some functions of tlog do not return for sizes near 2^63.
const MaxSize = 1 << 61

// ErrProof means that the root computed from a proof is not the given one.
var ErrProof = errors.New("the proof does not lead to the root")

// LeafHash returns the hash of a record's bytes: SHA-256(0x00 ‖ record), RFC 6962 section 2.1.
func LeafHash(record []byte) Hash {
	return tlog.RecordHash(record)
}

// NodeHash returns the hash of a node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1.
func NodeHash(left, right Hash) Hash {
	return tlog.NodeHash(left, right)
}

// EmptyRoot returns the root of the tree without leaves: the hash of the empty string, RFC 6962 section 2.1.
func EmptyRoot() Hash {
	return sha256.Sum256(nil)
}

func checkSize(size int64) error {
	if size < 0 || size > MaxSize {
		return fmt.Errorf("a tree has 0 to %d leaves, not %d", int64(MaxSize), size)
	}
	return nil
}
