package view

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// An Impact is what an assertion or a source went into.
type Impact struct {
	ImpactHead
	Answers []ImpactedAnswer `json:"answers"`
	ImpactTail
}

// An ImpactHead says what the question is about.
type ImpactHead struct {
	Hash  audit.Hash `json:"hash"`
	Label *string    `json:"label"`
	Kind  string     `json:"kind"` // assertion or source
}

// An ImpactTail is what is known when the answers have been read.
type ImpactTail struct {
	More   bool         `json:"more"` // the limit cut the answers
	Totals ImpactTotals `json:"totals"`
	Onward Onward       `json:"onward"`
	Lag    *audit.Lag   `json:"lag"`
}

// An ImpactedAnswer is a record that the evidence went into.
type ImpactedAnswer struct {
	Time             string         `json:"time"`
	Timestamp        uint64         `json:"timestamp"`
	QueryID          audit.QueryID  `json:"query_id"`
	AgentID          *audit.AgentID `json:"agent_id"`
	AgentLabel       *string        `json:"agent_label"`
	Subject          *string        `json:"subject"`
	Predicate        *string        `json:"predicate"`
	Weight           float64        `json:"weight"`    // of all of it in this answer
	Lifecycle        string         `json:"lifecycle"` // as it was then; several of them are joined by commas
	Pieces           int            `json:"pieces"`    // of evidence
	ResultHash       *audit.Hash    `json:"result_hash"`
	ResultLabel      *string        `json:"result_label"`
	Result           bool           `json:"result"` // the evidence is the answer itself
	ResultConfidence float32        `json:"result_confidence"`

	Unapproved bool `json:"-"` // a part of it
}

// ImpactTotals counts all answers, whatever the limit, unless a budget cut the count.
type ImpactTotals struct {
	Answers        uint64        `json:"answers"`
	Agents         uint64        `json:"agents"`
	Anonymous      uint64        `json:"anonymous"`
	Results        uint64        `json:"results"` // how many of them had it as their result
	Weight         float64       `json:"weight"`
	Assertions     int           `json:"assertions"` // of a source
	MoreAssertions bool          `json:"more_assertions"`
	Cut            bool          `json:"cut"` // the budget ended the count: there are more answers
	First          *uint64       `json:"first"`
	FirstTime      *string       `json:"first_time"`
	Last           *uint64       `json:"last"`
	LastTime       *string       `json:"last_time"`
	ByAgent        []AgentImpact `json:"by_agent"`
}

// An AgentImpact is the part of one agent.
type AgentImpact struct {
	AgentID    *audit.AgentID `json:"agent_id"` // nil: the anonymous records
	AgentLabel *string        `json:"agent_label"`
	Answers    uint64         `json:"answers"`
	First      uint64         `json:"first"`
	FirstTime  string         `json:"first_time"`
	Last       uint64         `json:"last"`
	LastTime   string         `json:"last_time"`
	Results    uint64         `json:"results"`
	Weight     float64        `json:"weight"`
}

// A NotEvidenceError says that a hash is in no stored evidence in the role that was asked for: assertion or source.
type NotEvidenceError struct {
	Hash   audit.Hash
	Source bool // the role that was asked for: source, otherwise assertion

	IsOther bool // it is in stored evidence in the other role
	IsAgent bool // it is an agent's id
}

// Error implements error.
func (e *NotEvidenceError) Error() string {
	if e.Source {
		return e.Hash.String() + " is not a source in any stored evidence"
	}
	return e.Hash.String() + " is not an assertion in any stored evidence"
}

// CheckEvidence returns a *NotEvidenceError for a hash that Impact has no answers about, whatever the filter selects of the records that
// the store had at a moment; nil: that it has.
func (v *Viewer) CheckEvidence(ctx context.Context, h audit.Hash, source bool, asOf *uint64) error {
	is, err := v.store.IdentifyAsOf(ctx, h, asOf)
	if err != nil {
		return err
	}
	known, other := is.Assertion.Answers > 0, is.Source.Answers > 0
	if source {
		known, other = other, known
	}
	if known {
		return nil
	}
	return &NotEvidenceError{Hash: h, Source: source, IsOther: other, IsAgent: is.Agent != nil}
}

