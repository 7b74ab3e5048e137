package audit

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/auditsql/auditsql/sqlstore"
)

// silent lists the agents that stopped earlier than their own rate explains, see Timeline.Silent.
func (c *calendar) silent(ctx context.Context, p *parts, t *Timeline) error {
	from, to, ok := c.shown()
	if !ok || c.incomplete {
		return nil
	}
	present, err := c.present(ctx, p)
	if err != nil {
		return err
	}
	if to = min(to, present); to < from {
		return nil
	}
	agents, err := c.quiet(ctx, p, from, to)
	if err != nil {
		return err
	}
	// Only the latest are shown. When there are enough, those that cannot be among them are not looked at: for each one the
	// exact times are looked up.
	slices.SortFunc(agents, func(a, b quietAgent) int { return cmp.Compare(b.lastTo, a.lastTo) })
	least := uint64(0)
	for i := range agents {
		a := &agents[i]
		if a.lastTo < least {
			break
		}
		if err := c.pinpoint(ctx, p, a); err != nil {
			return err
		}
		expected := a.expected(to)
		if expected < MinExpected {
			continue
		}
		t.Silent = append(t.Silent, SilentAgent{a.id, a.lastTo, a.audits, expected})
		if len(t.Silent) == MaxSilent+1 {
			least = math.MaxUint64
			for _, s := range t.Silent {
				least = min(least, s.Last)
			}
		}
	}
	slices.SortFunc(t.Silent, func(a, b SilentAgent) int {
		return cmp.Or(cmp.Compare(b.Last, a.Last), a.AgentID.Compare(b.AgentID))
	})
	if t.MoreSilent = len(t.Silent) > MaxSilent; t.MoreSilent {
		t.Silent = t.Silent[:MaxSilent:MaxSilent]
	}
	return nil
}

// present is the latest time at which an agent can have been heard, see TimelineOptions.Now.
func (c *calendar) present(ctx context.Context, p *parts) (uint64, error) {
	switch {
	case c.o.Now > 0:
		return c.o.Now, nil
	case c.o.Filter.AsOf == nil:
		return MaxTimestamp, nil
	}
	newest := uint64(0)
	for i, db := range p.dbs {
		all := p.at(Filter{}, i)
		_, last, some, _, err := db.sql.Extent(ctx, all.lower())
		if err != nil {
			return 0, err
		}
		if some {
			newest = max(newest, uint64(last))
		}
	}
	return newest, nil
}

// quietAgent is an agent that may be silent. audits are its records in the time shown.
type quietAgent struct {
	id AgentID
	agentSpan

	// The rate is that of all its records: so many, from first to last. 0 records: that of the records in the time shown.
	records, first, last uint64
}

// rated reports whether the records of the time shown are enough for a rate.
func (s *agentSpan) rated() bool { return s.audits >= MinRated }

// quiet returns the agents that may be silent, in no order: none that cannot be.
func (c *calendar) quiet(ctx context.Context, p *parts, from, to uint64) (agents []quietAgent, err error) {
	spans, err := c.spans(ctx, p)
	if err != nil {
		return nil, err
	}
	for id, s := range spans {
		if s.rated() {
			agents = append(agents, quietAgent{id: id, agentSpan: *s})
		}
	}
	if c.o.Filter.timed() {
		then := &parts{dbs: p.dbs, home: p.home}
		for i := range p.dbs {
			n := uint64(max(c.asOf[i], 0))
			then.asOf = append(then.asOf, &n)
		}
		all, _, err := then.agentCounts(ctx, Filter{}, Budget{})
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if a.Agent == nil {
				continue
			}
			first, last := uint64(a.First), uint64(a.Last)
			s := spans[*a.Agent]
			switch {
			case s != nil && s.rated():
				continue
			case s == nil && first >= from: // it came after the time shown
				continue
			case s == nil && last < from:
				s = &agentSpan{lastFrom: last, lastTo: last}
			case s == nil: // it has records before the time shown and after it
				s = &agentSpan{lastFrom: first, lastTo: from - 1}
			}
			agents = append(agents, quietAgent{*a.Agent, *s, uint64(a.Audits), first, last})
		}
	}
	return slices.DeleteFunc(agents, func(a quietAgent) bool { return a.mostExpected(to) < MinExpected }), nil
}

