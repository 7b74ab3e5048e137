package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Copied is what Copy has copied.
type Copied struct {
	First    Offset
	End      Offset // behind the last intact record
	Segments int
	Bytes    int64
}

// Copy copies the journal in dir to the folder dest, which must exist and hold no segments, beside a
// live writer or without one. The copy goes to the last intact record of the last segment, and everything
// in it is durable when Copy returns. Sealed segments are copied as they are, whatever state they are in:
// Verify tells.
func Copy(dir, dest string, o Options) (Copied, error) {
	o = o.withDefaults()
	c, err := copyJournal(dir, dest, o)
	if err != nil {
		return c, fmt.Errorf("copy journal: %w", err)
	}
	return c, nil
}

func copyJournal(dir, dest string, o Options) (c Copied, err error) {
	segs, err := Segments(dir, o)
	if err != nil || len(segs) == 0 {
		return c, err
	}
	// From the newest to the oldest: a writer that trims takes the oldest first, so that what has been
	// copied when one is found missing still joins without a hole.
	for i := len(segs) - 1; i >= 0; i-- {
		seg := segs[i]
		src, err := o.FS.Open(seg.Path)
		if errors.Is(err, fs.ErrNotExist) && i < len(segs)-1 {
			break
		}
		if err != nil {
			return c, err
		}
		if !seg.Sealed {
			if seg.Size, err = intactSize(src, seg.Base); err != nil {
				src.Close()
				return c, err
			}
			c.End = seg.Base + Offset(seg.Size)
		}
		err = copyFile(o.FS, src, seg.Size, filepath.Join(dest, segmentName(seg.Base)))
		if err = errors.Join(err, src.Close()); err != nil {
			return c, fmt.Errorf("%s: %w", filepath.Base(seg.Path), err)
		}
		c.First = seg.Base
		c.Segments++
		c.Bytes += seg.Size
	}
	return c, o.FS.SyncDir(dest)
}

// intactSize walks over a segment to the end of its last intact record.
func intactSize(f File, base Offset) (int64, error) {
	s, err := newScanner(f, base, base)
	for err == nil {
		var rec Record
		var what scanned
		if rec, what, _, err = s.peek(); err != nil || what != foundRecord {
			break
		}
		s.skip(rec)
	}
	return s.pos, err
}

// copyFile copies the first size bytes of src to a new file, whose content is durable when it returns.
func copyFile(fsys FS, src File, size int64, name string) error {
	dst, err := fsys.Create(name)
	if err != nil {
		return err
	}
	err = copyRange(dst, src, 0, size, 0)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}
