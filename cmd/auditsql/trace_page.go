package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// shownEvidence is how many pieces of evidence a page shows, of those that are not Approved up to as many
// again, and shownOthers how many agents that used one.
const (
	shownEvidence = 20
	shownOthers   = 8
)

// readable lays a trace out: what was asked and answered, what is wrong with it, on which evidence it stands,
// and what was going on around it.
func (w *traceWriter) readable(ctx context.Context, t *tracing) {
	p, r, q := w.page, w.r, &t.Audit
	if w.n > 1 {
		p.Text("")
	}
	p.Head("query "+r.query(ctx, q.QueryID), tui.Gap+r.clock.Format(q.Timestamp)+tui.Gap+r.asker(q.AgentID))
	p.Line("asked", fmt.Sprintf("%s / %s, lens %s, lifecycle %s, epoch %s", shownText(q.Params.Subject), shownText(q.Params.Predicate),
		shownText(q.Params.Lens), optionalLifecycle(q.Params.Lifecycle).Shown(), optionalHash(q.Params.Epoch).Shown()))
	answered := "nothing"
	if q.ResultHash != nil {
		answered = r.called(*q.ResultHash)
	}
	p.Line("answered", answered+", confidence "+tui.Number(q.ResultConfidence).Text)
	for _, f := range t.Findings {
		p.Alarm("! " + w.finding(f, t))
	}
	w.evidence(t)
	w.others(t)
	w.around(t)
	w.a.next(p, w.steps(ctx, t))
}

// shownText is a text in a sentence, at most a few lines of it.
func shownText(s *string) string {
	const most = 200
	return tui.CutTo(optionalText(s).Shown(), most, true)
}

// finding says it in words.
func (w *traceWriter) finding(f audit.Finding, t *tracing) string {
	pieces := plural(len(t.Evidence), "piece", "pieces")
	switch f.Kind {
	case audit.UnfitResult:
		for i := range t.Evidence {
			if e := &t.Evidence[i]; e.Won {
				return fmt.Sprintf("the answer itself is %s, not Approved", e.Lifecycle)
			}
		}
	case audit.UnfitEvidence:
		return fmt.Sprintf("%d of %s of evidence not Approved", len(f.Positions), pieces)
	case audit.OneSource:
		return "all of its evidence comes from one source"
	case audit.FirstUse:
		return fmt.Sprintf("%d of %s of evidence had been in no answer before", len(f.Positions), pieces)
	case audit.LowConfidence:
		return "its confidence is low"
	case audit.NoEvidence:
		return "there is no evidence for the answer"
	case audit.ForeignResult:
		return "the answer is not among its evidence"
	}
	return string(f.Kind)
}

func (w *traceWriter) evidence(t *tracing) {
	p, r, q := w.page, w.r, &t.Audit
	bad := unapproved(q)
	about, alarm := fmt.Sprintf(" (%d, weighing %s", len(t.Evidence), brief(t.TotalWeight)), ""
	if bad > 0 {
		about, alarm = about+", ", fmt.Sprintf("%d not Approved", bad)
	}
	p.HeadAlarm("evidence", about, alarm, ")")
	if len(t.Evidence) == 0 {
		return
	}
	columns := []tui.Column{
		{Name: "mark", Title: " "},
		{Name: "weight", Right: true},
		{Name: "assertion", Flexible: true, Least: briefHash},
		{Name: "lifecycle"},
		{Name: "source", Flexible: true, Least: briefHash},
		{Name: "first seen", Rank: 1},
		{Name: "answers", Right: true, Rank: 2},
		{Name: "agents", Right: true, Rank: 3},
	}
	var rows [][]tui.Cell
	left, leftBad := 0, 0
	for i := range t.Evidence {
		e := &t.Evidence[i]
		// What is not Approved is shown also when it weighs little.
		if i >= shownEvidence && (e.Fit || len(rows) >= 2*shownEvidence) {
			left++
			if !e.Fit {
				leftBad++
			}
			continue
		}
		more := ""
		if e.Uses.More {
			more = "+"
		}
		row := []tui.Cell{
			{}, tui.Number(e.Weight), r.labels.hash(e.AssertionHash), tui.Text(e.Lifecycle.String()), r.labels.hash(e.SourceHash),
			r.seen(e.Uses.First, q.Timestamp), tui.Number(e.Uses.Answers).As(fmt.Sprint(e.Uses.Answers) + more), tui.Number(e.Uses.Agents).As(fmt.Sprint(e.Uses.Agents) + more),
		}
		if !e.Fit {
			row[0] = tui.Text("!")
			for i := range row {
				row[i].Alarm = true
			}
		}
		rows = append(rows, row)
	}
	p.Table(columns, rows)
	if left > 0 {
		p.Note("(%d more of less weight, %d of them not Approved; -o plain has all)", left, leftBad)
	}
}

// seen is when something was first seen, as seen from a record that is not older.
func (r *reading) seen(first *uint64, from uint64) tui.Cell {
	if first == nil {
		return tui.Cell{Brief: "-"}
	}
	c := tui.Text(r.apart(*first, from))
	a, ok := r.clock.Unit.Time(*first)
	b, ok2 := r.clock.Unit.Time(from)
	if d := b.Sub(a); ok && ok2 && d >= time.Second {
		c.Short = roughly(d) + " before"
	}
	return c
}

