package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// diffPage prints what changed, for people.
func (a *app) diffPage(ctx context.Context, r *reading, v *view.Viewer, d *view.Diff) error {
	p := a.screen().Page()
	p.Head("from", tui.Gap+v.Query(ctx, d.From.QueryID)+tui.Gap+d.FromTime+tui.Gap+asker(&d.From))
	p.Head("to  ", tui.Gap+v.Query(ctx, d.To.QueryID)+tui.Gap+d.ToTime+tui.Gap+asker(&d.To))
	if len(d.Fields)+len(d.Evidence)+len(d.Attributes) == 0 {
		if d.From.QueryID == d.To.QueryID {
			p.Head("", "this is one record, named twice")
		} else {
			p.Head("", "no difference but in the ids")
		}
		return p.End()
	}
	if d.Flipped {
		causes := view.CauseTexts(d.Causes)
		if len(causes) == 0 {
			causes = []string{"nothing that is recorded explains it"}
		}
		p.Text(show.ChangedSign + " the answer is another: " + strings.Join(causes, ", "))
	}
	r.changedFields(p, d)
	r.changedEvidence(p, d)
	if len(d.Attributes) > 0 {
		p.Head("attributes", "")
		var rows [][]tui.Cell
		for _, c := range d.Attributes {
			rows = append(rows, []tui.Cell{tui.Text(c.Key), tui.Or(c.From, tui.Text), tui.Or(c.To, tui.Text)})
		}
		p.Table(changeColumns("attribute"), rows)
	}
	a.next(p, v.NextAfterDiff(ctx, d))
	return p.End()
}

func changeColumns(what string) []tui.Column {
	return []tui.Column{{Name: what, Flexible: true, Least: 8}, {Name: "from", Flexible: true, Least: 8}, {Name: "to", Flexible: true, Least: 8}}
}

// changedFields shows what changed in question and answer, hashes with their labels. The time is in the heading.
func (r *reading) changedFields(p *tui.Page, d *view.Diff) {
	var rows [][]tui.Cell
	for _, f := range d.Fields {
		from, to := tui.Or(f.From, tui.Text), tui.Or(f.To, tui.Text)
		name := strings.TrimPrefix(f.Field, "result_")
		switch f.Field {
		case "timestamp":
			continue
		case "agent_id":
			name, from, to = "agent", r.labels.agent(d.From.AgentID), r.labels.agent(d.To.AgentID)
		case "epoch":
			from, to = tui.Or(d.From.Params.Epoch, hashCell), tui.Or(d.To.Params.Epoch, hashCell)
		case "result_hash":
			name, from, to = "answer", tui.Or(d.From.ResultHash, r.labels.hash), tui.Or(d.To.ResultHash, r.labels.hash)
		}
		rows = append(rows, []tui.Cell{tui.Text(name), from, to})
	}
	if len(rows) > 0 {
		p.Head("question and answer", "")
		p.Table(changeColumns("field"), rows)
	}
}

// changedEvidence shows a number of pieces of evidence for each kind of change, and up to as many more that are not
// Approved. A trace has the same limits.
func (r *reading) changedEvidence(p *tui.Page, d *view.Diff) {
	p.Head("evidence", " ("+countedChanges(d)+")")
	if len(d.Evidence) == 0 {
		return
	}
	var rows [][]tui.Cell
	var selected show.Selection
	for i := range d.Evidence {
		e := &d.Evidence[i]
		bad := e.Unapproved()
		if !selected.Shows(e.Change, bad) {
			continue
		}
		row := []tui.Cell{
			tui.Text(changeSigns[e.Change]), r.labels.hash(e.AssertionHash),
			bothSides(e, weightOf(e)),
			bothSides(e, func(s *view.Side) string { return s.Lifecycle.String() }), r.sources(e),
		}
		if bad {
			markRow(row)
		}
		rows = append(rows, row)
	}
	p.Table([]tui.Column{
		{Name: "mark", Title: " ", Rank: -2}, {Name: "assertion", Flexible: true, Least: briefHash, Rank: -1}, {Name: "weight"}, {Name: "lifecycle", Rank: -3},
		{Name: "source", Flexible: true, Least: briefHash, Rank: 1},
	}, rows)
	if selected.Left > 0 {
		p.Note("(%d more, %d of them not Approved; -o plain has all)", selected.Left, selected.LeftUnapproved)
	}
}

var changeSigns = map[string]string{view.Added: "+", view.Removed: "-", view.Changed: "~"}

// countedChanges says how many pieces of evidence changed how.
func countedChanges(d *view.Diff) string {
	count := show.Changes(d)
	var counted []string
	for _, kind := range []struct{ change, word string }{{view.Added, "came"}, {view.Changed, "changed"}, {view.Removed, "went"}} {
		if n := count[kind.change]; n > 0 {
			counted = append(counted, fmt.Sprintf("%d %s", n, kind.word))
		}
	}
	return strings.Join(append(counted, fmt.Sprintf("%d as before", d.Same)), ", ")
}

// bothSides is a value of the evidence in both records, written once where both are equal.
func bothSides(e *view.EvidenceChange, value func(*view.Side) string) tui.Cell {
	switch {
	case e.From == nil:
		return tui.Text(value(e.To))
	case e.To == nil || value(e.From) == value(e.To):
		return tui.Text(value(e.From))
	}
	return tui.Text(value(e.From) + " to " + value(e.To))
}

// weightOf writes the weight of the evidence in a record: rounded, unless the difference between the two would be lost by that.
func weightOf(e *view.EvidenceChange) func(*view.Side) string {
	shown := func(s *view.Side) string { return tui.Figure(s.Weight).Shown() }
	if e.From != nil && e.To != nil && e.From.Weight != e.To.Weight && shown(e.From) == shown(e.To) {
		return func(s *view.Side) string { return tui.Number(s.Weight).Text }
	}
	return shown
}

// sources are the sources of the evidence in both records, written once where both are equal.
func (r *reading) sources(e *view.EvidenceChange) tui.Cell {
	switch {
	case e.From == nil:
		return r.labels.hash(e.To.SourceHash)
	case e.To == nil || e.From.SourceHash == e.To.SourceHash:
		return r.labels.hash(e.From.SourceHash)
	}
	return tui.Text(called(e.From.SourceHash, e.From.SourceLabel) + " to " + called(e.To.SourceHash, e.To.SourceLabel))
}
