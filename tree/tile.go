package tree

import (
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// TileHeight is the height of a tile: a full tile has 1 << TileHeight hashes.
	TileHeight = 8
	// TileWidth is the number of hashes in a full tile.
	TileWidth = 1 << TileHeight
	// TileSize is the size of a full tile in bytes.
	TileSize = TileWidth * HashSize
	// Levels is the number of levels of tiles that a tree of [MaxSize] leaves has.
	Levels = 8
)

// Tile is the name of a tile, or of its first hashes, as in c2sp.org/tlog-tiles.
type Tile struct {
	Level int   // 0 for leaves; up to 63 in a path
	N     int64 // number of the tile within its level, from 0
	Width int   // number of hashes: 1 to TileWidth
}

// Path returns the path of the tile below the log's prefix, as in tlog-tiles: tile/L/N, followed by .p/W if the tile is not
// full. N is written in groups of three digits: tile/0/x001/x234/067.
func (t Tile) Path() string {
	p := tlog.Tile{H: TileHeight, L: t.Level, N: t.N, W: t.Width}.Path()
	return "tile/" + strings.TrimPrefix(p, tlogPrefix)
}

// tlogPrefix is the beginning of a path in package tlog. It contains the height of the tiles, which is fixed in C2SP and not
// in its paths.
const tlogPrefix = "tile/8/"

// ParsePath reads a path that [Tile.Path] writes. It refuses every other spelling, so that each tile has just one path.
func ParsePath(path string) (Tile, error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	t, err := tlog.ParseTilePath(tlogPrefix + rest)
	if !ok || err != nil || t.L < 0 || t.L > 63 || t.N < 0 {
		return Tile{}, fmt.Errorf("%q is not the path of a tile", path)
	}
	return Tile{t.L, t.N, t.W}, nil
}

// NewTiles returns the tiles that a log has to publish when it grows from old to size records: those that have become full,
// and those of the edge that have grown. No log grows from a larger size to a smaller one, or to a size that is not from 0 to
// [MaxSize]: then there are none. There is about one tile for every 255 new records, and all of them are held in memory,
// so size should be that of a tree that exists.
func NewTiles(old, size int64) []Tile {
	if checkSizes(old, size) != nil {
		return nil
	}
	var tiles []Tile
	for _, t := range tlog.NewTiles(TileHeight, old, size) {
		tiles = append(tiles, Tile{t.L, t.N, t.W})
	}
	return tiles
}

// FullTile is a tile that has all its hashes. It never changes again.
type FullTile struct {
	Level  int
	N      int64
	Hashes []byte // TileSize bytes, which belong to the caller of Append
}

// root returns the root of a full tile's hashes.
func root(hashes []byte) Hash {
	// For tlog the root belongs to the tile of the next level. So compute it from its two children, which tlog finds in this
	// tile. The result does not depend on the tile's number, so use that of the first tile.
	t := tlog.Tile{H: TileHeight, W: TileWidth}
	left, err := tlog.HashFromTile(t, hashes, tlog.StoredHashIndex(TileHeight-1, 0))
	if err != nil {
		panic("tree: " + err.Error()) // the tile is not full, which is a bug in this package
	}
	right, err := tlog.HashFromTile(t, hashes, tlog.StoredHashIndex(TileHeight-1, 1))
	if err != nil {
		panic("tree: " + err.Error())
	}
	return NodeHash(left, right)
}
