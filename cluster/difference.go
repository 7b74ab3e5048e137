package cluster

import (
	"bytes"
	"fmt"

	"github.com/auditsql/auditsql/tree"
)

// FirstDifference returns the index of the first leaf in which two trees differ, among the first size leaves of each. It is size when
// they have the same ones. Either tree may be larger.
//
// It reads one tile of each level of either tree, from the top down. It believes that the tiles of a tree fit together, so an answer is
// as good as the one who reads the tiles: compare the root with [tree.Root] before.
func FirstDifference(a, b tree.TileReader, size uint64) (uint64, error) {
	level := 0
	for int64(size)>>(tree.TileHeight*level) > tree.TileWidth {
		level++
	}
	n := int64(0) // the tile of the level that begins where the trees may differ first
	for ; level >= 0; level-- {
		width := min(int64(size)>>(tree.TileHeight*level)-n*tree.TileWidth, tree.TileWidth)
		same := max(width, 0)
		if width > 0 {
			t := tree.Tile{Level: level, N: n, Width: int(width)}
			var err error
			if same, err = sameHashes(a, b, t); err != nil {
				return 0, err
			}
		}
		// The subtree below the first hash that differs is the next tile. If none differs, it is the one that is not full: its hash is not
		// at this level.
		n = n*tree.TileWidth + same
	}
	return min(uint64(n), size), nil
}

// sameHashes returns how many hashes at the beginning of a tile are the same in two trees.
func sameHashes(a, b tree.TileReader, t tree.Tile) (same int64, err error) {
	ha, err := readHashes(a, t)
	if err != nil {
		return 0, err
	}
	hb, err := readHashes(b, t)
	if err != nil {
		return 0, err
	}
	for same < int64(t.Width) {
		from, to := same*tree.HashSize, (same+1)*tree.HashSize
		if !bytes.Equal(ha[from:to], hb[from:to]) {
			break
		}
		same++
	}
	return same, nil
}

func readHashes(r tree.TileReader, t tree.Tile) ([]byte, error) {
	hashes, err := r.ReadTile(t)
	if err == nil && len(hashes) < t.Width*tree.HashSize {
		err = fmt.Errorf("%s has %d bytes", t.Path(), len(hashes))
	}
	return hashes, err
}
