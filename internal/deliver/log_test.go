package deliver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/tree"
)

const origin = "log.example.com/payments"

// log is a log that grows in memory, with its key.
type log struct {
	t      testing.TB
	signer *evidence.Signer
	edge   tree.Edge
	tiles  map[[2]int64][]byte
}

func newLog(t testing.TB) *log {
	t.Helper()
	private, _, err := evidence.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := evidence.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return &log{t: t, signer: signer, tiles: map[[2]int64][]byte{}}
}

// grow adds records until there are size of them. Their text tells histories apart.
func (l *log) grow(size int64, history string) *log {
	for n := l.edge.Size(); n < size; n++ {
		for _, full := range l.edge.Append(tree.LeafHash(fmt.Appendf(nil, "%s %d", history, n))) {
			l.tiles[[2]int64{int64(full.Level), full.N}] = full.Hashes
		}
	}
	return l
}

// another returns a log with the same key and no records.
func (l *log) another() *log {
	return &log{t: l.t, signer: l.signer, tiles: map[[2]int64][]byte{}}
}

func (l *log) reader() tree.TileReader {
	return l.edge.Reader(func(level int, n int64) ([]byte, error) { return l.tiles[[2]int64{int64(level), n}], nil })
}

// at is the signed log as it was at the size.
func (l *log) at(size int64) deliver.Signed {
	l.t.Helper()
	root, err := tree.Root(l.reader(), size)
	if err != nil {
		l.t.Fatal(err)
	}
	c := evidence.Checkpoint{Origin: origin, Size: size, Root: root}
	note, err := evidence.Sign(c, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return deliver.Signed{Checkpoint: c, Note: note, Tiles: l.reader()}
}

// served checks that the folder serves the log as it was at one of the sizes: all tiles that the checkpoint needs, with the
// right bytes, and nothing half-written beside them. It returns the size.
func served(t *testing.T, dir string, l *log, sizes ...int64) int64 {
	t.Helper()
	note, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := evidence.ReadUnverified(note)
	if err != nil {
		t.Fatal(err)
	}
	root, err := tree.Root(l.reader(), c.Size)
	if err != nil || root != c.Root || c.Origin != origin {
		t.Fatalf("the folder serves %+v (%v)", c, err)
	}
	found := false
	for _, size := range sizes {
		found = found || size == c.Size
	}
	if !found {
		t.Fatalf("the folder serves %d records, not one of %d", c.Size, sizes)
	}
	for _, tile := range tree.NewTiles(0, c.Size) {
		got, err := os.ReadFile(filepath.Join(dir, tile.Path()))
		if err != nil {
			t.Fatalf("the folder serves %d records: %v", c.Size, err)
		}
		want, err := l.reader().ReadTile(tile)
		if err != nil || string(got) != string(want[:tile.Width*tree.HashSize]) {
			t.Fatalf("the folder serves %d records, and %s is another one: %v", c.Size, tile.Path(), err)
		}
	}
	return c.Size
}

// hasTiles checks that the folder has all tiles of the log at a size.
func hasTiles(t *testing.T, dir string, size int64) {
	t.Helper()
	for _, tile := range tree.NewTiles(0, size) {
		if _, err := os.Stat(filepath.Join(dir, tile.Path())); err != nil {
			t.Fatalf("at %d: %v", size, err)
		}
	}
}

// files returns the names of all files below the folder.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(filepath.ToSlash(name), filepath.ToSlash(dir)+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
