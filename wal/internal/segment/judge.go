package segment

import (
	"context"
	"fmt"
	"math"
)

// Span is what a walker knows of the stretch of log that a segment covers, besides the bytes in it.
type Span struct {
	// Next is where the next segment begins, or 0 when this one is the last. A segment before another is sealed: it
	// holds records up to its last byte, and all of it was synced. Somewhere says that there is a next one, and that
	// the caller compares the two itself.
	Next uint64
	// Synced is an offset up to which the log is known to have been synced, and was before the scanner read its bytes.
	// 0 is not known.
	Synced uint64
}

// Somewhere is a Span.Next that is not known, or not to be compared.
const Somewhere = math.MaxUint64

// Verdict is what lies at a scanner's position.
type Verdict int

const (
	// Intact is a record, which ends by Span.Next.
	Intact Verdict = iota
	// End is where the data ends. In the last segment zeros may follow. In a sealed one the file ends; it may end
	// before Span.Next, which the caller compares: then the next segment is not the next one, or this one was cut.
	End
	// Torn is no record, in the last segment, where nothing says that one was ever synced: a crash has left it
	// half written, or somebody writes it at this moment. The log ends here, though intact records may follow: none
	// of their group was acknowledged.
	Torn
	// Damaged is no record where one was synced.
	Damaged
)

// Judgement is a verdict with what it is based on.
type Judgement struct {
	Verdict Verdict
	// Found is what the bytes are. A Damaged stretch may be of any kind: a record that reaches past Span.Next,
	// zeros where a record was, anything.
	Found  Found
	Record Record // FoundRecord; its payload is the scanner's, and valid until the next call
	Reason string // of Torn and Damaged: what is wrong with the bytes
	Proof  string // of Damaged: how it is known that they were synced; empty in a sealed segment
}

// Text is the reason and the proof in one.
func (j Judgement) Text() string {
	if j.Proof == "" {
		return j.Reason
	}
	return j.Reason + ", and " + j.Proof
}

// Judge says what lies at the scanner's position. Everything that walks over a journal asks it.
//
// A writer may be at work meanwhile, in this process or in another. Then two verdicts need a second look, with bytes
// read anew. What was read ahead before the segment was sealed may be older than its last bytes; once sealed it does
// not change, so one second look is enough for the whole segment. And a record may be completed between the look at it
// and the look for the mark that attests it. Torn, and the end of the last segment, may mean no more than "not yet".
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

// judge is one look.
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

// Placement is how an offset lies in a segment.
type Placement int

const (
	PlaceOpen   Placement = iota // nothing says otherwise: a record may begin there
	PlaceInside                  // inside an intact record
	PlaceAfter                   // after the end of the data
)

// Place walks over a segment from its beginning to tell how off, which the file reaches, lies in it.
// Damage before off is not judged, only stepped over.
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
