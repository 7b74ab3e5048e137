package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"iter"
	"math"
	"slices"
	"strconv"
)

// Select yields the records that a filter asks for, as canonical JSON, in its order: by (timestamp, query
// id) or by admission. A record that is admitted after Select began is left out.
//
// In place of a record that kv lacks, or whose value does not match its leaf hash, it yields a *RecordError. The receiver
// may go on after it. After any other error the sequence ends.
//
// It reads in pages, each a short read transaction. Where the filter names something that few records
// share (a result, an attribute, the first letters of a subject), Select looks these records up and sorts them. Otherwise it
// walks the index that has the order asked for, a stretch of rows at a time, so that a filter which few records
// pass does not make one long read either.
func (db *DB) Select(ctx context.Context, f Filter) iter.Seq2[[]byte, error] {
	if f.inAdmission() {
		return db.admitted(ctx, f)
	}
	return func(yield func([]byte, error) bool) {
		for row, err := range db.selected(ctx, f, false) {
			var value []byte
			if row != nil && err == nil {
				value = row.Value
			}
			if !yield(value, err) {
				return
			}
		}
	}
}

// A Numbered is a record with its number in the order of admission.
type Numbered struct {
	Index   uint64 // as in Entry
	QueryID [32]byte
	Value   []byte // canonical JSON
}

