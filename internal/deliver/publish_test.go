package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/tree"
)

// However a log grows, its folder has what c2sp.org/tlog-tiles asks for, and also what the checkpoint before needs. Beside a
// full tile there are no partial ones that neither of the two needs.
func TestAFolderServesTheLog(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(70_000, "a")
	for _, sizes := range [][]int64{
		{0, 1, 2, 2, 255, 256, 257, 300, 512, 65_536, 65_537, 70_000},
		{256}, {70_000},
	} {
		dir := filepath.Join(t.TempDir(), "log")
		target := deliver.Publish(dir)
		previous := int64(0)
		for i, size := range sizes {
			for range 2 { // the second time with nothing new
				if err := target.Deliver(t.Context(), l.at(size)); err != nil {
					t.Fatal(err)
				}
			}
			served(t, dir, l, size)
			if i > 0 && sizes[i-1] < size {
				previous = sizes[i-1]
			}
			hasTiles(t, dir, previous)
			all := files(t, dir)
			for _, name := range all {
				full, _, partial := strings.Cut(name, ".p/")
				needed := func(tile tree.Tile) bool { return strings.HasPrefix(tile.Path(), full+".p/") }
				if partial && slices.Contains(all, full) && !slices.ContainsFunc(tree.NewTiles(0, previous), needed) {
					t.Errorf("at %d, after %d, there is %s beside the full tile", size, previous, name)
				}
			}
		}
		last := sizes[len(sizes)-1]
		if did, err := deliver.PublishAll(t.Context(), dir, l.at(last)); err != nil || did.Written != 0 || did.Tiles != len(tree.NewTiles(0, last)) {
			t.Errorf("at %d: %+v, %v", last, did, err)
		}
	}
}

// stopping is a context that ends after a number of looks at it.
type stopping struct {
	context.Context
	looks int
}

func (s *stopping) Err() error {
	if s.looks--; s.looks < 0 {
		return context.Canceled
	}
	return nil
}

// Wherever a delivery stops, the folder serves the checkpoint before it or the new one, whole. The next one completes it.
func TestADeliveryThatIsStopped(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(700, "a")
	for looks := 0; ; looks++ {
		dir := filepath.Join(t.TempDir(), "log")
		target := deliver.Publish(dir)
		if err := target.Deliver(t.Context(), l.at(255)); err != nil {
			t.Fatal(err)
		}
		err := target.Deliver(&stopping{t.Context(), looks}, l.at(700))
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if size := served(t, dir, l, 255, 700); err == nil && size != 700 {
			t.Errorf("it was delivered, and the folder serves %d", size)
		}
		if err := target.Deliver(t.Context(), l.at(700)); err != nil {
			t.Fatal(err)
		}
		served(t, dir, l, 700)
		if err == nil {
			if looks < 5 {
				t.Errorf("there are only %d places to stop at", looks)
			}
			return
		}
	}
}

// A folder that shows another history stays as it is.
func TestAForkIsNotPublished(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(600, "a")
	fork := l.another().grow(300, "a").grow(600, "b")
	overwrite := func(name string, change func(b []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			name := filepath.Join(dir, filepath.FromSlash(name))
			b, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(b []byte) []byte { b[100] ^= 1; return b }
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	longer := func(b []byte) []byte { return append(b, 0) }
	with := func(s deliver.Signed) func([]byte) []byte { return func([]byte) []byte { return s.Note } }
	for name, c := range map[string]struct {
		before func(t *testing.T, dir string)
		s      deliver.Signed
		all    bool
		fork   bool
		says   string
	}{
		"same size":            {nil, fork.at(400), false, true, "at 400 records it has the root"},
		"later":                {nil, fork.at(600), false, true, "at 400 records it has the root"},
		"backdated":            {nil, l.another().grow(10, "a").grow(11, "inserted").grow(600, "a").at(500), false, true, "fork"},
		"set back":             {nil, l.at(399), false, false, "has a checkpoint of 400 records already"},
		"another log":          {overwrite("checkpoint", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(origin), []byte("other")) }), l.at(600), false, false, "has the log other"},
		"no checkpoint":        {overwrite("checkpoint", cut), l.at(600), false, false, "is not a checkpoint of a log"},
		"forked checkpoint":    {overwrite("checkpoint", with(fork.at(350))), l.at(600), false, true, "at 350 records it has the root"},
		"a full tile":          {overwrite("tile/0/000", flip), l.at(600), true, true, "has other hashes than the store"},
		"a full tile, cut":     {overwrite("tile/0/000", cut), l.at(600), true, true, "has other hashes"},
		"a full tile, longer":  {overwrite("tile/0/000", longer), l.at(600), true, true, "has other hashes"},
		"a partial tile":       {overwrite("tile/0/001.p/144", flip), l.at(400), true, true, "tile/0/001.p/144 has other hashes"},
		"a tile from the fork": {func(t *testing.T, dir string) { put(t, filepath.Join(dir, "tile", "0", "001"), fork) }, l.at(600), false, true, "tile/0/001 has other hashes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "log")
			if err := deliver.Publish(dir).Deliver(t.Context(), l.at(400)); err != nil {
				t.Fatal(err)
			}
			if c.before != nil {
				c.before(t, dir)
			}
			before, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
			if err != nil {
				t.Fatal(err)
			}
			if c.all {
				_, err = deliver.PublishAll(t.Context(), dir, c.s)
			} else {
				err = deliver.Publish(dir).Deliver(t.Context(), c.s)
			}
			if err == nil || errors.Is(err, deliver.ErrFork) != c.fork || !strings.Contains(filepath.ToSlash(err.Error()), c.says) {
				t.Errorf("got %v", err)
			}
			if after, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the checkpoint was replaced: %v", err)
			}
		})
	}
}

