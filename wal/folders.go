package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// makeDir makes a folder and those above it, each open to its owner alone and synced in its parent. A folder
// that exists stays as it is.
func makeDir(fsys FS, dir string) error {
	err := fsys.Mkdir(dir)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		up := parents(dir)
		if len(up) == 0 {
			return err
		}
		if err := makeDir(fsys, up[0]); err != nil {
			return err
		}
		if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case err != nil:
		return err
	}
	return syncFolder(fsys, filepath.Dir(filepath.Clean(dir)))
}

// syncFolder makes durable which names a folder holds.
//
// After a failed sync of a folder the kernel may drop what it had not written, so that a later sync succeeds without
// writing anything. So the folder is changed once more: then the next sync, in whatever process, has to write it.
func syncFolder(fsys FS, dir string) error {
	err := fsys.SyncDir(dir)
	if err != nil {
		name := filepath.Join(dir, ".unsynced")
		if f, err := fsys.Create(name); err == nil {
			f.Close()
		}
		fsys.Remove(name)
	}
	return err
}

// syncAll syncs folders, nearest first. A folder that we may not even open was not made by a process of ours, and
// neither were those above it.
func syncAll(fsys FS, dirs []string) error {
	for i, dir := range dirs {
		err := syncFolder(fsys, dir)
		if i > 0 && errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sync folder %s: %w", dir, err)
		}
	}
	return nil
}

// parents returns the folders above dir, nearest first.
func parents(dir string) []string {
	var up []string
	for dir = filepath.Clean(dir); filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		up = append(up, filepath.Dir(dir))
	}
	return up
}