// SelectNumbered is Select with the number of each record. In place of a record that is damaged it yields the number and the
// id with the *RecordError.
func (db *DB) SelectNumbered(ctx context.Context, f Filter) iter.Seq2[Numbered, error] {
	return func(yield func(Numbered, error) bool) {
		if f.inAdmission() {
			n := 0
			for v, err := range db.values(ctx, f.next(), f.AsOf) {
				if n++; !yield(Numbered{v.Index, v.QueryID, v.Value}, err) || n == f.Limit {
					return
				}
			}
			return
		}
		for row, err := range db.selected(ctx, f, true) {
			var v Numbered
			if row != nil {
				v.Index = uint64(row.Idx)
				copy(v.QueryID[:], row.QueryID)
				if err == nil {
					v.Value = row.Value
				}
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// selected yields the rows that Select is made from. They have their places only if placed is set.
func (db *DB) selected(ctx context.Context, f Filter, placed bool) iter.Seq2[*auditRow, error] {
	return func(yield func(*auditRow, error) bool) {
		if err := db.resolve(ctx, &f); err != nil {
			yield(nil, db.fail("select", err))
			return
		}
		pages, want, whole, err := db.begin(ctx, &f, placed)
		n := 0
		for err == nil && pages != nil {
			var page []auditRow
			if page, err = pages(ctx); err != nil || page == nil {
				break
			}
			for i := range page {
				if f.Limit > 0 && n == f.Limit {
					return
				}
				damage := page[i].damage()
				if damage != nil {
					damage = db.fail("select", damage)
				}
				if n++; !yield(&page[i], damage) {
					return
				}
			}
		}
		// Records that came before the walk had begun are among the rows, and those that came later are not. So what there was at first
		// bounds the rows from below alone, and what there is now from above alone.
		most := want
		if err == nil && whole && n > most {
			most, whole, err = db.least(ctx, &f)
		}
		if err == nil && (n < want || whole && n > most) {
			err = &IncompleteError{Table: "audit", Have: uint64(n), Want: uint64(most)}
		}
		if err != nil {
			yield(nil, db.fail("select", err))
		}
	}
}

// begin returns the pages of a selection, and what least says of them. A list that has as many records as its limit lacks none, whatever
// there is, so nothing else is read for it. A shorter one is whole if there are no more records than it has. In any other case it
// must be known what there is before the list is read: records may come meanwhile.
func (db *DB) begin(ctx context.Context, f *Filter, placed bool) (pages pager, want int, whole bool, err error) {
	list := func() (pager, int, error) {
		s := newSelection(db, f, toRead)
		s.placed = placed
		pages, err := s.begin(ctx)
		return pages, len(s.once), err
	}
	has := -1 // not read yet
	if f.Limit > 0 {
		pages, has, err = list()
		if err != nil || has >= f.Limit || !f.unconditional() {
			return pages, 0, false, err
		}
	}
	if want, whole, err = db.least(ctx, f); err == nil && (has < 0 || has != want) {
		pages, _, err = list()
	}
	return pages, want, whole, err
}

// inAdmission reports whether a filter selects a stretch of the order of admission. That needs no derived table.
func (f *Filter) inAdmission() bool {
	return f.ByAdmission && !f.Descending && f.onlyAsOf()
}

// unconditional reports whether a filter selects every record that there is, or was at a moment, up to its limit.
func (f *Filter) unconditional() bool { return f.After == nil && f.onlyAsOf() }

// least returns how many records a Select must find at least: without conditions that is every record there is when it
// begins, or was at the moment that the filter names, up to the limit, and whole is true. With conditions nothing is known, nor
// while a Reindex is filling the tables (see Reindexing).
func (db *DB) least(ctx context.Context, f *Filter) (n int, whole bool, err error) {
	if !f.unconditional() {
		return 0, false, nil
	}
	e, err := db.extent(ctx)
	if err != nil || e.filling {
		return 0, false, err
	}
	e = e.asOf(f.AsOf)
	if f.Limit > 0 {
		e.want = min(e.want, int64(f.Limit))
	}
	return int(e.want), true, nil
}

// next is the index of the first record that a filter selects by admission.
func (f *Filter) next() uint64 {
	if f.After == nil {
		return 0
	}
	return uint64(f.After.Index) + 1
}

// admitted is a Select in the order of admission without conditions. It needs no derived table.
func (db *DB) admitted(ctx context.Context, f Filter) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		n := 0
		for v, err := range db.values(ctx, f.next(), f.AsOf) {
			if damaged := (*RecordError)(nil); err != nil && !errors.As(err, &damaged) {
				yield(nil, err)
				return
			}
			if n++; !yield(v.Value, err) || n == f.Limit {
				return
			}
		}
	}
}

// selection is a Select, or a count, under way. See planNext for the steps that it takes.
type selection struct {
	db *DB
	q  question

	stats  statistics
	once   []auditRow // the page of readOnce
	found  []auditRow // by the lookup that was tried last
	large  bool       // records are large: a page was cut
	placed bool       // the places of the records are wanted too
	// between is where in the order of admission a walk finds the filter's evidence.
	between span
}

func newSelection(db *DB, f *Filter, to purpose) *selection {
	return &selection{db: db, q: newQuestion(f, to), between: everything}
}

// pager returns the next page of matching records, which may be empty, and nil after the last.
type pager func(context.Context) ([]auditRow, error)

// begin finds out how the records are found, and returns the way to them. No pager means that nothing matches.
func (s *selection) begin(ctx context.Context) (pager, error) {
	done, err := s.prepare(ctx)
	if err != nil {
		return nil, err
	}
	switch done {
	case doFinish:
		return nil, nil
	case doReadOnce:
		return func(context.Context) (next []auditRow, err error) {
			next, s.once = s.once, nil
			return next, nil
		}, nil
	case doLookUp:
		return s.fetch(s.found, s.placed), nil
	}
	if s.q.ByAdmission {
		return newWalk(s).page, nil
	}
	return newTimeOrder(s).page, nil
}

// prepare takes the steps that planNext asks for, up to the one that gives the records. It returns that one.
func (s *selection) prepare(ctx context.Context) (action, error) {
	for {
		p := planNext(&s.q, &s.db.sizes, &s.stats)
		var err error
		switch p.action {
		case doReadOnce:
			var whole bool
			if whole, err = s.readOnce(ctx); err == nil && whole {
				return doReadOnce, nil
			}
			s.once = nil
		case doLearn:
			err = s.learn(ctx)
		case doProbe:
			err = s.probe(ctx, p.lookup)
		case doCount:
			err = s.count(ctx, p.lookup)
		case doWeigh:
			err = s.weigh(ctx)
		case doNarrow:
			err = s.narrow(ctx)
		case doLookUp:
			return doLookUp, s.lookUp(ctx, p.lookup)
		case doWalkSubject:
			rows := fewOfAgent
			if p.lookup != noLookup {
				rows = s.stats.shares[p.lookup].rows
			}
			return doWalk, s.shorter(ctx, rows)
		default:
			return p.action, nil
		}
		if err != nil {
			return doFinish, err
		}
	}
}

// fewOfAgent is how many records of an agent are read rather than passing over those of a subject, which may be any number. Each costs a row of
// table audit, which may be a page of the disk.
const fewOfAgent = 256

// shorter makes the path that of the subject, which has so many rows, unless that of the agent has fewer.
func (s *selection) shorter(ctx context.Context, rows int) error {
	stretch := s.q.path.stretch()
	query := `SELECT count(*) FROM (SELECT 1 FROM ` + s.q.path.from + ` WHERE ` + stretch.sql + ` LIMIT ?)`
	return first(ctx, s.db.readers, query, append(stretch.args, rows), func(row []driver.Value) {
		if integer(row[0]) >= int64(rows) {
			s.q.path = s.q.Filter.path(true)
		}
	})
}

// readOnce reads one page of the path, and reports whether that is all.
func (s *selection) readOnce(ctx context.Context) (whole bool, err error) {
	s.stats.triedOnce, s.stats.newest = true, math.MaxInt64
	w := newWalk(s)
	if s.q.ByAdmission {
		s.once, err = w.page(ctx)
		s.large = w.cut
		return !w.cut, err
	}
	if s.db.heading != nil && !s.placed {
		if s.once, whole, err = w.found(ctx, &s.q, s.q.Limit); whole || err != nil {
			return whole, err
		}
	}
	s.once, whole, err = w.first(ctx, s.q.Limit)
	s.q.sort(s.once)
	return whole, err
}

// sort puts rows into the order of the filter.
func (f *Filter) sort(rows []auditRow) {
	slices.SortStableFunc(rows, func(a, b auditRow) int { return f.compare(&a, &b) })
}

// learn fixes what is to be seen.
func (s *selection) learn(ctx context.Context) error {
	const query = `SELECT (SELECT max(idx) FROM audit), ?1 IS NULL OR EXISTS (SELECT 1 FROM agent WHERE agent_hex = ?1)`
	var agent any // NULL: none is named
	if s.q.Agent != nil {
		agent = hexOf(s.q.Agent)
	}
	s.stats.learned, s.stats.newest = true, -1
	return first(ctx, s.db.readers, query, []any{agent}, func(row []driver.Value) {
		if newest, ok := row[0].(int64); ok {
			s.stats.newest = newest
		}
		if asOf := s.q.AsOf; asOf != nil {
			s.stats.newest = min(s.stats.newest, *asOf-1)
		}
		s.stats.agentKnown = integer(row[1]) != 0
	})
}

// probe looks up the first records by a lookup. Most often they are few, and this query has them all.
func (s *selection) probe(ctx context.Context, n int) error {
	few := s.db.sizes.probe()
	err := s.find(ctx, n, few+1)
	s.stats.shares = append(s.stats.shares, share{rows: len(s.found), exact: len(s.found) <= few})
	return err
}

// count counts what a lookup finds in its index, as far as it matters.
func (s *selection) count(ctx context.Context, n int) error {
	query, args := s.q.lookups[n].count(s.stats.newest, s.db.sizes.lookup+1)
	return first(ctx, s.db.readers, query, args, func(row []driver.Value) {
		s.stats.shares[n] = share{rows: int(integer(row[0])), exact: true}
	})
}

func (s *selection) find(ctx context.Context, n, limit int) (err error) {
	query, args := s.q.lookups[n].find(s.stats.newest, limit)
	s.found, _, err = readPage(ctx, s.db.readers, math.MaxInt, query, args, (*auditRow).scanPlace)
	return err
}

// lookUp finds the records that share something, each once and in the order asked for: all that match are among them.
func (s *selection) lookUp(ctx context.Context, n int) error {
	if s.stats.shares[n].rows > s.db.sizes.probe() { // the probe did not find all
		if err := s.find(ctx, n, -1); err != nil {
			return err
		}
	}
	s.q.sort(s.found)
	s.found = slices.CompactFunc(s.found, func(a, b auditRow) bool { return a.Idx == b.Idx })
	if at := s.q.After.row(); at != nil {
		s.found = slices.DeleteFunc(s.found, func(r auditRow) bool { return s.q.compare(&r, at) <= 0 })
	}
	return nil
}

// compare compares the places of two rows in the order of the filter.
func (f *Filter) compare(a, b *auditRow) int {
	c := cmp.Compare(a.Idx, b.Idx)
	if !f.ByAdmission {
		c = cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), bytes.Compare(a.QueryID, b.QueryID))
	}
	if f.Descending {
		return -c
	}
	return c
}

