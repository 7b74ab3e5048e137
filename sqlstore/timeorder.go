package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"math"
	"slices"
)

// timeOrder reads the records of a path by time, and puts those of one timestamp into the order of their ids. The path has them
// in the order of admission, since ids in the indexes by time would cost each record a hundred bytes.
//
//	few records of a timestamp   they are held back until a record of another timestamp follows, and sorted
//	more than pages hold         their ids are read first and sorted, and then the records in that order
//
// When the walk passes many records, and the question is about evidence that fewer have, the rest is read by the evidence: see uses.go.
type timeOrder struct {
	s *selection
	w *walker

	held  []auditRow // of one timestamp, in no order
	bytes int        // of their values
	left  int        // records that are still wanted; 0: all

	tied pager // reads the records of timestamp at, if there are many
	at   int64
	done bool

	last *auditRow // that was returned
	met  int       // how many records the walk has met
	look int       // after how many rows it is compared with the way by the evidence
	rest pager     // reads the rest by the evidence
}

func newTimeOrder(s *selection) *timeOrder {
	return &timeOrder{s: s, w: newWalk(s), left: s.q.Limit, last: s.q.After.row(), look: s.db.sizes.lookAfter}
}

// page is a pager.
func (t *timeOrder) page(ctx context.Context) ([]auditRow, error) {
	if t.rest != nil {
		return t.rest(ctx)
	}
	for !t.done {
		if t.tied != nil {
			page, err := t.tied(ctx)
			if page != nil || err != nil {
				return t.out(page), err
			}
			t.tied = nil
			t.w.after(t.at)
		}
		shorter, err := t.byEvidence(ctx)
		if err != nil {
			return nil, err
		}
		if shorter {
			return t.rest(ctx)
		}
		if t.left > 0 {
			t.w.most = t.left + 1 // one more shows whether the records of the last timestamp are complete
		}
		page, err := t.w.page(ctx)
		if err != nil {
			return nil, err
		}
		if page == nil {
			t.done = true
			return t.complete(len(t.held)), nil
		}
		for i := range page {
			t.bytes += len(page[i].Value)
		}
		t.met += len(page)
		t.held = append(t.held, page...)
		last := len(t.held) - 1
		if last < 0 {
			return page, nil
		}
		same := slices.IndexFunc(t.held, func(r auditRow) bool { return r.Timestamp == t.held[last].Timestamp })
		if same == 0 && (len(t.held) >= 4*t.s.db.sizes.selectPage || t.bytes >= 2*t.s.db.sizes.pageBytes) {
			t.at = t.held[0].Timestamp
			t.held, t.bytes = nil, 0
			t.tied = t.s.tied(t.at, t.left)
			continue
		}
		return t.complete(same), nil
	}
	return nil, nil
}

// complete takes the first n records from those that are held, and returns them in order.
func (t *timeOrder) complete(n int) []auditRow {
	page := t.held[:n:n]
	t.held = slices.Clone(t.held[n:])
	t.bytes = 0
	for i := range t.held {
		t.bytes += len(t.held[i].Value)
	}
	t.s.q.sort(page)
	if at := t.s.q.After.row(); at != nil {
		page = slices.DeleteFunc(page, func(r auditRow) bool { return t.s.q.compare(&r, at) <= 0 })
	}
	return t.out(page)
}

// out counts records that are returned, and remembers the last. It returns an empty page for none, since nil would be the end.
func (t *timeOrder) out(page []auditRow) []auditRow {
	if n := len(page); n > 0 {
		t.last = &auditRow{Idx: page[n-1].Idx, Timestamp: page[n-1].Timestamp, QueryID: page[n-1].QueryID}
	}
	if t.left > 0 {
		t.left = max(t.left-len(page), 1)
	}
	if page == nil {
		page = []auditRow{}
	}
	return page
}

// tied returns a pager of the records of one timestamp in the order of their ids. left is how many are wanted; 0: all. It reads the
// places of all of them for each sizes.ties that it returns.
func (s *selection) tied(timestamp int64, left int) pager {
	most := s.db.sizes.ties
	if left > 0 {
		most = min(most, left)
	}
	from := s.q.After.row()
	if from != nil && from.Timestamp != timestamp {
		from = nil
	}
	var pages pager
	more := true
	return func(ctx context.Context) ([]auditRow, error) {
		for {
			if pages != nil {
				page, err := pages(ctx)
				if page != nil || err != nil {
					return page, err
				}
				pages = nil
			}
			if !more {
				return nil, nil
			}
			found, err := s.placesAt(ctx, timestamp, from, most)
			if err != nil || len(found) == 0 {
				return nil, err
			}
			if more = len(found) == most; more {
				last := found[most-1]
				from = &last
			}
			// After the last of them the rest may be read by the evidence, so its place is needed: see timeOrder.byEvidence.
			pages = s.fetch(found, s.placed || left > 0 && s.q.evidence() != nil)
		}
	}
}

// placesAt returns the places of the first records of one timestamp that match, after a row or from the first on, in order.
func (s *selection) placesAt(ctx context.Context, timestamp int64, after *auditRow, most int) ([]auditRow, error) {
	w := newWalk(s)
	equal := and(w.path.equal)
	query := `SELECT a.idx, a.timestamp, e.query_id, (` + w.where.sql + `) FROM ` + w.path.from + withEntry + ` WHERE ` + equal.sql +
		` AND a.timestamp = ? AND a.idx > ? ORDER BY a.idx LIMIT ?`
	var found []auditRow
	keep := func() {
		s.q.sort(found)
		found = found[:min(len(found), most)]
	}
	page := s.db.sizes.maxStretch
	for n, next := page, int64(math.MinInt64); n == page; {
		n = 0
		args := append(append(slices.Clone(w.where.args), equal.args...), timestamp, next, page)
		var bad error
		err := s.db.readers.each(ctx, query, args, func(row []driver.Value) bool {
			n++
			var r auditRow
			if _, bad = r.scanPlace(row); bad != nil {
				return false
			}
			next = r.Idx
			if integer(row[3]) != 0 && (after == nil || s.q.compare(&r, after) > 0) {
				found = append(found, r)
			}
			return true
		})
		if err != nil || bad != nil {
			return nil, cmp.Or(err, bad)
		}
		if len(found) >= 2*most {
			keep()
		}
	}
	keep()
	return found, nil
}
