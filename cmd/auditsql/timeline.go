package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

const timelineLimit = 1000

func (a *app) timelineCommand() *cobra.Command {
	var f filterFlags
	by := "hour"
	cmd := &cobra.Command{
		Use:   "timeline",
		Short: "How many records when: bursts, gaps, silent agents",
		Long: `Timeline counts records by the minute, hour or day, with a small bar each: # is
a share of the records, ! of those with evidence that is not Approved. Then it
names the agents that were heard in the first half of the time shown and not in
the second.

Days and hours are those of --tz. In a table three and more empty ones in a row
are one line; in every other form each has its own.

-o json is an object: by, buckets (start, start_time, end, end_time, audits,
agents, anonymous, unapproved), audits, agents, anonymous, sparse (empty
buckets are left out), cut (the earliest are), silent (agent_id, agent_label,
last, last_time, audits), more_silent, lag (what SQLite lacks: records, more,
oldest; null when that is nothing or a moment). -o ndjson, csv and plain text
have the buckets, a line each.

` + filterHelp,
		Example: `  auditsql timeline --from yesterday
  auditsql timeline --by minute --around 2026-11-23T10:19 --window 1h
  auditsql timeline --by day --agent planner --tz Europe/Berlin`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			size, err := audit.ParseBucketSize(by)
			if err != nil {
				return usage("--by %q: want minute, hour or day", by)
			}
			return a.timeline(cmd.Context(), size, &f)
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	f.registerLimit(cmd, timelineLimit, "at most so many minutes, hours or days, the latest; 0 is 10000")
	cmd.Flags().StringVar(&by, "by", by, "the `size` of what is counted: minute, hour or day")
	_ = cmd.RegisterFlagCompletionFunc("by", completeWords("minute", "hour", "day"))
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func completeWords(words ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

var timelineColumns = []tui.Column{
	{Name: "start", Hidden: true},
	{Name: "start_time", Title: "time"},
	{Name: "end", Hidden: true},
	{Name: "end_time", Hidden: true},
	{Name: "audits", Title: "records", Right: true},
	{Name: "agents", Right: true},
	{Name: "anonymous", Hidden: true},
	{Name: "unapproved", Title: "not approved", Right: true},
	{Name: "bar", Title: " ", TableOnly: true},
}

func (a *app) timeline(ctx context.Context, size audit.BucketSize, f *filterFlags) error {
	if err := f.check(a); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	filter, err := f.filter(ctx, r)
	if err != nil {
		return err
	}
	t, err := r.Timeline(ctx, audit.TimelineOptions{By: size, Zone: r.clock.Zone, Filter: filter, Unapproved: true, MaxBuckets: filter.Limit})
	if err != nil {
		return err
	}
	out := a.rows(a.form(""), timelineColumns...)
	out.Within(struct {
		By string `json:"by"`
	}{size.String()}, "buckets", func() any { return r.timelineRest(t) })
	if err := a.buckets(out, r, size, t.Buckets); err != nil {
		return err
	}
	if err := out.End(); err != nil {
		return err
	}
	if out.Form == tui.Table && len(t.Buckets) > 0 {
		if err := a.timelineEnd(r, t); err != nil {
			return err
		}
	}
	switch {
	case t.Cut:
		a.say("(cut to the latest %d with records, there are earlier ones; --limit shows more)", len(t.Buckets))
	case t.Sparse && out.Form != tui.Table:
		a.say("(those without records are left out, they would be too many)")
	}
	return nil
}

// buckets prints them, in a table those without records together.
func (a *app) buckets(out *tui.Rows, r *reading, size audit.BucketSize, list []audit.TimelineBucket) error {
	most := uint64(0)
	for _, b := range list {
		most = max(most, b.Audits)
	}
	full := a.barColumns()
	for i := 0; i < len(list); i++ {
		b := &list[i]
		if empty := emptyFrom(list[i:]); out.Form == tui.Table && empty >= 3 {
			cells := make([]tui.Cell, len(timelineColumns))
			cells[1] = tui.Text(fmt.Sprintf("… %d %ss", empty, size))
			cells[4], cells[5], cells[7] = tui.Text("-"), tui.Text("-"), tui.Text("-")
			if err := out.Add(cells...); err != nil {
				return err
			}
			i += empty - 1
			continue
		}
		unfit := tui.Number(b.Unapproved)
		unfit.Alarm = b.Unapproved > 0
		drawn := tui.Text(bar(b.Audits, b.Unapproved, most, full))
		drawn.Alarm = b.Unapproved > 0
		err := out.Add(tui.Number(b.Start), tui.Text(r.clock.Format(b.Start)).As(r.bucketName(b.Start, size)), tui.Number(b.End), tui.Text(r.clock.Format(b.End)),
			tui.Number(b.Audits), tui.Number(b.Agents), tui.Number(b.Anonymous), unfit, drawn)
		if err != nil {
			return err
		}
	}
	return nil
}

// emptyFrom counts the buckets without records that a list begins with.
func emptyFrom(list []audit.TimelineBucket) int {
	n := 0
	for n < len(list) && list[n].Audits == 0 {
		n++
	}
	return n
}

// bucketName is when a bucket begins, without what is the same in each.
func (r *reading) bucketName(start uint64, size audit.BucketSize) string {
	t, ok := r.clock.Unit.Time(start)
	if !ok {
		return ""
	}
	form := "2006-01-02 15:04"
	if size == audit.ByDay {
		form = "2006-01-02 Mon"
	}
	return t.In(r.clock.Zone).Format(form)
}

// longestBar is how long a bar may be, where there is room for it.
const longestBar = 40

// barColumns is how long the longest bar is.
func (a *app) barColumns() int {
	const others = len("2026-11-23 10:19  records  agents  not approved  ")
	if width := a.screen().Width(); width > 0 {
		return max(min(width-others, longestBar), 4)
	}
	return longestBar
}

// bar shows n of most, and of it a part that is marked. What is not nothing is seen.
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
func (a *app) timelineEnd(r *reading, t *audit.Timeline) error {
	p := a.screen().Page()
	about := fmt.Sprintf("%s of %s", plural(t.Audits, "record", "records"), plural(t.Agents, "agent", "agents"))
	if t.Anonymous > 0 {
		about += fmt.Sprintf(", %d of them anonymous", t.Anonymous)
	}
	unfit := uint64(0)
	for i := range t.Buckets {
		unfit += t.Buckets[i].Unapproved
	}
	if unfit > 0 && !t.Cut {
		about += fmt.Sprintf(", %d with evidence that is not Approved (!)", unfit)
	}
	p.Text(about)
	if len(t.Silent) > 0 {
		p.Head("silent", " in the second half")
		var rows [][]tui.Cell
		for _, s := range t.Silent {
			rows = append(rows, []tui.Cell{r.labels.hash(s.AgentID), timeCell(s.Last, r.clock), tui.Number(s.Shown)})
		}
		p.Table([]tui.Column{{Name: "agent", Flexible: true, Least: briefHash}, {Name: "last heard"}, {Name: "records", Right: true}}, rows)
		if t.MoreSilent {
			p.Note("(and more)")
		}
	}
	return p.End()
}

// timelineRest is what follows the buckets in JSON.
func (r *reading) timelineRest(t *audit.Timeline) any {
	type silent struct {
		AgentID    audit.AgentID `json:"agent_id"`
		AgentLabel *string       `json:"agent_label"`
		Last       uint64        `json:"last"`
		LastTime   string        `json:"last_time"`
		Audits     uint64        `json:"audits"`
	}
	list := []silent{}
	for _, s := range t.Silent {
		list = append(list, silent{s.AgentID, r.labels.orNull(&s.AgentID), s.Last, r.clock.Format(s.Last), s.Shown})
	}
	return struct {
		Audits     uint64     `json:"audits"`
		Agents     uint64     `json:"agents"`
		Anonymous  uint64     `json:"anonymous"`
		Sparse     bool       `json:"sparse"`
		Cut        bool       `json:"cut"`
		Silent     []silent   `json:"silent"`
		MoreSilent bool       `json:"more_silent"`
		Lag        *audit.Lag `json:"lag"`
	}{t.Audits, t.Agents, t.Anonymous, t.Sparse, t.Cut, list, t.MoreSilent, r.lag}
}
