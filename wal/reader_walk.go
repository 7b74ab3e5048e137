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

// extend lets the scanner see what the writer in this process has synced, and no more. What lies before that does not
// change any more, so what was read ahead stays valid.
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

// stillZeros reports, after a short look, that nothing has come at the end of the data in another process's journal.
// So waiting there reads a few bytes, and not all the zeros that were written ahead. A rotation would have cut those.
//
// Zeros in the place of a record look the same. Only a scan of all the zeros finds the data after them. It is due as
// soon as the file's length changes, and after a number of short looks.
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

// pass moves past a record, which is checked if it is a control record.
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
		case len(segs) == 0 && r.writer != nil: // and pos lies before what it has synced
			return &CorruptError{r.dir, r.pos, "no segment is left, and the writer has synced more"}
		case len(segs) == 0:
			return cmp.Or(r.mayWait(ctx, 0), io.EOF)
		}
		at := segmentOf(segs, r.pos)
		if at < 0 {
			return &TrimmedError{Wanted: r.pos, First: segs[0].Base}
		}
		f, err := r.opts.FS.Open(segs[at].Path)
		if errors.Is(err, fs.ErrNotExist) && try < 10 {
			continue // trimmed since it was listed
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
		return nil
	}
}

// atEnd decides what to do where no record begins: look again, in this segment or in the next one (again), or wait, or
// report that something is wrong.
func (r *Reader) atEnd(ctx context.Context, found segment.Found) (again bool, err error) {
	if r.s.Size() == 0 {
		// The next writer that opens the journal replaces an empty segment (recreate), and what it
		// writes then is not in this file.
		if current, err := r.file.Current(); err != nil || !current {
			return err == nil, errors.Join(err, r.leave())
		}
	}
	segs, err := listSegments(r.opts.FS, r.dir)
	if err != nil {
		return false, err
	}
	// A later segment is made when this one has got its last byte. So the judgement, which reads anew what may have
	// changed, is of a file that changes no more.
	next := segmentOf(segs, Offset(r.s.Base())) + 1
	span := segment.Span{}
	if next < len(segs) {
		span.Next = segment.Somewhere
	}
	if r.writer != nil { // and pos lies before what it has synced, or read would not be here
		span.Synced = uint64(r.writer.Synced())
	}
	if span == (segment.Span{}) && found == segment.FoundEnd {
		if r.s.Size() > r.s.Pos() {
			r.zeroTailSize, r.shortLooks = r.s.Size(), 0
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
		return false, nil // not yet
	case j.Verdict == segment.End && r.s.Pos() == r.s.Size() && (next == 0 || segs[next].Base == r.pos):
		// With next 0 this segment has been trimmed: enter finds out whether the next one was as well.
		return true, r.leave()
	case j.Found == segment.FoundEnd:
		j.Reason = "the data ends here"
	}
	if span.Next != 0 {
		j.Proof = fmt.Sprintf("the next segment begins at %d", segs[next].Base)
	}
	return false, &CorruptError{r.path(), r.pos, j.Text()}
}

// mayWait returns nil when a reader at the end of a log has a reason to wait there, and ErrRewound when it has none.
//
// A log that no writer has open ends where it ends. A reader after that has read what was never
// acknowledged, before recovery cut it, or was given an offset of another log.
func (r *Reader) mayWait(ctx context.Context, end Offset) error {
	rewound := fmt.Errorf("%w %d", ErrRewound, r.pos)
	if r.s != nil {
		gone, err := r.lastGone()
		if err != nil {
			return err
		}
		if gone {
			return rewound
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
		// The writer may have written the record at pos before it closed the journal.
		if err := r.s.Refresh(); err != nil {
			return err
		}
		if r.pos > Offset(r.s.Base())+Offset(r.s.Size()) {
			return rewound
		}
		return nil
	}
	// After pos there are zeros, or nothing. So this is the end of the data, unless the data ends before pos. Finding
	// that out takes a walk from the beginning of the segment, so it is done once; later lastGone answers.
	if r.pos != Offset(r.s.Base()) && r.last.Next != r.pos {
		where, err := segment.Place(ctx, r.file, r.s.Base(), uint64(r.pos))
		if err != nil {
			return err
		}
		if where == segment.PlaceAfter {
			return rewound // and again, if asked again
		}
	}
	r.placed = true
	return nil
}

// lastGone reports whether the record returned last is no longer where it was read.
func (r *Reader) lastGone() (bool, error) {
	if r.last.Next == 0 || uint64(r.last.Offset) < r.s.Base() {
		return false, nil
	}
	hash, ok, err := segment.ReadHash(r.file, r.s.Base(), uint64(r.last.Offset))
	return err == nil && (!ok || hash != r.last.Hash), err
}
