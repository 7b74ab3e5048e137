package wal

import (
	"context"
	"fmt"
	"math"

	"github.com/auditsql/auditsql/wal/internal/segment"
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
	Fillers    int   // records that a repair wrote where records were lost
	FillBytes  int64 // of those
	Gaps       []Gap // what they cover
	// Trimmed is what a writer removed after Verify began and before Verify could read it.
	Trimmed []Gap
	// Torn is a tail that recovery would cut, or nil. Beside a live writer it may be a record that is
	// being written.
	Torn *TornTail
	// Damage is where acknowledged data is damaged, in the order of the log.
	Damage []*CorruptError
}

// Gap is a stretch of log whose records cannot be read: a repair had nothing to put there, or it was trimmed.
type Gap struct {
	Offset, End Offset
}

// Verify reads every record of the journal in dir, checks it against its checksum and its content hash, and checks
// that the segments join. It changes nothing.
//
// A writer may have the journal open. In the writer's process Verify reads what was synced when it began. Beside a
// writer in another process it reads up to where the newest segment ended when it began, or a little further in the
// same segment, so that it does not follow a faster writer for ever. What a writer trims meanwhile is in
// Report.Trimmed and is no damage; Options.OnTrimmed is called for it between the records before and after it, and
// Options.OnFilled for what a repair has filled.
//
// What is wrong with the log is in the report. So is a segment with another identity than Options.Identity, whose
// records are left out. An error means that the log could not be read.
func Verify(dir string, o Options) (Report, error) {
	return VerifyContext(context.Background(), dir, o, nil)
}

// VerifyContext is Verify that ends with the error of ctx when ctx ends, between two reads of the disk. The report
// then has what was found until then.
//
// visit, if not nil, is called with each of the caller's records in order; its payload is valid during
// the call. An error that it returns ends VerifyContext.
func VerifyContext(ctx context.Context, dir string, o Options, visit func(Record) error) (Report, error) {
	o = o.withDefaults()
	var rep Report
	v := verifier{fs: o.FS, dir: dir, reached: o.reached(), identity: o.Identity, onTrimmed: o.OnTrimmed, onFilled: o.OnFilled, rep: &rep, visit: visit}
	var err error
	if v.limit, v.limited, err = syncedIn(ctx, o.FS, dir); err == nil {
		err = v.walk(ctx)
	}
	if err != nil {
		return rep, fmt.Errorf("verify journal: %w", err)
	}
	told := len(rep.Damage) > 0 && rep.Damage[len(rep.Damage)-1].Offset >= rep.End
	switch {
	case told:
	case v.limited && rep.End < v.limit:
		v.damageIn(dir, rep.End, fmt.Sprintf("no segment is left from here on, and the writer has synced up to %d", v.limit))
	case rep.End < v.reached:
		v.damageIn(dir, rep.End, fmt.Sprintf("the log ends here, and is known to have been synced up to %d", v.reached))
	}
	return rep, nil
}

type verifier struct {
	fs        FS
	dir       string
	identity  []byte
	onTrimmed func(Gap) error
	onFilled  func(Gap) error
	limited   bool    // this process has the journal open
	limit     Offset  // where its writer had synced when Verify began; else 0
	reached   Offset  // what Options.Reached says, or 0
	newest    Segment // when Verify began
	rep       *Report
	visit     func(Record) error
	foreign   bool // the current segment belongs to another journal
}

