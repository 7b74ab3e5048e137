package tree_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/treespec"
	"github.com/auditsql/auditsql/tree"
)

func TestHashesAreThoseOfRFC6962(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		got  tree.Hash
		want string
	}{
		// As sha256sum prints them, of: nothing; printf '\0'; printf '\0abc'.
		{"the empty tree", tree.EmptyRoot(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"the empty record", tree.LeafHash(nil), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
		{"a record", tree.LeafHash([]byte("abc")), hexed(treespec.Hash([]byte("\x00abc")))},
		{"a node", tree.NodeHash(tree.LeafHash([]byte("a")), tree.LeafHash([]byte("b"))),
			hexed(treespec.Root([]tree.Hash{treespec.Hash([]byte("\x00a")), treespec.Hash([]byte("\x00b"))}))},
	} {
		if got := hexed(c.got); got != c.want {
			t.Errorf("%s: %s, not %s", c.what, got, c.want)
		}
	}
}

func hexed(h tree.Hash) string { return hex.EncodeToString(h[:]) }

// The roots of every size up to 300, and every proof of sizes up to 66 and around 256, are those of the definitions. All
// proofs are made from the tree of 300 leaves.
func TestEverySmallTree(t *testing.T) {
	t.Parallel()
	d := leaves(300)
	k := newKept()
	var f tree.Frontier
	for size := range len(d) + 1 {
		want := treespec.Root(d[:size])
		if got := k.edge.Root(); got != want {
			t.Fatalf("size %d: the edge has the root %v, not %v", size, got, want)
		}
		if got := f.Root(); got != want {
			t.Fatalf("size %d: the frontier has the root %v, not %v", size, got, want)
		}
		if size < len(d) {
			k.append(d[size])
			f.Append(d[size])
		}
	}
	r := k.reader()
	for size := range len(d) + 1 {
		want := treespec.Root(d[:size])
		if got, err := tree.Root(r, int64(size)); err != nil || got != want {
			t.Fatalf("size %d: the tiles have the root %v (%v), not %v", size, got, err, want)
		}
		if size > 66 && (size < 255 || size > 258) {
			continue
		}
		for m := range size {
			p, err := tree.Inclusion(r, int64(m), int64(size))
			if err != nil || !slices.Equal(p, treespec.Path(m, d[:size])) {
				t.Fatalf("inclusion of %d in %d: %v (%v)", m, size, p, err)
			}
			if err := tree.VerifyInclusion(p, int64(m), int64(size), d[m], want); err != nil {
				t.Fatalf("inclusion of %d in %d: %v", m, size, err)
			}
		}
		for m := range size + 1 {
			p, err := tree.Consistency(r, int64(m), int64(size))
			var wantProof []tree.Hash
			if m > 0 {
				wantProof = treespec.Subproof(m, d[:size], true)
			}
			if err != nil || !slices.Equal(p, wantProof) {
				t.Fatalf("consistency of %d with %d: %v (%v)", m, size, p, err)
			}
			if err := tree.VerifyConsistency(p, int64(m), int64(size), treespec.Root(d[:m]), want); err != nil {
				t.Fatalf("consistency of %d with %d: %v", m, size, err)
			}
		}
	}
}

// The example of tlog-tiles: 70,000 leaves are 273 full tiles of level 0, one of level 1, and three at the edge. Each is
// compared with the definition there.
func TestTilesAreThoseOfTheDefinition(t *testing.T) {
	t.Parallel()
	d := leaves(70_000)
	k := newKept()
	k.append(d...)
	level := [3]int{}
	for at := range k.tiles {
		level[at[0]]++
	}
	if level != [3]int{273, 1, 0} {
		t.Fatalf("full tiles by level: %v", level)
	}
	for l, want := range []int{112, 17, 1, 0, 0, 0, 0, 0} {
		if got := len(k.edge.Level(l)) / tree.HashSize; got != want {
			t.Errorf("level %d of the edge has %d hashes, not %d", l, got, want)
		}
	}
	check := func(l int, n int64, hashes []byte) {
		span := 1 << (tree.TileHeight * l)
		for i := range len(hashes) / tree.HashSize {
			from := (int(n)*tree.TileWidth + i) * span
			if got, want := tree.Hash(hashes[i*tree.HashSize:][:tree.HashSize]), treespec.Root(d[from:from+span]); got != want {
				t.Fatalf("level %d, tile %d, hash %d: %v, not %v", l, n, i, got, want)
			}
		}
	}
	for at, hashes := range k.tiles {
		if len(hashes) != tree.TileSize {
			t.Fatalf("tile %v has %d bytes", at, len(hashes))
		}
		check(int(at[0]), at[1], hashes)
	}
	for l, n := range []int64{273, 1, 0} {
		check(l, n, k.edge.Level(l))
	}
}

// Batches of any sizes make the same tiles, and each proof made from the tiles is the one of the definition.
func TestAnyTree(t *testing.T) {
	t.Parallel()
	d := leaves(66_000)
	whole := newKept()
	whole.append(d...)
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.IntRange(1, 600), rapid.IntRange(1, 5000), rapid.IntRange(1, 5000), rapid.IntRange(65_400, len(d))).Draw(t, "size")
		r := whole.reader()
		root := treespec.Root(d[:size])
		if got, err := tree.Root(r, int64(size)); err != nil || got != root {
			t.Fatalf("root %v (%v), not %v", got, err, root)
		}
		m := rapid.IntRange(0, size-1).Draw(t, "index")
		p, err := tree.Inclusion(r, int64(m), int64(size))
		if err != nil || !slices.Equal(p, treespec.Path(m, d[:size])) {
			t.Fatalf("inclusion: %v (%v)", p, err)
		}
		if err := tree.VerifyInclusion(p, int64(m), int64(size), d[m], root); err != nil {
			t.Fatal(err)
		}
		old := m + 1
		c, err := tree.Consistency(r, int64(old), int64(size))
		if err != nil || !slices.Equal(c, treespec.Subproof(old, d[:size], true)) {
			t.Fatalf("consistency: %v (%v)", c, err)
		}
		if err := tree.VerifyConsistency(c, int64(old), int64(size), treespec.Root(d[:old]), root); err != nil {
			t.Fatal(err)
		}
		// The records between two sizes lead from the right edge of the first to the root of the second.
		f, err := tree.ReadFrontier(r, int64(old))
		if err != nil {
			t.Fatal(err)
		}
		f, err = tree.NewFrontier(f.Size(), f.Hashes())
		if err != nil || f.Root() != treespec.Root(d[:old]) {
			t.Fatalf("the frontier of %d has the root %v (%v)", old, f.Root(), err)
		}
		for _, leaf := range d[old:size] {
			f.Append(leaf)
		}
		if f.Root() != root || f.Size() != int64(size) {
			t.Fatalf("from %d to %d the frontier comes to %v", old, size, f.Root())
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		k := newKept()
		for from := 0; from < 2000; {
			n := rapid.IntRange(0, 700).Draw(t, "batch")
			to := min(from+n, 2000)
			k.append(d[from:to]...)
			levels := make([][]byte, tree.Levels)
			for l := range levels {
				levels[l] = k.edge.Level(l)
			}
			// A store does this when it is opened again.
			e, err := tree.NewEdge(int64(to), levels)
			if err != nil {
				t.Fatal(err)
			}
			k.edge = e
			from = to
		}
		if len(k.tiles) != 7 || k.edge.Root() != treespec.Root(d[:2000]) {
			t.Fatalf("%d tiles, root %v", len(k.tiles), k.edge.Root())
		}
		for at, hashes := range k.tiles {
			if !slices.Equal(hashes, whole.tiles[at]) {
				t.Fatalf("tile %v differs", at)
			}
		}
	})
}

