package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/jmoiron/sqlx"
)

// Select yields the records that a filter asks for, as canonical JSON, in its order: by (timestamp, query
// id) or by admission. What is admitted after it began is left out.
//
// It reads in pages, each a short read transaction. Where the filter names something that few records
// share (a result, an attribute, the beginning of a subject), it looks these up and sorts them; otherwise it
// walks the index whose order is asked for, a stretch of rows at a time, so that a filter which little
// passes does not make one long read either.
func (db *DB) Select(ctx context.Context, f Filter) iter.Seq2[[]byte, error] {
	if f.ByAdmission && !f.Descending && len(f.conditions()) == 0 {
		return db.admitted(ctx, f.Limit)
	}
	return func(yield func([]byte, error) bool) {
		s := selection{db: db.readers, f: &f}
		pages, err := s.begin(ctx)
		for n := 0; err == nil && pages != nil; {
			var page []auditRow
			if page, err = pages(ctx); err != nil || page == nil {
				break
			}
			for i := range page {
				if f.Limit > 0 && n == f.Limit {
					return
				}
				if len(page[i].Value) == 0 { // which no record is
					err = fmt.Errorf("record %x is missing in kv: %w", page[i].QueryID, ErrNotFound)
					break
				}
				if n++; !yield(page[i].Value, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(nil, db.fail("select", err))
		}
	}
}

// admitted yields the first records that were admitted, all if limit is 0: a Select that asks for nothing,
// and so needs no derived table.
func (db *DB) admitted(ctx context.Context, limit int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		n := 0
		for v, err := range db.Values(ctx, 0) {
			if err != nil {
				yield(nil, err)
				return
			}
			if n++; !yield(v.Value, nil) || n == limit {
				return
			}
		}
	}
}

// auditRow is a row of table audit as far as Select needs it.
type auditRow struct {
	Idx       int64
	Timestamp int64
	QueryID   []byte `db:"query_id"`
	Value     []byte
}

func (r *auditRow) size() int { return len(r.Value) }

// recordQuery is a query for records, given from its FROM on: the rows of table audit, as a, and what stands behind the
// join with kv.
type recordQuery struct {
	from, rest string
	args       []any
}

// The ways to join the record that row a of table audit stands for: k.value, or NULL if it is not found. By its row
// in kv a hundred records take three fifths of the time. As a subquery the value would cost a quarter more than by a
// join: SQLite opens kv anew for each row then.
const (
	byRow = ` LEFT JOIN kv k ON k.rowid = a.kv_row AND k.key = CAST(x'004155443A' || a.query_id AS BLOB)`
	byKey = ` LEFT JOIN kv k ON k.key = CAST(x'004155443A' || a.query_id AS BLOB)`
)

// place takes a row's place out of its first columns: idx, timestamp, query_id.
func (r *auditRow) place(row []driver.Value) error {
	idx, ok := row[0].(int64)
	timestamp, also := row[1].(int64)
	if !ok || !also {
		return fmt.Errorf("audit: row %v has the timestamp %v: no numbers", row[0], row[1])
	}
	r.Idx, r.Timestamp, r.QueryID = idx, timestamp, bytesOf(row[2])
	return nil
}

// rowsOf reads rows of audit until their values have pageBytes together, at least one. cut says that there may be more.
func rowsOf(ctx context.Context, readers *sqlx.DB, query string, args []any, scan func(*auditRow, []driver.Value) error) (page []auditRow, cut bool, err error) {
	size := 0
	var bad error
	err = each(ctx, readers, query, args, func(row []driver.Value) bool {
		if cut = size >= pageBytes; cut {
			return false
		}
		var r auditRow
		bad = scan(&r, row)
		size += len(r.Value)
		page = append(page, r)
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, false, err
	}
	return page, cut, nil
}

// records reads a page of records. Unless placed, it reads of each what was asked for alone, its value: the columns that
// say where it stands cost a sixth of the time for a hundred records. They are there all the same if the page was cut,
// so that reading can go on, or if a record is missing, to name it.
func records(ctx context.Context, readers *sqlx.DB, placed bool, q recordQuery) (page []auditRow, cut bool, err error) {
	missing := func() bool {
		return slices.ContainsFunc(page, func(r auditRow) bool { return len(r.Value) == 0 })
	}
	join := byRow
	if !placed {
		page, cut, err = rowsOf(ctx, readers, `SELECT k.value `+q.from+join+q.rest, q.args, func(r *auditRow, row []driver.Value) error {
			r.Value = bytesOf(row[0])
			return nil
		})
		switch {
		case err != nil:
			return nil, false, err
		case missing(): // or in another row now
			join = byKey
		case !cut:
			return page, false, nil
		}
	}
	for {
		page, cut, err = rowsOf(ctx, readers, `SELECT a.idx, a.timestamp, a.query_id, k.value `+q.from+join+q.rest, q.args, func(r *auditRow, row []driver.Value) error {
			r.Value = bytesOf(row[3])
			return r.place(row)
		})
		if err != nil || join == byKey || !missing() {
			return page, cut, err
		}
		join = byKey
	}
}

// selection is a Select under way.
type selection struct {
	db     *sqlx.DB
	f      *Filter
	newest int64 // index of the newest record to be seen
	large  bool  // records are large: a page was cut

	between []clause // where in the order of admission a walk finds some evidence
}

// pager returns the next page of matching records, which may be empty, and nil after the last.
type pager func(context.Context) ([]auditRow, error)

// Variables, so that tests need no large stores.
var (
	// selectPage is how many records are read at a time.
	selectPage = 256

	// maxLookup is how many records are looked up and sorted in memory. What more records share than that
	// is often enough met on a walk.
	maxLookup = 1 << 13

	// fewRecords is how many records are looked up without counting them first.
	fewRecords = 128

	// minStretch and maxStretch bound how many rows a walk looks at in one read transaction.
	minStretch, maxStretch = 512, 8192
)

// begin fixes what is to be seen and picks the way to it. No pager means that nothing matches.
func (s *selection) begin(ctx context.Context) (pager, error) {
	if page, ok, err := s.whole(ctx); err != nil || ok {
		return func(context.Context) (next []auditRow, err error) {
			next, page = page, nil
			return next, nil
		}, err
	}
	if some, err := s.start(ctx); err != nil || !some {
		return nil, err
	}
	found, ok, err := s.rare(ctx)
	if err != nil {
		return nil, err
	}
	if ok {
		return s.fetch(found), nil
	}
	if err := s.narrow(ctx); err != nil {
		return nil, err
	}
	return newWalk(s).page, nil
}

// narrow finds out between which records some evidence is that many have. A bad fact may be new in an old
// store: the walk then passes over what came before by its index alone, in a fifth of the time.
func (s *selection) narrow(ctx context.Context) error {
	e := s.f.evidence()
	if e == nil {
		return nil
	}
	const generations = `WITH RECURSIVE gen (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM gen WHERE n < ?1) `
	in := ` FROM contribution c INDEXED BY ` + e.index() + ` WHERE c.generation = gen.n AND c.` + e.column() + ` = ?2`
	var r struct{ First, Last *int64 }
	err := sqlx.GetContext(ctx, s.db, &r, generations+`SELECT min((SELECT min(c.audit)`+in+`)) AS first,
		max((SELECT max(c.audit)`+in+`)) AS last FROM gen`, s.newest>>generationShift, hex.EncodeToString(e.Hash[:]))
	if err == nil && r.First != nil {
		s.between = []clause{{`a.idx >= ?`, []any{*r.First}}, {`a.idx <= ?`, []any{*r.Last}}}
	}
	return err
}

// start fixes what is to be seen. It reports false when nothing can match.
func (s *selection) start(ctx context.Context) (some bool, err error) {
	if s.f.Agent != nil && s.f.Anonymous {
		return false, nil
	}
	var agent any // NULL: none is named
	if s.f.Agent != nil {
		agent = hex.EncodeToString(s.f.Agent[:])
	}
	const start = `SELECT (SELECT max(idx) FROM audit) AS newest, ?1 IS NULL OR EXISTS (SELECT 1 FROM agent WHERE agent_hex = ?1) AS known`
	err = each(ctx, s.db, start, []any{agent}, func(row []driver.Value) bool {
		s.newest, some = row[0].(int64)
		some = some && integer(row[1]) != 0
		return false
	})
	return some && err == nil, err
}

// whole reads at once what is asked for, if an index has it in order and one page holds it: all of it is then seen at
// one time, so that does not have to be fixed before, by a query of its own. ok is false if it is not so.
func (s *selection) whole(ctx context.Context) (page []auditRow, ok bool, err error) {
	if s.f.Limit <= 0 || s.f.Limit > selectPage || s.f.Agent != nil && s.f.Anonymous {
		return nil, false, nil
	}
	s.newest = math.MaxInt64
	w := newWalk(s)
	if w.selective {
		return nil, false, nil
	}
	page, err = w.page(ctx)
	s.large = w.cut
	return page, err == nil && !w.cut, err
}

// rare looks up the records that have something which few share, in the order asked for: among them are
// all that match. ok is false when the filter names no such thing, or too many records have it.
func (s *selection) rare(ctx context.Context) (found []auditRow, ok bool, err error) {
	for _, l := range s.f.lookups(s.newest) {
		if found, ok, err = s.lookup(ctx, l); err != nil || ok {
			return found, ok, err
		}
	}
	return nil, false, nil
}

// lookup runs l and returns the records it finds in the order asked for; ok is false if they are too many. Most often
// they are few, and the first query has them all. Otherwise the index alone tells how many there are, which for too
// many takes a tenth of the time.
func (s *selection) lookup(ctx context.Context, l lookup) (found []auditRow, ok bool, err error) {
	find := func(limit int) error {
		found, _, err = rowsOf(ctx, s.db, l.with+`SELECT a.idx, a.timestamp, a.query_id `+l.from+l.join+l.where+` AND a.idx <= ? LIMIT ?`,
			append(slices.Clone(l.args), s.newest, limit), (*auditRow).place)
		return err
	}
	few := min(fewRecords, maxLookup)
	if err := find(few + 1); err != nil {
		return nil, false, err
	}
	if len(found) > few {
		n := int64(0)
		err := each(ctx, s.db, l.with+`SELECT count(*) FROM (SELECT 1 `+l.from+l.where+` LIMIT ?)`, append(slices.Clone(l.args), maxLookup+1),
			func(row []driver.Value) bool {
				n = integer(row[0])
				return false
			})
		if err != nil || n > int64(maxLookup) {
			return nil, false, err
		}
		if err := find(-1); err != nil {
			return nil, false, err
		}
	}
	slices.SortFunc(found, func(a, b auditRow) int {
		c := cmp.Compare(a.Idx, b.Idx)
		if !s.f.ByAdmission {
			c = cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), bytes.Compare(a.QueryID, b.QueryID))
		}
		if s.f.Descending {
			return -c
		}
		return c
	})
	return slices.CompactFunc(found, func(a, b auditRow) bool { return a.Idx == b.Idx }), true, nil
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

// fetch returns the records found by a lookup that meet the whole filter, page by page.
func (s *selection) fetch(found []auditRow) pager {
	where := and(s.f.conditions())
	size := min(selectPage, 32) // the first are wanted at once
	placed := false
	return func(ctx context.Context) ([]auditRow, error) {
		if len(found) == 0 {
			return nil, nil
		}
		n := min(len(found), size)
		size = min(2*size, selectPage)
		from := among(found[:n])
		page, cut, err := records(ctx, s.db, placed,
			recordQuery{`FROM ` + from.sql, ` WHERE ` + where.sql + ` ORDER BY j.id`, append(from.args, where.args...)})
		if err != nil {
			return nil, err
		}
		// Large records: the next page will be cut too.
		placed = cut
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
