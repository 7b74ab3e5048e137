package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// Copied is what Copy has copied.
type Copied struct {
	First    Offset
	End      Offset // after the last intact record
	Segments int
	Bytes    int64
}

// Copy copies the journal in dir to the folder dest, which must exist and hold no segments. A writer may have the
// journal open. The copy goes to the end of the last segment's intact records, and everything in it is durable when
// Copy returns. Sealed segments are copied as they are, damaged or not: Verify says which. Damage in the last one, where it
// was synced, is a *CorruptError.
//
// When ctx ends, Copy ends with its error. dest then holds some of the newest segments, each of them whole.
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
	// From the newest to the oldest: a writer that trims removes the oldest first. So when one is missing, what has
	// been copied has no hole.
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
	return c, syncFolder(o.FS, dest)
}

// intactSize returns where the intact records of the last segment end. What lies before synced, or before an intact
// mark's offset, must be intact.
func intactSize(ctx context.Context, f File, seg Segment, synced Offset) (int64, error) {
	s, err := scan(f, seg.Base, seg.Base)
	if err != nil {
		return 0, err
	}
	for {
		j, err := s.Judge(ctx, segment.Span{Synced: uint64(synced)})
		switch {
		case err != nil:
			return 0, err
		case j.Verdict == segment.Intact:
			s.Skip(j.Record)
		case j.Verdict == segment.Damaged:
			return 0, &CorruptError{seg.Path, Offset(s.Offset()), j.Text()}
		default:
			return s.Pos(), nil
		}
	}
}