// same is a tree whose leaves are all equal. So every hash in it can be computed, whatever its size.
type same struct{ perfect [62]tree.Hash } // perfect[h] is the root of 1<<h leaves

func newSame() *same {
	s := &same{}
	s.perfect[0] = tree.LeafHash([]byte("same"))
	for h := 1; h < len(s.perfect); h++ {
		s.perfect[h] = tree.NodeHash(s.perfect[h-1], s.perfect[h-1])
	}
	return s
}

func (s *same) hashes(level, width int) []byte {
	h := s.perfect[tree.TileHeight*level]
	return slices.Repeat(h[:], width)
}

// ReadTile returns every tile that it is asked for, also one that lies after the end of the tree: a proof must not use it.
func (s *same) ReadTile(t tree.Tile) ([]byte, error) {
	if t.Width < 1 || t.Width > tree.TileWidth || t.N < 0 || t.Level >= tree.Levels {
		return nil, fmt.Errorf("%+v is no tile", t)
	}
	return s.hashes(t.Level, t.Width), nil
}

func (s *same) edge(size int64) [][]byte {
	levels := make([][]byte, tree.Levels)
	for l := range levels {
		levels[l] = s.hashes(l, int(size>>(tree.TileHeight*l)&(tree.TileWidth-1)))
	}
	return levels
}

