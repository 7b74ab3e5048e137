package wal

import (
	"fmt"
	"slices"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// planRange decides what is written to a damaged range: those of the records that the caller hands back that fit into
// it, and fillers for the rest.
func (p *planner) planRange(d *DamagedRange) error {
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
	r := rangePlan{d: d, free: d.Offset}
	if err := r.restore(p.o, cursor); err != nil {
		return fmt.Errorf("look for the records of [%d, %d): %w", d.Offset, d.End, err)
	}
	r.fill(d.End)
	return nil
}

// edges returns the offsets in a damaged range at which a record is known to begin: the cursor, which
// recovery refuses when it lies inside a record, and the offsets that later marks attest.
func edges(d *DamagedRange, marks []Offset, cursor Offset, inside bool) []Offset {
	var known []Offset
	before := d.Offset
	add := func(edge, next Offset) {
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
			add(cursor, d.End)
			inside = false
		}
		if inside {
			add(mark, cursor)
		} else {
			add(mark, d.End)
		}
	}
	if inside {
		add(cursor, d.End)
	}
	return known
}

// joins reports whether records can lie back to back from one offset to another, which is not before it.
func (d *DamagedRange) joins(from, to Offset) bool {
	for edge := d.edgeAfter(from); edge < to; edge = d.edgeAfter(from) {
		if edge-from < minRecord {
			return false
		}
		from = edge
	}
	return from == to || to-from >= minRecord
}

// edgeAfter returns the next edge after an offset, or the end of the range.
func (d *DamagedRange) edgeAfter(off Offset) Offset {
	if i, _ := slices.BinarySearch(d.edges, off+1); i < len(d.edges) {
		return d.edges[i]
	}
	return d.End
}

// rangePlan plans the records of a damaged range, one after the other.
type rangePlan struct {
	d    *DamagedRange
	free Offset // what lies before it is planned
}

// restore plans those of the records handed back that can have stood where the caller says. Each is compared with the
// beginning of the next one, so it is planned when that is known.
func (r *rangePlan) restore(o RepairOptions, cursor Offset) error {
	if o.Records == nil || r.d.Offset >= cursor {
		r.identify(o.Identity, r.d.End)
		return nil
	}
	var held extent
	var reason string
	some := false
	for rec, err := range o.Records(r.d.Offset, r.d.End) {
		if err != nil {
			return err
		}
		if some {
			r.place(held, reason, rec.Offset)
		} else {
			r.identify(o.Identity, rec.Offset)
		}
		held, some, reason = extent{rec.Offset, headerSize + int64(len(rec.Payload))}, true, ""
		if err := checkPayload(rec.Payload, MaxPayload); err != nil {
			reason = err.Error()
		}
	}
	if some {
		r.place(held, reason, r.d.End)
	} else {
		r.identify(o.Identity, r.d.End)
	}
	return nil
}

// identify plans the identity at the beginning of a segment, if it fits; next is where the caller says that the first
// record begins. If that is the very beginning, there was no identity: the segment is older than it.
func (r *rangePlan) identify(identity []byte, next Offset) {
	at := r.d.Offset
	if len(identity) == 0 || at != r.d.Base || next == at {
		return
	}
	end, bound := at+Offset(segment.IdentitySize(identity)), r.d.edgeAfter(at)
	if at < next && next < bound {
		bound = next
	}
	if end <= bound && r.d.joins(end, bound) {
		r.d.Identity, r.free = true, end
	}
}

// place plans a record, or refuses it; next is where the caller says that the one after it begins.
func (r *rangePlan) place(rec extent, reason string, next Offset) {
	bound := r.d.edgeAfter(rec.at)
	if rec.at < next && next < bound {
		bound = next
	}
	switch {
	case reason != "":
	case rec.at < r.d.Offset || rec.at >= r.d.End:
		reason = fmt.Sprintf("it lies outside of [%d, %d), which was asked for", r.d.Offset, r.d.End)
	case rec.at < r.free:
		reason = fmt.Sprintf("the record before it ends at %d", r.free)
	case !r.d.joins(r.free, rec.at):
		reason = fmt.Sprintf("no record fits between %d and where it begins", r.free)
	case rec.end() > bound:
		reason = fmt.Sprintf("it would reach past %d, where a record begins", bound)
	case !r.d.joins(rec.end(), bound):
		reason = fmt.Sprintf("no record fits between its end and %d, where one begins", bound)
	}
	if reason != "" {
		r.d.Refused = append(r.d.Refused, Refused{rec.at, rec.size, reason})
		return
	}
	r.fill(rec.at)
	r.d.records = append(r.d.records, rec)
	r.d.Restored++
	r.d.RestoredBytes += rec.size
	r.free = rec.end()
}

// fill plans fillers from where the range is free up to an offset.
func (r *rangePlan) fill(to Offset) {
	for r.free < to {
		n := int64(min(to, r.d.edgeAfter(r.free)) - r.free)
		r.d.Fillers += segment.Fillers(n)
		r.d.FillBytes += n
		r.free += Offset(n)
	}
}
