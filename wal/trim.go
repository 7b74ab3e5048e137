package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// RemoveBefore deletes the sealed segments that end at or below off, or moves them to
// Options.Archive. The active segment always stays.
//
// The caller may only pass an offset below which it has everything on disk elsewhere: what is removed
// cannot be replayed. The oldest goes first and the folder is synced after each, so that a crash
// leaves a log without a hole.
func (j *Journal) RemoveBefore(off Offset) error {
	j.trimMu.Lock()
	defer j.trimMu.Unlock()
	for {
		if err := j.Err(); err != nil {
			return err
		}
		j.segMu.Lock()
		oldest := j.segs[0]
		j.segMu.Unlock()
		if !oldest.Sealed || oldest.Base+Offset(oldest.Size) > off {
			return nil
		}
		if err := j.remove(oldest); err != nil {
			return fmt.Errorf("remove %s: %w", oldest.Path, err)
		}
		j.segMu.Lock()
		j.segs = j.segs[1:]
		j.segMu.Unlock()
	}
}

func (j *Journal) remove(seg Segment) error {
	if j.opts.Archive != "" {
		if err := archive(j.fs, seg, j.opts.Archive); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	if err := j.fs.Remove(seg.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		// The folder's state on disk is unknown, and new segments depend on it.
		return j.poison(fmt.Errorf("sync the journal's folder: %w", err))
	}
	return nil
}

// archive copies a segment to a folder and makes it durable there before its source may go. It is a
// copy, since the folder may lie on another disk. One that an earlier try left under the name is
// replaced.
func archive(fsys FS, seg Segment, dir string) error {
	if err := makeDir(fsys, dir); err != nil {
		return err
	}
	// The folder may have been made by a process that died before it synced the name.
	if up := parents(dir); len(up) > 0 {
		if err := fsys.SyncDir(up[0]); err != nil {
			return err
		}
	}
	src, err := fsys.Open(seg.Path)
	if err != nil {
		return err
	}
	defer src.Close()
	name := filepath.Join(dir, segmentName(seg.Base))
	part := name + ".part"
	if err := fsys.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := copyFile(fsys, src, seg.Size, part); err != nil {
		return err
	}
	if err := fsys.Rename(part, name); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