// roughly writes a length of time in its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// brief is a sum of weights, without the digits that adding floats leaves behind.
func brief(f float64) string { return fmt.Sprintf("%.6g", f) }

// others says who else used what is not Approved.
func (w *traceWriter) others(t *tracing) {
	var rows [][]tui.Cell
	left := 0
	for i := range t.Evidence {
		e := &t.Evidence[i]
		if e.Fit {
			continue
		}
		for n, other := range t.others[e.Position] {
			if n >= shownOthers || len(rows) >= 2*shownOthers {
				left++
				continue
			}
			rows = append(rows, []tui.Cell{
				w.r.labels.hash(e.AssertionHash), tui.Text(e.Lifecycle.String()), agentCell(other.AgentID, w.r.labels),
				tui.Number(other.Answers), tui.Text(w.r.times(other.First, other.Last)),
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
		{Name: "by", Flexible: true, Least: len("anonymous")},
		{Name: "answers", Right: true},
		{Name: "when", Flexible: true, Least: len("2026-11-23T10:19:12.000Z"), Rank: 1},
	}, rows)
	if left > 0 {
		w.page.Note("(%d more agents)", left)
	}
}

// around is what the agent asked before and after.
func (w *traceWriter) around(t *tracing) {
	q := &t.Audit
	if len(t.Before)+len(t.After) == 0 {
		return
	}
	columns := []tui.Column{
		{Name: "mark", Title: " "},
		{Name: "time"},
		{Name: "query"},
		{Name: "subject", Flexible: true, Least: 18, Middle: true},
		{Name: "predicate", Flexible: true, Least: 15, Middle: true, Rank: 3},
		{Name: "answer", Flexible: true, Least: briefHash, Rank: 4},
		{Name: "conf", Right: true, Rank: 2},
		{Name: "approved", Rank: 1},
	}
	var rows [][]tui.Cell
	add := func(mark tui.Cell, q *audit.QueryAudit) {
		all := recordCells(q, w.r.clock, w.r.labels)
		all[3] = w.r.sameDay(q.Timestamp, t.Audit.Timestamp)
		rows = append(rows, append([]tui.Cell{mark}, pick(all, []int{3, 0, 4, 5, 9, 10, 11})...))
	}
	for i := range t.Before {
		add(tui.Cell{}, &t.Before[i])
	}
	add(tui.Text(">"), q)
	for i := range t.After {
		add(tui.Cell{}, &t.After[i])
	}
	w.page.Head("around it", ", asked by "+w.r.asker(q.AgentID))
	w.page.Table(columns, rows)
}

// sameDay is the cell of a time which, where there is little room, has no date if that is the same as another
// time's.
func (r *reading) sameDay(timestamp, as uint64) tui.Cell {
	c := timeCell(timestamp, r.clock)
	a, ok := r.clock.Unit.Time(timestamp)
	b, ok2 := r.clock.Unit.Time(as)
	if ok && ok2 && a.In(r.clock.Zone).Format(when.DateForm) == b.In(r.clock.Zone).Format(when.DateForm) {
		c.Short, c.Year = a.In(r.clock.Zone).Format("15:04:05"), ""
	}
	return c
}

// steps are what to type next.
func (w *traceWriter) steps(ctx context.Context, t *tracing) []step {
	var steps []step
	q, r := &t.Audit, w.r
	seen := map[audit.Hash]bool{}
	for i := range t.Evidence {
		e := &t.Evidence[i]
		if e.Fit || seen[e.AssertionHash] || len(seen) == 4 {
			continue
		}
		seen[e.AssertionHash] = true
		steps = append(steps, step{[]string{"impact", r.name(ctx, e.AssertionHash, audit.AssertionHash)}, "where else this went"})
		if !seen[e.SourceHash] {
			seen[e.SourceHash] = true
			steps = append(steps, step{[]string{"impact", "--source", r.name(ctx, e.SourceHash, audit.SourceHash)}, "what else came from there"})
		}
	}
	if subject, predicate := q.Params.Subject, q.Params.Predicate; subject != nil && predicate != nil && typable(*subject) && typable(*predicate) {
		steps = append(steps, step{answersArgs(*subject, *predicate), "how its answer changed"})
	}
	if t.previous != nil {
		steps = append(steps, step{[]string{"diff", r.query(ctx, *t.previous), r.query(ctx, q.QueryID)}, "since it was last asked"})
	}
	return steps
}

// typable reports whether a text can be pasted into a shell as it is shown.
func typable(s string) bool { return len(s) <= 100 && legible.Visible(s) == s }

// answersArgs is the command answers for a question, also when that looks like a flag.
func answersArgs(subject, predicate string) []string {
	if strings.HasPrefix(subject, "-") || strings.HasPrefix(predicate, "-") {
		return []string{"answers", "--", subject, predicate}
	}
	return []string{"answers", subject, predicate}
}
