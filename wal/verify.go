package wal

import (
	"context"
	"fmt"
	"math"
)

// Report is what Verify counted and found.
type Report struct {
	Segments   int
	First      Offset // of the first segment left; above 0 when the journal was trimmed
	End        Offset // where the last intact record ends
	Records    int    // without control records
	Bytes      int64  // of records, control records included
	Marks      int
	Identities int   // segments that begin with one
	Fillers    int   // gaps that a repair closed
	FillBytes  int64 // of those
	Gaps       []Gap // what they cover: where records were lost
	// Trimmed is what a writer removed after Verify began and before it was read.
	Trimmed []Gap
	// Torn is a tail that recovery would cut, or nil. Beside a live writer it may be a record that is
	// being written.
	Torn *TornTail
	// Damage is where acknowledged data is hurt, in the order of the log.
	Damage []*CorruptError
}

// Gap is a stretch of log whose records cannot be read: a repair had nothing to put there, or it was trimmed.
type Gap struct {
	Offset, End Offset
}

// Verify reads every record of the journal in dir and checks it against its checksum and its content
// hash, and the segments against each other. It changes nothing and works beside a live writer; in the
// writer's process it looks at what is synced when it begins. Beside one in another process it ends where the
// newest segment ended then, or at the latest where that segment ends now, so that it does not follow a writer that
// is faster. What a writer trims meanwhile is in Report.Trimmed and is nothing wrong; Options.OnTrimmed is told of
// it between the records before and after it. What is wrong with the log is in the report, a segment with another
// identity than Options.Identity included, whose records are left out; an error means that it could not be read.
//
// visit, if not nil, is called with each of the caller's records in order; its payload is valid during
// the call. An error that it returns ends the walk.
func Verify(dir string, o Options, visit func(Record) error) (Report, error) {
	return VerifyContext(context.Background(), dir, o, visit)
}

// VerifyContext is Verify that ends with the error of ctx when ctx ends. It looks at ctx between two reads of
// the disk; the report then tells what was seen until then.
func VerifyContext(ctx context.Context, dir string, o Options, visit func(Record) error) (Report, error) {
	o = o.withDefaults()
	var rep Report
	v := verifier{fs: o.FS, dir: dir, identity: o.Identity, onTrimmed: o.OnTrimmed, rep: &rep, visit: visit}
	var err error
	if v.limit, v.limited, err = syncedIn(ctx, o.FS, dir); err == nil {
		err = v.walk(ctx)
	}
	if err != nil {
		return rep, fmt.Errorf("verify journal: %w", err)
	}
	if told := len(rep.Damage) > 0 && rep.Damage[len(rep.Damage)-1].Offset >= rep.End; v.limited && rep.End < v.limit && !told {
		v.damageIn(dir, rep.End, fmt.Sprintf("no segment is left from here on, and the writer has synced up to %d", v.limit))
	}
	return rep, nil
}

type verifier struct {
	fs        FS
	dir       string
	identity  []byte
	onTrimmed func(Gap) error
	limited   bool
	limit     Offset
	newest    Segment // when it began
	rep       *Report
	visit     func(Record) error
	foreign   bool // the segment that is walked over belongs to another journal
}

// walk goes from segment to segment and ends with the one that was the newest when it began, or with the last one
// when that has gone. The folder is listed anew for each, since a writer may rotate, or trim, meanwhile.
func (v *verifier) walk(ctx context.Context) error {
	segs, err := sizedSegments(v.fs, v.dir, math.MaxUint64) // of the last one alone the size is wanted
	if err != nil || len(segs) == 0 {
		return err
	}
	v.newest = segs[len(segs)-1]
	var before Segment // the one that was walked over last
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		segs, err := listSegments(v.fs, v.dir)
		if err != nil {
			return err
		}
		at := 0
		if v.rep.Segments > 0 {
			at = segmentOf(segs, before.Base) + 1
		}
		switch {
		case v.rep.Segments > 0 && v.over(before, segs[at:]):
			return nil
		case at == len(segs):
			// A writer that trims leaves the active segment. In the writer's process Verify says what is missing.
			if !v.limited {
				v.damageIn(v.dir, v.rep.End, "no segment is left from here on")
			}
			return nil
		case v.rep.Segments == 0:
			v.rep.First, v.rep.End = segs[0].Base, segs[0].Base
		case at == 0:
			if err := v.trimmedTo(segs[0].Base); err != nil || segs[0].Base > v.newest.Base {
				return err
			}
		}
		f, err := v.fs.Open(segs[at].Path)
		if trimmed(v.fs, v.dir, segs[at], err) {
			continue
		}
		if err != nil {
			return err
		}
		v.join(before, segs[at])
		last, err := v.segment(ctx, f, segs[at])
		f.Close()
		v.rep.Segments++
		if err != nil || last {
			return err
		}
		before = segs[at]
	}
}

// over reports whether nothing is left to be walked over in the segments after one that was.
func (v *verifier) over(before Segment, left []Segment) bool {
	if v.limited {
		// One that begins below the limit overlaps what was walked over.
		return v.rep.End >= v.limit && (len(left) == 0 || left[0].Base >= v.limit)
	}
	return before.Base >= v.newest.Base
}

// trimmedTo goes past what a writer has removed since the walk began.
func (v *verifier) trimmedTo(base Offset) error {
	if base <= v.rep.End {
		return nil
	}
	gone := Gap{v.rep.End, base}
	v.rep.Trimmed = append(v.rep.Trimmed, gone)
	v.rep.End = base
	if v.onTrimmed == nil {
		return nil
	}
	return v.onTrimmed(gone)
}

