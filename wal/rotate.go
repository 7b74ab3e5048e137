package wal

import (
	"fmt"
	"path/filepath"
)

// rotate seals the active segment and begins the next one.
//
// Recovery relies on the order of the steps. The old file is truncated to its data and synced before the new file
// is made. So after a crash every segment but the last one is whole. The new file and its name are durable before
// anything in it can be acknowledged.
func (j *Journal) rotate() error {
	// Check the files even if that was done a moment ago: the committer never checks a sealed segment again.
	if err := j.checkFiles(true); err != nil {
		return err
	}
	if err := j.checkWritten(); err != nil {
		return err
	}
	if j.pos < j.size {
		if err := j.active.Truncate(j.pos); err != nil {
			return fmt.Errorf("truncate %s: %w", segmentName(j.base), err)
		}
		j.size = j.pos
	}
	if err := j.flush(); err != nil {
		return err
	}
	// Once more before publish: somebody may have cut the file since the first check.
	if err := j.checkWritten(); err != nil {
		return err
	}
	j.publish(j.base + Offset(j.pos))
	next := Segment{Base: j.base + Offset(j.pos)}
	next.Path = filepath.Join(j.dir, segmentName(next.Base))
	f, err := j.createSegment(next.Base)
	if err != nil {
		return err
	}
	old := j.active
	j.active, j.base, j.pos, j.size, j.written = f, next.Base, 0, 0, noByte
	j.segMu.Lock()
	last := &j.segs[len(j.segs)-1]
	last.Size, last.Sealed = int64(next.Base-last.Base), true
	j.segs = append(j.segs, next)
	j.segMu.Unlock()
	if err := old.Close(); err != nil {
		return fmt.Errorf("close %s: %w", filepath.Base(last.Path), err)
	}
	return nil
}

// createSegment makes an empty segment and makes its name durable.
func (j *Journal) createSegment(base Offset) (File, error) {
	name := segmentName(base)
	f, err := j.fs.Create(filepath.Join(j.dir, name))
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return nil, fmt.Errorf("sync %s: %w", name, err)
	}
	if err := j.syncDir(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