// row returns the place as that of a row, or nil for none.
func (p *Place) row() *auditRow {
	if p == nil {
		return nil
	}
	return &auditRow{Idx: p.Index, Timestamp: p.Timestamp, QueryID: p.QueryID[:]}
}

// narrow finds out between which records the evidence is, when many have it. A bad fact may be new in an old
// store: the walk then passes over what came before by its index alone, in a fifth of the time.
func (s *selection) narrow(ctx context.Context) error {
	s.stats.narrowed = true
	e := s.q.evidence()
	return first(ctx, s.db.readers, e.index().span(), []any{s.q.numbers.list(e.Hash)}, func(row []driver.Value) {
		if oldest, ok := row[0].(int64); ok {
			s.between = span{oldest, integer(row[1])}
		}
	})
}

// among is table audit, as a, narrowed to rows that were found, at least one. Ordered by j.id they come in this order.
func among(found []auditRow) clause {
	list := []byte{'['}
	for _, r := range found {
		list = append(strconv.AppendInt(list, r.Idx, 10), ',')
	}
	list[len(list)-1] = ']'
	return clause{`json_each(?) j CROSS JOIN audit a ON a.idx = j.value`, []any{string(list)}}
}

// fetch returns the records found by a lookup that meet the whole filter, page by page. places asks for their places too.
func (s *selection) fetch(found []auditRow, places bool) pager {
	where := and(s.q.conditions())
	size := min(s.db.sizes.selectPage, 32) // the first are wanted at once
	placed := places
	return func(ctx context.Context) ([]auditRow, error) {
		if len(found) == 0 {
			return nil, nil
		}
		n := min(len(found), size)
		size = min(2*size, s.db.sizes.selectPage)
		from := among(found[:n])
		page, cut, err := s.db.records(ctx, placed,
			recordQuery{from: `FROM ` + from.sql, rest: ` WHERE ` + where.sql + ` ORDER BY j.id`, args: append(from.args, where.args...)})
		if err != nil {
			return nil, err
		}
		// Large records: the next page will be cut too.
		placed = cut || places
		if cut { // the page ended early: the rest of it is found again, after its last row
			idx := page[len(page)-1].Idx
			n = 1 + slices.IndexFunc(found, func(r auditRow) bool { return r.Idx == idx })
		}
		found = found[n:]
		if page == nil {
			page = []auditRow{} // nil would be the end
		}
		return page, nil
	}
}
