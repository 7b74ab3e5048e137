package tree_test

import (
	"encoding/binary"
	"fmt"

	"github.com/auditsql/auditsql/internal/treespec"
	"github.com/auditsql/auditsql/tree"
)

// leaves returns the hashes of n records that differ.
func leaves(n int) []tree.Hash {
	d := make([]tree.Hash, n)
	for i := range d {
		d[i] = treespec.Hash([]byte{0}, binary.BigEndian.AppendUint64(nil, uint64(i)))
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
