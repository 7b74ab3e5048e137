package tree

import (
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Prover makes proofs in the tree of the first size leaves. It remembers tiles that it has read, and their inner nodes. So
// records that are near each other cost little after the first one: a tile has 255 nodes, and one proof needs nearly all of
// them. Memory is bounded, at some 64 MiB.
//
// Only one goroutine at a time may use a Prover.
type Prover struct{ reader *reader }

// NewProver returns a prover for the tree of the first size leaves. r may have a larger tree.
func NewProver(r TileReader, size int64) (*Prover, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	return &Prover{newReader(r, size)}, nil
}

// Root returns the root of the tree, as [Root] does.
func (p *Prover) Root() (Hash, error) {
	f, err := p.reader.frontier()
	if err != nil {
		return Hash{}, err
	}
	return f.Root(), nil
}

// Leaf returns the leaf at index, as its tile has it.
func (p *Prover) Leaf(index int64) (Hash, error) {
	if err := checkIndex(index, p.reader.size); err != nil {
		return Hash{}, err
	}
	t, err := p.reader.tile(0, index>>TileHeight)
	if err != nil {
		return Hash{}, err
	}
	return t.node(0, int(index&(TileWidth-1))), nil
}

// Inclusion returns the proof that the leaf at index is in the tree, as [Inclusion] does.
func (p *Prover) Inclusion(index int64) ([]Hash, error) {
	if err := checkIndex(index, p.reader.size); err != nil {
		return nil, err
	}
	return tlog.ProveRecord(p.reader.size, index, p.reader)
}

// reader finds the hashes to which tlog refers by one number, in the tiles of a tree with size leaves.
type reader struct {
	tiles TileReader
	size  int64

	// Tiles that were read. When recent is full it becomes older, so that a tile is forgotten when it was not used for a
	// while.
	recent, older map[tileName]*readTile
}

// maxRecent is how many tiles a reader remembers at least, and half of how many it remembers at most. A tile with its
// nodes has 16 KiB.
const maxRecent = 2048

type tileName struct {
	level int
	n     int64
}

func newReader(r TileReader, size int64) *reader {
	return &reader{tiles: r, size: size, recent: map[tileName]*readTile{}}
}

// frontier reads the frontier of the tree.
func (r *reader) frontier() (*Frontier, error) {
	var indexes []int64
	for rest := r.size; rest > 0; {
		level := bits.Len64(uint64(rest)) - 1
		rest -= 1 << level
		indexes = append(indexes, tlog.StoredHashIndex(level, (r.size-rest)>>level-1))
	}
	hashes, err := r.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	return &Frontier{r.size, hashes}, nil
}

// ReadHashes implements [tlog.HashReader].
func (r *reader) ReadHashes(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		// The node is the root of 2^height hashes of its tile.
		height := level % TileHeight
		number := n >> (TileHeight - height)
		t, err := r.tile(level/TileHeight, number)
		if err != nil {
			return nil, err
		}
		first := int(n - number<<(TileHeight-height))
		if (first+1)<<height > t.width {
			return nil, fmt.Errorf("a tree of %d leaves does not have the node %d of level %d", r.size, n, level)
		}
		hashes[i] = t.node(height, first)
	}
	return hashes, nil
}

// tile returns a tile that was read already, or reads it.
func (r *reader) tile(level int, n int64) (*readTile, error) {
	name := tileName{level, n}
	if t := r.recent[name]; t != nil {
		return t, nil
	}
	t := r.older[name]
	if t == nil {
		var err error
		if t, err = r.read(level, n); err != nil {
			return nil, err
		}
	}
	if len(r.recent) == maxRecent {
		r.recent, r.older = map[tileName]*readTile{}, r.recent
	}
	r.recent[name] = t
	return t, nil
}

// read reads a tile, as wide as it is in a tree with size leaves.
func (r *reader) read(level int, n int64) (*readTile, error) {
	width := int(min(TileWidth, r.size>>(TileHeight*level)-n<<TileHeight))
	tile := Tile{level, n, width}
	hashes, err := r.tiles.ReadTile(tile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", tile.Path(), err)
	}
	if len(hashes) < width*HashSize {
		return nil, fmt.Errorf("read %s: %d bytes, not %d", tile.Path(), len(hashes), width*HashSize)
	}
	return &readTile{hashes: hashes, width: width}, nil
}

// readTile is a tile that was read, with those of its inner nodes that were needed so far.
type readTile struct {
	hashes []byte
	width  int              // number of hashes that count
	inner  *[TileWidth]Hash // the node above 2^height hashes is at TileWidth>>height + n; zero: not computed yet
}

// node returns the n-th node above 2^height hashes. The tile has them all.
func (t *readTile) node(height, n int) Hash {
	if height == 0 {
		return Hash(t.hashes[n*HashSize : (n+1)*HashSize])
	}
	if t.inner == nil {
		t.inner = new([TileWidth]Hash)
	}
	h := &t.inner[TileWidth>>height+n]
	if *h == (Hash{}) {
		*h = NodeHash(t.node(height-1, 2*n), t.node(height-1, 2*n+1))
	}
	return *h
}
