package view

import (
	"context"

	"github.com/auditsql/auditsql/audit"
)

// An Agent is an agent with its records.
type Agent struct {
	AgentID    *audit.AgentID `json:"agent_id"` // nil: the anonymous records
	AgentLabel *string        `json:"agent_label"`
	Audits     uint64         `json:"audits"`
	First      uint64         `json:"first"`
	FirstTime  string         `json:"first_time"`
	Last       uint64         `json:"last"`
	LastTime   string         `json:"last_time"`
}

// Agents streams the agents that have records which a filter selects, those with the most first. The filter's
// limit counts agents, not records.
func (v *Viewer) Agents(ctx context.Context, f audit.Filter) *Stream[Agent] {
	limit := f.Limit
	f.Limit = oneMore(limit)
	return &Stream[Agent]{limit: limit, rows: mapped(v.store.Agents(ctx, f), func(a *audit.AgentActivity) Agent {
		return Agent{a.AgentID, v.label(a.AgentID), a.Audits, a.First, v.time(a.First), a.Last, v.time(a.Last)}
	})}
}
