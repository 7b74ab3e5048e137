package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
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

// SyncAround makes the name of a folder durable, and the names of those that it lies in: somebody may have copied or moved one of them there a
// moment ago. A folder that this user may not read, or whose file system cannot sync folders, is passed over.
func SyncAround(dir string) error {
	for folder := range FoldersOf(dir) {
		err := SyncDir(folder)
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("sync folder %s: %w", folder, err)
		}
	}
	return nil
}

// Stage gives the folder dir its content at once: fill makes it in the folder part beside dir, and returns which folder there gets the
// name dir. What fill leaves is on disk by then, except for the names in that folder itself. dir must be missing, or an empty folder, which
// is replaced; the new one gets its mode. If the process dies, part is left, with a name that begins with StagePrefix.
func Stage(dir string, fill func(part string) (whole string, err error)) (err error) {
	if dir, err = filepath.Abs(dir); err != nil { // "." has a parent then
		return err
	}
	parent := filepath.Dir(dir)
	empty, err := vacant(dir, parent)
	if err != nil {
		return err
	}
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
	if empty != nil {
		if err := os.Chmod(whole, empty.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := SyncDir(whole); err != nil {
		return err
	}
	if empty != nil {
		// os.Rename replaces no folder. This fails if somebody has put something into it meanwhile. If the process dies before the
		// rename, there is nothing under the name, as if the folder had been missing.
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(whole, dir); err != nil {
		return err
	}
	return SyncDir(parent)
}

// vacant returns the empty folder dir, nil if there is none, or why Stage could not replace it. It is asked before anything is copied, since the
// copy can take hours.
func vacant(dir, parent string) (empty fs.FileInfo, err error) {
	empty, err = os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case empty.Mode()&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("%s is a symbolic link, and a rename would replace the link and not the folder that it leads to: name that folder", dir)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return nil, err
	case len(entries) > 0:
		return nil, fmt.Errorf("the folder is not empty: %w", fs.ErrExist)
	}
	around, err := os.Stat(parent)
	if err != nil {
		return nil, err
	}
	if !sameDevice(empty, around) {
		return nil, fmt.Errorf("%s is a mount point, which cannot be replaced by the finished folder: name a new folder in it, as %s", dir, filepath.Join(dir, "NAME"))
	}
	if here, err := os.Stat("."); err == nil && os.SameFile(empty, here) {
		return nil, fmt.Errorf("%s is the working folder, which cannot be replaced by the finished folder: name a new folder in it, or start from another folder", dir)
	}
	return empty, nil
}

// StagePrefix is how the names of the folders begin in which Stage makes the content of dir.
func StagePrefix(dir string) string { return "." + filepath.Base(dir) + ".part-" }

// Unfinished returns the folders in parent that a Stage has left whose process died, or in which one is at work.
func Unfinished(parent string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var left []string
	for _, e := range entries {
		if e.IsDir() && staged.MatchString(e.Name()) {
			left = append(left, filepath.Join(parent, e.Name()))
		}
	}
	return left, nil
}

// staged matches the names that begin with a StagePrefix.
var staged = regexp.MustCompile(`^\..+\.part-[0-9]+$`)
