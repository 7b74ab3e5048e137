package sqlstore

import (
	"context"
	"math"
	"slices"
)

// walker reads a path, see path.
type walker struct {
	db    *DB
	path  path
	span  span   // of the path, as narrow as is known
	where clause // the rest of the filter

	descending bool
	stretch    int  // rows to look at in one read, if the path is selective
	placed     bool // the places of the records are wanted too
	byTime     bool // the path is in the order of time

	cut    bool      // the last page was cut
	limit  int       // by admission, matching records that are still wanted; 0: all
	most   int       // by time, how many records the next page should have; 0: any number
	looked int       // how many rows the stretches had that were read to their ends
	at     *auditRow // the last row looked at, or the place to begin after; nil: the beginning
	done   bool
}

func newWalk(s *selection) *walker {
	w := &walker{
		db: s.db, path: s.q.path, span: s.q.path.span, descending: s.q.Descending, stretch: s.db.sizes.minStretch,
		placed: s.placed, byTime: !s.q.ByAdmission, cut: s.large,
	}
	if !w.byTime {
		w.limit = s.q.Limit
	}
	conditions := slices.Clip(w.path.conditions) // another walk may follow
	among := span{math.MinInt64, s.stats.newest}.within(s.between)
	if s.q.ByAdmission {
		w.span = w.span.within(among)
	} else if among != everything {
		conditions = append(conditions, among.of(`a.idx`)...)
	}
	w.where = and(conditions)
	switch at := s.q.After.row(); {
	case at == nil:
	case w.byTime:
		w.from(at.Timestamp) // timeOrder passes over the records of that timestamp that come before
	case w.passed(at):
		w.at = at
	}
	return w
}

// from leaves out what comes before a timestamp on the path.
func (w *walker) from(timestamp int64) {
	if w.descending {
		w.span.most = min(w.span.most, timestamp)
	} else {
		w.span.least = max(w.span.least, timestamp)
	}
}

// after goes on with what comes after a timestamp on the path.
func (w *walker) after(timestamp int64) {
	w.at = nil
	switch {
	case w.descending && timestamp == math.MinInt64, !w.descending && timestamp == math.MaxInt64:
		w.done = true
	case w.descending:
		w.from(timestamp - 1)
	default:
		w.from(timestamp + 1)
	}
}

// of are the conditions for a column to have the values of s.
func (s span) of(column string) (cs []clause) {
	if s.least > math.MinInt64 {
		cs = append(cs, clause{column + ` >= ?`, []any{s.least}})
	}
	if s.most < math.MaxInt64 {
		cs = append(cs, clause{column + ` <= ?`, []any{s.most}})
	}
	return cs
}

// passed reports whether a place is not before the stretch of the path begins.
func (w *walker) passed(r *auditRow) bool {
	first := w.path.place(r)[0].(int64)
	if w.descending {
		return first <= w.span.most
	}
	return first >= w.span.least
}

// than compares the rows of the path with a place on it.
func (w *walker) than(comparison string, r *auditRow) clause {
	return clause{w.path.keys + comparison + w.path.marks, w.path.place(r)}
}

// stretchTo are the conditions for the rows of the path after the place where the walk is, up to a row, or for a nil one to the
// end. Where they name a place they do not say as well where the path begins or ends: of two bounds of one column SQLite
// searches the index by one, which may be the one that is far away. Then each page would cost as much as all.
func (w *walker) stretchTo(edge *auditRow) []clause {
	cs, left := slices.Clip(w.path.equal), w.span
	low, high := w.at, edge
	more, less := ` > `, ` <= `
	if w.descending {
		low, high = edge, w.at
		more, less = ` >= `, ` < `
	}
	if low != nil {
		cs, left.least = append(cs, w.than(more, low)), everything.least
	}
	if high != nil {
		cs, left.most = append(cs, w.than(less, high)), everything.most
	}
	return append(cs, left.of(w.path.first)...)
}

// page returns the next matching records. It may be empty: on a stretch of the path none may match.
func (w *walker) page(ctx context.Context) ([]auditRow, error) {
	if w.done {
		return nil, nil
	}
	var edge *auditRow
	if w.path.selective() {
		var err error
		if edge, err = w.edge(ctx); err != nil {
			return nil, err
		}
	}
	all := and(append(w.stretchTo(edge), w.where))
	n := w.db.sizes.selectPage
	for _, most := range [...]int{w.limit, w.most} {
		if most > 0 {
			n = min(n, most)
		}
	}
	last := n == w.limit // nothing is read after a full page, so it does not matter where that ends
	page, cut, err := w.db.records(ctx, w.placed || !last || w.cut,
		recordQuery{from: `FROM ` + w.path.from, rest: ` WHERE ` + all.sql + ` ORDER BY ` + w.path.order + ` LIMIT ?`, args: append(all.args, n)})
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
		w.looked += w.stretch
		w.stretch = min(2*w.stretch, w.db.sizes.maxStretch)
	default:
		w.done = true
	}
	if page == nil {
		page = []auditRow{} // nil would be the end
	}
	return page, nil
}

// first returns the first so many records of a path by time that is not selective, and those that have the timestamp of the last of
// them. All are of one state of the database. whole is false if there are too many, or if the page was cut.
func (w *walker) first(ctx context.Context, n int) (page []auditRow, whole bool, err error) {
	q, most := w.firstQuery(n)
	page, cut, err := w.db.records(ctx, true, q)
	return page, err == nil && !cut && len(page) < most, err
}

// firstQuery is the query of first. A page of so many records is not whole.
func (w *walker) firstQuery(n int) (q recordQuery, most int) {
	stretch := and(w.stretchTo(nil))
	most = n + w.db.sizes.selectPage
	return recordQuery{
		from: `FROM ` + w.path.from, rest: ` WHERE ` + stretch.sql + ` ORDER BY ` + w.path.order + ` LIMIT ?`, args: append(stretch.args, most), whole: n,
	}, most
}

// part returns the next stretch of the path as a whole, and nil after the last.
func (w *walker) part(ctx context.Context) (*part, error) {
	if w.done {
		return nil, nil
	}
	edge, err := w.edge(ctx)
	if err != nil {
		return nil, err
	}
	p := &part{from: clause{sql: w.path.from}, where: and(append(w.stretchTo(edge), w.where))}
	if edge != nil {
		w.stretch = min(2*w.stretch, w.db.sizes.maxStretch)
	}
	w.at, w.done = edge, edge == nil
	return p, nil
}

// edge returns the last row of the next stretch, or nil if the path ends in it. It reads nothing but the index.
func (w *walker) edge(ctx context.Context) (*auditRow, error) {
	rest := and(w.stretchTo(nil))
	query := `SELECT a.idx, a.timestamp, NULL FROM ` + w.path.from + ` WHERE ` + rest.sql + ` ORDER BY ` + w.path.order + ` LIMIT 1 OFFSET ?`
	rows, _, err := readPage(ctx, w.db.readers, math.MaxInt, query, append(rest.args, w.stretch-1), (*auditRow).scanPlace)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}
