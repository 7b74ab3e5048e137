package wal

import (
	"fmt"
	"slices"

	"github.com/zeebo/blake3"
)

// lay decides what becomes of a damaged range: which of the records that the caller hands back fit into it,
// and what is left to be filled.
func (p *planner) lay(d *DamagedRange) error {
	if d.Offset == d.End {
		return nil
	}
	cursor := p.rep.Cursor
	inside := d.Offset < cursor && cursor < d.End
	if inside {
		d.edges = []Offset{cursor}
	}
	if !d.joins(d.Offset, d.End) {
		return &CorruptError{d.Segment, d.Offset, fmt.Sprintf(
			"%s; no record can have stood between this, the cursor %d and %d, so a segment or the cursor does not belong to this log", d.Reason, cursor, d.End)}
	}
	d.edges = edges(d, p.marks, cursor, inside)
	l := layer{d: d, free: d.Offset}
	if err := l.take(p.o, cursor); err != nil {
		return fmt.Errorf("look for the records of [%d, %d): %w", d.Offset, d.End, err)
	}
	l.fill(d.End)
	return nil
}

// edges returns the offsets in a damaged range at which a record is known to begin: the cursor, which
// recovery refuses when it lies inside a record, and what marks behind the range vouch for.
func edges(d *DamagedRange, marks []Offset, cursor Offset, inside bool) []Offset {
	var known []Offset
	before := d.Offset
	take := func(edge, next Offset) {
		if edge >= before+minRecord && edge+minRecord <= next {
			known, before = append(known, edge), edge
		}
	}
	first, _ := slices.BinarySearch(marks, d.Offset)
	for _, mark := range marks[first:] {
		if mark >= d.End {
			break
		}
		if inside && mark >= cursor {
			take(cursor, d.End)
			inside = false
		}
		if inside {
			take(mark, cursor)
		} else {
			take(mark, d.End)
		}
	}
	if inside {
		take(cursor, d.End)
	}
	return known
}

// joins reports whether records can lie back to back from one offset to another, which is not below it.
func (d *DamagedRange) joins(from, to Offset) bool {
	for edge := d.edgeBehind(from); edge < to; edge = d.edgeBehind(from) {
		if edge-from < minRecord {
			return false
		}
		from = edge
	}
	return from == to || to-from >= minRecord
}

// edgeBehind returns the next edge behind an offset, or the end of the range.
func (d *DamagedRange) edgeBehind(off Offset) Offset {
	if i, _ := slices.BinarySearch(d.edges, off+1); i < len(d.edges) {
		return d.edges[i]
	}
	return d.End
}

// layer puts records into a damaged range, one behind the other.
type layer struct {
	d    *DamagedRange
	free Offset // what lies below has been laid
}

// take takes those of the records handed back that can have stood where it is said. Each is held against
// where the next one begins, so it is looked at when that is known.
func (l *layer) take(o RepairOptions, cursor Offset) error {
	if o.Records == nil || l.d.Offset >= cursor {
		l.identify(o.Identity, l.d.End)
		return nil
	}
	var held extent
	var reason string
	some := false
	for rec, err := range o.Records(l.d.Offset, l.d.End) {
		if err != nil {
			return err
		}
		if some {
			l.place(held, reason, rec.Offset)
		} else {
			l.identify(o.Identity, rec.Offset)
		}
		held, some, reason = extent{rec.Offset, headerSize + int64(len(rec.Payload))}, true, ""
		if err := checkPayload(rec.Payload, MaxPayload); err != nil {
			reason = err.Error()
		}
	}
	if some {
		l.place(held, reason, l.d.End)
	} else {
		l.identify(o.Identity, l.d.End)
	}
	return nil
}

// identify puts the identity at the beginning of a segment, where it fits; next is where the first record is said
// to begin. A record that the caller has from that very place stood there: the segment is older than the identity.
func (l *layer) identify(identity []byte, next Offset) {
	at := l.d.Offset
	if len(identity) == 0 || at != l.d.Base || next == at {
		return
	}
	end, bound := at+Offset(identitySize(identity)), l.d.edgeBehind(at)
	if at < next && next < bound {
		bound = next
	}
	if end <= bound && l.d.joins(end, bound) {
		l.d.Identity, l.free = true, end
	}
}

// place lays a record, or refuses it; next is where the one behind it is said to begin.
func (l *layer) place(rec extent, reason string, next Offset) {
	bound := l.d.edgeBehind(rec.at)
	if rec.at < next && next < bound {
		bound = next
	}
	switch {
	case reason != "":
	case rec.at < l.d.Offset || rec.at >= l.d.End:
		reason = fmt.Sprintf("it lies outside of [%d, %d), which was asked for", l.d.Offset, l.d.End)
	case rec.at < l.free:
		reason = fmt.Sprintf("the record before it ends at %d", l.free)
	case !l.d.joins(l.free, rec.at):
		reason = fmt.Sprintf("no record fits between %d and where it begins", l.free)
	case rec.end() > bound:
		reason = fmt.Sprintf("it would reach past %d, where a record begins", bound)
	case !l.d.joins(rec.end(), bound):
		reason = fmt.Sprintf("no record fits between its end and %d, where one begins", bound)
	}
	if reason != "" {
		l.d.Refused = append(l.d.Refused, Refused{rec.at, rec.size, reason})
		return
	}
	l.fill(rec.at)
	l.d.records = append(l.d.records, rec)
	l.d.Restored++
	l.d.RestoredBytes += rec.size
	l.free = rec.end()
}

// fill takes down fillers from where the range is free up to an offset.
func (l *layer) fill(to Offset) {
	for l.free < to {
		n := int64(min(to, l.d.edgeBehind(l.free)) - l.free)
		l.d.Fillers += int((n + maxFiller - 1) / maxFiller)
		l.d.FillBytes += n
		l.free += Offset(n)
	}
}

// maxFiller is the size of the longest filler.
const maxFiller = headerSize + MaxPayload

// fillerSize returns how long the first filler of a gap is, so that what it leaves is nothing or has room
// for another.
func fillerSize(gap int64) int64 {
	switch {
	case gap <= maxFiller:
		return gap
	case gap-maxFiller < minRecord:
		return gap - minRecord
	}
	return maxFiller
}

// fillers makes filler records.
type fillers struct {
	record []byte // the last one that was made
}

// head returns the beginning of a filler of so many bytes that lies at off: all of it that is not zero. It
// is valid until the next call.
func (f *fillers) head(off Offset, size int64) []byte {
	if int64(len(f.record)) != size {
		if int64(cap(f.record)) < size {
			f.record = make([]byte, size)
		}
		f.record = f.record[:size]
		// Beyond the head a buffer that was made for another one has zeros and nothing else.
		f.record[headerSize] = kindFiller
		hash := blake3.Sum256(f.record[headerSize:])
		appendRecord(f.record[:0], &hash, f.record[headerSize:])
	}
	sealRecord(f.record, off)
	return f.record[:headerSize+1]
}
