package view

import (
	"context"
	"iter"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A Downstream is what came of an assertion or a source: the answers that it went into, the answers that these went into, and so on.
type Downstream struct {
	DownstreamHead
	Answers []DownstreamAnswer `json:"answers"`
	DownstreamTail
}

// A DownstreamHead says what the question is about.
type DownstreamHead struct {
	ImpactHead
	Depth    *int `json:"depth"` // how many steps are taken at most; nil: as many as there are
	AnyOrder bool `json:"any_order"`
}

// A DownstreamTail is what is known when the answers have been read.
type DownstreamTail struct {
	Totals DownstreamTotals `json:"totals"`
	Lag    *audit.Lag       `json:"lag"`
}

// A DownstreamAnswer is a record that was reached.
type DownstreamAnswer struct {
	Distance     int            `json:"distance"` // steps, at least 1
	By           *audit.QueryID `json:"by"`       // the record whose answer it has in its evidence; nil in the first step
	ByAgentID    *audit.AgentID `json:"by_agent_id"`
	ByAgentLabel *string        `json:"by_agent_label"`
	Through      audit.Hash     `json:"through"` // that answer; in the first step the hash that the question is about
	ImpactedAnswer

	Pieces []audit.ImpactedEvidence `json:"-"` // the evidence that led to it
}

// DownstreamTotals count the answers that were yielded, and say what ended the walk.
type DownstreamTotals struct {
	Answers   uint64            `json:"answers"`
	Agents    uint64            `json:"agents"`
	Anonymous uint64            `json:"anonymous"`
	First     *uint64           `json:"first"`
	FirstTime *string           `json:"first_time"`
	Last      *uint64           `json:"last"`
	LastTime  *string           `json:"last_time"`
	Steps     []StepTotals      `json:"steps"`
	ByAgent   []AgentDownstream `json:"by_agent"`
	Reached   uint64            `json:"reached"` // answers on the way, also those that the filter did not select
	Cut       *string           `json:"cut"`     // answers or time: what ended the walk early
	MoreDeep  bool              `json:"more_deep"`
}

// StepTotals count the answers that are as many steps away.
type StepTotals struct {
	Distance int `json:"distance"`
	Answers  int `json:"answers"`
	Agents   int `json:"agents"`
}

// An AgentDownstream is the part of one agent.
type AgentDownstream struct {
	AgentID    *audit.AgentID `json:"agent_id"` // nil: the anonymous records
	AgentLabel *string        `json:"agent_label"`
	Answers    uint64         `json:"answers"`
	Nearest    int            `json:"nearest"` // the least distance
	First      uint64         `json:"first"`
	FirstTime  string         `json:"first_time"`
	Last       uint64         `json:"last"`
	LastTime   string         `json:"last_time"`
}

// DownstreamHead returns what comes before the answers.
func (v *Viewer) DownstreamHead(h audit.Hash, o audit.DownstreamOptions) DownstreamHead {
	head := DownstreamHead{ImpactHead: v.ImpactHead(h, audit.ImpactOptions{Source: o.Source}), AnyOrder: o.AnyOrder}
	if o.Depth > 0 {
		head.Depth = &o.Depth
	}
	return head
}

// A DownstreamWalk is an audit.Downstream for readers.
type DownstreamWalk struct {
	*audit.Downstream
	viewer *Viewer
	asOf   *uint64
}

// Downstream begins a walk.
func (v *Viewer) Downstream(h audit.Hash, o audit.DownstreamOptions) *DownstreamWalk {
	return &DownstreamWalk{v.store.Downstream(h, o), v, o.Filter.AsOf}
}

// Rows yields the answers of the last Next, as the rows of a Stream.
func (w *DownstreamWalk) Rows(ctx context.Context) iter.Seq2[DownstreamAnswer, error] {
	return mapped(w.Answers(ctx), w.viewer.downstreamAnswer)
}

func (v *Viewer) downstreamAnswer(a *audit.DownstreamAnswer) DownstreamAnswer {
	return DownstreamAnswer{
		Distance: a.Distance, By: a.By, ByAgentID: a.ByAgent, ByAgentLabel: v.label(a.ByAgent), Through: a.Through,
		ImpactedAnswer: v.impactedAnswer(&a.ImpactedAnswer), Pieces: a.Evidence,
	}
}

// Tail counts the answers that were yielded. It is complete when Next has returned false.
func (w *DownstreamWalk) Tail(ctx context.Context) (DownstreamTail, error) {
	v := w.viewer
	t, err := w.Totals(ctx)
	if err != nil {
		return DownstreamTail{}, err
	}
	totals := DownstreamTotals{
		Answers: t.Answers, Agents: t.Agents, Anonymous: t.Anonymous, First: t.First, FirstTime: v.timeOf(t.First), Last: t.Last, LastTime: v.timeOf(t.Last),
		Steps: make([]StepTotals, len(t.Steps)), ByAgent: make([]AgentDownstream, len(t.ByAgent)), Reached: t.Reached, Cut: cut(t.Cut), MoreDeep: t.MoreDeep,
	}
	for i, s := range t.Steps {
		totals.Steps[i] = StepTotals(s)
	}
	for i, a := range t.ByAgent {
		totals.ByAgent[i] = AgentDownstream{a.AgentID, v.label(a.AgentID), a.Answers, a.Nearest, a.First, v.time(a.First), a.Last, v.time(a.Last)}
	}
	return DownstreamTail{totals, v.lag(w.asOf)}, nil
}

func cut(c audit.Cut) *string {
	if c == audit.NotCut {
		return nil
	}
	return ptr(string(c))
}

// Onward says whether the answers that something went into were evidence elsewhere. See audit.DB.Onward.
type Onward struct {
	Answers uint64 `json:"answers"` // of them, that were evidence elsewhere
	More    uint64 `json:"more"`    // answers that came of it
	Cut     bool   `json:"cut"`     // counting ended early: there may be more
}

// The bounds of Onward. It is a hint beside the answers: nobody waits for it.
const (
	onwardAnswers = 10_000
	onwardTime    = 50 * time.Millisecond
)

// Onward looks whether the answers that a hash went into were evidence elsewhere. It ends after 50 ms, or when it has reached 10,000 answers.
func (v *Viewer) Onward(ctx context.Context, h audit.Hash, o audit.ImpactOptions) (Onward, error) {
	found, err := v.store.Onward(ctx, h, o.Source, o.Filter.AsOf, audit.Budget{Records: onwardAnswers, Time: onwardTime})
	return Onward(found), err
}