// root is MTH of size equal leaves.
func (s *same) root(size int64) tree.Hash {
	for h, p := range s.perfect {
		if size == 1<<h {
			return p
		}
		if size < 1<<(h+1) {
			return tree.NodeHash(p, s.root(size-1<<h))
		}
	}
	panic("too large")
}

// Sizes that no test can fill leaf by leaf: around a full tile of each level, and the largest ones.
func TestHugeTrees(t *testing.T) {
	t.Parallel()
	s := newSame()
	leaf := s.perfect[0]
	sizes := []int64{tree.MaxSize, tree.MaxSize - 1, 1<<40 + 12345}
	for level := 1; level < tree.Levels; level++ {
		sizes = append(sizes, 1<<(tree.TileHeight*level), 1<<(tree.TileHeight*level)-1, 1<<(tree.TileHeight*level)+1)
	}
	for _, size := range sizes {
		e, err := tree.NewEdge(size, s.edge(size))
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if got := e.Root(); got != s.root(size) {
			t.Fatalf("size %d: root %v", size, got)
		}
		if got, err := tree.Root(s, size); err != nil || got != s.root(size) {
			t.Fatalf("size %d: root %v (%v) from tiles", size, got, err)
		}
		for _, m := range []int64{0, 1, size / 3, size - 2, size - 1} {
			p, err := tree.Inclusion(s, m, size)
			if err != nil {
				t.Fatalf("inclusion of %d in %d: %v", m, size, err)
			}
			if err := tree.VerifyInclusion(p, m, size, leaf, s.root(size)); err != nil {
				t.Fatalf("inclusion of %d in %d: %v", m, size, err)
			}
			c, err := tree.Consistency(s, m+1, size)
			if err != nil {
				t.Fatalf("consistency of %d with %d: %v", m+1, size, err)
			}
			if err := tree.VerifyConsistency(c, m+1, size, s.root(m+1), s.root(size)); err != nil {
				t.Fatalf("consistency of %d with %d: %v", m+1, size, err)
			}
		}
		if size == tree.MaxSize {
			continue
		}
		full := e.Append(leaf)
		if got := e.Root(); got != s.root(size+1) {
			t.Fatalf("size %d and one leaf: root %v", size, got)
		}
		for i, f := range full {
			if f.Level != i || f.N != size>>(tree.TileHeight*(i+1)) || !slices.Equal(f.Hashes, s.hashes(i, tree.TileWidth)) {
				t.Fatalf("size %d and one leaf: tile %d of level %d", size, f.N, f.Level)
			}
		}
	}
	e, err := tree.NewEdge(1<<56-1, s.edge(1<<56-1))
	if err != nil {
		t.Fatal(err)
	}
	if full := e.Append(leaf); len(full) != 7 {
		t.Fatalf("the leaf 2^56-1 fills %d tiles, not one of each level below the last", len(full))
	}
}

