package tree_test

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/tree"
)

// Whatever a prover has proven before, its proofs are those of Inclusion, which reads each tile anew.
func TestAProverMakesTheSameProofs(t *testing.T) {
	t.Parallel()
	d := leaves(70_000)
	k := newKept()
	k.append(d...)
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, int64(len(d))).Draw(t, "size")
		p, err := tree.NewProver(k.reader(), size)
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range rapid.SliceOfN(rapid.Int64Range(0, size-1), 1, 20).Draw(t, "indexes") {
			got, err := p.Inclusion(index)
			want, werr := tree.Inclusion(k.reader(), index, size)
			leaf, lerr := p.Leaf(index)
			if err != nil || werr != nil || lerr != nil || !slices.Equal(got, want) || leaf != d[index] {
				t.Fatalf("index %d of %d: %v, %v, %v", index, size, err, werr, lerr)
			}
		}
		root, err := p.Root()
		if want, werr := tree.Root(k.reader(), size); err != nil || werr != nil || root != want {
			t.Fatalf("the root of %d: %v, %v", size, err, werr)
		}
		for _, index := range []int64{-1, size} {
			if _, err := p.Inclusion(index); err == nil {
				t.Fatalf("index %d of %d has a proof", index, size)
			}
			if _, err := p.Leaf(index); err == nil {
				t.Fatalf("index %d of %d has a leaf", index, size)
			}
		}
	})
	if _, err := tree.NewProver(k.reader(), -1); err == nil {
		t.Error("a tree of -1 leaves")
	}
}

// countedTiles are the tiles of a tree whose leaves are all the same.
type countedTiles struct {
	levels [][]byte
	reads  map[tree.Tile]int
}

func (c *countedTiles) ReadTile(t tree.Tile) ([]byte, error) {
	c.reads[t]++
	for len(c.levels) <= t.Level {
		h := tree.LeafHash(nil)
		if n := len(c.levels); n > 0 {
			row := bytes.Clone(c.levels[n-1])
			for len(row) > tree.HashSize {
				for i := range len(row) / tree.HashSize / 2 {
					node := tree.NodeHash(tree.Hash(row[64*i:64*i+32]), tree.Hash(row[64*i+32:64*i+64]))
					copy(row[32*i:], node[:])
				}
				row = row[:len(row)/2]
			}
			copy(h[:], row)
		}
		c.levels = append(c.levels, bytes.Repeat(h[:], tree.TileWidth))
	}
	return c.levels[t.Level], nil
}

// A prover reads a tile once for records that are near each other, and forgets tiles that it did not use for long.
func TestAProverRemembersTilesForAWhile(t *testing.T) {
	t.Parallel()
	const size = 1 << 24
	tiles := &countedTiles{reads: map[tree.Tile]int{}}
	p, err := tree.NewProver(tiles, size)
	if err != nil {
		t.Fatal(err)
	}
	root, err := p.Root()
	if err != nil {
		t.Fatal(err)
	}
	prove := func(index int64) {
		t.Helper()
		proof, err := p.Inclusion(index)
		if err == nil {
			err = tree.VerifyInclusion(proof, index, size, tree.LeafHash(nil), root)
		}
		if err != nil {
			t.Fatalf("index %d: %v", index, err)
		}
	}
	for n := range int64(1000) {
		prove(n)
	}
	for tile, n := range tiles.reads {
		if n != 1 {
			t.Errorf("%s was read %d times", tile.Path(), n)
		}
	}
	for n := range int64(5000) {
		prove(n * tree.TileWidth)
	}
	first := tree.Tile{Level: 0, N: 0, Width: tree.TileWidth}
	if prove(3); tiles.reads[first] != 2 {
		t.Errorf("the first tile was read %d times", tiles.reads[first])
	}
	if top := (tree.Tile{Level: 2, N: 0, Width: tree.TileWidth}); tiles.reads[top] != 1 {
		t.Errorf("the top tile, which each proof needs, was read %d times", tiles.reads[top])
	}
}
