package wal

import (
	"context"
	"fmt"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// surveyed is what a walk over the log from the cursor on has found.
type surveyed struct {
	end     Offset // of the last intact record
	mark    Offset // the highest offset that a mark attests, or 0
	records int
	torn    string // what is wrong at end; empty when the log just ends
	closed  bool   // the last record is a mark of all before it
}

// survey verifies the log from the cursor to its end and changes nothing. A torn tail is in the result, and recovery
// may cut it. Damage, which recovery must not touch, is an error.
//
// The log is not read before the cursor. Between the cursor and reached everything is known to have been synced, so
// a record there that is not intact is damage and must not be cut.
func survey(ctx context.Context, fsys FS, segs []Segment, cursor, reached Offset, identity []byte) (surveyed, error) {
	var found surveyed
	first, last := segs[0], segs[len(segs)-1]
	at := segmentOf(segs, cursor)
	// First, since another journal's segments lead to any of the other errors.
	if err := checkSegments(ctx, fsys, segs[max(0, at):], identity); err != nil {
		return found, err
	}
	if at < 0 {
		return found, fmt.Errorf("%s: %w: the log begins at offset %d, after the cursor %d", first.Path, ErrGap, first.Base, cursor)
	}
	if last.Base+Offset(last.Size) < cursor {
		return found, fmt.Errorf("%s: %w: it ends at offset %d or before, the cursor is %d", last.Path, ErrAhead, last.Base+Offset(last.Size), cursor)
	}
	found.end = max(cursor, segs[at].Base)
	for i := at; i < len(segs); i++ {
		if err := surveySegment(ctx, fsys, segs[i], baseAfter(segs, i), cursor, reached, &found); err != nil {
			return found, err
		}
	}
	if found.end < reached {
		return found, fmt.Errorf("%s: %w: it ends at offset %d, and had been synced up to %d", last.Path, ErrAhead, found.end, reached)
	}
	return found, nil
}

// surveySegment continues a survey in one segment; next is the base of the one after it, or 0.
func surveySegment(ctx context.Context, fsys FS, seg Segment, next, cursor, reached Offset, found *surveyed) error {
	f, err := fsys.Open(seg.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := scan(f, seg.Base, found.end)
	if err != nil {
		return err
	}
	if err := checkCursor(ctx, f, s, seg, cursor); err != nil {
		return err
	}
	span := segment.Span{Next: uint64(next), Synced: uint64(reached)}
	for {
		j, err := s.Judge(ctx, span)
		if err != nil {
			return err
		}
		at := Offset(s.Offset())
		found.end = at
		switch {
		case j.Verdict == segment.Intact:
			s.Skip(j.Record)
			found.end, found.closed = Offset(j.Record.Next), false
			if !j.Record.IsControl() {
				found.records++
				continue
			}
			c, err := segment.DecodeControl(j.Record, uint64(seg.Base))
			if err != nil {
				return &CorruptError{seg.Path, at, err.Error()}
			}
			found.mark = max(found.mark, Offset(c.Mark))
			found.closed = c.Kind == segment.KindMark && Offset(c.Mark) == at
		case j.Verdict == segment.End && at < next:
			// It ends where a record ends: a file may be missing, or this one was cut.
			return fmt.Errorf("%s: %w: it ends at offset %d, the next segment begins at %d", seg.Path, ErrGap, at, next)
		case j.Verdict == segment.End:
			return nil
		case j.Verdict == segment.Torn:
			found.torn = j.Reason
			return nil
		case next == 0 && j.Found == segment.FoundEnd:
			return nil // before reached, which is ErrAhead
		default:
			return &CorruptError{seg.Path, at, j.Text()}
		}
	}
}

// checkCursor refuses a cursor that this log cannot have given: one inside an intact record, or after
// the end of the data.
//
// If a record verifies at the cursor, that is enough. So it is if the file ends there, after a byte
// that is not zero, as a clean close leaves it. In any other case the segment is read from its beginning.
func checkCursor(ctx context.Context, f File, s *segment.Scanner, seg Segment, cursor Offset) error {
	if cursor <= seg.Base || cursor > seg.Base+Offset(s.Size()) {
		return nil
	}
	if _, found, _, err := s.Peek(ctx); err != nil || found == segment.FoundRecord {
		return err
	}
	if s.Pos() == s.Size() {
		if before, err := s.ByteBefore(ctx); err != nil || before != 0 {
			return err
		}
	}
	where, err := segment.Place(ctx, f, uint64(seg.Base), uint64(cursor))
	switch {
	case err != nil:
		return err
	case where == segment.PlaceInside:
		return &CorruptError{seg.Path, cursor, "the cursor lies inside an intact record"}
	case where == segment.PlaceAfter && !seg.Sealed:
		return fmt.Errorf("%s: %w: the data ends before the cursor %d", seg.Path, ErrAhead, cursor)
	}
	return nil
}
