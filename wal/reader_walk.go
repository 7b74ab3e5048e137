package wal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// extend lets the scanner read up to the offset that the writer in this process has synced, and no further. Bytes before
// that offset do not change any more, so those that were read ahead stay valid.
func (r *Reader) extend() error {
	if r.writer == nil {
		return nil
	}
	return r.s.Extend(int64(uint64(r.writer.Synced()) - r.s.Base()))
}

// read returns the record at pos, or io.EOF when it is not there yet.
func (r *Reader) read(ctx context.Context) (Record, error) {
	for {
		if r.writer != nil && r.pos >= r.writer.Synced() {
			return Record{}, io.EOF
		}
		if r.s == nil {
			if err := r.enter(ctx); err != nil {
				return Record{}, err
			}
		}
		if still, err := r.stillZeros(ctx); err != nil || still {
			return Record{}, cmp.Or(err, io.EOF)
		}
		if err := r.extend(); err != nil {
			return Record{}, err
		}
		rec, found, _, err := r.s.Peek(ctx)
		if err != nil {
			return Record{}, err
		}
		if found != segment.FoundRecord {
			// What was read ahead may be older than the file.
			if err := r.s.Refresh(); err != nil {
				return Record{}, err
			}
			if rec, found, _, err = r.s.Peek(ctx); err != nil {
				return Record{}, err
			}
		}
		if found != segment.FoundRecord {
			again, err := r.atEnd(ctx, found)
			if err != nil {
				return Record{}, err
			}
			if !again {
				return Record{}, io.EOF
			}
			continue
		}
		if r.writer != nil && Offset(rec.Next) > r.writer.Synced() {
			return Record{}, io.EOF
		}
		if err := r.pass(rec); err != nil {
			return Record{}, err
		}
		if rec.IsControl() {
			continue
		}
		rec.Payload = bytes.Clone(rec.Payload)
		return recordOf(rec), nil
	}
}

// stillZeros reports that no record has come at the end of a journal that another process writes to. It takes a short
// look: a reader that waits reads a few bytes each time, not all the zeros that were written ahead. It would also see a
// rotation, which cuts off the zeros and so changes the file's length.
//
// A record that was lost reads as zeros too. Only a scan of all the zeros finds the data after it. So they are scanned
// when the file's length changes, and after each mostShortLooks short looks: also a record that is lost after the last
// scan must be found, and the writer may be idle from then on.
func (r *Reader) stillZeros(ctx context.Context) (bool, error) {
	if r.zeroTailSize == 0 || r.writer != nil {
		return false, nil
	}
	if r.shortLooks--; r.shortLooks == 0 {
		r.zeroTailSize = 0
		return false, nil
	}
	if still, err := r.s.StillZeros(r.zeroTailSize); err != nil || !still {
		return false, err
	}
	return true, r.mayWait(ctx, Offset(r.s.Base())+Offset(r.zeroTailSize))
}

// pass moves past a record. It checks the content of a control record, because the caller of Next does not see it.
func (r *Reader) pass(rec segment.Record) error {
	if rec.IsControl() {
		c, err := segment.DecodeControl(rec, r.s.Base())
		if err != nil {
			return &CorruptError{r.path(), Offset(rec.Offset), err.Error()}
		}
		if err := checkIdentity(r.path(), c.Identity, r.opts.Identity); err != nil {
			return err
		}
	}
	r.s.Skip(rec)
	r.pos, r.shortLooks = Offset(rec.Next), mostShortLooks
	r.last = Record{Offset: Offset(rec.Offset), Next: Offset(rec.Next), Hash: rec.Hash}
	return nil
}

func (r *Reader) path() string { return filepath.Join(r.dir, segmentName(Offset(r.s.Base()))) }

// enter opens the segment that pos lies in; io.EOF means that there is none yet.
func (r *Reader) enter(ctx context.Context) error {
	for try := 0; ; try++ {
		segs, err := listSegments(r.opts.FS, r.dir)
		if err != nil {
			return err
		}
		switch {
		case len(segs) == 0 && r.writer != nil: // read has checked that the writer has synced more than pos
			return &CorruptError{r.dir, r.pos, "no segment is left, and the writer has synced more"}
		case len(segs) == 0 && r.pos < r.reached:
			return &CorruptError{r.dir, r.pos, fmt.Sprintf("no segment is left, and the log is known to have been synced up to %d", r.reached)}
		case len(segs) == 0:
			return cmp.Or(r.mayWait(ctx, 0), io.EOF)
		}
		at := segmentOf(segs, r.pos)
		if at < 0 {
			return &TrimmedError{Wanted: r.pos, First: segs[0].Base}
		}
		f, err := r.opts.FS.Open(segs[at].Path)
		if errors.Is(err, fs.ErrNotExist) && try < 10 {
			continue // trimmed since the listing
		}
		if err != nil {
			return err
		}
		s, err := scan(f, segs[at].Base, r.pos)
		if err != nil {
			f.Close()
			return err
		}
		r.file, r.s = f, s
		r.entered++
		if r.kept != nil {
			r.kept.keep(segs[at].Base, f)
		}
		return nil
	}
}

