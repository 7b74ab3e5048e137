package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"math"
	"slices"
)

// A walk by time passes every record until it has met as many as are wanted. When old records with much evidence came to the store
// late, or the evidence is only in the newest ones, it passes nearly all. So from time to time it is compared with the other way:
// to read all records that have the evidence, by its index, and to keep the first of them. That costs more for each record, but
// its cost is known. The comparison is made again when twice as many rows were passed.

// uses counts the pieces of evidence that a question is about, up to most + 1.
func (s *selection) uses(ctx context.Context, most int64) (n int64, err error) {
	e := s.q.evidence()
	x := e.index()
	query := `SELECT count(*) FROM (SELECT 1 FROM ` + x.listed("c") + ` WHERE ` + x.matchListed("c") + ` AND c.audit <= ? LIMIT ?)`
	err = first(ctx, s.db.readers, query, []any{s.q.numbers.list(e.Hash), s.stats.newest, most + 1}, func(row []driver.Value) { n = integer(row[0]) })
	return n, err
}

// firstUses returns the places of the first records of a question, in its order, after a row or from the first on. It reads the
// places of all records that have the evidence.
func (s *selection) firstUses(ctx context.Context, after *auditRow, most int) ([]auditRow, error) {
	e := s.q.evidence()
	x, where, rest := e.index(), and(nil), *s.q.Filter
	if e.Source {
		rest.Source = nil
	} else {
		rest.Assertion = nil
	}
	if len(rest.conditions()) > 0 { // the rest may be about the same piece, so all is asked
		where = and(s.q.conditions())
	}
	query := x.usesOf(`(` + where.sql + `)`)
	var found []auditRow
	var bound *auditRow // of the rows that are kept the last, if they are enough
	keep := func() {
		s.q.sort(found)
		found = slices.CompactFunc(found, func(a, b auditRow) bool { return a.Idx == b.Idx })
		if len(found) >= most {
			found = found[:most:most]
			bound = &found[most-1]
		}
	}
	numbers := s.q.numbers[*e.Hash]
	ids := make([]int64, len(numbers))
	for i := range numbers {
		ids[i] = numbers[i].id
	}
	var bad error
	err := s.db.eachUse(ctx, query, where.args, ids, s.stats.newest+1, s.db.sizes.maxStretch, func(_ int, row []driver.Value) bool {
		var r auditRow
		if _, bad = r.scanPlace(row[1:]); bad != nil {
			return false
		}
		if integer(row[4]) != 0 && (after == nil || s.q.compare(&r, after) > 0) && (bound == nil || s.q.compare(&r, bound) < 0) {
			if found = append(found, r); len(found) >= 2*most+s.db.sizes.maxStretch {
				keep()
			}
		}
		return true
	})
	if err != nil || bad != nil {
		return nil, cmp.Or(err, bad)
	}
	keep()
	return found, nil
}

// sparse is how many times fewer records a walk must have met than there would be if the evidence were spread evenly, for the conclusion
// that it is somewhere else.
const sparse = 8

// byEvidence reports whether the rest is read by the evidence from now on, and finds it then.
func (t *timeOrder) byEvidence(ctx context.Context) (shorter bool, err error) {
	if t.left == 0 || t.s.q.evidence() == nil || t.w.looked < t.look || t.left > t.s.db.sizes.ties {
		return false, nil
	}
	all, looked := t.s.stats.newest+1, int64(t.w.looked)
	uses, err := t.s.uses(ctx, all/passedPerUse)
	switch {
	case err != nil:
		return false, err
	case uses > all/passedPerUse: // to pass all records takes no longer
		t.look = math.MaxInt
		return false, nil
	case uses*passedPerUse > looked && int64(t.met)*sparse >= looked*uses/all:
		t.look = 2 * t.w.looked
		return false, nil
	}
	found, err := t.s.firstUses(ctx, t.last, t.left)
	t.held, t.rest = nil, t.s.fetch(found, t.s.placed)
	return true, err
}
