package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"math"
)

// Activity is some records of one agent that are close in time.
type Activity struct {
	Agent      int64 // the agent's number; 0: anonymous
	From, To   int64 // timestamps of the first and the last, or a time that these are in
	Audits     int64 // how many; at least 1
	Unapproved int64 // how many of them have evidence that is not Approved, if that was asked for
}

// Counted is the outcome of a CountActivity.
type Counted struct {
	Any         bool  // there are records
	First, Last int64 // timestamps of the first and the last that were counted
	AsOf        int64 // only records with a lower Entry.Index are in the counts
	Cut         bool  // visit wanted no more
}

// CountActivity counts the records that a filter selects, and hands the counts to visit, in no promised order. Where the
// filter names nothing but an agent, anonymous records, records with evidence that is not Approved, a time and a moment (AsOf),
// the counts are those of table activity as far as the grid allows, and what is left over at the borders is counted from the
// records, see rollupedge.go. Otherwise each record is counted by itself. visit returns whether it wants more.
//
// grid says how a time is divided, in the order of time. It has all records of the answer.
//
// All counts are of one moment, AsOf or when CountActivity began, whatever is applied meanwhile. withUnapproved asks for
// Activity.Unapproved.
func (db *DB) CountActivity(ctx context.Context, f Filter, grid func(first, last int64) []Grid, withUnapproved bool, visit func(Activity) bool) (Counted, error) {
	c := activityCount{db: db, f: f, withUnapproved: withUnapproved, visit: visit}
	if err := c.run(ctx, grid); err != nil {
		return c.Counted, db.fail("count by time", err)
	}
	return c.Counted, nil
}

// activityCount is a CountActivity under way.
type activityCount struct {
	Counted
	db             *DB
	f              Filter
	withUnapproved bool
	visit          func(Activity) bool

	state  rollupState
	number int64 // of the filter's agent
	within span  // the timestamps that the records of the answer can have

	// What table activity has and the answer has not: the records from AsOf on, up to the one before corrected.
	corrections map[rollupKey]rollupCount
	corrected   int64

	// The first and the last count of records with evidence that is not Approved, if there are any: it is not known yet when in
	// them the first and the last record are.
	vague            bool
	earliest, latest Activity
}

func (c *activityCount) run(ctx context.Context, grid func(first, last int64) []Grid) error {
	if err := c.learn(ctx); err != nil {
		return err
	}
	if c.f.Agent != nil && (c.f.Anonymous || c.state.ofAgent == 0) {
		return nil
	}
	c.AsOf = c.state.asOf(&c.f)
	c.f.AsOf = &c.AsOf
	if !c.state.fromRollup(&c.f, &c.db.sizes) {
		return c.records(ctx, c.f)
	}
	// There is no index of the records with evidence that is not Approved. So the time is first that of all records.
	all := c.f
	all.Unapproved = false
	from, to, some, err := c.db.extentOf(ctx, &all)
	if err != nil || !some {
		return err
	}
	c.within = span{from, to}
	c.corrected = c.AsOf
	if c.state.newest+1-c.AsOf > int64(c.db.sizes.corrections) {
		if few, err := c.correctWithin(ctx); err != nil {
			return err
		} else if !few {
			return c.records(ctx, c.f)
		}
	}
	if err := c.correct(ctx); err != nil {
		return err
	}
	if !c.f.Unapproved {
		c.Any, c.First, c.Last = true, from, to
	}
	// Rows of any other time are of records that are not in the answer.
	asked := c.f
	pieces := grid(from, to)
	in, err := c.widen(ctx, asked.times().within(c.wholeQuarters()), pieces)
	if err != nil {
		return err
	}
	asked.From, asked.To = &in.least, &in.most
	for _, s := range divide(&asked, pieces, c.state.minute) {
		if s.span == 0 {
			f := c.f
			f.From, f.To = &s.from, &s.to
			err = c.records(ctx, f)
		} else {
			err = c.rows(ctx, s)
		}
		if err != nil || c.Cut {
			break
		}
	}
	if err != nil || !c.vague {
		return err
	}
	return c.pinpoint(ctx)
}

