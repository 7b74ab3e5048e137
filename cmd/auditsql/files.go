package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/importing"
)

// A command never writes to a file that it reads, nor to a file of a store. Files are compared by what they are, not by
// their names: a link has another name, and a stream has none.

// regular is what is known of a stream that is a regular file, nil for a pipe, a terminal or anything else.
func regular(stream any) os.FileInfo {
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

// checkStreams refuses to print into the file that is standard input, and into a file of the store. A shell that
// redirects into a file with > empties it before this program runs. Then all that is left is to say so, and to do no
// more damage.
func (a *app) checkStreams() error {
	return a.checkPrinted(func(stream string, about os.FileInfo) error {
		if in := regular(a.in); in != nil && os.SameFile(in, about) {
			return trying(usage("%s and standard input are the same file; the shell may have emptied it", stream), "another file for the output")
		}
		if name := a.storeFile(about); name != "" {
			return trying(usage("%s is %s, a file of the store; the shell empties a file when it redirects into it with >", stream, name),
				"another file for the output; auditsql -d %s verify says what is damaged", shellQuote(a.dir))
		}
		return nil
	})
}

// checkInput refuses a file to read that is also what the command prints into.
func (a *app) checkInput(name string, is os.FileInfo) error {
	return a.checkPrinted(func(stream string, about os.FileInfo) error {
		if os.SameFile(is, about) {
			return trying(usage("%s is also %s; the shell may have emptied it", name, stream), "another file for the output")
		}
		return nil
	})
}

// checkPrinted asks refuse about standard output and standard error, if they are regular files. When standard error is
// refused, nothing is printed into it, not even the reason: there is only the exit code.
func (a *app) checkPrinted(refuse func(stream string, about os.FileInfo) error) error {
	if about := regular(a.err); about != nil {
		if err := refuse("standard error", about); err != nil {
			a.err = io.Discard
			return err
		}
	}
	if about := regular(a.out); about != nil {
		return refuse("standard output", about)
	}
	return nil
}

// An outputFile is a file that a flag names and that a command writes.
type outputFile struct {
	*os.File
	created bool // by this run, so it may be removed again
}

// checkOutputFile refuses to write to a file that is one of the inputs, a stream of this run or a file of a store.
// Without force it also refuses a file that exists. inputs has the name of each input, for errors.
func (a *app) checkOutputFile(flag, name string, force bool, inputs map[string]os.FileInfo) error {
	if store := a.storeAround(name); store != "" {
		return trying(usage("--%s %s lies in %s, which belongs to a store alone", flag, name, store), "another folder")
	}
	about, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case about.IsDir():
		return usage("--%s %s is a folder", flag, name)
	}
	if err := a.checkOverwritten(flag, name, about, inputs); err != nil {
		return err
	}
	if about.Mode().IsRegular() && !force {
		return trying(usage("--%s %s exists already", flag, name), "another name, or --force to write over it")
	}
	return nil
}

// checkOverwritten refuses to empty a file that is an input, a stream of this run or a file of the store.
func (a *app) checkOverwritten(flag, name string, about os.FileInfo, inputs map[string]os.FileInfo) error {
	if !about.Mode().IsRegular() {
		return nil // a pipe or a device has nothing to lose
	}
	for input, is := range inputs {
		if os.SameFile(about, is) {
			return usage("--%s %s is also to be imported, as %s, and would be emptied", flag, name, input)
		}
	}
	for _, stream := range []any{a.in, a.out, a.err} {
		if is := regular(stream); is != nil && os.SameFile(about, is) {
			return usage("--%s %s is also an input or the output of this command, and would be emptied", flag, name)
		}
	}
	if file := a.storeFile(about); file != "" {
		return usage("--%s %s is %s, a file of the store", flag, name, file)
	}
	return nil
}

// createOutputFile opens a file that checkOutputFile allowed. A file that exists is emptied only with force. It is checked
// again before that, once it is open, since another file may have its name by then.
func (a *app) createOutputFile(ctx context.Context, flag, name string, force bool, inputs map[string]os.FileInfo) (*outputFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return &outputFile{File: f, created: true}, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := a.checkOutputFile(flag, name, force, inputs); err != nil {
		return nil, err
	}
	f, err = importing.Uninterrupted(ctx, func() (*os.File, error) { return os.OpenFile(name, os.O_WRONLY, 0) })
	if err != nil {
		return nil, err
	}
	about, err := f.Stat()
	if err == nil {
		err = a.checkOverwritten(flag, name, about, inputs)
	}
	if err == nil && about.Mode().IsRegular() {
		err = f.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &outputFile{File: f}, nil
}

// Close closes the file. It removes a file that it created and that is empty: the next run would refuse to write to it.
func (o *outputFile) Close() error {
	about, err := o.Stat()
	err = errors.Join(err, o.File.Close())
	if err == nil && o.created && about.Size() == 0 {
		err = os.Remove(o.Name())
	}
	return err
}

// storeFile is the name of the store's file that about describes, "" if it is no file of the store. Everything below the
// folders of the store and of its journal counts.
func (a *app) storeFile(about os.FileInfo) string {
	found := ""
	for _, root := range a.storeFolders() {
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
func (a *app) storeFolders() []string {
	journal, err := audit.JournalDir(a.dir)
	switch {
	case err == nil:
		return []string{a.dir, journal}
	case errors.Is(err, audit.ErrNoStore) && !exists(filepath.Join(a.dir, "audit.db")):
		return nil
	}
	return []string{a.dir} // the store is damaged, and nothing may be written to it
}

// storeAround is the folder of a store, or of its journal, in which a new file of this name would lie, "" if there is
// none. A store other than that of -d is recognized by its files.
func (a *app) storeAround(name string) string {
	at, err := filepath.Abs(name)
	if err != nil {
		return ""
	}
	// The part of the path that exists, with links resolved. Its last element may be the file itself.
	missing := false
	for {
		resolved, err := filepath.EvalSymlinks(at)
		if err == nil {
			at = resolved
			break
		}
		missing = true
		if at == filepath.Dir(at) {
			return ""
		}
		at = filepath.Dir(at)
	}
	if !missing {
		at = filepath.Dir(at)
	}
	var own []os.FileInfo
	for _, folder := range a.storeFolders() {
		if about, err := os.Stat(folder); err == nil {
			own = append(own, about)
		}
	}
	for {
		about, err := os.Stat(at)
		for _, folder := range own {
			if err == nil && os.SameFile(about, folder) {
				return at
			}
		}
		if exists(filepath.Join(at, "store.json")) && exists(filepath.Join(at, "audit.db")) {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
		at = filepath.Dir(at)
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
