package tree_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/auditsql/auditsql/tree"
)

var paths = map[string]tree.Tile{
	"tile/0/000":                                   {Level: 0, N: 0, Width: 256},
	"tile/0/x001/x234/067":                         {Level: 0, N: 1234067, Width: 256}, // the example of tlog-tiles
	"tile/3/x001/x234/067.p/1":                     {Level: 3, N: 1234067, Width: 1},
	"tile/1/001.p/17":                              {Level: 1, N: 1, Width: 17},
	"tile/0/273.p/112":                             {Level: 0, N: 273, Width: 112},
	"tile/63/999.p/255":                            {Level: 63, N: 999, Width: 255},
	"tile/7/x009/x223/x372/x036/x854/x775/807":     {Level: 7, N: math.MaxInt64, Width: 256},
	"tile/0/x001/000":                              {Level: 0, N: 1000, Width: 256},
	"tile/0/x009/x223/x372/x036/x854/x775/807.p/9": {Level: 0, N: math.MaxInt64, Width: 9},
}

var noPaths = []string{
	"", "tile", "tile/", "tile/0", "tile/0/", "tile/8/0/000", "tile/entries/000", "tile/data/000", "tile/-1/000", "tile/64/000",
	"tile/00/000", "tile/0/0", "tile/0/0000", "tile/0/1000", "tile/0/001/000", "tile/0/x000/000", "tile/0/000.p/0", "tile/0/000.p/256",
	"tile/0/000.p/01", "tile/0/000.p/-1", "tile/0/000.p", "tile/0/000.p/", "/tile/0/000", "tile/0/000/", "tile//0/000", "tile/0/x001",
	"tile/+0/000", "tile/0/+00", "TILE/0/000", "tile/0/000\n", " tile/0/000", "xile/0/000", "tile/0/x009/x223/x372/x036/x854/x775/808",
	"tile/0/x018/x446/x744/x073/x709/x551/616", "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for path, tile := range paths {
		if got := tile.Path(); got != path {
			t.Errorf("%+v has the path %s, not %s", tile, got, path)
		}
		if got, err := tree.ParsePath(path); err != nil || got != tile {
			t.Errorf("%s is %+v (%v), not %+v", path, got, err, tile)
		}
	}
	for _, path := range noPaths {
		if tile, err := tree.ParsePath(path); err == nil {
			t.Errorf("%q is %+v", path, tile)
		}
	}
}

// A log that publishes what is new after each batch serves at the end all tiles of its tree.
func TestNewTiles(t *testing.T) {
	t.Parallel()
	d := leaves(70_000)
	k := newKept()
	served := map[string][]byte{}
	for old := 0; old < len(d); {
		size := min(old+3+old/3, len(d))
		k.append(d[old:size]...)
		for _, tile := range tree.NewTiles(int64(old), int64(size)) {
			b, err := k.reader().ReadTile(tile)
			if err != nil {
				t.Fatal(err)
			}
			if path := tile.Path(); served[path] != nil {
				t.Errorf("%s is new a second time", path)
			} else {
				served[path] = b[:tile.Width*tree.HashSize]
			}
		}
		old = size
	}
	full := 0
	for path, b := range served {
		tile, err := tree.ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if tile.Width == tree.TileWidth {
			full++
			if !bytes.Equal(b, k.tiles[[2]int64{int64(tile.Level), tile.N}]) {
				t.Errorf("%s is another tile", path)
			}
		}
	}
	if full != len(k.tiles) {
		t.Errorf("%d full tiles are served, there are %d", full, len(k.tiles))
	}
	for _, path := range []string{"tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"} { // the example of tlog-tiles
		if served[path] == nil {
			t.Errorf("%s is not served", path)
		}
	}
	for _, sizes := range [][2]int64{{600, 600}, {600, 500}, {-1, 5}, {math.MinInt64, 300}, {5, -1}, {math.MaxInt64 - 1, math.MaxInt64}} {
		if tiles := tree.NewTiles(sizes[0], sizes[1]); len(tiles) != 0 {
			t.Errorf("%d of %v are new", len(tiles), sizes)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for path := range paths {
		f.Add(path)
	}
	for _, path := range noPaths {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := tree.ParsePath(path)
		if err != nil {
			return
		}
		if tile.Path() != path {
			t.Errorf("%q is %+v, which has the path %q", path, tile, tile.Path())
		}
		if tile.Level < 0 || tile.Level > 63 || tile.N < 0 || tile.Width < 1 || tile.Width > tree.TileWidth {
			t.Errorf("%q is %+v", path, tile)
		}
	})
}