// atEnd decides what to do when no record begins at pos. With again, read looks once more, in this segment or in the next
// one. Without again and without an error, the record may still come, and the reader waits.
func (r *Reader) atEnd(ctx context.Context, found segment.Found) (again bool, err error) {
	if r.s.Size() == 0 {
		// The next writer that opens the journal replaces an empty segment (recreate). It then writes to the new
		// file, not to this one.
		if current, err := r.file.Current(); err != nil || !current {
			return err == nil, errors.Join(err, r.leave())
		}
	}
	segs, err := listSegments(r.opts.FS, r.dir)
	if err != nil {
		return false, err
	}
	// The writer makes a new segment only after the last write to this one. So if there is a later segment, this file
	// does not change any more. Judge reads it again, because what was read ahead may be older.
	next := segmentOf(segs, Offset(r.s.Base())) + 1
	span := segment.Span{}
	if next < len(segs) {
		span.Next = segment.Somewhere
	}
	switch {
	case r.writer != nil: // read has checked that pos lies before this
		span.Synced = uint64(r.writer.Synced())
	case r.pos < r.reached:
		span.Synced = uint64(r.reached)
	}
	if span == (segment.Span{}) && found == segment.FoundEnd {
		if r.s.Size() > r.s.Pos() {
			r.zeroTailSize, r.shortLooks = r.s.Size(), mostShortLooks
		}
		return false, r.mayWait(ctx, Offset(r.s.Base())+Offset(r.s.Size()))
	}
	j, err := r.s.Judge(ctx, span)
	switch {
	case err != nil:
		return false, err
	case j.Verdict == segment.Intact:
		return true, nil
	case j.Verdict == segment.Torn, j.Verdict == segment.End && span.Next == 0:
		return false, r.checkLast() // the record may still come
	case j.Verdict == segment.End && r.s.Pos() == r.s.Size() && (next == 0 || segs[next].Base == r.pos):
		// If next is 0, this segment has been trimmed. enter finds out whether the one after it was trimmed too.
		return true, r.leave()
	case j.Found == segment.FoundEnd:
		j.Reason = "the data ends here"
	}
	if span.Next != 0 {
		j.Proof = fmt.Sprintf("the next segment begins at %d", segs[next].Base)
	}
	return false, &CorruptError{r.path(), r.pos, j.Text()}
}

// mayWait returns nil when a record may still come at pos, and ErrRewound when pos lies after the end of a log that no
// writer has open. end is where the file that the reader has open ends, or 0 when it has none.
//
// There are two ways for a reader to get there. It has read records that were never acknowledged, and recovery has cut
// them since. Or it was given an offset of another log.
func (r *Reader) mayWait(ctx context.Context, end Offset) error {
	rewound := fmt.Errorf("%w %d", ErrRewound, r.pos)
	if r.s != nil {
		if err := r.checkLast(); err != nil {
			return err
		}
	}
	if r.pos <= end && (r.placed || r.s == nil) {
		return nil
	}
	held, err := r.opts.FS.Locked(filepath.Join(r.dir, lockName))
	if err != nil || held {
		return err
	}
	if r.pos > end {
		if r.s == nil {
			return rewound
		}
		// The file may have grown: a writer may have written up to pos, and closed the journal, since its size was asked.
		if err := r.s.Refresh(); err != nil {
			return err
		}
		if r.pos > Offset(r.s.Base())+Offset(r.s.Size()) {
			return rewound
		}
		return nil
	}
	// At pos there are zeros, or the file ends. So the data ends at pos, or before it. To find out which takes a walk from
	// the beginning of the segment, so it is done once. After that checkLast is enough.
	if r.pos != Offset(r.s.Base()) && r.last.Next != r.pos {
		where, err := segment.Place(ctx, r.file, r.s.Base(), uint64(r.pos))
		if err != nil {
			return err
		}
		if where == segment.PlaceAfter {
			return rewound // placed stays false, so the next call returns it too
		}
	}
	r.placed = true
	return nil
}

// checkLast returns ErrRewound when the record before pos is no longer where it was read: somebody has cut the log before
// pos, and may have written another record across pos.
func (r *Reader) checkLast() error {
	if r.last.Next == 0 || uint64(r.last.Offset) < r.s.Base() {
		return nil
	}
	hash, ok, err := segment.ReadHash(r.file, r.s.Base(), uint64(r.last.Offset))
	if err == nil && (!ok || hash != r.last.Hash) {
		err = fmt.Errorf("%w %d", ErrRewound, r.pos)
	}
	return err
}