// ImpactHead returns what comes before the answers.
func (v *Viewer) ImpactHead(h audit.Hash, o audit.ImpactOptions) ImpactHead {
	kind := audit.AssertionHash
	if o.Source {
		kind = audit.SourceHash
	}
	return ImpactHead{h, v.label(&h), kind.String()}
}

// ImpactTotals counts all answers that the filter selects, or as many as the budget allows: that of the options, or the
// viewer's if they have none. It ignores the filter's limit.
func (v *Viewer) ImpactTotals(ctx context.Context, h audit.Hash, o audit.ImpactOptions) (ImpactTotals, error) {
	o.Filter.Limit = 0
	if o.Budget == (audit.Budget{}) {
		o.Budget = v.Budget
	}
	t, err := v.store.ImpactTotals(ctx, h, o)
	if err != nil {
		return ImpactTotals{}, err
	}
	totals := ImpactTotals{
		Answers: t.Answers, Agents: t.Agents, Anonymous: t.Anonymous, Results: t.Won, Weight: t.Weight,
		Assertions: t.Assertions, MoreAssertions: t.MoreAssertions, Cut: t.Cut,
		First: t.First, FirstTime: v.timeOf(t.First), Last: t.Last, LastTime: v.timeOf(t.Last), ByAgent: make([]AgentImpact, len(t.ByAgent)),
	}
	for i, a := range t.ByAgent {
		totals.ByAgent[i] = AgentImpact{a.AgentID, v.label(a.AgentID), a.Answers, a.First, v.time(a.First), a.Last, v.time(a.Last), a.Won, a.Weight}
	}
	return totals, nil
}

// Impact streams the answers, at most as many as the filter's limit.
func (v *Viewer) Impact(ctx context.Context, h audit.Hash, o audit.ImpactOptions) *Stream[ImpactedAnswer] {
	limit := o.Filter.Limit
	o.Filter.Limit = oneMore(limit)
	return &Stream[ImpactedAnswer]{rows: mapped(v.store.Impact(ctx, h, o), v.impactedAnswer), limit: limit}
}

func (v *Viewer) impactedAnswer(a *audit.ImpactedAnswer) ImpactedAnswer {
	q := &a.Audit
	row := ImpactedAnswer{
		Time: v.time(q.Timestamp), Timestamp: q.Timestamp, QueryID: q.QueryID, AgentID: q.AgentID, AgentLabel: v.label(q.AgentID),
		Subject: q.Params.Subject, Predicate: q.Params.Predicate, Pieces: len(a.Evidence),
		ResultHash: q.ResultHash, ResultLabel: v.label(q.ResultHash), Result: a.Won, ResultConfidence: q.ResultConfidence,
	}
	var lifecycles []string
	for i := range a.Evidence {
		e := &a.Evidence[i]
		row.Weight += asWritten(e.Weight)
		if s := e.Lifecycle.String(); !slices.Contains(lifecycles, s) {
			lifecycles = append(lifecycles, s)
		}
		row.Unapproved = row.Unapproved || e.Lifecycle.Unapproved()
	}
	row.Lifecycle = strings.Join(lifecycles, ",")
	return row
}

// Impacted returns an answer for readers.
func (v *Viewer) Impacted(a *audit.ImpactedAnswer) ImpactedAnswer { return v.impactedAnswer(a) }

// asWritten converts a weight by way of its decimal digits: 0.1 becomes 0.1, not 0.10000000149. So a sum is that of the
// digits that people see.
func asWritten(weight float32) float64 {
	d, err := strconv.ParseFloat(strconv.FormatFloat(float64(weight), 'g', -1, 32), 64)
	if err != nil {
		return float64(weight)
	}
	return d
}

// NextAfterImpact returns commands that look further. first is the first record that had the hash as its result, nil if
// there is none.
func (v *Viewer) NextAfterImpact(ctx context.Context, head ImpactHead, first *audit.QueryID) []Step {
	var steps []Step
	if first != nil {
		steps = append(steps, Step{[]string{"trace", v.Query(ctx, *first)}, "the first record that gave it as the answer"})
	}
	if head.Label == nil {
		kind := audit.AssertionHash
		if head.Kind == audit.SourceHash.String() {
			kind = audit.SourceHash
		}
		steps = append(steps, Step{[]string{"name", v.Name(ctx, head.Hash, kind), "LABEL"}, "give it a name"})
	}
	return steps
}
