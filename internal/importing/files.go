package importing

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/durable"
)

// A Guard keeps a command from writing to a file that it reads, and to a file of a store. Files are compared by what they are, not by
// their names: a link has another name, and a stream has none. What it refuses is an *advice.Error of the command line.
type Guard struct {
	Dir          string // the folder of the command's store; there may be none
	In, Out, Err any    // its streams
}

// Regular is what is known of a stream that is a regular file, nil for a pipe, a terminal or anything else.
func Regular(stream any) os.FileInfo {
	f, ok := stream.(*os.File)
	if !ok {
		return nil
	}
	about, err := f.Stat()
	if err != nil || !about.Mode().IsRegular() {
		return nil
	}
	return about
}

// An OutputFile is a file that a flag names and that a command writes.
type OutputFile struct {
	*os.File
	created bool // by this run, so it may be removed again
}

// CheckOutput refuses to write to a file that is one of the inputs, a stream of this run or a file of a store.
// Without force it also refuses a file that exists. inputs has the name of each input, for errors.
func (g *Guard) CheckOutput(flag, name string, force bool, inputs map[string]os.FileInfo) error {
	if store := g.StoreAround(name); store != "" {
		return advice.Usage("another folder", "--%s %s is inside %s, the folder of a store", flag, name, store)
	}
	about, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case about.IsDir():
		return advice.Usage("", "--%s %s is a folder", flag, name)
	}
	if err := g.CheckOverwritten(flag, name, about, inputs); err != nil {
		return err
	}
	if about.Mode().IsRegular() && !force {
		return advice.Usage("another name, or --force to write over it", "--%s %s exists already", flag, name)
	}
	return nil
}

// CheckOverwritten refuses to empty a file that is an input, a stream of this run or a file of the store.
func (g *Guard) CheckOverwritten(flag, name string, about os.FileInfo, inputs map[string]os.FileInfo) error {
	if !about.Mode().IsRegular() {
		return nil // a pipe or a device has nothing to lose
	}
	for input, is := range inputs {
		if os.SameFile(about, is) {
			return advice.Usage("", "--%s %s is also to be imported, as %s, and would be emptied", flag, name, input)
		}
	}
	for _, stream := range []any{g.In, g.Out, g.Err} {
		if is := Regular(stream); is != nil && os.SameFile(about, is) {
			return advice.Usage("", "--%s %s is also an input or the output of this command, and would be emptied", flag, name)
		}
	}
	if file := g.StoreFile(about); file != "" {
		return advice.Usage("", "--%s %s is %s, a file of the store", flag, name, file)
	}
	return nil
}

// CreateOutput opens a file that CheckOutput allowed. A file that exists is emptied only with force. It is checked
// again before that, once it is open, since another file may have its name by then.
func (g *Guard) CreateOutput(ctx context.Context, flag, name string, force bool, inputs map[string]os.FileInfo) (*OutputFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return &OutputFile{File: f, created: true}, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := g.CheckOutput(flag, name, force, inputs); err != nil {
		return nil, err
	}
	f, err = Uninterrupted(ctx, func() (*os.File, error) { return os.OpenFile(name, os.O_WRONLY, 0) })
	if err != nil {
		return nil, err
	}
	about, err := f.Stat()
	if err == nil {
		err = g.CheckOverwritten(flag, name, about, inputs)
	}
	if err == nil && about.Mode().IsRegular() {
		err = f.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &OutputFile{File: f}, nil
}

// Close closes the file. It removes a file that it created and that is empty: the next run would refuse to write to it.
func (o *OutputFile) Close() error {
	about, err := o.Stat()
	err = errors.Join(err, o.File.Close())
	if err == nil && o.created && about.Size() == 0 {
		err = os.Remove(o.Name())
	}
	return err
}

// StoreFile is the name of the store's file that about describes, "" if it is no file of the store. Everything below the
// folders of the store and of its journal counts.
func (g *Guard) StoreFile(about os.FileInfo) string {
	found := ""
	for _, root := range g.storeFolders() {
		// WalkDir does not follow links, and the folder itself may be one.
		root, err := filepath.EvalSymlinks(root)
		if err != nil {
			continue
		}
		_ = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return nil // a file that cannot be read cannot be open either
			}
			if is, err := os.Stat(name); err == nil && os.SameFile(is, about) {
				found = name
				return fs.SkipAll
			}
			return nil
		})
	}
	return found
}

// storeFolders are the folders of the store, if there is one: its own and its journal's.
func (g *Guard) storeFolders() []string {
	journal, err := audit.JournalDir(g.Dir)
	switch {
	case err == nil:
		return []string{g.Dir, journal}
	case errors.Is(err, audit.ErrNoStore) && !Exists(filepath.Join(g.Dir, "audit.db")):
		return nil
	}
	return []string{g.Dir} // the store is damaged, and nothing may be written to it
}

// StoreAround is the folder of a store, or of its journal, in which a new file of this name would lie, "" if there is
// none. A store other than that of Dir is recognized by its files.
func (g *Guard) StoreAround(name string) string {
	var own []os.FileInfo
	for _, folder := range g.storeFolders() {
		if about, err := os.Stat(folder); err == nil {
			own = append(own, about)
		}
	}
	for at, about := range durable.FoldersOf(name) {
		if slices.ContainsFunc(own, func(folder os.FileInfo) bool { return os.SameFile(about, folder) }) ||
			Exists(filepath.Join(at, "store.json")) && Exists(filepath.Join(at, "audit.db")) {
			return at
		}
	}
	return ""
}

// Exists reports whether something has this name, a link that leads nowhere too.
func Exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