// walk goes from segment to segment. It ends with the segment that was the newest when it began, or with the last one
// when that has been removed. It lists the folder again for each, since a writer may rotate or trim meanwhile.
func (v *verifier) walk(ctx context.Context) error {
	segs, err := sizedSegments(v.fs, v.dir, math.MaxUint64) // only the size of the last one is needed
	if err != nil || len(segs) == 0 {
		return err
	}
	v.newest = segs[len(segs)-1]
	var before Segment // the last one that was read
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
			// A writer that trims keeps the active segment. In the writer's process VerifyContext says what is missing.
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

// over reports whether there is nothing to read in the segments after the one that was read last.
func (v *verifier) over(before Segment, left []Segment) bool {
	if v.limited {
		// One that begins before the limit overlaps what was read.
		return v.rep.End >= v.limit && (len(left) == 0 || left[0].Base >= v.limit)
	}
	return before.Base >= v.newest.Base
}

// trimmedTo steps over what a writer has removed since the walk began.
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

// join checks that a segment begins where the one before it has ended.
func (v *verifier) join(before, seg Segment) {
	switch {
	case seg.Base > v.rep.End:
		v.damageIn(before.Path, v.rep.End, fmt.Sprintf("the log is missing from here to %d, where the next segment begins", seg.Base))
	case seg.Base < v.rep.End:
		v.damageIn(seg.Path, seg.Base, fmt.Sprintf("it overlaps the segment before it, whose data ends at %d", v.rep.End))
	}
}

// segment reads one segment. It reports whether no other is to be read: this one was the last when its end was
// reached.
func (v *verifier) segment(ctx context.Context, f File, seg Segment) (last bool, err error) {
	v.rep.End = max(v.rep.End, seg.Base)
	have, err := segment.ReadIdentity(f, uint64(seg.Base))
	if err != nil {
		return false, err
	}
	if err := checkIdentity(seg.Path, have, v.identity); err != nil {
		v.damageIn(seg.Path, seg.Base, fmt.Sprintf("%v: its identity is %x, not %x", ErrForeign, have, v.identity))
		v.foreign = true
		defer func() { v.foreign = false }()
	}
	s, err := scan(f, seg.Base, seg.Base)
	if err != nil {
		return false, err
	}
	// fresh: the bytes at the scanner's position were read when it was known already whether the segment is sealed. A
	// sealed one does not change, so there all bytes are fresh.
	fresh := seg.Sealed
	for {
		if v.limited && Offset(s.Offset()) >= v.limit {
			return false, nil // a later segment that begins before the limit is not the writer's
		}
		if !v.limited && v.beyond(seg, Offset(s.Offset())) {
			return true, nil
		}
		j, err := s.Judge(ctx, v.span(seg))
		switch {
		case err != nil:
			return false, err
		case j.Verdict == segment.Intact:
			if err := v.count(seg, j.Record); err != nil {
				return false, err
			}
			s.Skip(j.Record)
			fresh = seg.Sealed
		case !fresh:
			if seg.Sealed, err = v.sealed(seg); err != nil {
				return false, err
			}
			if err := s.Refresh(); err != nil {
				return false, err
			}
			fresh = true
		case j.Verdict == segment.End:
			return !seg.Sealed, nil
		case j.Verdict == segment.Torn:
			end, err := s.DataEnd(ctx)
			v.rep.Torn = &TornTail{Segment: seg.Path, Offset: Offset(s.Offset()), Bytes: end - s.Pos(), Reason: j.Reason}
			return true, err
		case j.Found == segment.FoundEnd && !seg.Sealed:
			why := fmt.Sprintf("the data ends here, and the writer has synced up to %d", v.limit)
			if Offset(s.Offset()) >= v.limit {
				why = j.Text()
			}
			v.damageIn(seg.Path, Offset(s.Offset()), why)
			return true, nil
		default:
			v.damageIn(seg.Path, Offset(s.Offset()), j.Reason)
			if j.Found == segment.FoundEnd {
				return false, nil // zeros to the end of a sealed segment
			}
			next, ok, err := s.Resync(ctx, s.Offset()+1, math.MaxUint64)
			if err != nil || !ok {
				if seg.Sealed {
					// The rest is part of this damage: nothing in it can be distinguished.
					v.rep.End = max(v.rep.End, seg.Base+Offset(s.Size()))
				}
				return !seg.Sealed, err
			}
			s.Seek(next)
		}
	}
}

// span is what is known of a segment. That a sealed one ends where the next one begins is checked by join.
func (v *verifier) span(seg Segment) segment.Span {
	span := segment.Span{Synced: uint64(max(v.limit, v.reached))}
	if seg.Sealed {
		span.Next = segment.Somewhere
	}
	return span
}

// beyond reports whether an offset in a segment lies after what the files held when the walk began. Only the newest
// segment and later ones can hold such an offset: older ones may overlap them, and are read to their end.
func (v *verifier) beyond(seg Segment, at Offset) bool {
	return seg.Base >= v.newest.Base && at-v.newest.Base >= Offset(v.newest.Size)
}

// sealed reports whether there is a segment after this one by now.
func (v *verifier) sealed(seg Segment) (bool, error) {
	if seg.Sealed {
		return true, nil
	}
	segs, err := listSegments(v.fs, v.dir)
	return err == nil && len(segs) > 0 && segs[len(segs)-1].Base > seg.Base, err
}

// count adds an intact record to the report.
func (v *verifier) count(seg Segment, found segment.Record) error {
	rec := recordOf(found)
	v.rep.End = max(v.rep.End, rec.Next)
	if v.foreign {
		return nil
	}
	v.rep.Bytes += int64(rec.Next - rec.Offset)
	if !found.IsControl() {
		v.rep.Records++
		if v.visit != nil {
			return v.visit(rec)
		}
		return nil
	}
	c, err := segment.DecodeControl(found, uint64(seg.Base))
	switch {
	case err != nil:
		v.damageIn(seg.Path, rec.Offset, err.Error())
	case c.Kind == segment.KindMark:
		v.rep.Marks++
	case c.Kind == segment.KindIdentity:
		v.rep.Identities++
	case c.Kind == segment.KindFiller:
		v.rep.Fillers++
		v.rep.FillBytes += int64(rec.Next - rec.Offset)
		if n := len(v.rep.Gaps); n > 0 && v.rep.Gaps[n-1].End == rec.Offset {
			v.rep.Gaps[n-1].End = rec.Next
		} else {
			v.rep.Gaps = append(v.rep.Gaps, Gap{rec.Offset, rec.Next})
		}
		if v.onFilled != nil {
			return v.onFilled(Gap{rec.Offset, rec.Next})
		}
	}
	return nil
}

func (v *verifier) damageIn(path string, at Offset, reason string) {
	v.rep.Damage = append(v.rep.Damage, &CorruptError{path, at, reason})
}