// pinpoint finds out when the first and the last record are: the counts say in which minute or quarter of an hour.
func (c *activityCount) pinpoint(ctx context.Context) error {
	first, _, err := c.extentIn(ctx, c.earliest, false)
	if err != nil {
		return err
	}
	_, last, err := c.extentIn(ctx, c.latest, true)
	if err != nil {
		return err
	}
	if !c.Any {
		c.Any, c.First, c.Last = true, first, last
	}
	c.First, c.Last = min(c.First, first), max(c.Last, last)
	return nil
}

// extentIn returns the timestamps of the first and the last record of the answer in the first minute, or the last one, that has
// some in the time of a count. A quarter of an hour can have a million records: its minutes are counted too, and so only the
// records of one minute are looked at.
func (c *activityCount) extentIn(ctx context.Context, a Activity, last bool) (from, to int64, err error) {
	if a.To-a.From >= c.state.minute {
		found := false
		err := c.each(ctx, stretch{a.From, a.To, minuteSpan}, func(m Activity) bool {
			if !found || last {
				a, found = m, true
			}
			return last
		})
		if err != nil {
			return 0, 0, err
		}
	}
	f := c.f
	f.From, f.To = &a.From, &a.To
	from, to, ok, err := c.db.extentOf(ctx, &f)
	if err == nil && !ok { // a count that no record explains
		from, to = a.From, a.To
	}
	return from, to, err
}

// learn finds out what a plan depends on.
func (c *activityCount) learn(ctx context.Context) error {
	const query = `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'activity')
			AND NOT EXISTS (SELECT 1 FROM store WHERE name = 'activity') AS whole,
		(SELECT value FROM store WHERE name = 'time_unit') AS unit,
		(SELECT max(idx) FROM audit) AS newest`
	const agent = `SELECT id, audits FROM agent WHERE agent_hex = ?`
	return c.db.readers.use(ctx, func(conn *readerConn) error {
		return conn.readTx(ctx, func() (err error) {
			c.state.newest = -1
			bad := first(ctx, conn, query, nil, func(row []driver.Value) {
				c.state.whole = integer(row[0]) != 0
				c.state.minute, err = minuteUnits(row[1])
				if newest, ok := row[2].(int64); ok {
					c.state.newest = newest
				}
			})
			if bad != nil || err != nil || c.f.Agent == nil {
				return errors.Join(bad, err)
			}
			return first(ctx, conn, agent, []any{hexOf(c.f.Agent)}, func(row []driver.Value) {
				c.number, c.state.ofAgent = integer(row[0]), integer(row[1])
			})
		})
	})
}

// records counts records one by one.
func (c *activityCount) records(ctx context.Context, f Filter) error {
	columns := `a.agent, a.timestamp, 0`
	if c.withUnapproved {
		columns = `a.agent, a.timestamp, ` + unapproved
	}
	more, err := c.db.scanSome(ctx, f, columns, noJoin, nil, func(row []driver.Value) bool {
		timestamp := integer(row[1])
		if !c.Any {
			c.Any, c.First, c.Last = true, timestamp, timestamp
		}
		c.First, c.Last = min(c.First, timestamp), max(c.Last, timestamp)
		return c.visit(Activity{integer(row[0]), timestamp, timestamp, 1, integer(row[2])})
	})
	c.Cut = !more
	return err
}

// rows counts a stretch from table activity.
func (c *activityCount) rows(ctx context.Context, s stretch) error {
	return c.each(ctx, s, func(a Activity) bool {
		if c.f.Unapproved {
			// They come in the order of time, those of several agents together.
			if c.latest = a; !c.vague {
				c.vague, c.earliest = true, a
			}
		}
		c.Cut = !c.visit(a)
		return !c.Cut
	})
}

// each visits what table activity has of a stretch, in the order of time, until visit wants no more. It reads page by page.
func (c *activityCount) each(ctx context.Context, s stretch, visit func(Activity) bool) error {
	after := rollupKey{s.span, s.from / c.state.minute, math.MinInt64}
	last := s.to / c.state.minute // in which minute the stretch ends
	for ended := false; !ended; {
		var page []Activity
		err := c.db.readers.use(ctx, func(conn *readerConn) error {
			return conn.readTx(ctx, func() (err error) {
				page, ended, err = c.page(ctx, conn, &after, last)
				return err
			})
		})
		if err != nil {
			return err
		}
		for i := range page {
			if !visit(page[i]) {
				return nil
			}
		}
	}
	return nil
}

