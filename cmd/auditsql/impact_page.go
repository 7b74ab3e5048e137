package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// An impactPage prints what something went into, in any form.
type impactPage struct {
	a       *app
	r       *reading
	viewer  *view.Viewer
	hash    audit.Hash
	options audit.ImpactOptions
}

func (p *impactPage) print(ctx context.Context) error {
	form := p.a.form("")
	i := show.Impact{Viewer: p.viewer, Hash: p.hash, Options: p.options}
	if err := i.Begin(ctx, form); err != nil {
		return err
	}
	if form == tui.Table {
		if i.Tail.Totals.Answers == 0 {
			p.a.say(nothingFits)
			return nil
		}
		if err := p.above(i.Head, &i.Tail.Totals); err != nil {
			return err
		}
	}
	out := tui.NewListing(p.a.screen(), form, p.table())
	var first *audit.QueryID // the first record whose answer it was
	err := i.Write(ctx, out, p.a.leaveOut, func(answer *view.ImpactedAnswer) {
		if answer.Result && first == nil {
			first = &answer.QueryID
		}
	})
	if err != nil {
		return err
	}
	if form == tui.Table {
		page := p.a.screen().Page()
		p.a.next(page, p.viewer.NextAfterImpact(ctx, i.Head, first))
		if err := page.End(); err != nil {
			return err
		}
	}
	if out.N() == 0 {
		p.a.say(nothingFits)
	}
	if i.Tail.More {
		p.a.say("(cut at --limit %d, there are more)", p.options.Filter.Limit)
	}
	if i.Tail.Totals.Cut {
		p.a.say("(the totals were cut at --count %d, there are more answers)", p.options.Budget.Records)
	}
	return nil
}

// above prints the totals, which stand above the table.
func (p *impactPage) above(head view.ImpactHead, t *view.ImpactTotals) error {
	page := p.a.screen().Page()
	agents := plural(t.Agents, "agent", "agents")
	answers := plural(t.Answers, "answer", "answers")
	if t.Cut {
		answers = fmt.Sprintf("%d or more answers", t.Answers)
	}
	if t.Anonymous > 0 {
		agents += fmt.Sprintf(" (and %d anonymous)", t.Anonymous)
	}
	page.Head(head.Kind, fmt.Sprintf(" %s went into %s of %s,", called(head.Hash, head.Label), answers, agents))
	page.Note("%s", times(*t.First, *t.Last, p.r.clock))
	what := "it was the answer in"
	switch {
	case p.options.Source && t.Assertions == 1:
		what = "with one assertion, the answer in"
	case p.options.Source && t.MoreAssertions:
		what = fmt.Sprintf("with %d+ assertions, one of them the answer in", t.Assertions)
	case p.options.Source:
		what = fmt.Sprintf("with %d assertions, one of them the answer in", t.Assertions)
	}
	page.Note("%s %d; weighing %s in all", what, t.Results, tui.Figure(t.Weight).Shown())
	var by []string
	for i, agent := range t.ByAgent {
		if i == show.ShownOthers {
			by = append(by, fmt.Sprintf("%d more", len(t.ByAgent)-i))
			break
		}
		name := anonymous
		if agent.AgentID != nil {
			name = called(*agent.AgentID, agent.AgentLabel)
		}
		by = append(by, fmt.Sprintf("%s %d", name, agent.Answers))
	}
	page.Note("by agent: %s", strings.Join(by, ", "))
	if t.Cut {
		page.Note("the count ended after %s: all of this is of these, and there are more", plural(t.Answers, "answer", "answers"))
	}
	return page.Flush()
}

func (p *impactPage) table() []tui.ColumnOf[view.ImpactedAnswer] {
	type row = view.ImpactedAnswer
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "time"}, Cell: func(a *row) tui.Cell { return timeCell(a.Timestamp, p.r.clock) }},
		{Column: tui.Column{Name: "query"}, Cell: func(a *row) tui.Cell { return hashCell(a.QueryID) }},
		{Column: tui.Column{Name: "agent", Flexible: true, Least: len(anonymous)}, Cell: func(a *row) tui.Cell { return p.r.labels.agent(a.AgentID) }},
		{Column: tui.Column{Name: "subject", Flexible: true, Least: 14, Middle: true}, Cell: func(a *row) tui.Cell { return tui.Or(a.Subject, tui.Text) }},
		{Column: tui.Column{Name: "predicate", Flexible: true, Least: 12, Middle: true, Rank: 4}, Cell: func(a *row) tui.Cell { return tui.Or(a.Predicate, tui.Text) }},
		{Column: tui.Column{Name: "weight", Right: true}, Cell: func(a *row) tui.Cell { return tui.Figure(a.Weight) }},
		{Column: tui.Column{Name: "lifecycle", Rank: 1}, Cell: func(a *row) tui.Cell { return tui.Text(a.Lifecycle).Marked(a.Unapproved) }},
		{Column: tui.Column{Name: "answer", Rank: 2}, Cell: func(a *row) tui.Cell {
			if !a.Result {
				return tui.Cell{Brief: "-"}
			}
			return tui.Text("yes").Marked(a.Unapproved)
		}},
		{Column: tui.Column{Name: "conf", Right: true, Rank: 3}, Cell: func(a *row) tui.Cell { return tui.Figure(a.ResultConfidence) }},
	}
}
