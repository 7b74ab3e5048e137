package main

import (
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

// timelineTable are the columns of a timeline: counts, and a bar beside them.
func (a *app) timelineTable(r *reading, size audit.BucketSize, t *view.Timeline) []tui.ColumnOf[view.Bucket] {
	type row = view.Bucket
	most := uint64(0)
	for i := range t.Buckets {
		most = max(most, t.Buckets[i].Audits)
	}
	zone := r.zoneOf(t)
	title, form := "time", bucketForms[size]
	if zone == "" {
		form += zoneForm // the clocks are changed meanwhile, so each row has its own
	} else {
		title += " (" + zone + ")"
	}
	full := a.barColumns(max(len(title), len(form)))
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "time", Title: title, Rank: -1}, Cell: func(b *row) tui.Cell { return tui.Text(r.bucketName(b.Start, form)) }},
		{Column: tui.Column{Name: "records", Right: true}, Cell: func(b *row) tui.Cell { return tui.Number(b.Audits) }},
		{Column: tui.Column{Name: "agents", Right: true, Rank: 2}, Cell: func(b *row) tui.Cell { return tui.Number(b.Agents) }},
		{Column: tui.Column{Name: "not approved", Right: true, Rank: -2}, Cell: func(b *row) tui.Cell { return tui.Number(b.Unapproved).Marked(b.Unapproved > 0) }},
		{Column: tui.Column{Name: "bar", Title: " ", Rank: 1}, Cell: func(b *row) tui.Cell {
			return tui.Text(bar(b.Audits, b.Unapproved, most, full)).Marked(b.Unapproved > 0)
		}},
	}
}

// emptyRow stands for several buckets without records.
func emptyRow(n int, size audit.BucketSize) []tui.Cell {
	return []tui.Cell{tui.Text(fmt.Sprintf("… %d %ss", n, size)), tui.Text("-"), tui.Text("-"), tui.Text("-"), {}}
}

// emptyFrom counts the buckets without records that a list begins with.
func emptyFrom(list []view.Bucket) int {
	n := 0
	for n < len(list) && list[n].Audits == 0 {
		n++
	}
	return n
}

// bucketForms are how the beginnings of buckets are written, without the part of the time that all buckets share.
var bucketForms = map[audit.BucketSize]string{audit.ByMinute: "2006-01-02 15:04", audit.ByQuarter: "2006-01-02 15:04", audit.ByHour: "2006-01-02 15:04", audit.ByDay: "2006-01-02 Mon"}

// zoneForm is the offset of a zone from UTC, Z in UTC itself.
const zoneForm = "Z07:00"

// bucketName is when a bucket begins.
func (r *reading) bucketName(start uint64, form string) string {
	t, ok := r.clock.Unit.Time(start)
	if !ok {
		return r.clock.Format(start)
	}
	return t.In(r.clock.Zone).Format(form)
}

// zoneOf is the offset from UTC of the beginnings of all buckets, and "" if they have several.
func (r *reading) zoneOf(t *view.Timeline) string {
	zone := ""
	for i := range t.Buckets {
		at, ok := r.clock.Unit.Time(t.Buckets[i].Start)
		is := strings.Replace(at.In(r.clock.Zone).Format(zoneForm), "Z", "UTC", 1)
		if !ok || zone != "" && zone != is {
			return ""
		}
		zone = is
	}
	return zone
}

// longestBar is how long a bar may be, where there is room for it.
const longestBar = 40

// barColumns is how long the longest bar is, beside times of this width.
func (a *app) barColumns(times int) int {
	const others = len("  records  agents  not approved  ")
	if width := a.screen().Width(); width > 0 {
		return max(min(width-times-others, longestBar), 4)
	}
	return longestBar
}

// bar draws n as a part of most, which is full columns long, and marks a part of it. What is not 0 has at least one column.
func bar(n, marked, most uint64, full int) string {
	columns := func(n uint64) int {
		if n == 0 {
			return 0
		}
		return max(int(float64(n)/float64(most)*float64(full)+0.5), 1)
	}
	all, bad := columns(n), columns(marked)
	return strings.Repeat("!", bad) + strings.Repeat("#", max(all-bad, 0))
}

// timelineEnd prints what is below the table: totals, and who fell silent.
func (a *app) timelineEnd(r *reading, t *view.Timeline) error {
	p := a.screen().Page()
	about := fmt.Sprintf("%s of %s", plural(t.Audits, "record", "records"), plural(t.Agents, "agent", "agents"))
	switch {
	case t.Anonymous > 0 && t.Agents == 0:
		about = plural(t.Audits, "record", "records") + ", all anonymous"
	case t.Anonymous > 0:
		about += fmt.Sprintf(", %d of them anonymous", t.Anonymous)
	}
	if t.Unapproved > 0 && !t.Cut {
		about += fmt.Sprintf(", %d with evidence that is not Approved (!)", t.Unapproved)
	}
	p.Text(about)
	if len(t.Silent) > 0 {
		p.Head("silent", ": these agents wrote regularly, and then stopped")
		var rows [][]tui.Cell
		for _, s := range t.Silent {
			rows = append(rows, []tui.Cell{r.labels.hash(s.AgentID), timeCell(s.Last, r.clock), tui.Number(s.Audits), tui.Number(s.Expected)})
		}
		p.Table([]tui.Column{{Name: "agent", Flexible: true, Least: briefHash}, {Name: "last heard"}, {Name: "records", Right: true}, {Name: "expected since", Right: true}}, rows)
		if t.MoreSilent {
			p.Note("(and more)")
		}
	}
	return p.End()
}
