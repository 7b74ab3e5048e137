package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// apply replaces a damaged segment with a new file. It may die after any step:
//
//  1. What will be replaced is copied to quarantine, and the copy and its folders are synced. One copy too many does
//     no harm: the journal does not read them.
//  2. The new content is written to a file of another name, which the journal ignores and the next repair or
//     Open removes, and synced. The damaged segment is as it was, so it is refused as before, and the next repair
//     plans the same: the plan depends on nothing but the segments' content and names, the cursor and what the caller
//     has, and none of them has changed.
//  3. What was written is read back: records to the end, and nothing else. If that fails, the damaged segment
//     stays.
//  4. The new file takes the name of the damaged one, in one step. Its content is on disk. So whichever of the two a
//     power cut leaves under the name, it is the damaged one untouched or the whole one.
//  5. The folder is synced. Before that a power cut may bring the damaged one back; then step 2 holds, and the next
//     repair syncs the folder even if it finds nothing to do. After it, nothing can undo the repair of this segment,
//     and the next one begins.
//
// A context that ends stops it in the first three steps, and then it removes what it has made. It does not stop
// between 4 and 5: a reader could see the repaired segment before a power cut takes it back.
//
// Writing to the segment in place would need less disk space, but a crash in the middle could not be told from either
// state. Once the first part of the range is whole, the rest may no longer be damage, which a later mark attests, but
// a torn tail, which Open would cut together with the intact records after it.
func (r *rewrite) apply(ctx context.Context, dir string, o RepairOptions) error {
	part := r.seg.Path + partSuffix
	if err := r.replacement(ctx, dir, part, o); err != nil {
		return err
	}
	// Neither file is open any more: Windows would refuse to rename.
	if err := o.FS.Rename(part, r.seg.Path); err != nil {
		return err
	}
	return syncFolder(o.FS, dir)
}

// replacement makes the file that will replace a damaged segment, after the bytes that it does not take over are in
// quarantine. When it fails it removes both: a full disk would stay full, and each try would add a copy.
func (r *rewrite) replacement(ctx context.Context, dir, part string, o RepairOptions) (err error) {
	defer func() {
		for _, d := range r.ranges {
			if err != nil && d.Quarantine != "" {
				o.FS.Remove(d.Quarantine)
				d.Quarantine = ""
			}
		}
	}()
	var src File
	if !r.ranges[0].Missing {
		if src, err = o.FS.Open(r.seg.Path); err != nil {
			return err
		}
		defer src.Close()
		for _, d := range r.ranges {
			from := int64(d.Offset - r.seg.Base)
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
	err = r.write(ctx, dst, src, o)
	if err == nil {
		err = dst.Sync()
	}
	if err == nil {
		err = r.readBack(ctx, dst)
	}
	if err == nil && src != nil {
		err = takePlaceOf(dst, r.seg.Path)
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		o.FS.Remove(part)
	}
	return err
}

// write writes the content of a damaged segment to a new file, with records in the place of its damaged ranges.
func (r *rewrite) write(ctx context.Context, dst, src File, o RepairOptions) error {
	// What is not written below reads as zeros, as the inside of a filler should.
	if err := dst.Truncate(r.size); err != nil {
		return err
	}
	at := int64(0)
	for _, d := range r.ranges {
		if from := int64(d.Offset - r.seg.Base); from > at {
			if err := copyRange(ctx, dst, src, at, from, at); err != nil {
				return err
			}
		}
		if err := (&rangeWriter{dst: dst, base: r.seg.Base, d: d, free: d.Offset}).write(ctx, o); err != nil {
			return fmt.Errorf("write the records of [%d, %d): %w", d.Offset, d.End, err)
		}
		at = int64(d.End - r.seg.Base)
	}
	if src == nil {
		return nil
	}
	size, err := src.Size()
	if end := min(size, r.size); err == nil && end > at {
		err = copyRange(ctx, dst, src, at, end, at)
	}
	return err
}

// rangeWriter writes the records of a damaged range.
type rangeWriter struct {
	dst    File
	base   Offset // of dst
	d      *DamagedRange
	free   Offset // what lies before it is written
	filler segment.Filler
}

func (w *rangeWriter) write(ctx context.Context, o RepairOptions) error {
	if w.d.Identity {
		b := segment.IdentityRecord(o.Identity, uint64(w.base))
		if _, err := w.dst.WriteAt(b, 0); err != nil {
			return err
		}
		w.free += Offset(len(b))
	}
	left := w.d.records
	if len(left) > 0 {
		var b []byte
		for rec, err := range o.Records(w.d.Offset, w.d.End) {
			if err != nil {
				return err
			}
			if len(left) == 0 || rec.Offset != left[0].at || headerSize+int64(len(rec.Payload)) != left[0].size {
				continue // refused
			}
			if err := w.fill(ctx, rec.Offset); err != nil {
				return err
			}
			hash := blake3.Sum256(rec.Payload)
			b = segment.Append(b[:0], &hash, rec.Payload)
			segment.Seal(b, uint64(rec.Offset))
			if _, err := w.dst.WriteAt(b, int64(rec.Offset-w.base)); err != nil {
				return err
			}
			w.free, left = left[0].end(), left[1:]
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("the record at %d was handed back once, and then not again", left[0].at)
	}
	return w.fill(ctx, w.d.End)
}

// fill writes fillers up to an offset.
func (w *rangeWriter) fill(ctx context.Context, to Offset) error {
	for w.free < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		size := segment.FillerSize(int64(min(to, w.d.edgeAfter(w.free)) - w.free))
		if _, err := w.dst.WriteAt(w.filler.Head(uint64(w.free), size), int64(w.free-w.base)); err != nil {
			return err
		}
		w.free += Offset(size)
	}
	return nil
}

// readBack verifies the file that will replace a damaged segment.
func (r *rewrite) readBack(ctx context.Context, f File) error {
	s, err := scan(f, r.seg.Base, r.seg.Base)
	if err != nil {
		return err
	}
	end := r.seg.Base + Offset(r.end)
	for s.Pos() < r.end {
		j, err := s.Judge(ctx, segment.Span{Synced: uint64(end)})
		if err != nil {
			return err
		}
		if j.Verdict != segment.Intact {
			return fmt.Errorf("what was written does not read back at %d: %s", s.Offset(), j.Reason)
		}
		s.Skip(j.Record)
	}
	if s.Pos() != r.end || s.Size() != r.size {
		return fmt.Errorf("what was written ends at %d, not at %d", s.Offset(), end)
	}
	return nil
}

// takePlaceOf gives a file the owner and mode of the file that it will replace, where files have them.
func takePlaceOf(f File, name string) error {
	if f, ok := f.(interface{ takePlaceOf(name string) error }); ok {
		return f.takePlaceOf(name)
	}
	return nil
}
