package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"iter"
	"slices"
)

// part is a piece of what a filter selects, small enough for one short read: rows of table audit, as a, each once.
type part struct {
	from, where clause

	// end is the last row in the order of the parts. nil: no part follows.
	end *border
}

// border is where one part ends and the next begins.
type border struct {
	row         auditRow
	byAdmission bool // the order of the parts, which is otherwise that of time
}

// query makes a statement of a part: the columns, and further tables with their condition.
func (p *part) query(columns, join string, args ...any) (string, []any) {
	all := append(append(append([]any(nil), p.from.args...), args...), p.where.args...)
	return `SELECT ` + columns + ` FROM ` + p.from.sql + join + ` AND ` + p.where.sql, all
}

// noJoin is the condition of a query that joins nothing.
const noJoin = ` WHERE TRUE`

// parts yields what a filter selects, in parts, for counting. The limit and the order of the filter do not matter. The parts come
// in the order of time, or of admission, and with newestFirst in the opposite one. Records that are admitted after it began are
// left out.
func (db *DB) parts(ctx context.Context, f Filter, newestFirst bool) iter.Seq2[part, error] {
	f.Limit, f.Descending, f.After = 0, newestFirst, nil
	// Where nothing names an index, table audit itself is read, in its own order.
	f.ByAdmission = !f.bounded()
	return func(yield func(part, error) bool) {
		if err := db.resolve(ctx, &f); err != nil {
			yield(part{}, err)
			return
		}
		s := newSelection(db, &f, toCount)
		done, err := s.prepare(ctx)
		switch {
		case err != nil:
			yield(part{}, err)
		case done == doLookUp:
			s.foundParts(yield)
		case done == doByEvidence:
			s.evidenceParts(yield)
		case done == doWalk:
			s.walkParts(ctx, yield)
		}
	}
}

// foundParts are made of the records that were looked up.
func (s *selection) foundParts(yield func(part, error) bool) {
	where := and(s.q.conditions())
	// In the order of a walk.
	slices.SortFunc(s.found, func(a, b auditRow) int {
		c := cmp.Compare(a.Idx, b.Idx)
		if !s.q.ByAdmission {
			c = cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), c)
		}
		if s.q.Descending {
			return -c
		}
		return c
	})
	for found := s.found; len(found) > 0; {
		n := min(len(found), s.db.sizes.maxStretch)
		p := part{from: among(found[:n]), where: where}
		if n < len(found) {
			p.end = &border{found[n-1], s.q.ByAdmission}
		}
		if !yield(p, nil) {
			return
		}
		found = found[n:]
	}
}

// evidenceParts are the records of one generation each that have the filter's assertion or source: those of one number of it.
func (s *selection) evidenceParts(yield func(part, error) bool) {
	newest := s.stats.newest
	where := and(append(s.q.conditions(), clause{`a.idx <= ?`, []any{newest}}))
	e := s.q.evidence()
	ids := map[int64]int64{} // by generation
	for _, n := range s.q.numbers[*e.Hash] {
		ids[n.generation] = n.id
	}
	left := len(ids)
	for generation, end := range everyGeneration(newest, s.q.Descending) {
		id, has := ids[generation]
		if !has {
			continue
		}
		if left--; left == 0 {
			end = nil // the generations that follow have nothing to count
		}
		if !yield(part{e.index().audits(id), where, end}, nil) {
			return
		}
	}
}

// everyGeneration yields the generations of records up to that of the newest one (see hashindex.go), each with its border to
// the next. The last one has none.
func everyGeneration(newest int64, newestFirst bool) iter.Seq2[int64, *border] {
	return func(yield func(int64, *border) bool) {
		last := generationOf(newest)
		for i := range last + 1 {
			generation, end := i, &border{auditRow{Idx: (i+1)<<generationShift - 1}, true}
			if newestFirst {
				generation, end = last-i, &border{auditRow{Idx: (last - i) << generationShift}, true}
			}
			if i == last {
				end = nil
			}
			if !yield(generation, end) {
				return
			}
		}
	}
}

// walkParts are stretches of the path that Select would walk.
func (s *selection) walkParts(ctx context.Context, yield func(part, error) bool) {
	w := newWalk(s)
	for {
		p, err := w.part(ctx)
		if err != nil {
			yield(part{}, err)
			return
		}
		if p == nil {
			return
		}
		if w.at != nil {
			p.end = &border{*w.at, s.q.ByAdmission}
		}
		if !yield(*p, nil) {
			return
		}
	}
}

// scanSome runs a query over every part and hands each row to visit, see querier. The rows are counted in Go: SQLite would sort
// each part before it groups it. visit returns whether it wants more rows, and more is false if it did not.
func (db *DB) scanSome(ctx context.Context, f Filter, columns, join string, args []any, visit func([]driver.Value) bool) (more bool, err error) {
	more = true
	for p, err := range db.parts(ctx, f, false) {
		if err != nil {
			return false, err
		}
		query, args := p.query(columns, join, args...)
		err := db.readers.each(ctx, query, args, func(row []driver.Value) bool {
			more = visit(row)
			return more
		})
		if err != nil || !more {
			return more, err
		}
	}
	return more, nil
}
