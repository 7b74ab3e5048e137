package wal

import (
	"context"
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
// live writer or without one. The copy goes to the end of the last segment's intact records, and everything
// in it is durable when Copy returns. Sealed segments are copied as they are, whatever state they are in:
// Verify tells. Damage in the last one, below what was synced, is a *CorruptError.
//
// When ctx ends, so does Copy, with its error. dest then holds the newest segments, each of them whole or not there.
func Copy(ctx context.Context, dir, dest string, o Options) (Copied, error) {
	o = o.withDefaults()
	c, err := copyJournal(ctx, dir, dest, o)
	if err != nil {
		return c, fmt.Errorf("copy journal: %w", err)
	}
	return c, nil
}

func copyJournal(ctx context.Context, dir, dest string, o Options) (c Copied, err error) {
	synced, _, err := syncedIn(ctx, o.FS, dir)
	if err != nil {
		return c, err
	}
	segs, err := Segments(dir, o)
	if err != nil {
		return c, err
	}
	if len(segs) == 0 {
		if synced > 0 {
			return c, &CorruptError{dir, 0, fmt.Sprintf("no segment is left, and the writer has synced up to %d", synced)}
		}
		return c, nil
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
			if seg.Size, err = intactSize(ctx, src, seg, synced); err != nil {
				src.Close()
				return c, err
			}
			c.End = seg.Base + Offset(seg.Size)
		}
		err = copyFile(ctx, o.FS, src, 0, seg.Size, filepath.Join(dest, segmentName(seg.Base)))
		if err = errors.Join(err, src.Close()); err != nil {
			return c, fmt.Errorf("%s: %w", filepath.Base(seg.Path), err)
		}
		c.First = seg.Base
		c.Segments++
		c.Bytes += seg.Size
	}
	return c, o.FS.SyncDir(dest)
}

// intactSize walks over the last segment to the end of its intact records. Records below synced, or below an
// intact mark's offset, must be among them.
func intactSize(ctx context.Context, f File, seg Segment, synced Offset) (int64, error) {
	s, err := newScanner(f, seg.Base, seg.Base)
	if err != nil {
		return 0, err
	}
	for {
		rec, what, reason, err := s.peek(ctx)
		if err != nil {
			return 0, err
		}
		if what == foundRecord {
			s.skip(rec)
			continue
		}
		vouched := s.offset() < synced
		if what == foundInvalid && !vouched {
			if vouched, err = s.vouched(ctx, s.pos); err != nil {
				return 0, err
			}
		}
		if !vouched {
			return s.pos, nil
		}
		// Beside a writer in another process the record may have been completed since it was looked at.
		if err := s.refresh(); err != nil {
			return 0, err
		}
		if _, what, _, err := s.peek(ctx); err != nil || what != foundRecord {
			if reason == "" {
				reason = "the data ends here"
			}
			return 0, errors.Join(err, &CorruptError{seg.Path, s.offset(), reason + ", below what was synced"})
		}
	}
}

// copyFile copies the bytes [from, to) of src to a new file, whose content is durable when it returns. When it
// fails it leaves no file: a disk that is full would stay full, and a copy that is not whole says nothing.
func copyFile(ctx context.Context, fsys FS, src File, from, to int64, name string) error {
	dst, err := fsys.Create(name)
	if err != nil {
		return err
	}
	err = copyRange(ctx, dst, src, from, to, 0)
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		fsys.Remove(name)
	}
	return err
}
