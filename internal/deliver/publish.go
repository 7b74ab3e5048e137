package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/tree"
)

// ErrFork means that a folder shows another history of the log than the store has. Either one of its files was changed, or
// somebody else signs with the key of the log.
var ErrFork = errors.New("the folder shows another history of the log (a fork), or was changed")

// checkpointFile is the name of the checkpoint in a folder, as c2sp.org/tlog-tiles has it.
const checkpointFile = "checkpoint"

const (
	// lockFile is the name of the file whose lock a delivery has: only one process at a time writes to a folder.
	lockFile = ".lock"
	// previousFile has the size of the checkpoint that was shown before the present one.
	previousFile = ".previous"
)

// Publish returns a folder that a web server serves as a log, as c2sp.org/tlog-tiles describes it:
//
//	DIR/checkpoint                the signed checkpoint
//	DIR/tile/0/000                leaf hashes 0 to 255
//	DIR/tile/0/x001/234.p/17      the first 17 of the leaf hashes from 1234*256 on
//	DIR/tile/1/000                hashes of the tiles of level 0
//
// There are no entry bundles (tile/entries): records often are confidential, and a bundle has no place for one that is longer
// than 65,535 bytes. Whoever has a record, or an export of all, computes the leaf hashes from it.
//
// Deliver writes the tiles that are new since the checkpoint in the folder. Only when they are on disk, with their names, does
// it replace the checkpoint. So whenever it is stopped, the folder has all tiles of the checkpoint that it shows. A tile is
// never written over one with other bytes: that is [ErrFork]. Partial tiles stay until the checkpoint before the one that the
// folder shows has no more use for them: a client may have read that one a moment ago.
//
// Files are readable for everybody (0644, folders 0755), since a web server often runs as another user. The folder itself
// keeps its mode if it exists.
func Publish(dir string) Target { return publish{dir} }

type publish struct{ dir string }

func (p publish) Name() string { return "publish " + p.dir }

func (p publish) Deliver(ctx context.Context, s Signed) error {
	f := folder{dir: p.dir, dirs: map[string]bool{}}
	return f.publish(ctx, s, false)
}

// Published is what [PublishAll] found and did.
type Published struct {
	Tiles   int // that the checkpoint needs
	Written int // of these, how many were missing
}

// PublishAll does what the target of [Publish] does, and looks at every tile: it writes those that are missing, and
// compares those that are there.
func PublishAll(ctx context.Context, dir string, s Signed) (Published, error) {
	f := folder{dir: dir, dirs: map[string]bool{}}
	err := f.publish(ctx, s, true)
	return f.did, err
}

// folder is a folder during one delivery.
type folder struct {
	dir  string
	dirs map[string]bool // whose names must be synced before the checkpoint is replaced
	did  Published
}

func (f *folder) publish(ctx context.Context, s Signed, all bool) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	if err := f.make(); err != nil {
		return err
	}
	unlock, err := durable.Lock(ctx, filepath.Join(f.dir, lockFile), "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	old, note, err := f.published(s)
	if err != nil {
		return err
	}
	from := old.Size
	if all {
		from = 0
	}
	grows := old.Size < s.Checkpoint.Size
	if grows || all {
		if err := f.prune(old.Size, all); err != nil {
			return err
		}
	}
	if err := f.tiles(ctx, s, from); err != nil {
		return err
	}
	if grows && note != nil {
		// After prune: what was the previous checkpoint until now is forgotten.
		if err := f.write(previousFile, fmt.Appendf(nil, "%d\n", old.Size)); err != nil {
			return err
		}
	}
	if err := f.sync(ctx); err != nil {
		return err
	}
	if hasAllLines(note, s.Note) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.write(checkpointFile, s.Note); err != nil {
		return err
	}
	return durable.SyncDir(f.dir)
}