// page reads the next rows after a key, up to the last minute, in one read transaction. It subtracts from them what is not in
// the answer, and moves the key.
func (c *activityCount) page(ctx context.Context, conn *readerConn, after *rollupKey, last int64) (page []Activity, ended bool, err error) {
	const (
		// The rows of one agent stand among those of all others. So the end of the page is looked for first: a read does not
		// get longer because few rows are the agent's.
		edge = `SELECT start, agent FROM activity WHERE span = ? AND (start, agent) > (?, ?) AND start <= ?
			ORDER BY span, start, agent LIMIT 1 OFFSET ?`
		rows  = `SELECT start, agent, audits, unapproved FROM activity WHERE span = ? AND (start, agent) > (?, ?) AND (start, agent) <= (?, ?)`
		order = ` ORDER BY span, start, agent`
	)
	// The rows and the records that are subtracted from them are of the same moment.
	if _, err := c.correctPage(ctx, conn, -1); err != nil {
		return nil, false, err
	}
	from, to := *after, rollupKey{after.span, last, math.MaxInt64}
	ended = true
	err = first(ctx, conn, edge, []any{from.span, from.start, from.agent, last, c.db.sizes.rollupPage - 1}, func(row []driver.Value) {
		to.start, to.agent, ended = integer(row[0]), integer(row[1]), false
	})
	if err != nil {
		return nil, false, err
	}
	query, args := rows, []any{from.span, from.start, from.agent, to.start, to.agent}
	switch {
	case c.f.Agent != nil:
		query, args = rows+` AND agent = ?`, append(args, c.number)
	case c.f.Anonymous:
		query = rows + ` AND agent = 0`
	}
	err = conn.each(ctx, query+order, args, all(func(row []driver.Value) {
		k := rollupKey{from.span, integer(row[0]), integer(row[1])}
		n := rollupCount{integer(row[2]), integer(row[3])}
		n.audits -= c.corrections[k].audits
		n.unapproved -= c.corrections[k].unapproved
		if c.f.Unapproved {
			n.audits = n.unapproved
		}
		if n.audits <= 0 {
			return
		}
		if !c.withUnapproved {
			n.unapproved = 0
		}
		begin := k.start * c.state.minute
		length := k.span * c.state.minute
		end := int64(math.MaxInt64)
		if begin <= math.MaxInt64-length {
			end = begin + length - 1
		}
		// No record of the answer is outside of this time.
		page = append(page, Activity{k.agent, max(begin, c.within.least), min(end, c.within.most), n.audits, n.unapproved})
	}))
	*after = to
	return page, ended, err
}

// correct notes which records table activity has at this moment and the answer has not. There may be many, so they are read
// in pages. Those that are applied from now on are few, and each page of rows notes them itself.
func (c *activityCount) correct(ctx context.Context) error {
	most := c.db.sizes.rollupPage
	for n := most; n == most; {
		var err error
		if n, err = c.correctPage(ctx, c.db.readers, most); err != nil {
			return err
		}
	}
	return nil
}

// wholeQuarters returns the time of the answer in whole quarters of an hour, as table activity has rows for them.
func (c *activityCount) wholeQuarters() span {
	quarter := quarterSpan * c.state.minute
	s := span{c.within.least - c.within.least%quarter, math.MaxInt64}
	if last := c.within.most - c.within.most%quarter; last <= math.MaxInt64-quarter {
		s.most = last + quarter - 1
	}
	return s
}

