package main

import (
	"context"
	"fmt"
	"reflect"
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
		if onward := p.onward(&i.Tail.Onward); onward != "" {
			page.TextAlarm(onward)
		}
		p.a.next(page, p.nextSteps(ctx, &i, first))
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
	if onward := p.onward(&i.Tail.Onward); onward != "" && form == tui.Plain {
		p.a.say("(%s; %s)", onward, p.a.typed(p.further(ctx)...))
	}
	if i.Tail.Totals.Cut {
		p.a.say("(the totals were cut at --count %d, there are more answers)", p.options.Budget.Records)
	}
	return nil
}

// onward says whether these answers were evidence elsewhere, "" if they were not.
func (p *impactPage) onward(o *view.Onward) string {
	switch {
	case o.More > 0:
		these, more, verb := "these answers", "", "were"
		f := p.options.Filter
		f.Limit, f.Descending = 0, false
		if !reflect.DeepEqual(f, audit.Filter{AsOf: f.AsOf}) {
			these = "all its answers"
		}
		if o.Cut {
			more = " or more"
		}
		if o.Answers == 1 {
			verb = "was"
		}
		return fmt.Sprintf("%d of %s %s evidence elsewhere: %d%s more", o.Answers, these, verb, o.More, more)
	case o.Cut:
		return "whether these answers were evidence elsewhere was not found out: they are too many"
	}
	return ""
}

// further is the command that follows these answers.
func (p *impactPage) further(ctx context.Context) []string {
	args, kind := []string{"impact"}, audit.AssertionHash
	if p.options.Source {
		args, kind = append(args, "--source"), audit.SourceHash
	}
	return append(args, p.viewer.Name(ctx, p.hash, kind), "--depth", allSteps)
}

// nextSteps are commands that look further.
func (p *impactPage) nextSteps(ctx context.Context, i *show.Impact, first *audit.QueryID) []view.Step {
	steps := p.viewer.NextAfterImpact(ctx, i.Head, first)
	if p.onward(&i.Tail.Onward) != "" {
		steps = append([]view.Step{{Args: p.further(ctx), About: "all later answers that rest on it"}}, steps...)
	}
	return steps
}

// above prints the totals, which stand above the table.
func (p *impactPage) above(head view.ImpactHead, t *view.ImpactTotals) error {
	page := p.a.screen().Page()
	answers := plural(t.Answers, "answer", "answers")
	if t.Cut {
		answers = fmt.Sprintf("%d or more answers", t.Answers)
	}
	page.Head(head.Kind, fmt.Sprintf(" %s went into %s of %s,", called(head.Hash, head.Label), answers, agentsAnd(t.Agents, t.Anonymous)))
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
	page.Note("%s %d; total weight %s", what, t.Results, tui.Figure(t.Weight).Shown())
	page.Note("by agent: %s", byAgent(t.ByAgent, func(a *view.AgentImpact) (*audit.AgentID, *string, uint64) { return a.AgentID, a.AgentLabel, a.Answers }))
	if t.Cut {
		page.Note("the count ended after %s: all of this is of these, and there are more", plural(t.Answers, "answer", "answers"))
	}
	return page.Flush()
}

// agentsAnd says how many agents gave some answers, and how many answers nobody signed.
func agentsAnd(agents, anonymous uint64) string {
	text := plural(agents, "agent", "agents")
	if anonymous > 0 {
		text += fmt.Sprintf(" (and %d anonymous)", anonymous)
	}
	return text
}

// byAgent says how many answers each agent gave, of the first few agents. of takes a row apart.
func byAgent[A any](agents []A, of func(*A) (id *audit.AgentID, label *string, answers uint64)) string {
	var by []string
	for i := range agents {
		if i == show.ShownOthers {
			by = append(by, fmt.Sprintf("%d more", len(agents)-i))
			break
		}
		id, label, answers := of(&agents[i])
		name := anonymous
		if id != nil {
			name = called(*id, label)
		}
		by = append(by, fmt.Sprintf("%s %d", name, answers))
	}
	return strings.Join(by, ", ")
}

func (p *impactPage) table() []tui.ColumnOf[view.ImpactedAnswer] {
	type row = view.ImpactedAnswer
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "time", Rank: -1}, Cell: func(a *row) tui.Cell { return timeCell(a.Timestamp, p.r.clock) }},
		{Column: tui.Column{Name: "query", Rank: -2}, Cell: func(a *row) tui.Cell { return hashCell(a.QueryID) }},
		{Column: tui.Column{Name: "agent", Flexible: true, Least: len(anonymous)}, Cell: func(a *row) tui.Cell { return p.r.labels.agent(a.AgentID) }},
		{Column: tui.Column{Name: "subject", Flexible: true, Least: 14, Middle: true}, Cell: func(a *row) tui.Cell { return tui.Or(a.Subject, tui.Text) }},
		{Column: tui.Column{Name: "predicate", Flexible: true, Least: 12, Middle: true, Rank: 4}, Cell: func(a *row) tui.Cell { return tui.Or(a.Predicate, tui.Text) }},
		{Column: tui.Column{Name: "weight", Right: true, Rank: 1}, Cell: func(a *row) tui.Cell { return tui.Figure(a.Weight) }},
		{Column: tui.Column{Name: "lifecycle", Rank: -3}, Cell: func(a *row) tui.Cell { return tui.Text(a.Lifecycle).Marked(a.Unapproved) }},
		{Column: tui.Column{Name: "answer", Rank: 2}, Cell: func(a *row) tui.Cell {
			if !a.Result {
				return tui.Cell{Brief: "-"}
			}
			return tui.Text("yes").Marked(a.Unapproved)
		}},
		{Column: tui.Column{Name: "conf", Right: true, Rank: 3}, Cell: func(a *row) tui.Cell { return tui.Figure(a.ResultConfidence) }},
	}
}
