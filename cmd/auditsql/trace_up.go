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

// An originsWriter prints the origins of records in any form.
type originsWriter struct {
	a      *app
	r      *reading
	asOf   *uint64
	viewer *view.Viewer
	page   *tui.Page // of a table
	lines  *tui.Listing[view.OriginLine]
	n      int
}

func (a *app) origins(r *reading, asOf *uint64) *originsWriter {
	return &originsWriter{a: a, r: r, asOf: asOf, viewer: r.viewer(), page: a.screen().Page(), lines: tui.NewListing[view.OriginLine](a.screen(), a.form(""), nil)}
}

func (w *originsWriter) write(ctx context.Context, id audit.QueryID) error {
	o, err := w.viewer.Origins(ctx, id, audit.OriginsOptions{
		AsOf: w.asOf, Budget: audit.Budget{Records: audit.DefaultOriginAnswers, Time: audit.DefaultOriginTime},
	})
	if err != nil {
		return err
	}
	for _, damaged := range o.Damaged {
		w.a.leaveOut(damaged)
	}
	w.n++
	switch w.lines.Form {
	case show.Dot:
		err = show.OriginsDot(w.a.out, o)
	case tui.Table:
		w.layOut(ctx, o)
	default:
		err = show.Origins(w.lines, o)
	}
	if err != nil || w.lines.Form == tui.Table {
		return err
	}
	if cut := originsCut(o); cut != "" {
		w.a.say("(%s)", cut)
	}
	return nil
}

func (w *originsWriter) flush() error {
	switch w.lines.Form {
	case show.Dot:
		return nil
	case tui.Table:
		return w.page.Flush()
	}
	return w.lines.Flush()
}

func (w *originsWriter) end() error {
	switch {
	case w.lines.Form == show.Dot:
		return nil
	case w.lines.Form == tui.Table && w.n > 0:
		return w.page.End()
	}
	return w.lines.End()
}

// originsCut says what is missing of a tree, "" if nothing is.
func originsCut(o *view.Origins) string {
	var list []string
	switch {
	case o.Cut == nil:
	case *o.Cut == string(audit.CutByAnswers):
		list = append(list, fmt.Sprintf("cut at %d answers: the evidence of further ones is not here", o.Answers))
	default:
		list = append(list, fmt.Sprintf("cut after %s: the evidence of further answers is not here", audit.DefaultOriginTime))
	}
	if o.Untraced > 0 {
		list = append(list, plural(o.Untraced, "piece", "pieces")+" of little weight left out")
	}
	return strings.Join(list, "; ")
}

// layOut prints a tree for people: each piece, who answered it first, and below it the evidence of that answer.
func (w *originsWriter) layOut(ctx context.Context, o *view.Origins) {
	p, q := w.page, &o.Audit
	if w.n > 1 {
		p.Text("")
	}
	p.Head("query "+w.viewer.Query(ctx, o.QueryID), tui.Gap+o.Time+tui.Gap+asker(q))
	p.Line("asked", fmt.Sprintf("%s / %s", shownText(q.Params.Subject), shownText(q.Params.Predicate)))
	p.Line("answered", shownResult(q))
	p.Head("its evidence", "; under a piece that was an earlier answer, that answer's evidence")
	var rows [][]tui.Cell
	for i := range o.Pieces {
		rows = append(rows, w.row(&o.Pieces[i], q.Timestamp))
	}
	if len(rows) == 0 {
		p.Note("there is none")
	} else {
		p.Table([]tui.Column{
			{Name: "mark", Title: " ", Rank: -3},
			{Name: "evidence", Flexible: true, Least: briefHash + 8},
			{Name: "weight", Right: true, Rank: 5},
			{Name: "lifecycle", Rank: 3},
			{Name: "answered by", Flexible: true, Least: len(anonymous)},
			{Name: "query", Rank: -2},
			{Name: "at", Rank: 2},
			{Name: "source", Flexible: true, Least: briefHash, Rank: 4},
		}, rows)
	}
	if cut := originsCut(o); cut != "" {
		p.Note("(%s)", cut)
	}
	w.list(o)
	w.a.next(p, w.viewer.NextAfterOrigins(ctx, o))
}

// mostIndent is how many steps are shown by indenting. The step itself is always in other forms.
const mostIndent = 12

func (w *originsWriter) row(piece *view.OriginPiece, at uint64) []tui.Cell {
	name := w.r.labels.hash(piece.AssertionHash)
	indent := strings.Repeat("· ", min(piece.Distance-1, mostIndent)) // blanks at the beginning would be shown as escapes
	name.Brief = indent + name.Brief
	if name.Short != "" {
		name.Short = indent + name.Short
	}
	by, query, when := tui.Text("nobody"), tui.Cell{Brief: "-"}, tui.Cell{Brief: "-"}
	if a := piece.Answered; a != nil {
		by, query, when = w.r.labels.agent(a.AgentID), hashCell(a.QueryID), sameDayCell(a.Timestamp, at, w.r.clock)
	}
	switch piece.How {
	case audit.Elsewhere:
		by = by.As(by.Brief + ", see there")
		by.Short = ""
	case audit.NotFollowed:
		by = tui.Text("not looked for")
		if piece.Answered != nil {
			by = w.r.labels.agent(piece.Answered.AgentID)
			by = by.As(by.Brief + ", not traced")
			by.Short = ""
		}
	}
	row := []tui.Cell{{}, name, tui.Figure(piece.Weight), tui.Text(piece.Lifecycle.String()), by, query, when, w.r.labels.hash(piece.SourceHash)}
	if piece.Lifecycle.Unapproved() {
		row[0] = tui.Text("!")
		markRow(row)
	}
	return row
}

// list says where it all came from: what nobody in the store has answered before.
func (w *originsWriter) list(o *view.Origins) {
	origins := o.Origins()
	if len(origins) == 0 {
		return
	}
	unapproved := 0
	for _, one := range origins {
		if one.Lifecycle.Unapproved() {
			unapproved++
		}
	}
	alarm := ""
	if unapproved > 0 {
		alarm = fmt.Sprintf("%d not Approved", unapproved)
	}
	about := fmt.Sprintf(" (%d", len(origins))
	if alarm != "" {
		about += ", "
	}
	w.page.HeadAlarm("origins", about, alarm, ")")
	var selected show.Selection
	var rows [][]tui.Cell
	for _, one := range origins {
		bad := one.Lifecycle.Unapproved()
		if !selected.Shows("", bad) {
			continue
		}
		row := []tui.Cell{{}, w.r.labels.hash(one.AssertionHash), tui.Text(one.Lifecycle.String()), w.r.labels.hash(one.SourceHash), hashCell(one.Of)}
		if bad {
			row[0] = tui.Text("!")
			markRow(row)
		}
		rows = append(rows, row)
	}
	w.page.Table([]tui.Column{
		{Name: "mark", Title: " ", Rank: -3},
		{Name: "assertion", Flexible: true, Least: briefHash, Rank: -2},
		{Name: "lifecycle", Rank: -1},
		{Name: "source", Flexible: true, Least: briefHash},
		{Name: "used by query", Rank: 1},
	}, rows)
	if selected.Left > 0 {
		w.page.Note("(%d more, %d of them not Approved; -o plain has all)", selected.Left, selected.LeftUnapproved)
	}
}

// shownResult is what a record answered, in a sentence.
func shownResult(q *view.Record) string {
	answered := "nothing"
	if q.ResultHash != nil {
		answered = called(*q.ResultHash, q.ResultLabel)
	}
	return answered + ", confidence " + tui.Figure(q.ResultConfidence).Shown()
}
