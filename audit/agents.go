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
	return whileOpen(ctx, db, func(yield func(AgentActivity, error) bool) {
		var agents []AgentActivity
		labels, err := db.Labels(ctx)
		if err == nil && !f.none() {
			err = db.ask(ctx, f.AsOf, func() (err error) {
				agents, _, err = db.agents(ctx, f, Budget{})
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
	})
}

// agentCounts counts the records that a filter selects by agent, in no promised order.
func (db *DB) agentCounts(ctx context.Context, f Filter, b Budget) (counts []sqlstore.AgentCount, cut bool, err error) {
	if f.onlyAsOf() {
		return db.sql.Agents(ctx, indexOf(f.AsOf), b.lower())
	}
	return db.sql.AgentCounts(ctx, f.lower(), b.lower())
}

// agents is agentCounts in the order of Agents.
func (db *DB) agents(ctx context.Context, f Filter, b Budget) (agents []AgentActivity, cut bool, err error) {
	counts, cut, err := db.agentCounts(ctx, f, b)
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
