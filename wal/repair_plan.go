package wal

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// planner walks over a journal and plans what a repair has to do. It changes nothing.
type planner struct {
	dir      string
	o        RepairOptions
	rep      *RepairReport
	rewrites []*rewrite // sorted by the base of the segment
	// keepTail plans ranges also where a tail is torn and intact records follow, see Options.KeepTail.
	keepTail bool
	// marks are the offsets that intact marks attest, in ascending order.
	marks []Offset
}

// rewrite is a segment that the repair has to write again, or to make because it is missing.
type rewrite struct {
	seg    Segment
	size   int64 // the file's length after the repair
	end    int64 // the position before which the file will hold records only
	ranges []*DamagedRange
	// before is the segment after which a missing one should be, see extendCut.
	before *rewrite
}

func (p *planner) plan(ctx context.Context) error {
	segs, err := listSegments(p.o.FS, p.dir)
	if err != nil {
		return err
	}
	cursor := p.rep.Cursor
	if len(segs) == 0 {
		if cursor > 0 {
			p.addMissing(nil, cursor, cursor, fmt.Sprintf("no segment is left, and the cursor is %d", cursor))
		}
		p.rep.First, p.rep.End = cursor, cursor
		return nil
	}
	if err := p.walk(ctx, segs, cursor); err != nil {
		return err
	}
	// Plan the ranges after the whole walk: planRange needs the marks, and a mark lies after the offsets that it attests.
	for _, d := range p.rep.Damage {
		if err := p.planRange(d); err != nil {
			return err
		}
	}
	p.extendCut()
	return nil
}

// extendCut decides what is missing where a segment ends with a record before the next one begins: a whole segment, or the end of
// this one. A segment begins with the identity, if the journal has one. If the missing bytes cannot have begun with it, the segment
// was cut, and is extended.
func (p *planner) extendCut() {
	if len(p.o.Identity) == 0 {
		return
	}
	kept := p.rewrites[:0]
	for _, r := range p.rewrites {
		d := r.ranges[0]
		if !d.Missing || d.Identity || r.before == nil {
			kept = append(kept, r)
			continue
		}
		cut := r.before
		cut.size, cut.end = int64(d.End-cut.seg.Base), int64(d.End-cut.seg.Base)
		d.Segment, d.Base, d.Missing = cut.seg.Path, cut.seg.Base, false
		if cut.ranges = append(cut.ranges, d); len(cut.ranges) == 1 { // else it is among the kept ones
			kept = append(kept, cut)
		}
	}
	p.rewrites = kept
}

