package audit

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/auditsql/auditsql/sqlstore"
)

// silent lists the agents that stopped earlier than their own rate explains, see Timeline.Silent.
func (c *calendar) silent(ctx context.Context, db *DB, t *Timeline) error {
	from, to, ok := c.shown()
	if c.o.Now > 0 {
		to = min(to, c.o.Now)
	}
	if !ok || c.incomplete || to < from {
		return nil
	}
	agents, err := c.quiet(ctx, db, from, to)
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
		if err := c.pinpoint(ctx, db, a); err != nil {
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

// quietAgent is an agent that may be silent. audits are its records in the time shown.
type quietAgent struct {
	id     AgentID
	number int64
	agentSpan

	// The rate is that of all its records: so many, from first to last. 0 records: that of the records in the time shown.
	records, first, last uint64
}

// rated reports whether the records of the time shown are enough for a rate.
func (s *agentSpan) rated() bool { return s.audits >= MinRated }

// quiet returns the agents that may be silent, in no order: none that cannot be.
func (c *calendar) quiet(ctx context.Context, db *DB, from, to uint64) (agents []quietAgent, err error) {
	numbers := make([]int64, 0, len(c.agents))
	for number := range c.agents {
		numbers = append(numbers, number)
	}
	hashes, err := db.sql.AgentHashes(ctx, numbers)
	if err != nil {
		return nil, err
	}
	for number, s := range c.agents {
		if id := hashes[number]; id != nil && s.rated() {
			agents = append(agents, quietAgent{id: *id, number: number, agentSpan: *s})
		}
	}
	if c.o.Filter.timed() {
		all, _, err := db.sql.Agents(ctx, &c.asOf, sqlstore.Budget{})
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			first, last := uint64(a.First), uint64(a.Last)
			s := c.agents[a.Number]
			switch {
			case a.Agent == nil || s != nil && s.rated():
				continue
			case s == nil && first >= from: // it came after the time shown
				continue
			case s == nil && last < from:
				s = &agentSpan{lastFrom: last, lastTo: last}
			case s == nil: // it has records before the time shown and after it
				s = &agentSpan{lastFrom: first, lastTo: from - 1}
			}
			agents = append(agents, quietAgent{*a.Agent, a.Number, *s, uint64(a.Audits), first, last})
		}
	}
	return slices.DeleteFunc(agents, func(a quietAgent) bool { return a.mostExpected(to) < MinExpected }), nil
}

// pinpoint looks up when exactly the agent's first and last records are.
func (c *calendar) pinpoint(ctx context.Context, db *DB, a *quietAgent) (err error) {
	var at int64
	if a.lastFrom != a.lastTo {
		if at, _, err = db.sql.LastOf(ctx, a.number, int64(a.lastFrom), int64(a.lastTo), c.asOf); err != nil {
			return err
		}
		a.lastFrom, a.lastTo = uint64(at), uint64(at)
	}
	if a.records == 0 && a.firstFrom != a.firstTo {
		if at, _, err = db.sql.FirstOf(ctx, a.number, int64(a.firstFrom), int64(a.firstTo), c.asOf); err != nil {
			return err
		}
		a.firstFrom, a.firstTo = uint64(at), uint64(at)
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
