package segment

import (
	"context"
	"fmt"
	"math"
)

// Span is what the caller of Judge knows about a segment, besides the bytes in it.
type Span struct {
	// Next is where the next segment begins, or 0 when this one is the last. A segment that is not the last one is
	// sealed: it holds records up to its last byte, and all of it was synced. Somewhere says that there is a next
	// segment, and that the caller itself compares its base with the end of this one.
	Next uint64
	// Synced is an offset up to which the log is known to have been synced, or 0. The sync must have ended before the
	// scanner read the bytes.
	Synced uint64
}

// Somewhere is a Span.Next of a sealed segment whose end Judge must not compare with the next base.
const Somewhere = math.MaxUint64

// Verdict says what lies at a scanner's position.
type Verdict int

const (
	// Intact: a record begins here, and does not reach past Span.Next.
	Intact Verdict = iota
	// End: the data ends here. In the last segment zeros may follow. In a sealed segment the file ends here. The caller
	// must compare this offset with Span.Next: if it lies before that, a segment in between is missing, or this one
	// was cut.
	End
	// Torn: no record begins here, in the last segment, and nothing says that one was ever synced. A crash has left it
	// half written, or a writer is writing it at this moment. The log ends here. Intact records may follow, but no record
	// of their group was acknowledged.
	Torn
	// Damaged: no record begins here, though one was synced here.
	Damaged
)

// Judgement is a verdict with what it is based on.
type Judgement struct {
	Verdict Verdict
	// Found says what the bytes are. Damaged goes with each kind: a record that reaches past Span.Next, zeros where
	// a record was, or anything else.
	Found  Found
	Record Record // of FoundRecord; its payload belongs to the scanner, and is valid until the next call
	Reason string // of Torn and Damaged: what is wrong with the bytes
	Proof  string // of Damaged: how it is known that they were synced; empty in a sealed segment
}

// Text returns the reason and the proof in one sentence.
func (j Judgement) Text() string {
	if j.Proof == "" {
		return j.Reason
	}
	return j.Reason + ", and " + j.Proof
}

// Judge says what lies at the scanner's position. Everything that walks over a journal asks it.
//
// A writer may be at work meanwhile, in this process or in another. So Judge reads the bytes again in two cases before it
// says that there is no record. In a sealed segment, what was read ahead may be older than the last write to it. A sealed
// segment does not change any more, so it is read again only once. In the last segment, a writer may have completed
// the record after Judge has read it and before Judge has found the mark that attests it. If the verdict is Torn, or End in
// the last segment, a record may still come.
func (s *Scanner) Judge(ctx context.Context, span Span) (Judgement, error) {
	j, err := s.judge(ctx, span)
	if err != nil || j.Verdict == Intact {
		return j, err
	}
	if span.Next != 0 && s.settled || span.Next == 0 && (j.Verdict != Damaged || s.Offset() < span.Synced) {
		return j, nil
	}
	s.settled = span.Next != 0
	if err := s.Refresh(); err != nil {
		return j, err
	}
	return s.judge(ctx, span)
}

// judge is Judge without the second reading.
func (s *Scanner) judge(ctx context.Context, span Span) (j Judgement, err error) {
	if j.Record, j.Found, j.Reason, err = s.Peek(ctx); err != nil {
		return j, err
	}
	at := s.Offset()
	if span.Next != 0 {
		j.Verdict = Damaged
		switch {
		case j.Found == FoundRecord && j.Record.Next <= span.Next:
			j.Verdict = Intact
		case j.Found == FoundEnd && s.pos >= s.size:
			j.Verdict = End
		case j.Found == FoundRecord:
			j.Reason = fmt.Sprintf("a record reaches past %d, where the next segment begins", span.Next)
		case at == span.Next:
			j.Reason = fmt.Sprintf("%d bytes after the place where the next segment begins", s.size-s.pos)
		case j.Found == FoundEnd:
			j.Reason = "zeros in a sealed segment"
		}
		return j, nil
	}
	switch {
	case j.Found == FoundRecord:
		j.Verdict = Intact
	case at < span.Synced:
		j.Verdict, j.Proof = Damaged, fmt.Sprintf("the log is known to have been synced up to %d", span.Synced)
		if j.Found == FoundEnd {
			j.Reason = "the data ends here"
		}
	case j.Found == FoundEnd:
		j.Verdict = End
	default:
		attested, err := s.Attested(ctx, at)
		if err != nil {
			return j, err
		}
		j.Verdict = Torn
		if attested {
			j.Verdict, j.Proof = Damaged, "a later mark says that it was synced"
		}
	}
	return j, nil
}

// Placement says where in a segment an offset lies.
type Placement int

const (
	PlaceOpen   Placement = iota // neither of those below: a record may begin there
	PlaceInside                  // inside an intact record
	PlaceAfter                   // after the end of the data
)

// Place walks over a segment from its beginning to find where in it off lies. The file must not end before off.
// Place skips damage before off and does not report it.
func Place(ctx context.Context, src Source, base, off uint64) (Placement, error) {
	s, err := NewScanner(src, base, base)
	if err != nil {
		return 0, err
	}
	for s.Offset() < off {
		rec, found, _, err := s.Peek(ctx)
		if err != nil {
			return 0, err
		}
		switch found {
		case FoundRecord:
			if rec.Offset < off && off < rec.Next {
				return PlaceInside, nil
			}
			s.Skip(rec)
		case FoundEnd:
			return PlaceAfter, nil
		case FoundInvalid:
			next, ok, err := s.Resync(ctx, s.Offset()+1, off)
			if err != nil {
				return 0, err
			}
			if !ok {
				return PlaceOpen, nil
			}
			s.Seek(next)
		}
	}
	return PlaceOpen, nil
}