// make makes the folder if it is missing. The folder that it is in must exist: nobody else could read a folder in one that was
// made for its owner alone.
func (f *folder) make() error {
	made, err := makeOpen(f.dir)
	if err != nil {
		return err
	}
	// Also a folder that exists: a delivery may have made it and failed to sync its name.
	err = durable.SyncDir(filepath.Dir(filepath.Clean(f.dir)))
	if !made && errors.Is(err, fs.ErrPermission) {
		return nil // somebody else has made it, in a folder that this process may not read
	}
	return err
}

// published returns the checkpoint that the folder shows, after checking that s continues it. If the folder has none, it
// is the one of the empty tree.
func (f *folder) published(s Signed) (evidence.Checkpoint, []byte, error) {
	none := evidence.Checkpoint{}
	note, err := f.read(checkpointFile, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil, nil
	}
	if err != nil {
		return none, nil, err
	}
	old, err := evidence.ReadUnverified(note)
	switch {
	case err != nil:
		return none, nil, fmt.Errorf("%s is not a checkpoint of a log: %w", filepath.Join(f.dir, checkpointFile), err)
	case old.Origin != s.Checkpoint.Origin:
		return none, nil, fmt.Errorf("%s has the log %s: each log needs a folder of its own", f.dir, old.Origin)
	case old.Size > s.Checkpoint.Size:
		return none, nil, fmt.Errorf("%s has a checkpoint of %d records already, and this one is older: it has %d; was the store set back together with the memory of its key?", f.dir, old.Size, s.Checkpoint.Size)
	}
	root, err := tree.Root(s.Tiles, old.Size)
	if err != nil {
		return none, nil, fmt.Errorf("read the tree: %w", err)
	}
	if root != old.Root {
		return none, nil, fmt.Errorf("%s: at %d records it has the root %s, and the store has %s: %w",
			filepath.Join(f.dir, checkpointFile), old.Size, old.Root, root, ErrFork)
	}
	return old, note, nil
}

// hasAllLines reports whether the published note has each line of the new one. Then it stays: it may have cosignatures that the
// new one lacks.
func hasAllLines(published, note []byte) bool {
	lines := map[string]bool{}
	for line := range bytes.Lines(published) {
		lines[string(line)] = true
	}
	for line := range bytes.Lines(note) {
		if !lines[string(line)] {
			return false
		}
	}
	return true
}

// tiles writes the tiles that a log has to publish when it grows from a size to that of s.
func (f *folder) tiles(ctx context.Context, s Signed, from int64) error {
	for _, t := range tree.NewTiles(from, s.Checkpoint.Size) {
		if err := ctx.Err(); err != nil {
			return err
		}
		hashes, err := readTile(s, t)
		if err != nil {
			return err
		}
		f.did.Tiles++
		if err := f.keep(t.Path(), hashes); err != nil {
			return err
		}
	}
	return nil
}

// readTile reads a tile of the store and checks it, because a tile that was published stays for ever. A tile that is not
// full is part of what [Signed.check] has compared with the root. A full one must have the hash that the next level has.
func readTile(s Signed, t tree.Tile) ([]byte, error) {
	hashes, err := readHashes(s.Tiles, t)
	if err != nil || t.Width < tree.TileWidth {
		return hashes, err
	}
	at := int(t.N % tree.TileWidth)
	above, err := readHashes(s.Tiles, tree.Tile{Level: t.Level + 1, N: t.N / tree.TileWidth, Width: at + 1})
	if err != nil {
		return nil, err
	}
	var frontier tree.Frontier
	for i := range tree.TileWidth {
		frontier.Append(tree.Hash(hashes[i*tree.HashSize:][:tree.HashSize]))
	}
	if frontier.Root() != tree.Hash(above[at*tree.HashSize:]) {
		return nil, fmt.Errorf("%s of the store does not fit the level above it: %w", t.Path(), ErrCorrupt)
	}
	return hashes, nil
}

