package view

import (
	"context"
	"iter"

	"github.com/auditsql/auditsql/audit"
)

// An EarlierAnswer is the record that gave an assertion as its answer first, before another record used it.
type EarlierAnswer struct {
	QueryID    audit.QueryID  `json:"query_id"`
	AgentID    *audit.AgentID `json:"agent_id"` // nil: an anonymous record
	AgentLabel *string        `json:"agent_label"`
	Timestamp  uint64         `json:"timestamp"`
	Time       string         `json:"time"`
	Answers    int            `json:"answers"` // how many records gave it by then
	More       bool           `json:"more"`    // looking ended at a limit
}

func (v *Viewer) earlier(e *audit.EarlierAnswer) *EarlierAnswer {
	if e == nil {
		return nil
	}
	return &EarlierAnswer{e.QueryID, e.AgentID, v.label(e.AgentID), e.Timestamp, v.time(e.Timestamp), e.Answers, e.More}
}

// Origins is the evidence of a record, followed back through the answers of other records. See audit.Origins.
type Origins struct {
	QueryID    audit.QueryID  `json:"query_id"`
	Timestamp  uint64         `json:"timestamp"`
	Time       string         `json:"time"`
	AgentID    *audit.AgentID `json:"agent_id"`
	AgentLabel *string        `json:"agent_label"`
	Pieces     []OriginPiece  `json:"pieces"`  // a tree: each piece before the evidence of the answer that it was
	Answers    int            `json:"answers"` // records whose evidence is here
	Untraced   int            `json:"untraced"`
	Cut        *string        `json:"cut"` // answers or time: what ended the walk early

	Audit   Record               `json:"-"`
	Damaged []*audit.RecordError `json:"-"`
}

// An OriginPiece is a piece of evidence on the way back.
type OriginPiece struct {
	Distance       int             `json:"distance"`
	Of             audit.QueryID   `json:"of"` // the record that used it
	Position       int             `json:"position"`
	AssertionHash  audit.Hash      `json:"assertion_hash"`
	AssertionLabel *string         `json:"assertion_label"`
	Weight         float32         `json:"weight"`
	SourceHash     audit.Hash      `json:"source_hash"`
	SourceLabel    *string         `json:"source_label"`
	Lifecycle      audit.Lifecycle `json:"lifecycle"`
	Result         bool            `json:"result"`   // it is the answer of its record
	How            audit.Followed  `json:"how"`      // where the evidence of answered is
	Answered       *EarlierAnswer  `json:"answered"` // who answered it first, before it was used; nil: nobody
}

// Origins follows the evidence of a record back. An id that is not stored is audit.ErrNotFound.
func (v *Viewer) Origins(ctx context.Context, id audit.QueryID, o audit.OriginsOptions) (*Origins, error) {
	found, err := v.store.Origins(ctx, id, o)
	if err != nil {
		return nil, err
	}
	r := v.Record(&found.Audit)
	t := &Origins{
		QueryID: id, Timestamp: r.Timestamp, Time: r.Time, AgentID: r.AgentID, AgentLabel: r.AgentLabel, Pieces: make([]OriginPiece, len(found.Pieces)),
		Answers: found.Answers, Untraced: found.Untraced, Cut: cut(found.Cut), Audit: r, Damaged: found.Damaged,
	}
	for i := range found.Pieces {
		p := &found.Pieces[i]
		t.Pieces[i] = OriginPiece{
			Distance: p.Distance, Of: p.Of, Position: p.Position, AssertionHash: p.AssertionHash, AssertionLabel: v.label(&p.AssertionHash),
			Weight: p.Weight, SourceHash: p.SourceHash, SourceLabel: v.label(&p.SourceHash), Lifecycle: p.Lifecycle, Result: p.Won,
			How: p.How, Answered: v.earlier(p.Answered),
		}
	}
	return t, nil
}

// Origins are the pieces that nobody in the store has answered before, each assertion with its source once, in the order of the tree.
func (o *Origins) Origins() []*OriginPiece {
	type origin struct{ assertion, source audit.Hash }
	var list []*OriginPiece
	seen := map[origin]bool{}
	for i := range o.Pieces {
		p := &o.Pieces[i]
		if key := (origin{p.AssertionHash, p.SourceHash}); p.How == audit.IsOrigin && !seen[key] {
			seen[key] = true
			list = append(list, p)
		}
	}
	return list
}

// NextAfterOrigins returns commands that look further: where the origins that nobody approved went.
func (v *Viewer) NextAfterOrigins(ctx context.Context, o *Origins) []Step {
	var steps []Step
	for _, p := range o.Origins() {
		if p.Lifecycle.Unapproved() && len(steps) < 4 {
			steps = append(steps, Step{[]string{"impact", v.Name(ctx, p.AssertionHash, audit.AssertionHash), "--depth", "all"}, "all later answers that rest on it"})
		}
	}
	return steps
}

// An OriginLine is a piece of evidence on the way back as a row of values.
type OriginLine struct {
	QueryID            audit.QueryID   `json:"query_id"` // the record whose origins these are
	Distance           int             `json:"distance"`
	Of                 audit.QueryID   `json:"of"`
	Position           int             `json:"position"`
	AssertionHash      audit.Hash      `json:"assertion_hash"`
	AssertionLabel     *string         `json:"assertion_label"`
	Weight             float32         `json:"weight"`
	SourceHash         audit.Hash      `json:"source_hash"`
	SourceLabel        *string         `json:"source_label"`
	Lifecycle          audit.Lifecycle `json:"lifecycle"`
	Result             bool            `json:"result"`
	How                audit.Followed  `json:"how"`
	AnsweredBy         *audit.QueryID  `json:"answered_by"`
	AnsweredAgentID    *audit.AgentID  `json:"answered_agent_id"`
	AnsweredAgentLabel *string         `json:"answered_agent_label"`
	AnsweredTime       *string         `json:"answered_time"`
	Answers            *int            `json:"answers"`
	More               *bool           `json:"more"`
}

// Lines yields the tree as rows.
func (o *Origins) Lines() iter.Seq[OriginLine] {
	return func(yield func(OriginLine) bool) {
		each(o.Pieces, func(p *OriginPiece) bool {
			line := OriginLine{
				QueryID: o.QueryID, Distance: p.Distance, Of: p.Of, Position: p.Position, AssertionHash: p.AssertionHash, AssertionLabel: p.AssertionLabel,
				Weight: p.Weight, SourceHash: p.SourceHash, SourceLabel: p.SourceLabel, Lifecycle: p.Lifecycle, Result: p.Result, How: p.How,
			}
			if a := p.Answered; a != nil {
				line.AnsweredBy, line.AnsweredAgentID, line.AnsweredAgentLabel, line.AnsweredTime = &a.QueryID, a.AgentID, a.AgentLabel, &a.Time
				line.Answers, line.More = &a.Answers, &a.More
			}
			return yield(line)
		})
	}
}
