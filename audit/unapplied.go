package audit

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/auditsql/auditsql/internal/backlog"
)

// before compares two places in the order of a list by time.
func (f *Filter) before(a, b Cursor) int {
	c := cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), a.ID.Compare(b.ID))
	if f.Descending {
		return -c
	}
	return c
}

// ShownEarly reports whether a list with this filter shows records that were acknowledged and that SQLite does not have yet: it is a list by time that
// names nothing but an agent and a time. The backlog has these values of each record in memory. To test anything else it would have to
// read every record from the journal.
func (f Filter) ShownEarly() bool {
	f.Agent, f.Anonymous = nil, false
	return !f.ByAdmission && f.AsOf == nil && f.timed()
}

// shownEarly is ShownEarly of a store that has a backlog.
func (db *DB) shownEarly(f Filter) bool { return db.journal != nil && f.ShownEarly() }

// unapplied returns the places of the records that a filter selects and that SQLite may not have yet, in the order of the list. It has
// no more of them than the filter's limit. It must be called before SQLite is asked: then each acknowledged record is in one of the two.
func (db *DB) unapplied(f Filter) (found []Cursor) {
	// The backlog may be long. So only as many places are kept as can be shown, and what comes after the last of them is passed over.
	// Records come about in the order of their timestamps. So the first ones of the list are met first.
	var last *Cursor
	cut := func() {
		slices.SortFunc(found, f.before)
		if f.Limit > 0 && len(found) >= f.Limit {
			found = found[:f.Limit]
			end := found[f.Limit-1]
			last = &end
		}
	}
	waiting := db.backlog.Visible()
	each := waiting.All
	if f.Descending {
		each = waiting.Backward
	}
	for r := range each {
		if !f.ofBacklog(r) {
			continue
		}
		at := Cursor{r.Timestamp, r.ID}
		if f.After != nil && f.before(at, *f.After) <= 0 || last != nil && f.before(at, *last) > 0 {
			continue
		}
		if found = append(found, at); f.Limit > 0 && len(found)-f.Limit >= f.Limit { // a limit may be as large as an int can be
			cut()
		}
	}
	cut()
	return found
}

// ofBacklog reports whether a record of the backlog meets a filter that names nothing but an agent and a time.
func (f *Filter) ofBacklog(r *backlog.Record) bool {
	return (f.Agent == nil || !r.Anonymous && r.Agent == *f.Agent) && (!f.Anonymous || r.Anonymous) &&
		(f.From == nil || r.Timestamp >= *f.From) && (f.To == nil || r.Timestamp <= *f.To)
}

// merged yields what SQLite has of a list by time, and between that, at their places, the records that it does not have yet.
func (f *Filter) merged(places []Cursor, applied iter.Seq2[[]byte, error], read func(QueryID) ([]byte, error)) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		n := 0
		full := func() bool { return f.Limit > 0 && n == f.Limit }
		show := func(raw []byte, err error) (goOn bool) {
			n++
			return yield(raw, err) && (err == nil || ofRecord(err))
		}
		for raw, err := range applied {
			// Of records before this one SQLite has no more.
			at := Cursor{}
			if err == nil && len(places) > 0 {
				at, err = placeOf(raw)
			}
			for err == nil && len(places) > 0 && f.before(places[0], at) < 0 && !full() {
				if !show(read(places[0].ID)) {
					return
				}
				places = places[1:]
			}
			if err == nil && len(places) > 0 && places[0] == at {
				places = places[1:] // it was applied meanwhile
			}
			// SQLite is asked for the rest of its list also when this one has reached its limit: it can still find that it lacks records.
			if full() && (err == nil || ofRecord(err)) {
				continue
			}
			if !show(raw, err) {
				return
			}
		}
		for ; len(places) > 0 && !full(); places = places[1:] {
			if !show(read(places[0].ID)) {
				return
			}
		}
	}
}

// placeOf returns the place of a stored record.
func placeOf(raw []byte) (Cursor, error) {
	if h, ok := headingOf(raw); ok {
		return Cursor{uint64(h.Timestamp), h.QueryID}, nil
	}
	q, err := storedAudit(raw)
	return CursorOf(&q), err
}

// earliest is a list by time that shows each record as soon as it is acknowledged. It waits for nothing.
func (db *DB) earliest(ctx context.Context, f Filter) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if err := db.readable(ctx); err != nil {
			yield(nil, err)
			return
		}
		places := db.unapplied(f)
		read := func(id QueryID) ([]byte, error) { return db.stored(ctx, id) }
		f.merged(places, inSQLite(ctx, db, f, db.sql.Select), read)(yield)
	}
}
