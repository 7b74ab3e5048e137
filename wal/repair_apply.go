package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/zeebo/blake3"
)

// mend writes a hurt segment anew. Each step is safe to die after:
//
//  1. What will be replaced is copied to quarantine and synced, and its folders. A copy too many is no harm;
//     the journal does not look there.
//  2. The new content is written to a file of another name, which the journal ignores and the next repair or
//     Open removes, and synced. The hurt segment is as it was, so it is refused as before, and the same repair
//     is due: the plan depends on nothing but the segments' content and names, the cursor and what the caller
//     has, and none of them has changed.
//  3. What was written is read back: records to the end, and nothing else. If it were not so, the hurt segment
//     would stay.
//  4. It takes the name of the hurt one, in one step. Its content is on disk, so whichever of the two a power
//     cut leaves under the name, it is the hurt one untouched or the whole one.
//  5. The folder is synced. Before that a power cut may bring the hurt one back; see 2, and the next repair
//     syncs the folder even if it finds nothing to do. After it, the repair of this segment cannot be undone, and
//     the next one is begun.
//
// Writing into the segment in place would need less room, and can be told half done from neither state: a
// first part of the range that is whole can turn the rest from damage, which a later mark vouches for, into a
// torn tail, which Open would cut together with the intact records behind it.
func mend(ctx context.Context, dir string, o RepairOptions, h *hurtSegment) error {
	part := h.seg.Path + partSuffix
	if err := replacement(ctx, dir, part, o, h); err != nil {
		return err
	}
	// Neither file is open any more: Windows would not let one take the other's place.
	if err := o.FS.Rename(part, h.seg.Path); err != nil {
		return err
	}
	return syncFolder(o.FS, dir)
}

// replacement makes the file that is to take a hurt segment's place, after what will be gone with the old one
// is in quarantine. When it fails it leaves neither: a disk that is full would stay full, and each try would add
// a copy.
func replacement(ctx context.Context, dir, part string, o RepairOptions, h *hurtSegment) (err error) {
	defer func() {
		for _, d := range h.ranges {
			if err != nil && d.Quarantine != "" {
				o.FS.Remove(d.Quarantine)
				d.Quarantine = ""
			}
		}
	}()
	var src File
	if !h.ranges[0].Missing {
		if src, err = o.FS.Open(h.seg.Path); err != nil {
			return err
		}
		defer src.Close()
		for _, d := range h.ranges {
			from := int64(d.Offset - h.seg.Base)
			if d.Stored+d.Cut == 0 {
				continue
			}
			d.Quarantine, err = quarantine(ctx, o.FS, dir, o.Now, d.Offset, src, from, from+d.Stored+d.Cut)
			if err != nil {
				return fmt.Errorf("quarantine the damage at %d: %w", d.Offset, err)
			}
		}
	}
	if err := o.FS.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dst, err := o.FS.Create(part)
	if err != nil {
		return err
	}
	err = rewrite(ctx, dst, src, o, h)
	if err == nil {
		err = dst.Sync()
	}
	if err == nil {
		err = readBack(ctx, dst, h)
	}
	if err == nil && src != nil {
		err = takePlaceOf(dst, h.seg.Path)
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		o.FS.Remove(part)
	}
	return err
}

// rewrite gives a new file the content of a hurt segment, with records in the place of its damaged ranges.
func rewrite(ctx context.Context, dst, src File, o RepairOptions, h *hurtSegment) error {
	// What is not written below reads as zeros, as the inside of a filler should.
	if err := dst.Truncate(h.size); err != nil {
		return err
	}
	at := int64(0)
	for _, d := range h.ranges {
		if from := int64(d.Offset - h.seg.Base); from > at {
			if err := copyRange(ctx, dst, src, at, from, at); err != nil {
				return err
			}
		}
		if err := (&tiler{dst: dst, base: h.seg.Base, d: d, free: d.Offset}).tile(ctx, o); err != nil {
			return fmt.Errorf("write the records of [%d, %d): %w", d.Offset, d.End, err)
		}
		at = int64(d.End - h.seg.Base)
	}
	if src == nil {
		return nil
	}
	size, err := src.Size()
	if end := min(size, h.size); err == nil && end > at {
		err = copyRange(ctx, dst, src, at, end, at)
	}
	return err
}

// tiler writes the records of a damaged range.
type tiler struct {
	dst     File
	base    Offset // of dst
	d       *DamagedRange
	free    Offset // what lies below is written
	fillers fillers
}

func (t *tiler) tile(ctx context.Context, o RepairOptions) error {
	if t.d.Identity {
		b := identityRecord(o.Identity, t.base)
		if _, err := t.dst.WriteAt(b, 0); err != nil {
			return err
		}
		t.free += Offset(len(b))
	}
	left := t.d.records
	if len(left) > 0 {
		var b []byte
		for rec, err := range o.Records(t.d.Offset, t.d.End) {
			if err != nil {
				return err
			}
			if len(left) == 0 || rec.Offset != left[0].at || headerSize+int64(len(rec.Payload)) != left[0].size {
				continue // refused
			}
			if err := t.fill(ctx, rec.Offset); err != nil {
				return err
			}
			hash := blake3.Sum256(rec.Payload)
			b = appendRecord(b[:0], &hash, rec.Payload)
			sealRecord(b, rec.Offset)
			if _, err := t.dst.WriteAt(b, int64(rec.Offset-t.base)); err != nil {
				return err
			}
			t.free, left = left[0].end(), left[1:]
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("the record at %d was handed back once, and then not again", left[0].at)
	}
	return t.fill(ctx, t.d.End)
}

// fill writes fillers up to an offset.
func (t *tiler) fill(ctx context.Context, to Offset) error {
	for t.free < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		size := fillerSize(int64(min(to, t.d.edgeBehind(t.free)) - t.free))
		if _, err := t.dst.WriteAt(t.fillers.head(t.free, size), int64(t.free-t.base)); err != nil {
			return err
		}
		t.free += Offset(size)
	}
	return nil
}

// readBack walks over a file that is to take the place of a hurt segment.
func readBack(ctx context.Context, f File, h *hurtSegment) error {
	s, err := newScanner(f, h.seg.Base, h.seg.Base)
	if err != nil {
		return err
	}
	for s.pos < h.end {
		rec, what, reason, err := s.peek(ctx)
		if err != nil {
			return err
		}
		if what != foundRecord {
			return fmt.Errorf("what was written does not read back at %d: %s", s.offset(), reason)
		}
		s.skip(rec)
	}
	if s.pos != h.end || s.size != h.size {
		return fmt.Errorf("what was written ends at %d, not at %d", s.offset(), h.seg.Base+Offset(h.end))
	}
	return nil
}

// takePlaceOf gives a file the owner and mode of the one whose place it will take, where files have them.
func takePlaceOf(f File, name string) error {
	if f, ok := f.(interface{ takePlaceOf(name string) error }); ok {
		return f.takePlaceOf(name)
	}
	return nil
}
