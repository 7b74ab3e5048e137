package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// RemoveBefore deletes the sealed segments that end at or below off, or moves them to
// Options.Archive. The active segment always stays.
//
// The caller may only pass an offset below which it has everything on disk elsewhere: what is removed
// cannot be replayed. The oldest segment is removed first, and the folder is synced after each one, so that a crash
// leaves a log without a hole.
func (j *Journal) RemoveBefore(off Offset) error {
	return j.RemoveBeforeContext(context.Background(), off)
}

// RemoveBeforeContext is RemoveBefore that ends with the error of ctx when ctx ends: between two segments, or while
// one is being copied to the archive. What was removed until then stays removed, durably.
func (j *Journal) RemoveBeforeContext(ctx context.Context, off Offset) error {
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
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := j.remove(ctx, oldest); err != nil {
			return fmt.Errorf("remove %s: %w", oldest.Path, err)
		}
		j.segMu.Lock()
		j.segs = j.segs[1:]
		j.segMu.Unlock()
	}
}

func (j *Journal) remove(ctx context.Context, seg Segment) error {
	if j.opts.Archive != "" {
		if err := archive(ctx, j.fs, seg, j.opts.Archive); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	if err := j.fs.Remove(seg.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return j.syncDir()
}

// checkArchive refuses an archive that is the journal's own folder: each segment would be its own copy, and would then
// be removed.
func (j *Journal) checkArchive() error {
	if j.opts.Archive == "" {
		return nil
	}
	dir, err := j.fs.Canonical(j.dir)
	if err != nil {
		return err
	}
	archive, err := j.fs.Canonical(j.opts.Archive)
	if err == nil && archive == dir {
		err = fmt.Errorf("archive %s: it is the journal's own folder", j.opts.Archive)
	}
	return err
}

// archive copies a segment to a folder and makes the copy durable, before the caller may remove the segment. It is a
// copy and not a rename, since the folder may lie on another disk.
func archive(ctx context.Context, fsys FS, seg Segment, dir string) error {
	if err := makeDir(fsys, dir); err != nil {
		return err
	}
	// A process may have made the folders and died before it synced their names.
	if err := syncAll(fsys, parents(dir)); err != nil {
		return err
	}
	src, err := fsys.Open(seg.Path)
	if err != nil {
		return err
	}
	defer src.Close()
	name := filepath.Join(dir, segmentName(seg.Base))
	if err := checkArchived(ctx, fsys, src, seg.Size, name); err != nil {
		return err
	}
	part := name + partSuffix
	if err := fsys.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := copyFile(ctx, fsys, src, 0, seg.Size, part); err != nil {
		return err
	}
	if err := fsys.Rename(part, name); err != nil {
		return err
	}
	return syncFolder(fsys, dir)
}

// checkArchived refuses to replace a file of a segment's name in the archive, unless it has the same content: then an
// earlier try has died before it removed the segment.
func checkArchived(ctx context.Context, fsys FS, src File, size int64, name string) error {
	have, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer have.Close()
	same, err := sameContent(ctx, have, src, size)
	if err == nil && !same {
		err = fmt.Errorf("%s: another segment of this name is there: %w", name, fs.ErrExist)
	}
	return err
}

func sameContent(ctx context.Context, a, b File, size int64) (bool, error) {
	if n, err := a.Size(); err != nil || n != size {
		return false, err
	}
	const block = 1 << 20
	left, right := make([]byte, block), make([]byte, block)
	for at := int64(0); at < size; at += block {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := min(block, size-at)
		if m, err := a.ReadAt(left[:n], at); int64(m) < n {
			return false, err
		}
		if m, err := b.ReadAt(right[:n], at); int64(m) < n {
			return false, err
		}
		if !bytes.Equal(left[:n], right[:n]) {
			return false, nil
		}
	}
	return true, nil
}
