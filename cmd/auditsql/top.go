package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) topCommand() *cobra.Command {
	var f filterFlags
	by, newSince := string(audit.TopAgents), ""
	cmd := &cobra.Command{
		Use:   "top",
		Short: "The most frequent agents, subjects, assertions, sources or lenses",
		Long: `Top ranks the agents, subjects, assertions, sources or lenses of the records
that fit the filter: those met most often first. --new-since T leaves only what
no record of the whole store had before T: agents, assertions or sources that
turned up.

Agents, subjects and lenses are counted by records; assertions and sources by
pieces of evidence.

-o json is an object: by, entries (hash, label, text: of a subject or lens;
count, share, answers: records, agents, weight: of an assertion or source in
all; first, first_time, last, last_time), total (of all counted), without
(records that have none), more (the limit cut), missed (0 but for very many
different things: a count may be short by as much), lag (what SQLite lacks:
records, more, oldest; null when that is nothing or a moment). -o ndjson, csv
and plain text have the entries, a line each.

` + filterHelp,
		Example: `  auditsql top --by agent --from today
  auditsql top --by source --unapproved
  auditsql top --by assertion --new-since 1h`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind, err := audit.ParseTopBy(by)
			if err != nil {
				return usage("--by %q: want agent, subject, assertion, source or lens", by)
			}
			return a.top(cmd.Context(), kind, newSince, &f)
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	f.registerLimit(cmd, audit.DefaultTop, "at most so many, 1 or more")
	cmd.Flags().StringVar(&by, "by", by, "`what` is ranked: agent, subject, assertion, source or lens")
	cmd.Flags().StringVar(&newSince, "new-since", "", "only what was never seen before this `time`")
	_ = cmd.RegisterFlagCompletionFunc("by", completeWords("agent", "subject", "assertion", "source", "lens"))
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// topTable are the columns of a ranking.
func topTable(by audit.TopBy) []tui.Column {
	ofEvidence := by == audit.TopAssertions || by == audit.TopSources
	ofText := by == audit.TopSubjects || by == audit.TopLenses
	counted := "records"
	if ofEvidence {
		counted = "pieces"
	}
	return []tui.Column{
		{Name: "hash", Title: string(by), Flexible: true, Least: 2 * briefHash, Hidden: ofText},
		{Name: "label", Hidden: true},
		{Name: "text", Title: string(by), Flexible: true, Least: 16, Middle: true, Hidden: !ofText},
		{Name: "count", Title: counted, Right: true},
		{Name: "share", Right: true, Rank: 1},
		{Name: "answers", Right: true, Hidden: !ofEvidence, Rank: 2},
		{Name: "agents", Right: true, Hidden: by == audit.TopAgents, Rank: 3},
		{Name: "weight", Right: true, Hidden: !ofEvidence, Rank: 5},
		{Name: "first", Hidden: true},
		{Name: "first_time", Title: "first", Rank: 4},
		{Name: "last", Hidden: true},
		{Name: "last_time", Title: "last", Rank: 6},
	}
}

func (a *app) top(ctx context.Context, by audit.TopBy, newSince string, f *filterFlags) error {
	if f.limit < 1 {
		return usage("--limit %d: want 1 or more", f.limit)
	}
	if err := f.check(a); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	options := audit.TopOptions{By: by}
	if options.Filter, err = f.filter(ctx, r); err != nil {
		return err
	}
	if f.cmd.Flags().Changed("new-since") {
		since, err := r.clock.Parse(newSince)
		if err != nil {
			return usage("--new-since: %w", err)
		}
		options.NewSince = &since.First
	}
	t, err := r.Top(ctx, options)
	if err != nil {
		return err
	}
	out := a.rows(a.form(""), topTable(by)...)
	out.Within(struct {
		By audit.TopBy `json:"by"`
	}{by}, "entries", func() any {
		return struct {
			Total   uint64     `json:"total"`
			Without uint64     `json:"without"`
			More    bool       `json:"more"`
			Missed  uint64     `json:"missed"`
			Lag     *audit.Lag `json:"lag"`
		}{t.Total, t.Without, t.More, t.Missed, r.lag}
	})
	for i := range t.Entries {
		if err := out.Add(r.topCells(by, &t.Entries[i])...); err != nil {
			return err
		}
	}
	if err := out.End(); err != nil {
		return err
	}
	if out.Form == tui.Table && len(t.Entries) > 0 {
		if err := a.topEnd(ctx, r, options, t); err != nil {
			return err
		}
	}
	if t.More {
		a.say("(cut at --limit %d, there are more)", f.limit)
	}
	if t.Missed > 0 {
		a.say("(there are too many different ones to count all: what was met %d times or less may be missing, and a count short by as much; a time makes them fewer)", t.Missed)
	}
	return nil
}

func (r *reading) topCells(by audit.TopBy, e *audit.TopEntry) []tui.Cell {
	hash, label := tui.Cell{}, tui.Cell{}
	if e.Hash != nil {
		hash, label = r.labels.hash(*e.Hash), r.labels.cell(e.Hash)
	}
	weight := tui.Cell{}
	if by == audit.TopAssertions || by == audit.TopSources {
		weight = tui.Number(e.Weight).As(brief(e.Weight))
	}
	return []tui.Cell{
		hash, label, nullable(e.Text), tui.Number(e.Count), tui.Number(e.Share).As(percent(e.Share)),
		tui.Number(e.Answers), tui.Number(e.Agents), weight, tui.Number(e.First), timeCell(e.First, r.clock), tui.Number(e.Last), timeCell(e.Last, r.clock),
	}
}

// percent never shows what is there as nothing.
func percent(share float64) string {
	if share > 0 && share < 0.0005 {
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}

// topEnd says what was counted, and what to type next.
func (a *app) topEnd(ctx context.Context, r *reading, options audit.TopOptions, t *audit.TopList) error {
	by := options.By
	p := a.screen().Page()
	about := "of " + plural(t.Total, "record", "records")
	if by == audit.TopAssertions || by == audit.TopSources {
		about = "of " + plural(t.Total, "piece of evidence", "pieces of evidence")
		if options.Filter.Unapproved {
			about += ", Approved ones beside the others included"
		}
	}
	if t.Without > 0 {
		about += fmt.Sprintf(", and %s with no %s", plural(t.Without, "record", "records"), by)
	}
	p.Text(about)
	first := &t.Entries[0]
	switch by {
	case audit.TopAgents:
		a.next(p, []step{{[]string{"list", "--agent", r.name(ctx, *first.Hash, audit.AgentHash)}, "what the first asked"}})
	case audit.TopAssertions:
		a.next(p, []step{{[]string{"impact", r.name(ctx, *first.Hash, audit.AssertionHash)}, "where the first went"}})
	case audit.TopSources:
		a.next(p, []step{{[]string{"impact", "--source", r.name(ctx, *first.Hash, audit.SourceHash)}, "what came from the first"}})
	}
	return p.End()
}