func readHashes(tiles tree.TileReader, t tree.Tile) ([]byte, error) {
	hashes, err := tiles.ReadTile(t)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Path(), err)
	}
	if len(hashes) < t.Width*tree.HashSize {
		return nil, fmt.Errorf("read %s: it has %d bytes", t.Path(), len(hashes))
	}
	return hashes[:t.Width*tree.HashSize], nil
}

// keep writes a tile that is missing, and compares one that is there.
func (f *folder) keep(name string, hashes []byte) error {
	// A file that is there may be what a delivery has left that was stopped before it synced the folders. So they are
	// synced in each case.
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		f.dirs[dir] = true
	}
	there, err := f.read(name, len(hashes))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.did.Written++
		return f.write(name, hashes)
	case err != nil:
		return err
	case !bytes.Equal(there, hashes):
		return fmt.Errorf("%s has other hashes than the store: %w", filepath.Join(f.dir, name), ErrFork)
	}
	return nil
}

// sync makes the names of all tiles durable.
func (f *folder) sync(ctx context.Context) error {
	for dir := range f.dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := durable.SyncDir(filepath.Join(f.dir, dir)); err != nil {
			return err
		}
	}
	return durable.SyncDir(f.dir)
}

// prune removes partial tiles when the tile was full already at the size shown, the one of the checkpoint in the folder. Clients
// that have an older checkpoint take the full tile.
//
// Partial tiles are where the edge of the log was at a checkpoint. Each delivery removes those of the previous one, so none stay
// that are older. With all it looks at every tile.
func (f *folder) prune(shown int64, all bool) error {
	text, err := f.read(previousFile, 100)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	previous, err := strconv.ParseInt(strings.TrimSuffix(string(text), "\n"), 10, 64)
	if err != nil || previous < 0 {
		previous = shown // nothing is known of it, so nothing is removed
	}
	for level := range tree.Levels {
		full := func(size int64) int64 { return size >> (tree.TileHeight * (level + 1)) } // how many tiles are full
		first, last := full(previous), min(full(previous)+1, full(shown))
		if all {
			first, last = 0, full(shown)
		}
		for n := first; n < last; n++ {
			path := tree.Tile{Level: level, N: n, Width: tree.TileWidth}.Path() + ".p"
			if err := os.RemoveAll(filepath.Join(f.dir, filepath.FromSlash(path))); err != nil {
				return err
			}
		}
	}
	return nil
}

// read returns what a file in the folder has, or more than most bytes of it.
func (f *folder) read(name string, most int) ([]byte, error) {
	file, err := durable.Open(filepath.Join(f.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, int64(most)+1))
}

// write makes or replaces a file as a whole. Its bytes are on disk before it gets its name; the name is durable when the
// folder was synced.
func (f *folder) write(name string, content []byte) error {
	dir := f.dir
	for part := range strings.SplitSeq(filepath.ToSlash(filepath.Dir(name)), "/") {
		dir = filepath.Join(dir, part)
		if _, err := makeOpen(dir); err != nil {
			return err
		}
	}
	name = filepath.Join(f.dir, filepath.FromSlash(name))
	part := name + durable.PartSuffix
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := durable.Create(part, "")
	if err != nil {
		return err
	}
	if was, statErr := os.Lstat(name); statErr == nil {
		err = durable.Keep(file, was)
	} else {
		err = file.Chmod(0o644)
	}
	if err == nil {
		_, err = file.Write(content)
	}
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return nil
}

// makeOpen makes a folder that everybody may read, and reports whether it did. One that exists keeps its mode. It gets its name
// last: a folder that was left with the mode of a private one would hide the tiles in it.
func makeOpen(dir string) (made bool, err error) {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	// A power cut before the name was durable can leave a folder with files in it under the former name.
	part := filepath.Clean(dir) + durable.PartSuffix
	if err := os.RemoveAll(part); err != nil {
		return false, err
	}
	if err := durable.Mkdir(part, ""); err != nil {
		return false, err
	}
	if err := os.Chmod(part, 0o755); err != nil {
		return false, err
	}
	return true, os.Rename(part, dir)
}