// spans are the agents that were counted, by their hashes, without the anonymous records.
func (c *calendar) spans(ctx context.Context, p *parts) (map[Hash]*agentSpan, error) {
	spans := make(map[Hash]*agentSpan, len(c.agents))
	if c.book != nil {
		for number, s := range c.agents {
			if id := c.book.hashes[number]; id != nil {
				spans[*id] = s
			}
		}
		return spans, nil
	}
	hashes, err := p.dbs[0].sql.AgentHashes(ctx, slices.Collect(maps.Keys(c.agents)))
	for number, s := range c.agents {
		if id := hashes[number]; id != nil {
			spans[*id] = s
		}
	}
	return spans, err
}

// pinpoint looks up when exactly the agent's first and last records are.
func (c *calendar) pinpoint(ctx context.Context, p *parts, a *quietAgent) error {
	if a.lastFrom != a.lastTo {
		at := uint64(0)
		err := c.ends(ctx, p, a, (*sqlstore.DB).LastOf, a.lastFrom, a.lastTo, func(last uint64) { at = max(at, last) })
		if err != nil {
			return err
		}
		a.lastFrom, a.lastTo = at, at
	}
	if a.records == 0 && a.firstFrom != a.firstTo {
		at := uint64(math.MaxUint64)
		err := c.ends(ctx, p, a, (*sqlstore.DB).FirstOf, a.firstFrom, a.firstTo, func(first uint64) { at = min(at, first) })
		if err != nil {
			return err
		}
		a.firstFrom, a.firstTo = at, at
	}
	return nil
}

// ends looks up in each part the first or the last record that an agent has in a time.
func (c *calendar) ends(ctx context.Context, p *parts, a *quietAgent,
	look func(db *sqlstore.DB, ctx context.Context, agent, from, to, asOf int64, onlyUnapproved bool) (int64, bool, error),
	from, to uint64, found func(uint64),
) error {
	for i, db := range p.dbs {
		number, err := db.sql.AgentNumber(ctx, a.id)
		if err != nil {
			return err
		}
		if number < 0 {
			continue
		}
		at, ok, err := look(db.sql, ctx, number, int64(from), int64(to), c.asOf[i], c.o.Filter.Unapproved)
		if err != nil {
			return err
		}
		if ok {
			found(uint64(at))
		}
	}
	return nil
}

// expected is how many records the agent would have had from its last one to a time. The times must be exact.
func (a *quietAgent) expected(to uint64) uint64 {
	if a.records > 0 {
		return expected(a.records, a.first, a.last, a.lastTo, to)
	}
	return expected(a.audits, a.firstFrom, a.lastTo, a.lastTo, to)
}

// mostExpected is the most that expected can be, whenever in their spans the first and the last record are.
func (a *quietAgent) mostExpected(to uint64) uint64 {
	switch {
	case a.records > 0:
		return expected(a.records, a.first, a.last, a.lastFrom, to)
	case a.lastFrom <= a.firstTo && a.lastFrom < to: // they can be as close as one likes
		return math.MaxUint64
	}
	return expected(a.audits, a.firstTo, a.lastFrom, a.lastFrom, to)
}

// expected is how many records come from one time to another at the rate of n records from first to last. A few records, and
// those that are all of one time, have no rate.
func expected(n, first, last, from, to uint64) uint64 {
	if n < MinRated || last <= first || to <= from {
		return 0
	}
	return uint64(min(float64(n-1)*float64(to-from)/float64(last-first), 1<<53))
}