// put writes the second tile of level 0 of a log.
func put(t *testing.T, name string, l *log) {
	t.Helper()
	if err := os.WriteFile(name, l.tiles[[2]int64{0, 1}], 0o600); err != nil {
		t.Fatal(err)
	}
}

// flipped is a tree with one wrong bit in a tile.
type flipped struct {
	tree.TileReader
	level int
	at    int
}

func (f flipped) ReadTile(t tree.Tile) ([]byte, error) {
	b, err := f.TileReader.ReadTile(t)
	if t.Level == f.level && t.N == 0 && f.at < len(b) {
		b = slices.Clone(b)
		b[f.at] ^= 1
	}
	return b, err
}

// What a corrupt tree has is not published.
func TestACorruptTree(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(600, "a")
	for _, c := range []struct {
		size      int64
		level, at int
	}{{200, 0, 0}, {200, 0, 6399}, {600, 0, 0}, {600, 0, 8000}, {600, 1, 0}, {600, 1, 40}} {
		dir := filepath.Join(t.TempDir(), "log")
		s := l.at(c.size)
		s.Tiles = flipped{s.Tiles, c.level, c.at}
		if err := deliver.Publish(dir).Deliver(t.Context(), s); !errors.Is(err, deliver.ErrCorrupt) {
			t.Errorf("%+v: %v", c, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "checkpoint")); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a checkpoint was published")
		}
	}
	s := l.at(600)
	s.Note = l.at(599).Note
	if err := deliver.Publish(t.TempDir()).Deliver(t.Context(), s); err == nil || !strings.Contains(err.Error(), "another checkpoint") {
		t.Errorf("the note of another checkpoint: %v", err)
	}
}

// A checkpoint that comes again does not take cosignatures away, and one with more of them is published.
func TestCosignaturesArePublished(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(3, "a")
	w := newWitness(t, "one")
	policy, err := evidence.ParsePolicy([]byte(w.line("http://one.example") + "quorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	bare := l.at(3)
	cosigned := bare
	if cosigned.Note, err = evidence.AddCosignatures(bare.Note, w.cosign(bare.Note), policy); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "log")
	for i, c := range []struct{ sent, shown deliver.Signed }{{bare, bare}, {cosigned, cosigned}, {bare, cosigned}} {
		if err := deliver.Publish(dir).Deliver(t.Context(), c.sent); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err != nil || !bytes.Equal(got, c.shown.Note) {
			t.Errorf("%d: %q, %v", i, got, err)
		}
	}
}

// A web server of another user can read everything. What was lost is written again.
func TestAFolderForAWebServer(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(70_000, "a")
	dir := filepath.Join(t.TempDir(), "log")
	if err := deliver.Publish(dir).Deliver(t.Context(), l.at(600)); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		for name, mode := range map[string]fs.FileMode{"": 0o755, "tile": 0o755, "tile/0": 0o755, "tile/0/002.p": 0o755,
			"tile/0/001": 0o644, "tile/0/002.p/88": 0o644, "checkpoint": 0o644} {
			if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != mode {
				t.Errorf("%q: %v, %v", name, st, err)
			}
		}
	}
	for _, name := range []string{"tile/0/000", "tile/1"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "tile/0/000.p"), 0o755); err != nil {
		t.Fatal(err)
	}
	if did, err := deliver.PublishAll(t.Context(), dir, l.at(600)); err != nil || did != (deliver.Published{Tiles: 4, Written: 2}) {
		t.Errorf("%+v, %v", did, err)
	}
	served(t, dir, l, 600)
	if _, err := os.Stat(filepath.Join(dir, "tile/0/000.p")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the partial tiles of a full one are still there: %v", err)
	}
	if err := deliver.Publish(filepath.Join(dir, "missing", "log")).Deliver(t.Context(), l.at(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