// A size or an index that no tree has is an error. It causes no panic, and no endless loop as in tlog for sizes near 2^63.
func TestWhatNoTreeHas(t *testing.T) {
	t.Parallel()
	s := newSame()
	odd := []int64{math.MinInt64, -1, tree.MaxSize + 1, 1 << 62, 1<<62 + 1, math.MaxInt64}
	for _, n := range odd {
		if _, err := tree.NewEdge(n, nil); err == nil {
			t.Errorf("an edge of %d leaves", n)
		}
		if _, err := tree.NewFrontier(n, nil); err == nil {
			t.Errorf("a frontier of %d leaves", n)
		}
		if _, err := tree.Root(s, n); err == nil {
			t.Errorf("a root of %d leaves", n)
		}
		if _, err := tree.Inclusion(s, 0, n); err == nil {
			t.Errorf("a proof in a tree of %d leaves", n)
		}
		if _, err := tree.Inclusion(s, n, 10); err == nil {
			t.Errorf("a proof of the index %d", n)
		}
		if _, err := tree.Consistency(s, 1, n); err == nil {
			t.Errorf("a proof of consistency with %d leaves", n)
		}
		if _, err := tree.Consistency(s, n, 10); err == nil {
			t.Errorf("a proof of consistency of %d leaves", n)
		}
		if err := tree.VerifyInclusion(nil, 0, n, s.perfect[0], s.perfect[0]); err == nil {
			t.Errorf("included in %d leaves", n)
		}
		if err := tree.VerifyInclusion(nil, n, 1, s.perfect[0], s.perfect[0]); err == nil {
			t.Errorf("included at %d", n)
		}
		if err := tree.VerifyConsistency(nil, 1, n, s.perfect[0], s.perfect[0]); err == nil {
			t.Errorf("consistent with %d leaves", n)
		}
		if err := tree.VerifyConsistency(nil, n, 1, s.perfect[0], s.perfect[0]); err == nil {
			t.Errorf("%d leaves are consistent", n)
		}
	}
	for _, c := range []struct {
		size   int64
		levels [][]byte
	}{
		{1, nil},
		{0, [][]byte{make([]byte, 32)}},
		{2, [][]byte{make([]byte, 63)}},
		{256, [][]byte{make([]byte, 32)}},
		{256, [][]byte{nil, make([]byte, 64)}},
		{0, make([][]byte, tree.Levels+1)},
	} {
		if _, err := tree.NewEdge(c.size, c.levels); err == nil {
			t.Errorf("an edge of %d leaves of %d levels", c.size, len(c.levels))
		}
	}
	for size, n := range map[int64]int{0: 1, 1: 0, 3: 1, 4: 3} {
		if _, err := tree.NewFrontier(size, make([]tree.Hash, n)); err == nil {
			t.Errorf("a frontier of %d leaves with %d hashes", size, n)
		}
	}
	if e := (&tree.Edge{}); e.Level(-1) != nil || e.Level(tree.Levels) != nil {
		t.Error("levels that no tree has")
	}
}

