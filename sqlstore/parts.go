package sqlstore

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"iter"
)

// part is a piece of what a filter selects, small enough for one short read: rows of table audit, under the
// name a, each once.
type part struct {
	from, where clause
}

// query makes a statement of a part: columns and further tables before its condition, grouping after it.
func (p *part) query(columns, join string, tail string, args ...any) (string, []any) {
	all := append(append(append([]any(nil), p.from.args...), args...), p.where.args...)
	return `SELECT ` + columns + ` FROM ` + p.from.sql + join + ` AND ` + p.where.sql + ` ` + tail, all
}

// noJoin is the condition of a query that joins nothing.
const noJoin = ` WHERE TRUE`

// parts yields what a filter selects, in parts and in no promised order: for counting. The limit and the order
// of the filter do not matter. What is admitted after it began is left out.
func (db *DB) parts(ctx context.Context, f Filter) iter.Seq2[part, error] {
	f.Limit, f.Descending = 0, false
	// Where nothing names an index, table audit itself is read, in its own order.
	bounded := f.bounded()
	f.ByAdmission = !bounded
	return func(yield func(part, error) bool) {
		s := selection{db: db.readers, f: &f}
		some, err := s.start(ctx)
		if err != nil {
			yield(part{}, err)
			return
		}
		if !some {
			return
		}
		found, ok, err := s.rare(ctx)
		switch {
		case err != nil:
			yield(part{}, err)
		case ok:
			s.rareParts(found, yield)
		case !bounded && f.evidence() != nil:
			s.evidenceParts(yield)
		default:
			if err := s.narrow(ctx); err != nil {
				yield(part{}, err)
				return
			}
			s.walkParts(ctx, yield)
		}
	}
}

// bounded reports whether the filter names what an index of table audit has in the order of time.
func (f *Filter) bounded() bool {
	_, exact := f.subject()
	return f.From != nil || f.To != nil || f.Agent != nil || f.Anonymous || exact
}

// rareParts are made of the records that were looked up.
func (s *selection) rareParts(found []auditRow, yield func(part, error) bool) {
	where := and(s.f.conditions())
	for len(found) > 0 {
		n := min(len(found), maxStretch)
		if !yield(part{among(found[:n]), where}, nil) {
			return
		}
		found = found[n:]
	}
}

// evidenceParts are the records of one generation each that have the filter's assertion or source.
func (s *selection) evidenceParts(yield func(part, error) bool) {
	where := and(append(s.f.conditions(), clause{`a.idx <= ?`, []any{s.newest}}))
	e := s.f.evidence()
	for gen := int64(0); gen <= s.newest>>generationShift; gen++ {
		from := clause{`(SELECT DISTINCT u.audit AS idx FROM contribution u INDEXED BY ` + e.index() + `
			WHERE u.generation = ? AND u.` + e.column() + ` = ?) j CROSS JOIN audit a ON a.idx = j.idx`,
			[]any{gen, hex.EncodeToString(e.Hash[:])}}
		if !yield(part{from, where}, nil) {
			return
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
		if p == nil || !yield(*p, nil) {
			return
		}
	}
}

// scan runs a query over every part and hands each row to visit, see each. The rows
// are counted in Go: SQLite would sort each part before it groups it.
func (db *DB) scan(ctx context.Context, f Filter, columns, join string, args []any, visit func([]driver.Value)) error {
	for p, err := range db.parts(ctx, f) {
		if err != nil {
			return err
		}
		query, args := p.query(columns, join, ``, args...)
		if err := each(ctx, db.readers, query, args, all(visit)); err != nil {
			return err
		}
	}
	return nil
}