func (p *planner) walk(ctx context.Context, segs []Segment, cursor Offset) error {
	if first := segs[0]; first.Base > cursor {
		return fmt.Errorf("%s: %w: the log begins at offset %d, after the cursor %d; what lay between is in no file, and needs a backup", first.Path, ErrGap, first.Base, cursor)
	}
	if last := segs[len(segs)-1]; last.Base > maxOffset || cursor > maxOffset {
		return &CorruptError{last.Path, last.Base, "no journal reaches that far"}
	}
	p.rep.First = segs[0].Base
	for i, seg := range segs {
		f, err := p.o.FS.Open(seg.Path)
		if trimmed(p.o.FS, p.dir, seg, err) { // without Apply a writer may remove segments meanwhile
			p.rep.First = baseAfter(segs, i)
			continue
		}
		if err != nil {
			return err
		}
		err = p.oneSegment(ctx, f, seg, baseAfter(segs, i))
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// oneSegment walks over one segment. next is the base of the segment after it, or 0 when it is the last one.
func (p *planner) oneSegment(ctx context.Context, f File, seg Segment, next Offset) error {
	s, err := scan(f, seg.Base, seg.Base)
	if err != nil {
		return err
	}
	p.rep.Segments++
	r := &rewrite{seg: seg, size: s.Size()}
	if seg.Sealed {
		err = p.sealed(ctx, s, r, next)
	} else {
		err = p.last(ctx, s, r)
	}
	if err != nil {
		return err
	}
	r.end = s.Pos()
	p.rep.End = Offset(s.Offset())
	if len(r.ranges) == 0 {
		return nil
	}
	// A missing segment after this one may have been added already.
	at := len(p.rewrites)
	for at > 0 && p.rewrites[at-1].seg.Base > seg.Base {
		at--
	}
	p.rewrites = append(p.rewrites[:at], append([]*rewrite{r}, p.rewrites[at:]...)...)
	return nil
}

// sealed walks over a segment that should hold only records, up to next.
func (p *planner) sealed(ctx context.Context, s *segment.Scanner, r *rewrite, next Offset) error {
	for Offset(s.Offset()) < next {
		j, err := s.Judge(ctx, segment.Span{Next: uint64(next)})
		if err != nil {
			return err
		}
		switch {
		case j.Verdict == segment.Intact:
			if err := p.count(r.seg, j.Record); err != nil {
				return err
			}
			s.Skip(j.Record)
		case j.Verdict == segment.End && s.Pos() == 0:
			p.add(r, s, next, "the file is empty")
		case j.Verdict == segment.End:
			// The file ends where a record ends. Either the next file is missing, or this one was cut (see extendCut).
			reason := fmt.Sprintf("the log is missing from here to %d, where the next segment begins", next)
			begins, err := p.beginsWithRecord(ctx, next)
			if err != nil {
				return err
			}
			if !begins {
				// Then only the name of the next file says how much is missing, and that name may be wrong.
				reason += fmt.Sprintf(" (without a record; if %s does not belong here, move it out of the folder instead)", segmentName(next))
			}
			p.addMissing(r, Offset(s.Offset()), next, reason)
			return nil
		case j.Found == segment.FoundEnd:
			p.add(r, s, next, j.Reason)
		default:
			if j.Found == segment.FoundRecord {
				if err := p.checkNext(ctx, r.seg, next); err != nil {
					return err
				}
			}
			end, err := nextIntact(ctx, s, next)
			if err != nil {
				return err
			}
			p.add(r, s, end, j.Reason)
		}
	}
	return p.overhang(ctx, s, r, next)
}

// overhang plans to cut the bytes that a sealed segment holds after next, where the next segment begins. The scanner
// stands at next.
func (p *planner) overhang(ctx context.Context, s *segment.Scanner, r *rewrite, next Offset) error {
	cut := s.Size() - s.Pos()
	r.size = s.Pos()
	if cut <= 0 {
		return nil
	}
	// The next file may not belong here. Then its name may be an offset in the middle of a damaged record, and the log
	// goes on in this segment, at some place after next. So the rest of the file is searched for a record.
	if _, ok, err := s.Resync(ctx, s.Offset(), math.MaxUint64); err != nil {
		return err
	} else if ok {
		if err := p.checkNext(ctx, r.seg, next); err != nil {
			return err
		}
	}
	if n := len(r.ranges); n > 0 && r.ranges[n-1].End == next {
		r.ranges[n-1].Cut = cut
		return nil
	}
	reason := fmt.Sprintf("%d bytes after the place where the next segment begins", cut)
	d := &DamagedRange{Segment: r.seg.Path, Base: r.seg.Base, Offset: next, End: next, Cut: cut, Reason: reason}
	r.ranges = append(r.ranges, d)
	p.rep.Damage = append(p.rep.Damage, d)
	return nil
}

// checkNext is for two segments that both have bytes from next on. If the later one begins with a record, the log went on
// there, and the bytes in the earlier one were never acknowledged. If not, the later file may not belong to this journal,
// and a cut of the earlier one could lose acknowledged records. Then a person has to decide, so it returns an error.
func (p *planner) checkNext(ctx context.Context, seg Segment, next Offset) error {
	begins, err := p.beginsWithRecord(ctx, next)
	if err != nil || begins {
		return err
	}
	return &CorruptError{filepath.Join(p.dir, segmentName(next)), next, fmt.Sprintf("no record begins here, and %s has an intact one after this offset, or one that reaches past it; if this file does not belong here, move it out of the folder", filepath.Base(seg.Path))}
}

// beginsWithRecord reports whether the segment with this base begins with a record.
func (p *planner) beginsWithRecord(ctx context.Context, base Offset) (bool, error) {
	f, err := p.o.FS.Open(filepath.Join(p.dir, segmentName(base)))
	if err != nil {
		return false, err
	}
	defer f.Close()
	s, err := scan(f, base, base)
	if err != nil {
		return false, err
	}
	_, found, _, err := s.Peek(ctx)
	return found == segment.FoundRecord, err
}

// nextIntact returns the offset of the next intact record that does not reach past next, or next when there is none. It
// skips minRecord bytes first: the damaged bytes were a record once, and no record is shorter.
func nextIntact(ctx context.Context, s *segment.Scanner, next Offset) (Offset, error) {
	at := s.Offset()
	defer s.Seek(at)
	for from := at + minRecord; ; from = s.Offset() + 1 {
		off, ok, err := s.Resync(ctx, from, uint64(next))
		if err != nil || !ok {
			return next, err
		}
		s.Seek(off)
		if rec, found, _, err := s.Peek(ctx); err != nil || found == segment.FoundRecord && rec.Next <= uint64(next) {
			return Offset(off), err
		}
	}
}

// last walks over the last segment, which may end in zeros or in a torn tail.
func (p *planner) last(ctx context.Context, s *segment.Scanner, r *rewrite) error {
	cursor := p.rep.Cursor
	for {
		j, err := s.Judge(ctx, segment.Span{Synced: uint64(cursor)})
		if err != nil {
			return err
		}
		at := Offset(s.Offset())
		switch {
		case j.Verdict == segment.Intact:
			if err := p.count(r.seg, j.Record); err != nil {
				return err
			}
			s.Skip(j.Record)
		case j.Verdict == segment.End:
			return nil
		case j.Verdict == segment.Torn:
			if p.keepTail {
				off, ok, err := s.Resync(ctx, s.Offset()+minRecord, math.MaxUint64)
				if err != nil {
					return err
				}
				if ok {
					if err := p.tornRange(ctx, s, r, Offset(off), j.Reason); err != nil {
						return err
					}
					continue
				}
			}
			dataEnd, err := s.DataEnd(ctx)
			p.rep.Torn = &TornTail{Segment: r.seg.Path, Offset: at, Bytes: dataEnd - s.Pos(), Reason: j.Reason}
			return err
		case j.Found == segment.FoundEnd:
			p.addLast(r, s, cursor, fmt.Sprintf("the data ends here, and the cursor is %d", cursor))
		default:
			reason := j.Text()
			if at < cursor {
				reason = fmt.Sprintf("%s, before the cursor %d", j.Reason, cursor)
			}
			end, err := p.damageEnd(ctx, s, reason)
			if err != nil {
				return err
			}
			p.addLast(r, s, end, reason)
		}
	}
}

// damageEnd is for the last segment. It returns where the damage ends that begins at the scanner's offset.
func (p *planner) damageEnd(ctx context.Context, s *segment.Scanner, reason string) (end Offset, err error) {
	at, cursor := Offset(s.Offset()), p.rep.Cursor
	off, ok, err := s.Resync(ctx, s.Offset()+minRecord, math.MaxUint64)
	switch {
	case err != nil:
		return at, err
	case !ok && at < cursor:
		return cursor, nil
	case !ok:
		// A mark attests the damaged bytes, but it begins less than minRecord bytes after them. No record fits in between.
		return at, &CorruptError{p.path(s), at, reason + ", and no intact record is after it"}
	}
	if end = Offset(off); at < cursor && cursor < end {
		// The bytes after the cursor are damage only if they were acknowledged, so only if a mark attests them.
		attested, err := s.Attested(ctx, uint64(cursor))
		if err != nil || !attested {
			return cursor, err
		}
	}
	return end, nil
}

func (p *planner) path(s *segment.Scanner) string {
	return filepath.Join(p.dir, segmentName(Offset(s.Base())))
}

// count adds an intact record to the report.
func (p *planner) count(seg Segment, found segment.Record) error {
	rec := recordOf(found)
	if c := p.rep.Cursor; rec.Offset < c && c < rec.Next {
		return &CorruptError{seg.Path, c, "the cursor lies inside an intact record, so it is not this log's; no repair can help"}
	}
	p.rep.Bytes += int64(rec.Next - rec.Offset)
	if found.IsControl() {
		c, err := segment.DecodeControl(found, uint64(seg.Base))
		switch n := len(p.marks); {
		case err != nil:
			p.rep.Unknown = append(p.rep.Unknown, &CorruptError{seg.Path, rec.Offset, err.Error()})
		case c.Kind == segment.KindMark && (n == 0 || p.marks[n-1] < Offset(c.Mark)):
			p.marks = append(p.marks, Offset(c.Mark))
		}
		return checkIdentity(seg.Path, c.Identity, p.o.Identity)
	}
	p.rep.Records++
	if p.o.Visit != nil {
		return p.o.Visit(rec)
	}
	return nil
}

// add adds a damaged range from the scanner's offset to end, and moves the scanner to end.
func (p *planner) add(r *rewrite, s *segment.Scanner, end Offset, reason string) {
	d := &DamagedRange{Segment: r.seg.Path, Base: r.seg.Base, Offset: Offset(s.Offset()), End: end, Reason: reason}
	d.Stored = max(0, min(int64(end-r.seg.Base), s.Size())-s.Pos())
	r.ranges = append(r.ranges, d)
	p.rep.Damage = append(p.rep.Damage, d)
	s.Seek(uint64(end))
}

// addLast is add for the last segment. Its file may be too short for the range, and then has to become longer.
func (p *planner) addLast(r *rewrite, s *segment.Scanner, end Offset, reason string) {
	r.size = max(r.size, int64(end-r.seg.Base))
	p.add(r, s, end, reason)
}

// addMissing adds a segment that the repair has to make, for the range [from, to). before is the segment before it, if there is one.
func (p *planner) addMissing(before *rewrite, from, to Offset, reason string) {
	seg := Segment{Base: from, Path: filepath.Join(p.dir, segmentName(from))}
	d := &DamagedRange{Segment: seg.Path, Base: from, Missing: true, Offset: from, End: to, Reason: reason}
	p.rewrites = append(p.rewrites, &rewrite{seg: seg, size: int64(to - from), end: int64(to - from), ranges: []*DamagedRange{d}, before: before})
	p.rep.Damage = append(p.rep.Damage, d)
}