// A proof that is altered in any one way does not verify.
func TestAlteredProofs(t *testing.T) {
	t.Parallel()
	d := leaves(40)
	k := newKept()
	k.append(d...)
	r := k.reader()
	other := tree.LeafHash([]byte("other"))
	alterations := func(p []tree.Hash) [][]tree.Hash {
		all := [][]tree.Hash{append(slices.Clone(p), other), append([]tree.Hash{other}, p...)}
		for i := range p {
			all = append(all, slices.Delete(slices.Clone(p), i, i+1), slices.Insert(slices.Clone(p), i, p[i]))
			q := slices.Clone(p)
			q[i][i] ^= 0x10
			all = append(all, q)
			for j := range i {
				q := slices.Clone(p)
				q[i], q[j] = q[j], q[i]
				all = append(all, q)
			}
		}
		return all
	}
	for size := int64(1); size <= int64(len(d)); size++ {
		root, err := tree.Root(r, size)
		if err != nil {
			t.Fatal(err)
		}
		for m := range size {
			p, err := tree.Inclusion(r, m, size)
			if err != nil {
				t.Fatal(err)
			}
			if tree.VerifyInclusion(p, m, size, other, root) == nil || tree.VerifyInclusion(p, m, size, d[m], other) == nil {
				t.Fatalf("another leaf or root at %d of %d", m, size)
			}
			for _, q := range alterations(p) {
				if err := tree.VerifyInclusion(q, m, size, d[m], root); !errors.Is(err, tree.ErrProof) {
					t.Fatalf("%d of %d with an altered proof: %v", m, size, err)
				}
			}
			for _, n := range []int64{m - 1, m + 1, 2 * m, m ^ 1} {
				if n != m && tree.VerifyInclusion(p, n, size, d[m], root) == nil {
					t.Fatalf("%d of %d verifies as %d", m, size, n)
				}
			}
			old := m + 1
			oldRoot, err := tree.Root(r, old)
			if err != nil {
				t.Fatal(err)
			}
			c, err := tree.Consistency(r, old, size)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range alterations(c) {
				if err := tree.VerifyConsistency(q, old, size, oldRoot, root); !errors.Is(err, tree.ErrProof) {
					t.Fatalf("%d to %d with an altered proof: %v", old, size, err)
				}
			}
			if tree.VerifyConsistency(c, old, size, other, root) == nil || tree.VerifyConsistency(c, old, size, oldRoot, other) == nil {
				t.Fatalf("%d to %d with another root", old, size)
			}
		}
		empty := tree.EmptyRoot()
		if tree.VerifyConsistency(nil, 0, size, other, root) == nil || tree.VerifyConsistency([]tree.Hash{other}, 0, size, empty, root) == nil {
			t.Fatalf("0 to %d with another root or a proof", size)
		}
	}
	if tree.VerifyConsistency(nil, 0, 0, tree.EmptyRoot(), other) == nil {
		t.Fatal("an empty tree with another root")
	}
}

// An error of the TileReader is returned with the name of the tile. A short tile is an error.
func TestTilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	k := newKept()
	k.append(leaves(600)...)
	broken := errors.New("broken")
	r := k.edge.Reader(func(int, int64) ([]byte, error) { return nil, broken })
	if _, err := tree.Inclusion(r, 3, 600); !errors.Is(err, broken) || err.Error() != "read tile/0/000: broken" {
		t.Errorf("a tile that cannot be read: %v", err)
	}
	r = k.edge.Reader(func(int, int64) ([]byte, error) { return make([]byte, tree.TileSize-1), nil })
	if _, err := tree.Inclusion(r, 3, 600); err == nil || err.Error() != "read tile/0/000: 8191 bytes, not 8192" {
		t.Errorf("a short tile: %v", err)
	}
	if _, err := tree.Inclusion(k.edge.Reader(nil), 3, 600); err == nil {
		t.Error("a full tile, of an edge alone")
	}
	if _, err := tree.Inclusion(k.edge.Reader(nil), 599, 600); err != nil {
		t.Errorf("a proof from the edge alone: %v", err)
	}
	if _, err := tree.Root(k.reader(), 601); err == nil {
		t.Error("a tree larger than the edge")
	}
	if _, err := tree.Root(k.reader(), 1024); err == nil {
		t.Error("a tree with more tiles than there are")
	}
	for _, tile := range []tree.Tile{{-1, 0, 1}, {tree.Levels, 0, 1}, {0, -1, 1}, {0, 3, 1}, {1, 1, 1}, {7, 1, 1}} {
		if _, err := k.reader().ReadTile(tile); err == nil {
			t.Errorf("the tile %+v", tile)
		}
	}
}

// An append to a clone does not change its original, nor the other way round, and neither changes a tile that Append has
// returned.
func TestWhatAnEdgeGivesAwayStays(t *testing.T) {
	t.Parallel()
	d := leaves(1000)
	others := slices.Concat(d[:300], d[700:])
	e := &tree.Edge{}
	full := e.Append(d[:300]...)
	tile := slices.Clone(full[0].Hashes)
	c := e.Clone()
	c.Append(d[700:]...)
	e.Append(d[300:]...)
	if c.Size() != int64(len(others)) || c.Root() != treespec.Root(others) || e.Root() != treespec.Root(d) {
		t.Error("clone and original are not apart")
	}
	if !slices.Equal(tile, full[0].Hashes) {
		t.Error("a full tile was changed")
	}
}
