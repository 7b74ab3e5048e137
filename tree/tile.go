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

// Tile names a tile, or the first hashes of one, as c2sp.org/tlog-tiles does.
type Tile struct {
	Level int   // 0 for leaves; up to 63 in a path
	N     int64 // number of the tile within its level, from 0
	Width int   // number of hashes: 1 to TileWidth
}

// Path returns where tlog-tiles serves the tile below the prefix of a log: tile/L/N, with .p/W for a tile that is not
// full. N is written in groups of three digits: tile/0/x001/x234/067.
func (t Tile) Path() string {
	p := tlog.Tile{H: TileHeight, L: t.Level, N: t.N, W: t.Width}.Path()
	return "tile/" + strings.TrimPrefix(p, tlogPrefix)
}

// tlogPrefix is how tlog begins a path: it has the height of the tiles in it, which C2SP fixes and leaves out.
const tlogPrefix = "tile/8/"

// ParsePath reads a path that [Tile.Path] writes. It takes no other form of it: each tile has one path.
func ParsePath(path string) (Tile, error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	t, err := tlog.ParseTilePath(tlogPrefix + rest)
	if !ok || err != nil || t.L < 0 || t.L > 63 || t.N < 0 {
		return Tile{}, fmt.Errorf("%q is not the path of a tile", path)
	}
	return Tile{t.L, t.N, t.W}, nil
}

// NewTiles returns the tiles that a log of the size serves, and that it did not serve when it had old records: those that
// became full since, and those of the edge. Sizes must be 0 to [MaxSize]; there is one tile for some 255 new records.
func NewTiles(old, size int64) []Tile {
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
	Hashes []byte // TileSize bytes, which belong to whoever got the tile
}

// root returns the root of a full tile's hashes.
func root(hashes []byte) Hash {
	// The root itself is a hash of the next level for tlog, so it is made of its two children. As numbers within a
	// tile do not matter here, the tile passes for the first one.
	t := tlog.Tile{H: TileHeight, W: TileWidth}
	left, err := tlog.HashFromTile(t, hashes, tlog.StoredHashIndex(TileHeight-1, 0))
	if err != nil {
		panic("tree: " + err.Error()) // a tile of another length: a bug here
	}
	right, err := tlog.HashFromTile(t, hashes, tlog.StoredHashIndex(TileHeight-1, 1))
	if err != nil {
		panic("tree: " + err.Error())
	}
	return NodeHash(left, right)
}
