package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/auditsql/auditsql/tree"
)

// A tree of ours beside one of theirs: leaves, roots, right edges and proofs of every kind are equal.
func TestTreeBesideMerkle(t *testing.T) {
	t.Parallel()
	const size = 70_000
	theirs := testonly.New(rfc6962.DefaultHasher)
	var edge tree.Edge
	tiles := map[tree.Tile][]byte{}
	for i := range size {
		record := fmt.Appendf(nil, `{"n":%d}`, i)
		theirs.AppendData(record)
		for _, full := range edge.Append(tree.LeafHash(record)) {
			tiles[tree.Tile{Level: full.Level, N: full.N}] = full.Hashes
		}
		if i%997 == 0 && !equal(edge.Root(), theirs.Hash()) {
			t.Fatalf("root at %d", i+1)
		}
	}
	r := edge.Reader(func(level int, n int64) ([]byte, error) { return tiles[tree.Tile{Level: level, N: n}], nil })
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + random.Int64N(size)
		m := random.Int64N(n)
		root, err := tree.Root(r, n)
		if err != nil || !equal(root, theirs.HashAt(uint64(n))) {
			t.Fatalf("root at %d: %v, %v", n, root, err)
		}
		got, err := tree.Inclusion(r, m, n)
		if err != nil {
			t.Fatal(err)
		}
		want, err := theirs.InclusionProof(uint64(m), uint64(n))
		if err != nil || !equalAll(got, want) {
			t.Fatalf("inclusion of %d in %d: %v", m, n, err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(m), uint64(n), theirs.LeafHash(uint64(m)), bytesOf(got), root[:]); err != nil {
			t.Fatal(err)
		}
		m++ // merkle has no proof of consistency with the empty tree
		got, err = tree.Consistency(r, m, n)
		if err != nil {
			t.Fatal(err)
		}
		want, err = theirs.ConsistencyProof(uint64(m), uint64(n))
		if err != nil || !equalAll(got, want) {
			t.Fatalf("consistency of %d with %d: %v", m, n, err)
		}
		f, err := tree.ReadFrontier(r, n)
		if err != nil {
			t.Fatal(err)
		}
		rf := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
		ranged, err := rf.NewRange(0, uint64(n), bytesOf(f.Hashes()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ranged.GetRootHash(nil); err != nil || !equal(root, got) {
			t.Fatalf("the frontier of %d as a compact range: %v", n, err)
		}
		if got, want := len(f.Hashes()), len(torchwood.RightEdge(n)); got != want {
			t.Fatalf("the frontier of %d has %d hashes, torchwood's right edge %d", n, got, want)
		}
	}
}

// tlog reads our tiles as its own, and torchwood names them as we do.
func TestTilesBesideTlog(t *testing.T) {
	t.Parallel()
	for _, tile := range []tlog.Tile{
		{H: 8, L: 0, N: 0, W: 256}, {H: 8, L: 0, N: 273, W: 112}, {H: 8, L: 1, N: 1, W: 17}, {H: 8, L: 2, N: 1234067, W: 1}, {H: 8, L: 63, N: 1 << 62, W: 255},
	} {
		ours := tree.Tile{Level: tile.L, N: tile.N, Width: tile.W}
		path := torchwood.TilePath(tile)
		if ours.Path() != path {
			t.Errorf("%s, torchwood: %s", ours.Path(), path)
		}
		if got, err := tree.ParsePath(path); err != nil || got != ours {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
		if got, err := torchwood.ParseTilePath(path); err != nil || got != tile {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	// A client of tlog authenticates the tiles that it reads against the root.
	const size = 66_000
	var edge tree.Edge
	tiles := tlogTiles{}
	for i := range size {
		for _, full := range edge.Append(tree.LeafHash(fmt.Append(nil, i))) {
			tiles[tlog.Tile{H: 8, L: full.Level, N: full.N, W: 256}] = full.Hashes
		}
	}
	for level := range tree.Levels {
		if b := edge.Level(level); len(b) > 0 {
			tiles[tlog.Tile{H: 8, L: level, N: size >> (8 * (level + 1)), W: len(b) / tree.HashSize}] = b
		}
	}
	client := tlog.TileHashReader(tlog.Tree{N: size, Hash: edge.Root()}, tiles)
	for _, n := range []int64{0, 255, 256, 65_535, 65_536, size - 1} {
		p, err := tlog.ProveRecord(size, n, client)
		if err != nil {
			t.Fatalf("record %d: %v", n, err)
		}
		if err := tree.VerifyInclusion(p, n, size, tree.LeafHash(fmt.Append(nil, n)), edge.Root()); err != nil {
			t.Errorf("record %d: %v", n, err)
		}
	}
}

type tlogTiles map[tlog.Tile][]byte

func (tlogTiles) Height() int                     { return 8 }
func (tlogTiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (m tlogTiles) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, t := range tiles {
		b, ok := m[t]
		if !ok {
			return nil, fmt.Errorf("no tile %s", t.Path())
		}
		data = append(data, b)
	}
	return data, nil
}

func equal(h tree.Hash, b []byte) bool { return bytes.Equal(h[:], b) }

func equalAll(hashes []tree.Hash, all [][]byte) bool {
	if len(hashes) != len(all) {
		return false
	}
	for i, h := range hashes {
		if !equal(h, all[i]) {
			return false
		}
	}
	return true
}

func bytesOf(hashes []tree.Hash) [][]byte {
	all := make([][]byte, len(hashes))
	for i, h := range hashes {
		all[i] = h[:]
	}
	return all
}
