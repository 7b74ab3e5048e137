package tree

import (
	"bytes"
	"errors"
	"fmt"
)

// Edge is the growing end of a tree: for each level the tile that is not full yet. To append leaves and to compute the root,
// nothing else is needed. The zero value is the empty tree.
//
// Only one goroutine at a time may use an Edge.
type Edge struct {
	size   int64
	levels [Levels][]byte // the hashes of each level's last tile: size>>(8*level) mod 256 of them
}

// NewEdge returns the edge of a tree with size leaves. levels has, for each level, the hashes of the tile that is not full,
// or nothing if all tiles are full. They are copied. The error names a level whose number of hashes is wrong for the size.
func NewEdge(size int64, levels [][]byte) (*Edge, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	if len(levels) > Levels {
		return nil, fmt.Errorf("the edge of a tree has at most %d levels, not %d", Levels, len(levels))
	}
	e := &Edge{size: size}
	for level := range e.levels {
		var hashes []byte
		if level < len(levels) {
			hashes = levels[level]
		}
		if want := edgeWidth(size, level) * HashSize; len(hashes) != want {
			return nil, fmt.Errorf("level %d of the edge of %d leaves has %d bytes, not %d", level, size, len(hashes), want)
		}
		e.levels[level] = bytes.Clone(hashes)
	}
	return e, nil
}

// edgeWidth returns the number of hashes of a level that are not in full tiles.
func edgeWidth(size int64, level int) int {
	return int(size >> (TileHeight * level) & (TileWidth - 1))
}

// Size returns the number of leaves.
func (e *Edge) Size() int64 { return e.size }

// Level returns the hashes of a level's last tile, which is not full. They belong to the edge, and the next Append changes
// them.
func (e *Edge) Level(level int) []byte {
	if level < 0 || level >= Levels {
		return nil
	}
	return e.levels[level]
}

// Clone returns a copy. It is for a caller that stores tiles in a transaction: the caller appends to the clone, and keeps it
// if the transaction is committed.
func (e *Edge) Clone() *Edge {
	c := &Edge{size: e.size}
	for level, hashes := range e.levels {
		c.levels[level] = bytes.Clone(hashes)
	}
	return c
}

// Append adds leaves to the tree and returns the tiles that they fill, in the order in which they fill: a tile
// comes before the tile of the next level that has its root.
//
// It panics when the tree would have more than [MaxSize] leaves.
func (e *Edge) Append(leaves ...Hash) []FullTile {
	if int64(len(leaves)) > MaxSize-e.size {
		panic("tree: more leaves than MaxSize")
	}
	var full []FullTile
	for _, h := range leaves {
		for level := range e.levels {
			tile := e.levels[level]
			if tile == nil {
				tile = make([]byte, 0, TileSize)
			}
			tile = append(tile, h[:]...)
			if len(tile) < TileSize {
				e.levels[level] = tile
				break
			}
			e.levels[level] = nil // the caller owns the full tile, so the next tile needs memory of its own
			full = append(full, FullTile{level, e.size >> (TileHeight * (level + 1)), tile})
			h = root(tile)
		}
		e.size++
	}
	return full
}

// Root returns the root of the tree.
func (e *Edge) Root() Hash {
	f, err := ReadFrontier(e.Reader(nil), e.size)
	if err != nil {
		panic("tree: " + err.Error()) // NewEdge and Append keep every hash that this reads
	}
	return f.Root()
}

// Reader returns a reader of the whole tree. It takes the last tiles from the edge, and calls full to read a full tile by
// level and number. If full is nil, it can read only the edge. The edge must not change while the reader is used.
func (e *Edge) Reader(full func(level int, n int64) ([]byte, error)) TileReader {
	return edgeReader{e, full}
}

type edgeReader struct {
	edge *Edge
	full func(level int, n int64) ([]byte, error)
}

func (r edgeReader) ReadTile(t Tile) ([]byte, error) {
	if t.Level < 0 || t.Level >= Levels || t.N < 0 || t.N > r.edge.size>>(TileHeight*(t.Level+1)) {
		return nil, fmt.Errorf("a tree of %d leaves has no such tile", r.edge.size)
	}
	if t.N == r.edge.size>>(TileHeight*(t.Level+1)) {
		return r.edge.levels[t.Level], nil
	}
	if r.full == nil {
		return nil, errors.New("it is a full tile, and only the edge can be read")
	}
	return r.full(t.Level, t.N)
}
