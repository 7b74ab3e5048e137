package main

import (
	"slices"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

// labels are the names that people gave to hashes. The zero value has none.
type labels struct{ *audit.Labels }

// hash is the cell of a hash. A table shows its first digits, which every command takes for the whole, and its label
// after them. Where there is little room it shows the label alone, if no other hash has that label.
func (l labels) hash(h audit.Hash) tui.Cell {
	c := hashCell(h)
	if label := l.Of(h); label != "" {
		c.Brief += " " + label
		if len(l.Hashes(label)) == 1 {
			c.Short = label
		}
	}
	return c
}

// agent is the cell of an agent.
func (l labels) agent(agent *audit.AgentID) tui.Cell {
	if agent == nil {
		return tui.Cell{Brief: anonymous}
	}
	return l.hash(*agent)
}

// names are the labels, each once.
func (l labels) names() []string {
	var names []string
	for _, one := range l.All() {
		names = append(names, one.Label)
	}
	return slices.Compact(names)
}

// viewer builds the answers that are printed.
func (r *reading) viewer() *view.Viewer {
	v := view.New(r.DB, r.labels.Labels, r.clock.Zone)
	v.Lag = r.lag
	v.Now, _ = r.clock.Unit.Timestamp(r.clock.Now) // 0 where it does not fit into the unit
	return v
}
