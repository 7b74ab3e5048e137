package sqlstore

import (
	"context"
	"math"

	"github.com/jmoiron/sqlx"
)

// walk is a way through table audit along an index that has the order a Select asks for.
type walk struct {
	db     *sqlx.DB
	from   string // table and index
	order  string // of the rows
	beyond func(*auditRow) clause
	upTo   func(*auditRow) clause
	bounds clause // the part of the filter that bounds the path: every other row on it is passed over
	where  clause // what the bounds do not say: the whole filter, if it says more

	selective bool // whether rows on the path can be passed over
	stretch   int  // rows to look at in one read, if so

	cut   bool      // the last page was
	limit int       // matching records that are still wanted; 0: all
	at    *auditRow // the last row looked at
	done  bool
}

func newWalk(s *selection) *walk {
	f := s.f
	w := &walk{db: s.db, stretch: minStretch, limit: f.Limit, cut: s.large}
	conditions := f.conditions()

	var bounds []clause
	keys := `(a.timestamp, a.query_id)`
	values := func(r *auditRow) []any { return []any{r.Timestamp, r.QueryID} }
	marks := `(?, ?)`
	agent, ofAgent := f.agent()
	switch name, exact := f.subject(); {
	case f.ByAdmission:
		w.from, keys, marks = `audit a NOT INDEXED`, `a.idx`, `?`
		values = func(r *auditRow) []any { return []any{r.Idx} }
		bounds = append(bounds, clause{`a.idx <= ?`, []any{s.newest}})
	case ofAgent:
		w.from = `audit a INDEXED BY audit_by_agent`
		bounds = append(bounds, agent)
	case exact:
		w.from = `audit a INDEXED BY audit_by_subject`
		bounds = append(bounds, clause{`a.subject = ?`, []any{name}})
	default:
		w.from = `audit a INDEXED BY audit_by_time`
	}
	used := 0 // how many conditions of the filter the bounds are
	if !f.ByAdmission {
		if f.From != nil {
			bounds = append(bounds, clause{`a.timestamp >= ?`, []any{*f.From}})
		}
		if f.To != nil {
			bounds = append(bounds, clause{`a.timestamp <= ?`, []any{*f.To}})
		}
		used = len(bounds)
	}
	w.bounds = and(append(bounds, s.between...))
	w.selective = len(conditions) > used
	if !w.selective { // the bounds are the filter
		conditions = nil
	}
	if s.newest < math.MaxInt64 {
		conditions = append(conditions, clause{`a.idx <= ?`, []any{s.newest}})
	}
	w.where = and(conditions)

	after, before := ` > `, ` <= `
	if f.Descending {
		after, before = ` < `, ` >= `
	}
	w.beyond = func(r *auditRow) clause { return clause{keys + after + marks, values(r)} }
	w.upTo = func(r *auditRow) clause { return clause{keys + before + marks, values(r)} }
	w.order = `a.timestamp, a.query_id`
	if f.Descending {
		w.order = `a.timestamp DESC, a.query_id DESC`
	}
	if f.ByAdmission {
		w.order = `a.idx`
		if f.Descending {
			w.order = `a.idx DESC`
		}
	}
	return w
}

// page returns the next matching records; none may match on a stretch of the path.
func (w *walk) page(ctx context.Context) ([]auditRow, error) {
	if w.done {
		return nil, nil
	}
	path := []clause{w.bounds}
	if w.at != nil {
		path = append(path, w.beyond(w.at))
	}
	var edge *auditRow
	if w.selective {
		var err error
		if edge, err = w.edge(ctx, and(path)); err != nil {
			return nil, err
		}
		if edge != nil {
			path = append(path, w.upTo(edge))
		}
	}
	all := and(append(path, w.where))
	n := selectPage
	if w.limit > 0 {
		n = min(n, w.limit)
	}
	last := n == w.limit // nothing is read after a full page, so it does not matter where that ends
	page, cut, err := records(ctx, w.db, !last || w.cut,
		recordQuery{`FROM ` + w.from, ` WHERE ` + all.sql + ` ORDER BY ` + w.order + ` LIMIT ?`, append(all.args, n)})
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
		w.stretch = min(2*w.stretch, maxStretch)
	default:
		w.done = true
	}
	if page == nil {
		page = []auditRow{} // nil would be the end
	}
	return page, nil
}

// part returns the next stretch of the path as a whole, and nil after the last.
func (w *walk) part(ctx context.Context) (*part, error) {
	if w.done {
		return nil, nil
	}
	path := []clause{w.bounds}
	if w.at != nil {
		path = append(path, w.beyond(w.at))
	}
	edge, err := w.edge(ctx, and(path))
	if err != nil {
		return nil, err
	}
	if edge != nil {
		path = append(path, w.upTo(edge))
		w.stretch = min(2*w.stretch, maxStretch)
	}
	w.at, w.done = edge, edge == nil
	return &part{clause{sql: w.from}, and(append(path, w.where))}, nil
}

// edge returns the last row of the stretch that begins here, or nil if the path ends in it. The index alone
// tells.
func (w *walk) edge(ctx context.Context, path clause) (*auditRow, error) {
	rows, _, err := rowsOf(ctx, w.db, `SELECT a.idx, a.timestamp, a.query_id FROM `+w.from+` WHERE `+path.sql+` ORDER BY `+w.order+` LIMIT 1 OFFSET ?`,
		append(path.args, w.stretch-1), (*auditRow).place)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}