// correctWithin notes those of the records since AsOf that are in the time of the answer. Most of them are later as a rule: what
// happened in an hour is in the store soon after it, and nearly all that came since is of other hours. An index of the time has
// them, which is passed at a tenth of what it costs to look at each record. It reports false if they are too many, or if it would
// pass too many others.
func (c *activityCount) correctWithin(ctx context.Context) (few bool, err error) {
	most := int64(c.db.sizes.corrections)
	if passed, err := c.recordsIn(ctx, c.within); err != nil || passed/passedPerCorrection > most {
		return false, err
	}
	until := c.state.newest + 1
	rows := c.wholeQuarters()
	f := Filter{Agent: c.f.Agent, Anonymous: c.f.Anonymous, From: &rows.least, To: &rows.most, since: &c.AsOf, AsOf: &until}
	n := int64(0)
	c.corrected = until
	return c.db.scanSome(ctx, f, `a.agent, a.timestamp, `+unapproved, noJoin, nil, func(row []driver.Value) bool {
		c.noteCorrection(row[0], row[1], row[2])
		n++
		return n <= most
	})
}

// passedPerCorrection is how many records an index is passed over, at most, for each that may be subtracted.
const passedPerCorrection = 40

// noteCorrection notes a record, of which there are the agent, the timestamp and whether it has evidence that is not Approved.
func (c *activityCount) noteCorrection(agent, timestamp, unapproved driver.Value) {
	k := rollupKey{minuteSpan, integer(timestamp) / c.state.minute, integer(agent)}
	if c.corrections == nil {
		c.corrections = map[rollupKey]rollupCount{}
	}
	for _, k := range [...]rollupKey{k, k.quarter()} {
		c.corrections[k] = c.corrections[k].plus(integer(unapproved) != 0)
	}
}

// correctPage notes the next such records, at most so many; -1 is no limit. It returns how many it has noted.
func (c *activityCount) correctPage(ctx context.Context, q querier, most int) (n int, err error) {
	const query = `SELECT a.idx, a.agent, a.timestamp, ` + unapproved + ` FROM audit a WHERE a.idx >= ? ORDER BY a.idx LIMIT ?`
	err = q.each(ctx, query, []any{c.corrected, most}, all(func(row []driver.Value) {
		n++
		c.corrected = integer(row[0]) + 1
		c.noteCorrection(row[1], row[2], row[3])
	}))
	return n, err
}

// Extent returns the timestamps of the first and the last record that a filter selects, where they can be found without a look at
// many records: at the ends of an index, or with the rollup. known is false where they cannot. some is false if there is no such
// record.
func (db *DB) Extent(ctx context.Context, f Filter) (from, to int64, some, known bool, err error) {
	if !f.isCounted() {
		return 0, 0, false, false, nil
	}
	c := activityCount{db: db, f: f}
	if err := c.learn(ctx); err != nil {
		return 0, 0, false, false, db.fail("look for the first and the last record", err)
	}
	few := f.Agent != nil && c.state.ofAgent <= int64(db.sizes.lookup)
	switch {
	case f.Agent != nil && f.Anonymous:
		return 0, 0, false, true, nil
	case !f.Unapproved || few:
		if from, to, some, err = db.extentOf(ctx, &f); err != nil {
			err = db.fail("look for the first and the last record", err)
		}
		return from, to, some, err == nil, err
	case !c.state.whole:
		return 0, 0, false, false, nil
	}
	quarters := func(int64, int64) []Grid { return []Grid{{0, math.MaxInt64, quarterSpan}} }
	counted, err := db.CountActivity(ctx, f, quarters, false, func(Activity) bool { return true })
	return counted.First, counted.Last, counted.Any, err == nil, err
}

// extentOf returns the timestamps of the first and the last record that a filter selects by agent, time and moment. It reads
// the ends of an index. ok is false if there is no such record.
func (db *DB) extentOf(ctx context.Context, f *Filter) (from, to int64, ok bool, err error) {
	g := *f
	g.ByAdmission = false
	p := g.path(false)
	where := p.where()
	end := func(order string) string {
		return `(SELECT a.timestamp FROM ` + p.from + ` WHERE ` + where.sql + ` ORDER BY a.timestamp` + order + ` LIMIT 1)`
	}
	query := `SELECT ` + end(``) + `, ` + end(` DESC`)
	err = first(ctx, db.readers, query, append(append([]any{}, where.args...), where.args...), func(row []driver.Value) {
		if ok = row[0] != nil && row[1] != nil; ok {
			from, to = integer(row[0]), integer(row[1])
		}
	})
	return from, to, ok, err
}
