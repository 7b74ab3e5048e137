package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
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
		p.out.WriteByte('\n')
	}
	p.head("query "+r.query(ctx, q.QueryID), gap+r.clock.Format(q.Timestamp)+gap+r.asker(q.AgentID))
	p.line("asked", fmt.Sprintf("%s / %s, lens %s, lifecycle %s, epoch %s", shownText(q.Params.Subject), shownText(q.Params.Predicate),
		shownText(q.Params.Lens), optionalLifecycle(q.Params.Lifecycle).shown(), optionalHash(q.Params.Epoch).shown()), false)
	answered := "nothing"
	if q.ResultHash != nil {
		answered = r.called(*q.ResultHash)
	}
	p.line("answered", answered+", confidence "+number(q.ResultConfidence).text, false)
	for _, f := range t.Findings {
		p.line("", "! "+w.finding(f, t), true)
	}
	w.evidence(t)
	w.others(t)
	w.around(t)
	p.next(w.steps(ctx, t))
}

// shownText is a text in a sentence, at most a few lines of it.
func shownText(s *string) string {
	const most = 200
	return cutTo(optionalText(s).shown(), most, true)
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
	about := fmt.Sprintf(" (%d, weighing %s", len(t.Evidence), brief(t.TotalWeight))
	if bad > 0 {
		about += ", " + p.a.alarm(fmt.Sprintf("%d not Approved", bad))
	}
	fmt.Fprintf(p.out, "%s%s\n", p.a.strong("evidence"), about+")")
	if len(t.Evidence) == 0 {
		return
	}
	columns := []column{
		{name: "mark", title: " "},
		{name: "weight", right: true},
		{name: "assertion", flexible: true, least: briefHash},
		{name: "lifecycle"},
		{name: "source", flexible: true, least: briefHash},
		{name: "first seen", rank: 1},
		{name: "answers", right: true, rank: 2},
		{name: "agents", right: true, rank: 3},
	}
	var rows [][]cell
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
		row := []cell{
			{}, number(e.Weight), r.labels.hash(e.AssertionHash), text(e.Lifecycle.String()), r.labels.hash(e.SourceHash),
			r.seen(e.Uses.First, q.Timestamp), number(e.Uses.Answers).as(fmt.Sprint(e.Uses.Answers) + more), number(e.Uses.Agents).as(fmt.Sprint(e.Uses.Agents) + more),
		}
		if !e.Fit {
			row[0] = text("!")
			for i := range row {
				row[i].alarm = true
			}
		}
		rows = append(rows, row)
	}
	p.table(columns, rows)
	if left > 0 {
		p.note("(%d more of less weight, %d of them not Approved; -o plain has all)", left, leftBad)
	}
}

// seen is when something was first seen, as seen from a record that is not older.
func (r *reading) seen(first *uint64, from uint64) cell {
	if first == nil {
		return cell{brief: "-"}
	}
	c := text(r.apart(*first, from))
	a, ok := r.clock.Unit.Time(*first)
	b, ok2 := r.clock.Unit.Time(from)
	if d := b.Sub(a); ok && ok2 && d >= time.Second {
		c.short = roughly(d) + " before"
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
	var rows [][]cell
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
			rows = append(rows, []cell{
				w.r.labels.hash(e.AssertionHash), text(e.Lifecycle.String()), agentCell(other.AgentID, w.r.labels),
				number(other.Answers), text(w.r.times(other.First, other.Last)),
			})
		}
	}
	if len(rows) == 0 {
		return
	}
	w.page.head("also used", " what is not Approved")
	w.page.table([]column{
		{name: "assertion", flexible: true, least: briefHash},
		{name: "lifecycle", rank: 2},
		{name: "by", flexible: true, least: len("anonymous")},
		{name: "answers", right: true},
		{name: "when", flexible: true, least: len("2026-11-23T10:19:12.000Z"), rank: 1},
	}, rows)
	if left > 0 {
		w.page.note("(%d more agents)", left)
	}
}

// around is what the agent asked before and after.
func (w *traceWriter) around(t *tracing) {
	q := &t.Audit
	if len(t.Before)+len(t.After) == 0 {
		return
	}
	columns := []column{
		{name: "mark", title: " "},
		{name: "time"},
		{name: "query"},
		{name: "subject", flexible: true, least: 18, middle: true},
		{name: "predicate", flexible: true, least: 15, middle: true, rank: 3},
		{name: "answer", flexible: true, least: briefHash, rank: 4},
		{name: "conf", right: true, rank: 2},
		{name: "approved", rank: 1},
	}
	var rows [][]cell
	add := func(mark cell, q *audit.QueryAudit) {
		all := recordCells(q, w.r.clock, w.r.labels)
		all[3] = w.r.sameDay(q.Timestamp, t.Audit.Timestamp)
		rows = append(rows, append([]cell{mark}, pick(all, []int{3, 0, 4, 5, 9, 10, 11})...))
	}
	for i := range t.Before {
		add(cell{}, &t.Before[i])
	}
	add(text(">"), q)
	for i := range t.After {
		add(cell{}, &t.After[i])
	}
	w.page.head("around it", ", asked by "+w.r.asker(q.AgentID))
	w.page.table(columns, rows)
}

// sameDay is the cell of a time which, where there is little room, has no date if that is the same as another
// time's.
func (r *reading) sameDay(timestamp, as uint64) cell {
	c := timeCell(timestamp, r.clock)
	a, ok := r.clock.Unit.Time(timestamp)
	b, ok2 := r.clock.Unit.Time(as)
	if ok && ok2 && a.In(r.clock.Zone).Format(when.DateForm) == b.In(r.clock.Zone).Format(when.DateForm) {
		c.short, c.year = a.In(r.clock.Zone).Format("15:04:05"), ""
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
func typable(s string) bool { return len(s) <= 100 && visible(s) == s }

// answersArgs is the command answers for a question, also when that looks like a flag.
func answersArgs(subject, predicate string) []string {
	if strings.HasPrefix(subject, "-") || strings.HasPrefix(predicate, "-") {
		return []string{"answers", "--", subject, predicate}
	}
	return []string{"answers", subject, predicate}
}
