package main

import (
	"context"
	"fmt"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// A traceWriter prints traces in any form.
type traceWriter struct {
	a       *app
	r       *reading
	options audit.TraceOptions
	viewer  *view.Viewer
	page    *tui.Page // of a table
	lines   *tui.Listing[view.TraceLine]
	n       int
}

func (a *app) traces(r *reading, o audit.TraceOptions) *traceWriter {
	return &traceWriter{a: a, r: r, options: o, viewer: r.viewer(), page: a.screen().Page(), lines: tui.NewListing[view.TraceLine](a.screen(), a.form(""), nil)}
}

func (w *traceWriter) write(ctx context.Context, id audit.QueryID) error {
	t, err := w.viewer.Trace(ctx, id, w.options)
	if err != nil {
		return err
	}
	for _, damaged := range t.Damaged {
		w.a.leaveOut(damaged)
	}
	w.n++
	if w.lines.Form == tui.Table {
		w.layOut(ctx, t)
		return nil
	}
	return show.Trace(w.lines, t)
}

func (w *traceWriter) flush() error {
	if w.lines.Form == tui.Table {
		return w.page.Flush()
	}
	return w.lines.Flush()
}

func (w *traceWriter) end() error {
	if w.lines.Form == tui.Table && w.n > 0 {
		return w.page.End()
	}
	return w.lines.End()
}

// layOut prints a trace for people: what was asked and answered, what is wrong with it, the evidence, and what happened
// around it.
func (w *traceWriter) layOut(ctx context.Context, t *view.Trace) {
	p, q := w.page, &t.Audit
	if w.n > 1 {
		p.Text("")
	}
	p.Head("query "+w.viewer.Query(ctx, q.QueryID), tui.Gap+t.Time+tui.Gap+asker(q))
	p.Line("asked", fmt.Sprintf("%s / %s, lens %s, lifecycle %s, epoch %s", shownText(q.Params.Subject), shownText(q.Params.Predicate),
		shownText(q.Params.Lens), tui.Or(q.Params.Lifecycle, lifecycleCell).Shown(), tui.Or(q.Params.Epoch, hashCell).Shown()))
	p.Line("answered", shownResult(q))
	for _, f := range t.Findings {
		p.Alarm("! " + f.Text)
	}
	w.evidence(t)
	w.earlier(t)
	w.others(t)
	w.around(t)
	w.a.next(p, w.viewer.Next(ctx, t))
}

// shownText is a text in a sentence, at most a few lines of it.
func shownText(s *string) string {
	const most = 200
	return tui.CutTo(tui.Or(s, tui.Text).Shown(), most, true)
}

func (w *traceWriter) evidence(t *view.Trace) {
	about, alarm := fmt.Sprintf(" (%d, total weight %s", len(t.Evidence), tui.Figure(t.TotalWeight).Shown()), ""
	if n := t.Audit.Unapproved(); n > 0 {
		about, alarm = about+", ", fmt.Sprintf("%d not Approved", n)
	}
	w.page.HeadAlarm("evidence", about, alarm, ")")
	if n := t.Unstated(); n > 0 {
		w.page.Note("%d of %s %s no stated lifecycle", n, plural(len(t.Evidence), "piece", "pieces"), map[bool]string{true: "has", false: "have"}[n == 1])
	}
	if len(t.Evidence) == 0 {
		return
	}
	var rows [][]tui.Cell
	var selected show.Selection
	for i := range t.Evidence {
		e := &t.Evidence[i]
		if !selected.Shows("", e.Lifecycle.Unapproved()) {
			continue
		}
		row := []tui.Cell{
			{}, tui.Figure(e.Weight), w.r.labels.hash(e.AssertionHash), tui.Text(e.Lifecycle.String()), w.r.labels.hash(e.SourceHash),
			seenCell(e.FirstSeen, t.Audit.Timestamp, w.r.clock), atLeast(e.Answers, e.More), atLeast(e.Agents, e.More),
		}
		if e.Lifecycle.Unapproved() {
			row[0] = tui.Text("!")
			markRow(row)
		}
		rows = append(rows, row)
	}
	w.page.Table([]tui.Column{
		{Name: "mark", Title: " ", Rank: -3},
		{Name: "weight", Right: true},
		{Name: "assertion", Flexible: true, Least: briefHash, Rank: -2},
		{Name: "lifecycle", Rank: -1},
		{Name: "source", Flexible: true, Least: briefHash},
		{Name: "first seen", Rank: 1},
		{Name: "answers", Right: true, Rank: 2},
		{Name: "agents", Right: true, Rank: 3},
	}, rows)
	if selected.Left > 0 {
		w.page.Note("(%d more of less weight, %d of them not Approved; -o plain has all)", selected.Left, selected.LeftUnapproved)
	}
}

// earlier says which pieces of evidence were answers before, and whose.
func (w *traceWriter) earlier(t *view.Trace) {
	list := t.EarlierAnswers()
	if len(list) == 0 {
		return
	}
	w.page.Head("answered before", ", by whom first")
	for i, e := range list {
		if i == show.ShownOthers {
			w.page.Note("(%d more; -o plain has all)", len(list)-i)
			break
		}
		a := e.Answered
		by := anonymous
		if a.AgentID != nil {
			by = called(*a.AgentID, a.AgentLabel)
			if a.AgentLabel != nil {
				by = tui.CutTo(legible.Visible(*a.AgentLabel), audit.MaxLabel, true)
			}
		}
		times := ""
		if a.Answers > 1 {
			times = fmt.Sprintf(", and by %s more until then", atLeast(a.Answers-1, a.More).Shown())
		}
		w.page.Note("%s answered by %s %s at %s%s", called(e.AssertionHash, e.AssertionLabel), by, hashCell(a.QueryID).Shown(), a.Time, times)
	}
}

// others says who else used what is not Approved.
func (w *traceWriter) others(t *view.Trace) {
	var rows [][]tui.Cell
	left := 0
	for i := range t.Evidence {
		e := &t.Evidence[i]
		for n, other := range e.Others.ByAgent {
			if n >= show.ShownOthers || len(rows) >= 2*show.ShownOthers {
				left++
				continue
			}
			rows = append(rows, []tui.Cell{
				w.r.labels.hash(e.AssertionHash), tui.Text(e.Lifecycle.String()), w.r.labels.agent(other.AgentID),
				tui.Number(other.Answers), tui.Text(times(other.First, other.Last, w.r.clock)),
			})
		}
	}
	if len(rows) == 0 {
		return
	}
	w.page.Head("also used", " what is not Approved")
	w.page.Table([]tui.Column{
		{Name: "assertion", Flexible: true, Least: briefHash},
		{Name: "lifecycle", Rank: 2},
		{Name: "by", Flexible: true, Least: len(anonymous), Rank: -1},
		{Name: "answers", Right: true},
		{Name: "when", Flexible: true, Least: len("2026-11-23T10:19:12.000Z"), Rank: 1},
	}, rows)
	if left > 0 {
		w.page.Note("(%d more agents)", left)
	}
}

// around is what the agent asked before and after.
func (w *traceWriter) around(t *view.Trace) {
	if len(t.Before)+len(t.After) == 0 {
		return
	}
	var rows [][]tui.Cell
	add := func(mark tui.Cell, q *view.Record) {
		rows = append(rows, []tui.Cell{
			mark, sameDayCell(q.Timestamp, t.Audit.Timestamp, w.r.clock), hashCell(q.QueryID),
			tui.Or(q.Params.Subject, tui.Text), tui.Or(q.Params.Predicate, tui.Text), tui.Or(q.ResultHash, w.r.labels.hash),
			tui.Figure(q.ResultConfidence), approvedCell(len(q.ContributingAssertions), q.Approved(), q.Unapproved()),
		})
	}
	for i := range t.Before {
		add(tui.Cell{}, &t.Before[i])
	}
	add(tui.Text(">"), &t.Audit)
	for i := range t.After {
		add(tui.Cell{}, &t.After[i])
	}
	w.page.Head("around it", ", asked by "+asker(&t.Audit))
	w.page.Table([]tui.Column{
		{Name: "mark", Title: " ", Rank: -2},
		{Name: "time", Rank: -1},
		{Name: "query", Rank: -2},
		{Name: "subject", Flexible: true, Least: 14, Middle: true},
		{Name: "predicate", Flexible: true, Least: 12, Middle: true, Rank: 2},
		{Name: "answer", Flexible: true, Least: briefHash, Rank: 3},
		{Name: "conf", Right: true, Rank: 1},
		{Name: "approved", Rank: -3},
	}, rows)
}
