package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
)

// FoldersOf yields the folders in which a file of this name lies or would lie: the nearest one that exists first, then those around it up to
// the root. Links in the name are followed, since a folder has another name behind one. Nothing is yielded for a name that leads nowhere.
func FoldersOf(name string) iter.Seq2[string, fs.FileInfo] {
	return func(yield func(string, fs.FileInfo) bool) {
		at, err := filepath.Abs(name)
		if err != nil {
			return
		}
		missing := false
		for {
			resolved, err := filepath.EvalSymlinks(at)
			if err == nil {
				at = resolved
				break
			}
			missing = true
			if at == filepath.Dir(at) {
				return
			}
			at = filepath.Dir(at)
		}
		if !missing {
			at = filepath.Dir(at)
		}
		for {
			if about, err := os.Stat(at); err == nil && !yield(at, about) {
				return
			}
			if at == filepath.Dir(at) {
				return
			}
			at = filepath.Dir(at)
		}
	}
}

// Stage gives the folder dir its content at once: fill makes it in the folder part beside dir, and returns which folder there gets the
// name dir. What fill leaves is on disk by then, except for the names in that folder itself. dir must be empty or missing. If the
// process dies, part is left, with a name that begins with StagePrefix.
func Stage(dir string, fill func(part string) (whole string, err error)) (err error) {
	dir = filepath.Clean(dir)
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("the folder is not empty: %w", fs.ErrExist)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := MkdirAll(parent, ""); err != nil {
		return err
	}
	part, err := os.MkdirTemp(parent, StagePrefix(dir))
	if err != nil {
		return err
	}
	defer func() {
		// It is gone or empty by now, or has what is of no use. After a success it does not matter whether it can be removed.
		if removed := os.RemoveAll(part); err != nil {
			err = errors.Join(err, removed)
		}
	}()
	whole, err := fill(part)
	if err != nil {
		return err
	}
	if err := SyncDir(whole); err != nil {
		return err
	}
	// Rename replaces an empty folder of that name.
	if err := os.Rename(whole, dir); err != nil {
		return err
	}
	return SyncDir(parent)
}

// StagePrefix is how the names of the folders begin in which Stage makes the content of dir.
func StagePrefix(dir string) string { return "." + filepath.Base(dir) + ".part-" }
