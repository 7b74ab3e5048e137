package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
)

// Report is what Verify counted and found.
type Report struct {
	Segments  int
	First     Offset // of the first segment left; above 0 when the journal was trimmed
	End       Offset // behind the last intact record
	Records   int    // without the journal's own
	Bytes     int64  // of records, the journal's own included
	Marks     int
	Fillers   int   // gaps that a repair closed
	FillBytes int64 // of those
	Gaps      []Gap // what they cover: where records were lost
	// Torn is a tail that recovery would cut, or nil. Beside a live writer it may be a record that is
	// being written.
	Torn *TornTail
	// Damage is where acknowledged data is hurt, in the order of the log.
	Damage []*CorruptError
}

// Gap is a stretch of log that a repair had nothing to put back into.
type Gap struct {
	Offset, End Offset
}

// Verify reads every record of the journal in dir and checks it against its checksum and its content
// hash, and the segments against each other. It changes nothing and works beside a live writer; in the
// writer's process it looks at what is synced when it begins. Beside one in another process it ends where the files
// ended then, or a little later, so that it does not follow a writer that is faster. What is wrong with the log is
// in the report; an error means that it could not be read.
//
// visit, if not nil, is called with each of the caller's records in order; its payload is valid during
// the call. An error that it returns ends the walk.
func Verify(dir string, o Options, visit func(Record) error) (Report, error) {
	o = o.withDefaults()
	var rep Report
	v := verifier{fs: o.FS, dir: dir, rep: &rep, visit: visit}
	var err error
	if v.limit, v.limited, err = syncedIn(o.FS, dir); err == nil {
		err = v.walk()
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
	fs      FS
	dir     string
	limited bool
	limit   Offset
	newest  Segment // when it began
	rep     *Report
	visit   func(Record) error
}

// walk goes from segment to segment and ends with the one that was the last when its end was looked at, or where
// that ended when the walk began. The folder is listed anew for each, since a writer may rotate, or trim, meanwhile.
func (v *verifier) walk() error {
	segs, err := segmentsBesideWriter(v.fs, v.dir, math.MaxUint64) // of the last one alone the size is wanted
	if err != nil || len(segs) == 0 {
		return err
	}
	v.newest = segs[len(segs)-1]
	var before Segment // the one that was walked over last
	for try := 0; ; {
		segs, err := listSegments(v.fs, v.dir)
		if err != nil || len(segs) == 0 {
			return err
		}
		at := 0
		if v.rep.Segments > 0 {
			at = segmentOf(segs, before.Base) + 1
		}
		if at == len(segs) || at > 0 && v.limited && v.rep.End >= v.limit && segs[at].Base >= v.limit {
			return nil
		}
		if v.rep.Segments == 0 {
			v.rep.First = segs[0].Base
		}
		if at == 0 {
			// What came before it, if anything did, has been trimmed since, and maybe more behind that.
			v.rep.End = segs[0].Base
		}
		f, err := v.fs.Open(segs[at].Path)
		if errors.Is(err, fs.ErrNotExist) && try < 10 {
			try++ // trimmed since it was listed
			continue
		}
		if err != nil {
			return err
		}
		v.join(before, segs[at])
		last, err := v.segment(f, segs[at])
		f.Close()
		v.rep.Segments++
		if err != nil || last {
			return err
		}
		before, try = segs[at], 0
	}
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
func (v *verifier) segment(f File, seg Segment) (last bool, err error) {
	v.rep.End = max(v.rep.End, seg.Base)
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
		rec, what, reason, err := s.peek()
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
		done, err := v.invalid(s, seg, reason)
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
	v.rep.Bytes += int64(rec.Next - rec.Offset)
	v.rep.End = max(v.rep.End, rec.Next)
	if rec.Payload[0] >= kindLimit {
		v.rep.Records++
		if v.visit != nil {
			return v.visit(rec)
		}
		return nil
	}
	_, isMark, err := own(rec.Payload, rec.Offset)
	switch {
	case err != nil:
		v.damageIn(seg.Path, rec.Offset, err.Error())
	case isMark:
		v.rep.Marks++
	default:
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
func (v *verifier) invalid(s *scanner, seg Segment, reason string) (done bool, err error) {
	at := s.pos
	damaged := seg.Sealed || v.limited
	if !damaged {
		if damaged, err = s.vouched(at); err != nil {
			return true, err
		}
	}
	if !damaged {
		end, err := s.dataEnd(at)
		v.rep.Torn = &TornTail{Segment: seg.Path, Offset: s.offset(), Bytes: end - at, Reason: reason}
		return true, err
	}
	v.damageIn(seg.Path, s.offset(), reason)
	next, ok, err := s.resync(at+1, s.size)
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
