package main

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// depthOptions are the flags of impact that follow answers further.
type depthOptions struct {
	depth    string // "" if it is not given
	anyOrder bool
	timeout  durationFlag
}

// register adds the flags.
func (o *depthOptions) register(a *app, f *filterFlags) {
	flags := f.cmd.Flags()
	o.timeout.Duration = audit.DefaultDownstreamTime
	flags.StringVar(&o.depth, "depth", "", "also follow the answers that used it, this many `steps`, or all")
	flags.BoolVar(&o.anyOrder, "any-order", false, "with --depth: also where an answer was used before it was given")
	flags.Var(&o.timeout, "timeout", "with --depth: end after so long; 0 is no limit")
	withDot(f.cmd)
}

// options are those of audit.DB.Downstream. ok is false if the answers are not to be followed.
func (o *depthOptions) options(f *filterFlags) (options audit.DownstreamOptions, ok bool, err error) {
	changed := f.cmd.Flags().Changed
	if !changed("depth") {
		for _, name := range []string{"any-order", "timeout"} {
			if changed(name) {
				return options, false, usage("--%s goes with --depth", name)
			}
		}
		return options, false, nil
	}
	for _, name := range []string{"desc", "count"} {
		if changed(name) {
			return options, false, usage("--%s goes without --depth: with it the nearest answers come first, and --limit bounds all", name)
		}
	}
	if o.depth != allSteps {
		if options.Depth, err = strconv.Atoi(o.depth); err != nil || options.Depth < 1 {
			return options, false, usage("--depth %s: want a number of steps from 1, or %s", o.depth, allSteps)
		}
	}
	limit := f.limit
	if !changed("limit") {
		limit = audit.DefaultDownstreamAnswers
	}
	if limit < 0 {
		return options, false, usage("--limit %d: want 0 for no limit, or more", limit)
	}
	options.AnyOrder = o.anyOrder
	options.Budget = audit.Budget{Records: uint64(limit), Time: o.timeout.Duration}
	return options, true, nil
}

const allSteps = "all"

// A downstreamPage prints what came of something, in any form.
type downstreamPage struct {
	a *app
	r *reading
	show.Downstream
}

func (p *downstreamPage) print(ctx context.Context) error {
	form := p.a.form("")
	var err error
	switch form {
	case show.Dot:
		err = p.Dot(ctx, p.a.out, p.a.leaveOut)
	case tui.Table:
		err = p.layOut(ctx)
	default:
		err = p.Write(ctx, tui.NewListing[view.DownstreamAnswer](p.a.screen(), form, nil), p.a.leaveOut)
	}
	if err != nil {
		return err
	}
	if p.Tail.Totals.Answers == 0 && p.Tail.Totals.Cut == nil {
		p.a.say(nothingFits)
	}
	for _, bound := range p.Bounds() {
		p.a.say("(%s)", bound)
	}
	return nil
}

// A step of a page is printed in tables of so many rows, so that the first ones are there at once.
const stepRows = 500

// layOut prints each step as soon as it is known, and then the totals.
func (p *downstreamPage) layOut(ctx context.Context) error {
	page := p.a.screen().Page()
	first := true
	err := p.Walk(ctx, func(w *view.DownstreamWalk, answers iter.Seq2[view.DownstreamAnswer, error]) error {
		if first {
			page.Head(p.Head.Kind, " "+called(p.Head.Hash, p.Head.Label)+", and what came of it")
			first = false
		}
		headed := false
		var rows [][]tui.Cell
		end := func() error {
			if len(rows) == 0 {
				return nil
			}
			if !headed {
				headed = true
				page.Head(plural(w.Distance(), "step", "steps"), " away"+stepAbout(w.Distance()))
			}
			page.Table(p.columns(w.Distance()), rows)
			rows = rows[:0]
			return page.Flush()
		}
		for a, err := range answers {
			if p.a.leaveOut(err) {
				continue
			}
			if err != nil {
				return err
			}
			if rows = append(rows, p.row(&a)); len(rows) == stepRows {
				if err := end(); err != nil {
					return err
				}
			}
		}
		return end()
	})
	if err != nil {
		return err
	}
	if t := &p.Tail.Totals; t.Answers > 0 {
		p.totals(page, t)
		p.a.next(page, p.Viewer.NextAfterImpact(ctx, p.Head.ImpactHead, nil))
	}
	return page.End()
}

// stepAbout says what the answers of a step have in their evidence.
func stepAbout(distance int) string {
	if distance == 1 {
		return ": it is in their evidence"
	}
	return ": an answer of the step before is in their evidence"
}

func (p *downstreamPage) columns(distance int) []tui.Column {
	columns := []tui.Column{
		{Name: "mark", Title: " ", Rank: -3},
		{Name: "time", Rank: -1},
		{Name: "query", Rank: -2},
		{Name: "agent", Flexible: true, Least: len(anonymous)},
		{Name: "subject", Flexible: true, Least: 14, Middle: true, Rank: 1},
		{Name: "predicate", Flexible: true, Least: 12, Middle: true, Rank: 4},
		{Name: "answer", Flexible: true, Least: briefHash, Rank: 2},
		{Name: "conf", Right: true, Rank: 5},
		{Name: "weight", Right: true, Rank: 3},
		{Name: "lifecycle", Rank: 4},
	}
	if distance > 1 {
		columns = append(columns, tui.Column{Name: "by"}, tui.Column{Name: "of", Flexible: true, Least: len(anonymous), Rank: 3})
	}
	return columns
}

func (p *downstreamPage) row(a *view.DownstreamAnswer) []tui.Cell {
	row := []tui.Cell{
		{}, timeCell(a.Timestamp, p.r.clock), hashCell(a.QueryID), p.r.labels.agent(a.AgentID), tui.Or(a.Subject, tui.Text), tui.Or(a.Predicate, tui.Text),
		tui.Or(a.ResultHash, p.r.labels.hash), tui.Figure(a.ResultConfidence), tui.Figure(a.Weight),
		tui.Text(a.Lifecycle),
	}
	if a.Unapproved {
		row[0] = tui.Text("!")
		markRow(row)
	}
	if a.By != nil {
		row = append(row, hashCell(*a.By), p.r.labels.agent(a.ByAgentID))
	}
	return row
}

func (p *downstreamPage) totals(page *tui.Page, t *view.DownstreamTotals) {
	page.Head("in all", fmt.Sprintf(" %s of %s,", plural(t.Answers, "answer", "answers"), agentsAnd(t.Agents, t.Anonymous)))
	page.Note("%s", times(*t.First, *t.Last, p.r.clock))
	var steps []string
	for _, s := range t.Steps {
		if s.Answers > 0 {
			steps = append(steps, fmt.Sprintf("%s %d", plural(s.Distance, "step", "steps"), s.Answers))
		}
	}
	page.Note("by distance: %s", strings.Join(steps, ", "))
	page.Note("by agent: %s", byAgent(t.ByAgent, func(a *view.AgentDownstream) (*audit.AgentID, *string, uint64) {
		return a.AgentID, a.AgentLabel, a.Answers
	}))
}
