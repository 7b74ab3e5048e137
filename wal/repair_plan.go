package wal

import (
	"context"
	"fmt"
	"path/filepath"
)

// planner walks over a journal and lays down what a repair has to do. It changes nothing.
type planner struct {
	dir  string
	o    RepairOptions
	rep  *RepairReport
	hurt []*hurtSegment
	// marks are the offsets that intact marks vouch for, as they come, without repetition.
	marks []Offset
}

// minRecord is the size of the shortest record: what lies between two of them is nothing, or at least this.
const minRecord = headerSize + 1

func (p *planner) plan(ctx context.Context) error {
	segs, err := listSegments(p.o.FS, p.dir)
	if err != nil {
		return err
	}
	cursor := p.rep.Cursor
	if len(segs) == 0 {
		if cursor > 0 {
			p.make(cursor, cursor, fmt.Sprintf("no segment is left, and the cursor is %d", cursor))
		}
		p.rep.First, p.rep.End = cursor, cursor
		return nil
	}
	if err := p.walk(ctx, segs, cursor); err != nil {
		return err
	}
	// Now that all marks are known, which stand behind what they tell about.
	for _, d := range p.rep.Damage {
		if err := p.lay(d); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) walk(ctx context.Context, segs []Segment, cursor Offset) error {
	if first := segs[0]; first.Base > cursor {
		return fmt.Errorf("%s: %w: the log begins at offset %d, above the cursor %d; what lay between is in no file, and needs a backup", first.Path, ErrGap, first.Base, cursor)
	}
	if last := segs[len(segs)-1]; last.Base > maxOffset || cursor > maxOffset {
		return &CorruptError{last.Path, last.Base, "no journal reaches that far"}
	}
	p.rep.First = segs[0].Base
	for i, seg := range segs {
		var next Offset
		if seg.Sealed {
			next = segs[i+1].Base
		}
		f, err := p.o.FS.Open(seg.Path)
		if trimmed(p.o.FS, p.dir, seg, err) { // without Apply there may be a writer
			p.rep.First = next
			continue
		}
		if err != nil {
			return err
		}
		err = p.segment(ctx, f, seg, next)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// segment walks over one segment; next is the base of the one behind it.
func (p *planner) segment(ctx context.Context, f File, seg Segment, next Offset) error {
	s, err := newScanner(f, seg.Base, seg.Base)
	if err != nil {
		return err
	}
	p.rep.Segments++
	h := &hurtSegment{seg: seg, size: s.size}
	if seg.Sealed {
		err = p.sealed(ctx, s, h, next)
	} else {
		err = p.last(ctx, s, h)
	}
	if err != nil {
		return err
	}
	h.end = s.pos
	p.rep.End = s.offset()
	if len(h.ranges) == 0 {
		return nil
	}
	// Before what is made anew behind it.
	at := len(p.hurt)
	for at > 0 && p.hurt[at-1].seg.Base > seg.Base {
		at--
	}
	p.hurt = append(p.hurt[:at], append([]*hurtSegment{h}, p.hurt[at:]...)...)
	return nil
}

// sealed walks over a segment that should hold records up to next and nothing else.
func (p *planner) sealed(ctx context.Context, s *scanner, h *hurtSegment, next Offset) error {
	room := int64(next - s.base)
	for s.pos < room {
		rec, what, reason, err := s.peek(ctx)
		if err != nil {
			return err
		}
		if what == foundRecord && rec.Next <= next {
			if err := p.count(h.seg, rec); err != nil {
				return err
			}
			s.skip(rec)
			continue
		}
		end := next
		switch {
		case what == foundEnd && s.pos == s.size && s.pos > 0:
			// It ends where a record ends, so a file is missing as likely as this one was cut; a new one
			// is right in both cases.
			reason := fmt.Sprintf("the log is missing from here to %d, where the next segment begins", next)
			begins, err := p.begins(ctx, next)
			if err != nil {
				return err
			}
			if !begins {
				// Then it is a name alone that says how much is missing, which may be any number.
				reason += fmt.Sprintf(" (without a record; if %s does not belong here, move it out of the folder instead)", segmentName(next))
			}
			p.make(s.offset(), next, reason)
			return nil
		case what == foundEnd && s.pos == s.size:
			reason = "the file is empty"
		case what == foundEnd:
			reason = "zeros in a sealed segment"
		case what == foundRecord:
			reason = fmt.Sprintf("a record reaches past %d, where the next segment begins", next)
			if err := p.believe(ctx, h.seg, next); err != nil {
				return err
			}
		}
		if what != foundEnd {
			if end, err = intactBehind(ctx, s, next); err != nil {
				return err
			}
		}
		p.add(h, s, end, reason)
	}
	return p.overhang(ctx, s, h, next)
}

// overhang looks at what a sealed segment has behind the place where the next one begins. The scanner stands
// there.
func (p *planner) overhang(ctx context.Context, s *scanner, h *hurtSegment, next Offset) error {
	cut := s.size - s.pos
	h.size = s.pos
	if cut <= 0 {
		return nil
	}
	// Not right here alone: a file that does not belong here may have its name from the middle of a hurt record,
	// and the log goes on behind that.
	if _, ok, err := s.resync(ctx, s.pos, s.size); err != nil {
		return err
	} else if ok {
		if err := p.believe(ctx, h.seg, next); err != nil {
			return err
		}
	}
	if n := len(h.ranges); n > 0 && h.ranges[n-1].End == next {
		h.ranges[n-1].Cut = cut
		return nil
	}
	reason := fmt.Sprintf("%d bytes behind the place where the next segment begins", cut)
	d := &DamagedRange{Segment: h.seg.Path, Base: h.seg.Base, Offset: next, End: next, Cut: cut, Reason: reason}
	h.ranges = append(h.ranges, d)
	p.rep.Damage = append(p.rep.Damage, d)
	return nil
}

// believe holds two segments against each other that both have the log from next on. Where the later one
// has a record there, it is the log that was gone on with, and what the earlier one has was never
// acknowledged. Where it has none, a file may have come here that is no part of this journal, and to cut the
// earlier one would take away what was acknowledged: a person has to say which.
func (p *planner) believe(ctx context.Context, seg Segment, next Offset) error {
	begins, err := p.begins(ctx, next)
	if err != nil || begins {
		return err
	}
	return &CorruptError{filepath.Join(p.dir, segmentName(next)), next, fmt.Sprintf("no record begins here, and %s has an intact one behind this, or that reaches past it; if this file does not belong here, move it out of the folder", filepath.Base(seg.Path))}
}

// begins reports whether the segment of that base begins with a record.
func (p *planner) begins(ctx context.Context, base Offset) (bool, error) {
	f, err := p.o.FS.Open(filepath.Join(p.dir, segmentName(base)))
	if err != nil {
		return false, err
	}
	defer f.Close()
	s, err := newScanner(f, base, base)
	if err != nil {
		return false, err
	}
	_, what, _, err := s.peek(ctx)
	return what == foundRecord, err
}

// intactBehind returns where the next intact record begins that ends by next, or next. What is hurt was a
// record too, so none begins in the minRecord bytes from here.
func intactBehind(ctx context.Context, s *scanner, next Offset) (Offset, error) {
	at := s.pos
	defer func() { s.pos = at }()
	limit := min(int64(next-s.base), s.size)
	for from := at + minRecord; ; from = s.pos + 1 {
		pos, ok, err := s.resync(ctx, from, limit)
		if err != nil || !ok {
			return next, err
		}
		s.pos = pos
		if rec, what, _, err := s.peek(ctx); err != nil || what == foundRecord && rec.Next <= next {
			return s.offset(), err
		}
	}
}

// last walks over the segment that is written to. It may end in zeros, and in a torn tail.
func (p *planner) last(ctx context.Context, s *scanner, h *hurtSegment) error {
	cursor := p.rep.Cursor
	for {
		rec, what, reason, err := s.peek(ctx)
		if err != nil {
			return err
		}
		at := s.offset()
		switch {
		case what == foundRecord:
			if err := p.count(h.seg, rec); err != nil {
				return err
			}
			s.skip(rec)
			continue
		case what == foundEnd && at >= cursor:
			return nil
		case what == foundEnd:
			h.size = max(h.size, int64(cursor-s.base))
			p.add(h, s, cursor, fmt.Sprintf("the data ends here, and the cursor is %d", cursor))
			continue
		}
		end, again, err := p.damaged(ctx, s, &reason)
		switch {
		case err != nil:
			return err
		case again:
			continue
		case end == at:
			dataEnd, err := s.dataEnd(ctx, s.pos)
			p.rep.Torn = &TornTail{Segment: h.seg.Path, Offset: at, Bytes: dataEnd - s.pos, Reason: reason}
			return err
		}
		h.size = max(h.size, int64(end-s.base))
		p.add(h, s, end, reason)
	}
}

// damaged tells how far the damage reaches that begins at an invalid record of the last segment. It ends
// where it begins if this is a torn tail; again means to look once more.
func (p *planner) damaged(ctx context.Context, s *scanner, reason *string) (end Offset, again bool, err error) {
	at, cursor := s.offset(), p.rep.Cursor
	if at >= cursor {
		vouched, err := s.vouched(ctx, s.pos)
		if err != nil || !vouched {
			return at, false, err
		}
		// Beside a writer the record may have been completed between the look at it and the look for the mark.
		if err := s.refresh(); err != nil {
			return at, false, err
		}
		if _, what, _, err := s.peek(ctx); err != nil || what != foundInvalid {
			return at, true, err
		}
		*reason += ", and a later mark says that it was synced"
	} else {
		*reason += fmt.Sprintf(", below the cursor %d", cursor)
	}
	pos, ok, err := s.resync(ctx, s.pos+minRecord, s.size)
	switch {
	case err != nil:
		return at, false, err
	case !ok && at < cursor:
		return cursor, false, nil
	case !ok:
		return at, false, &CorruptError{filepath.Join(p.dir, segmentName(s.base)), at, *reason + ", and no intact record is behind it"}
	}
	end = s.base + Offset(pos)
	if at < cursor && cursor < end {
		// What lies from the cursor on is damage only if it was acknowledged.
		vouched, err := s.vouched(ctx, int64(cursor-s.base))
		if err != nil || !vouched {
			return cursor, false, err
		}
	}
	return end, false, nil
}

// count takes down an intact record.
func (p *planner) count(seg Segment, rec Record) error {
	if c := p.rep.Cursor; rec.Offset < c && c < rec.Next {
		return &CorruptError{seg.Path, c, "the cursor lies inside an intact record, so it is not this log's; no repair can help"}
	}
	p.rep.Bytes += int64(rec.Next - rec.Offset)
	if rec.Payload[0] < kindLimit {
		c, err := decodeControl(rec.Payload, rec.Offset, seg.Base)
		switch n := len(p.marks); {
		case err != nil:
			p.rep.Unknown = append(p.rep.Unknown, &CorruptError{seg.Path, rec.Offset, err.Error()})
		case c.kind == kindMark && (n == 0 || p.marks[n-1] < c.mark):
			p.marks = append(p.marks, c.mark)
		}
		return checkIdentity(seg.Path, c.identity, p.o.Identity)
	}
	p.rep.Records++
	if p.o.Visit != nil {
		return p.o.Visit(rec)
	}
	return nil
}

// add takes down a damaged range from where the scanner stands to end, and goes there.
func (p *planner) add(h *hurtSegment, s *scanner, end Offset, reason string) {
	d := &DamagedRange{Segment: h.seg.Path, Base: h.seg.Base, Offset: s.offset(), End: end, Reason: reason}
	d.Stored = max(0, min(int64(end-s.base), s.size)-s.pos)
	h.ranges = append(h.ranges, d)
	p.rep.Damage = append(p.rep.Damage, d)
	s.pos = int64(end - s.base)
}

// make takes down a segment that is to be made, for the range [from, to).
func (p *planner) make(from, to Offset, reason string) {
	seg := Segment{Base: from, Path: filepath.Join(p.dir, segmentName(from))}
	d := &DamagedRange{Segment: seg.Path, Base: from, Missing: true, Offset: from, End: to, Reason: reason}
	p.hurt = append(p.hurt, &hurtSegment{seg: seg, size: int64(to - from), end: int64(to - from), ranges: []*DamagedRange{d}})
	p.rep.Damage = append(p.rep.Damage, d)
}