// join looks at whether a segment begins where the one before it has ended.
func (v *verifier) join(before, seg Segment) {
	switch {
	case seg.Base > v.rep.End:
		v.damageIn(before.Path, v.rep.End, fmt.Sprintf("the log is missing from here to %d, where the next segment begins", seg.Base))
	case seg.Base < v.rep.End:
		v.damageIn(seg.Path, seg.Base, fmt.Sprintf("it overlaps the segment before it, whose data ends at %d", v.rep.End))
	}
}

// segment walks over one segment, and reports whether it is known that no other is to be looked at: it was
// the last one when its end was seen.
func (v *verifier) segment(ctx context.Context, f File, seg Segment) (last bool, err error) {
	v.rep.End = max(v.rep.End, seg.Base)
	have, err := readIdentity(f, seg.Base)
	if err != nil {
		return false, err
	}
	if err := checkIdentity(seg.Path, have, v.identity); err != nil {
		v.damageIn(seg.Path, seg.Base, fmt.Sprintf("%v: its identity is %x, not %x", ErrForeign, have, v.identity))
		v.foreign = true
		defer func() { v.foreign = false }()
	}
	s, err := newScanner(f, seg.Base, seg.Base)
	if err != nil {
		return false, err
	}
	// fresh: the bytes at s.pos were read after it was known whether the segment is sealed. Of one that is,
	// all that is read from then on is.
	fresh := seg.Sealed
	for {
		if v.limited && s.offset() >= v.limit {
			return false, nil // a later one that begins below the limit is none of the writer's
		}
		if !v.limited && v.beyond(seg, s.offset()) {
			return true, nil
		}
		rec, what, reason, err := s.peek(ctx)
		switch {
		case err != nil:
			return false, err
		case what == foundRecord:
			if err := v.count(seg, rec); err != nil {
				return false, err
			}
			s.skip(rec)
			fresh = seg.Sealed
			continue
		case !fresh:
			if seg.Sealed, err = v.sealed(seg); err != nil {
				return false, err
			}
			if err := s.refresh(); err != nil {
				return false, err
			}
			fresh = true
			continue
		case what == foundEnd && v.limited && !seg.Sealed:
			v.damageIn(seg.Path, s.offset(), fmt.Sprintf("the data ends here, and the writer has synced up to %d", v.limit))
			return true, nil
		case what == foundEnd && (!seg.Sealed || s.pos == s.size):
			return !seg.Sealed, nil
		case what == foundEnd:
			v.damageIn(seg.Path, s.offset(), "zeros in a sealed segment")
			return false, nil
		}
		done, err := v.invalid(ctx, s, seg, reason)
		if err != nil || done {
			return !seg.Sealed, err
		}
	}
}

// beyond reports whether an offset in a segment is none that the files had when the walk began. Where segments that were
// there already overlap, it is not the offset that tells.
func (v *verifier) beyond(seg Segment, at Offset) bool {
	return seg.Base >= v.newest.Base && at-v.newest.Base >= Offset(v.newest.Size)
}

// sealed looks anew whether there is a segment behind this one.
func (v *verifier) sealed(seg Segment) (bool, error) {
	if seg.Sealed {
		return true, nil
	}
	segs, err := listSegments(v.fs, v.dir)
	return err == nil && len(segs) > 0 && segs[len(segs)-1].Base > seg.Base, err
}

func (v *verifier) count(seg Segment, rec Record) error {
	v.rep.End = max(v.rep.End, rec.Next)
	if v.foreign {
		return nil
	}
	v.rep.Bytes += int64(rec.Next - rec.Offset)
	if rec.Payload[0] >= kindLimit {
		v.rep.Records++
		if v.visit != nil {
			return v.visit(rec)
		}
		return nil
	}
	c, err := decodeControl(rec.Payload, rec.Offset, seg.Base)
	switch {
	case err != nil:
		v.damageIn(seg.Path, rec.Offset, err.Error())
	case c.kind == kindMark:
		v.rep.Marks++
	case c.kind == kindIdentity:
		v.rep.Identities++
	case c.kind == kindFiller:
		v.rep.Fillers++
		v.rep.FillBytes += int64(rec.Next - rec.Offset)
		if n := len(v.rep.Gaps); n > 0 && v.rep.Gaps[n-1].End == rec.Offset {
			v.rep.Gaps[n-1].End = rec.Next
		} else {
			v.rep.Gaps = append(v.rep.Gaps, Gap{rec.Offset, rec.Next})
		}
	}
	return nil
}

// invalid judges what is no record: damage, behind which the walk goes on at the next intact record, or
// a torn tail, which ends it.
func (v *verifier) invalid(ctx context.Context, s *scanner, seg Segment, reason string) (done bool, err error) {
	at := s.pos
	damaged := seg.Sealed || v.limited
	if !damaged {
		if damaged, err = s.vouched(ctx, at); err != nil {
			return true, err
		}
	}
	if !damaged {
		end, err := s.dataEnd(ctx, at)
		v.rep.Torn = &TornTail{Segment: seg.Path, Offset: s.offset(), Bytes: end - at, Reason: reason}
		return true, err
	}
	v.damageIn(seg.Path, s.offset(), reason)
	next, ok, err := s.resync(ctx, at+1, s.size)
	if err != nil || !ok {
		if seg.Sealed {
			// The rest is part of this damage: nothing in it can be told apart.
			v.rep.End = max(v.rep.End, s.base+Offset(s.size))
		}
		return true, err
	}
	s.pos = next
	return false, nil
}

func (v *verifier) damageIn(path string, at Offset, reason string) {
	v.rep.Damage = append(v.rep.Damage, &CorruptError{path, at, reason})
}
