package audit

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/auditsql/auditsql/sqlstore"
)

// AgentActivity says how many records an agent has, and when.
type AgentActivity struct {
	AgentID     *AgentID // nil: the anonymous records, which are no agent
	Label       string   // "" if it has none
	Audits      uint64
	First, Last uint64 // timestamps
}

// Agents yields the agents that have records which a filter selects, with the number of these records and their times.
// Agents with the most records come first, then by id. The anonymous records, if there are any, come last, as one
// entry. The filter's limit counts entries. Its order has no effect.
//
// The figures are stored by agent, and by agent and time, see Timeline. With a filter that these do not answer, the records
// that it selects are counted first.
func (db *DB) Agents(ctx context.Context, f Filter) iter.Seq2[AgentActivity, error] {
	return whileOpen(ctx, db, agentsOf(ctx, db, f, db.Labels))
}

// agentsOf yields the agents of a store, with their labels.
func agentsOf(ctx context.Context, in asked, f Filter, labelsOf func(context.Context) (*Labels, error)) iter.Seq2[AgentActivity, error] {
	return func(yield func(AgentActivity, error) bool) {
		var agents []AgentActivity
		labels, err := labelsOf(ctx)
		if err == nil && !f.none() {
			err = in.inParts(ctx, f.AsOf, func(p *parts) (err error) {
				agents, _, err = p.agents(ctx, f, Budget{})
				return err
			})
		}
		for i := 0; err == nil && i < len(agents) && (f.Limit <= 0 || i < f.Limit); i++ {
			if id := agents[i].AgentID; id != nil {
				agents[i].Label = labels.Of(*id)
			}
			if !yield(agents[i], nil) {
				return
			}
		}
		if err != nil {
			yield(AgentActivity{}, fmt.Errorf("agents: %w", err))
		}
	}
}

// agentCounts counts the records that a filter selects by agent, in no promised order. The numbers of the agents mean nothing.
func (p *parts) agentCounts(ctx context.Context, f Filter, b Budget) (counts []sqlstore.AgentCount, cut bool, err error) {
	type counted struct {
		agents []sqlstore.AgentCount
		cut    bool
	}
	b = b.share(len(p.dbs))
	found, err := each(ctx, p, func(ctx context.Context, i int, db *DB) (c counted, err error) {
		if f := p.at(f, i); f.onlyAsOf() {
			c.agents, c.cut, err = db.sql.Agents(ctx, indexOf(f.AsOf), b.lower())
		} else {
			c.agents, c.cut, err = db.sql.AgentCounts(ctx, f.lower(), b.lower())
		}
		return c, err
	})
	if err != nil {
		return nil, false, err
	}
	if len(found) == 1 {
		return found[0].agents, found[0].cut, nil
	}
	all := map[agentKey]*sqlstore.AgentCount{}
	for _, c := range found {
		cut = cut || c.cut
		for _, a := range c.agents {
			into := all[keyOf(a.Agent)]
			if into == nil {
				into = &sqlstore.AgentCount{Agent: a.Agent, First: a.First, Last: a.Last}
				all[keyOf(a.Agent)] = into
			}
			into.Audits += a.Audits
			into.First, into.Last = min(into.First, a.First), max(into.Last, a.Last)
		}
	}
	for _, a := range all {
		counts = append(counts, *a)
	}
	return counts, cut, nil
}

// agents is agentCounts in the order of Agents.
func (p *parts) agents(ctx context.Context, f Filter, b Budget) (agents []AgentActivity, cut bool, err error) {
	counts, cut, err := p.agentCounts(ctx, f, b)
	if err != nil {
		return nil, false, err
	}
	agents = make([]AgentActivity, len(counts))
	for i, c := range counts {
		agents[i] = AgentActivity{AgentID: (*Hash)(c.Agent), Audits: uint64(c.Audits), First: uint64(c.First), Last: uint64(c.Last)}
	}
	slices.SortFunc(agents, func(a, b AgentActivity) int {
		return compareAgents(a.AgentID, b.AgentID, a.Audits, b.Audits)
	})
	return agents, cut, nil
}
