package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) topCommand() *cobra.Command {
	var f filterFlags
	by, newSince := string(audit.TopAgents), ""
	cmd := &cobra.Command{
		Use:   "top",
		Short: "The most frequent agents, subjects, assertions, sources or lenses",
		Long: `Top ranks the agents, subjects, assertions, sources or lenses of the records
that the filter selects, the most frequent first. --new-since T prints only
those that no record of the whole store has before T.

Agents, subjects and lenses are counted by records; assertions and sources by
pieces of evidence.

-o json is an object: by, entries (hash, label, text: of a subject or lens;
count, share, answers: records, agents, weight: of an assertion or source in
all; first, first_time, last, last_time), total (of all counted), without
(records that have none), more (the limit cut), missed (a count may be too small
by up to this number; 0 unless there are very many different things), lag (what
SQLite lacks: records, more, oldest; null when it lacks nothing older than a
second). -o ndjson, csv and plain text have a line for each entry.`,
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
	cmd.Flags().StringVar(&by, "by", by, "`what` to rank: agent, subject, assertion, source or lens")
	cmd.Flags().StringVar(&newSince, "new-since", "", "only what was never seen before this `time`")
	_ = cmd.RegisterFlagCompletionFunc("by", completeWords("agent", "subject", "assertion", "source", "lens"))
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
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
	v := r.viewer()
	t, err := v.Top(ctx, options)
	if err != nil {
		return err
	}
	out := tui.NewListing(a.screen(), a.form(""), r.topTable(t.RankingHead))
	if err := show.Ranking(out, t); err != nil {
		return err
	}
	if out.Form == tui.Table && len(t.Entries) > 0 {
		p := a.screen().Page()
		p.Text(rankedOf(t, options.Filter.Unapproved))
		a.next(p, v.NextAfterTop(ctx, t))
		if err := p.End(); err != nil {
			return err
		}
	}
	if t.More {
		a.say("(cut at --limit %d, there are more)", f.limit)
	}
	if t.Missed > 0 {
		a.say("(there are too many different ones to count all: what was met %d times or less may be missing, and a count may be too small by as much; --from and --to make them fewer)", t.Missed)
	}
	return nil
}

// topTable are the columns of a ranking.
func (r *reading) topTable(h view.RankingHead) []tui.ColumnOf[view.Ranked] {
	type row = view.Ranked
	hash := tui.ColumnOf[row]{Column: tui.Column{Name: string(h.By), Flexible: true, Least: 2 * briefHash}, Cell: func(e *row) tui.Cell { return r.labels.hash(*e.Hash) }}
	text := tui.ColumnOf[row]{Column: tui.Column{Name: string(h.By), Flexible: true, Least: 16, Middle: true}, Cell: func(e *row) tui.Cell { return tui.Text(*e.Text) }}
	count := tui.ColumnOf[row]{Column: tui.Column{Name: "records", Right: true}, Cell: func(e *row) tui.Cell { return tui.Number(e.Count) }}
	share := tui.ColumnOf[row]{Column: tui.Column{Name: "share", Right: true, Rank: 1}, Cell: func(e *row) tui.Cell { return tui.Number(e.Share).As(percent(e.Share)) }}
	answers := tui.ColumnOf[row]{Column: tui.Column{Name: "answers", Right: true, Rank: 2}, Cell: func(e *row) tui.Cell { return tui.Number(e.Answers) }}
	agents := tui.ColumnOf[row]{Column: tui.Column{Name: "agents", Right: true, Rank: 3}, Cell: func(e *row) tui.Cell { return tui.Number(e.Agents) }}
	weight := tui.ColumnOf[row]{Column: tui.Column{Name: "weight", Right: true, Rank: 5}, Cell: func(e *row) tui.Cell { return tui.Figure(*e.Weight) }}
	first := tui.ColumnOf[row]{Column: tui.Column{Name: "first", Rank: 4}, Cell: func(e *row) tui.Cell { return timeCell(e.First, r.clock) }}
	last := tui.ColumnOf[row]{Column: tui.Column{Name: "last", Rank: 6}, Cell: func(e *row) tui.Cell { return timeCell(e.Last, r.clock) }}
	switch {
	case h.OfEvidence():
		count.Name = "pieces"
		return []tui.ColumnOf[row]{hash, count, share, answers, agents, weight, first, last}
	case h.OfTexts():
		return []tui.ColumnOf[row]{text, count, share, agents, first, last}
	}
	return []tui.ColumnOf[row]{hash, count, share, first, last}
}

// percent never shows a share that is not 0 as 0.
func percent(share float64) string {
	if share > 0 && share < 0.0005 {
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}

// rankedOf says what the shares are parts of.
func rankedOf(t *view.Ranking, unapproved bool) string {
	about := "of " + plural(t.Total, "record", "records")
	if t.OfEvidence() {
		about = "of " + plural(t.Total, "piece of evidence", "pieces of evidence")
		if unapproved {
			about += ", Approved ones beside the others included"
		}
	}
	if t.Without > 0 {
		about += fmt.Sprintf(", and %s with no %s", plural(t.Without, "record", "records"), t.By)
	}
	return about
}
