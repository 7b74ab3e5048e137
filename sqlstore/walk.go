package sqlstore

import (
	"context"
	"math"
	"slices"
)

// walker reads a path, see path.
type walker struct {
	db     *DB
	path   path
	after  string // the comparisons for rows after a place on the path,
	upTo   string // and up to one
	bounds clause // of the stretch of the path
	where  clause // the whole filter, where the bounds do not say it

	stretch int  // rows to look at in one read, if the path is selective
	placed  bool // the places of the records are wanted too

	cut   bool      // the last page was cut
	limit int       // matching records that are still wanted; 0: all
	at    *auditRow // the last row looked at, or the place to begin after; nil: the beginning
	done  bool
}

func newWalk(s *selection) *walker {
	p := s.q.path
	w := &walker{db: s.db, path: p, stretch: s.db.sizes.minStretch, placed: s.placed, limit: s.q.Limit, cut: s.large, at: s.q.After.row()}
	bounds, conditions := slices.Clip(p.bounds), slices.Clip(p.conditions) // another walk may follow
	newest := clause{`a.idx <= ?`, []any{s.stats.newest}}
	if s.q.ByAdmission {
		bounds = append(bounds, newest)
	}
	if s.stats.newest < math.MaxInt64 {
		conditions = append(conditions, newest)
	}
	w.bounds, w.where = and(append(bounds, s.between...)), and(conditions)
	w.after, w.upTo = ` > `, ` <= `
	if s.q.Descending {
		w.after, w.upTo = ` < `, ` >= `
	}
	return w
}

// than compares the rows of the path with a place on it.
func (w *walker) than(comparison string, r *auditRow) clause {
	return clause{w.path.keys + comparison + w.path.marks, w.path.place(r)}
}

// rest are the conditions for what is left of the path.
func (w *walker) rest() []clause {
	if w.at == nil {
		return []clause{w.bounds}
	}
	return []clause{w.bounds, w.than(w.after, w.at)}
}

// page returns the next matching records. It may be empty: on a stretch of the path none may match.
func (w *walker) page(ctx context.Context) ([]auditRow, error) {
	if w.done {
		return nil, nil
	}
	rest := w.rest()
	var edge *auditRow
	if w.path.selective {
		var err error
		if edge, err = w.edge(ctx, and(rest)); err != nil {
			return nil, err
		}
		if edge != nil {
			rest = append(rest, w.than(w.upTo, edge))
		}
	}
	all := and(append(rest, w.where))
	n := w.db.sizes.selectPage
	if w.limit > 0 {
		n = min(n, w.limit)
	}
	last := n == w.limit // nothing is read after a full page, so it does not matter where that ends
	page, cut, err := w.db.records(ctx, w.placed || !last || w.cut,
		recordQuery{`FROM ` + w.path.from, ` WHERE ` + all.sql + ` ORDER BY ` + w.path.order + ` LIMIT ?`, append(all.args, n)})
	if err != nil {
		return nil, err
	}
	w.cut = cut // large records: the next page will be cut too
	switch {
	case len(page) == n || cut:
		w.at = &page[len(page)-1]
		if w.limit > 0 {
			w.limit -= len(page)
			w.done = w.limit == 0
		}
	case edge != nil:
		if w.limit > 0 {
			w.limit -= len(page) // which are fewer than were wanted
		}
		w.at = edge
		w.stretch = min(2*w.stretch, w.db.sizes.maxStretch)
	default:
		w.done = true
	}
	if page == nil {
		page = []auditRow{} // nil would be the end
	}
	return page, nil
}

// part returns the next stretch of the path as a whole, and nil after the last.
func (w *walker) part(ctx context.Context) (*part, error) {
	if w.done {
		return nil, nil
	}
	rest := w.rest()
	edge, err := w.edge(ctx, and(rest))
	if err != nil {
		return nil, err
	}
	if edge != nil {
		rest = append(rest, w.than(w.upTo, edge))
		w.stretch = min(2*w.stretch, w.db.sizes.maxStretch)
	}
	w.at, w.done = edge, edge == nil
	return &part{clause{sql: w.path.from}, and(append(rest, w.where))}, nil
}

// edge returns the last row of the next stretch, or nil if the path ends in it. It reads nothing but the index.
func (w *walker) edge(ctx context.Context, rest clause) (*auditRow, error) {
	query := `SELECT a.idx, a.timestamp, a.query_id FROM ` + w.path.from + ` WHERE ` + rest.sql + ` ORDER BY ` + w.path.order + ` LIMIT 1 OFFSET ?`
	rows, _, err := readPage(ctx, w.db.readers, math.MaxInt, query, append(rest.args, w.stretch-1), (*auditRow).scanPlace)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}
