package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

const timelineLimit = 1000

func (a *app) timelineCommand() *cobra.Command {
	var f filterFlags
	by := "hour"
	cmd := &cobra.Command{
		Use:   "timeline",
		Short: "How many records over time: bursts, gaps, silent agents",
		Long: `Timeline counts records by the minute, quarter of an hour, hour or day, and
draws a small bar for each: # stands for records, ! for records with evidence
that is not Approved. Then it names the agents that fell silent: those that
would have had 5 or more records since their last one at the rate that they had.
The rate is that of their records in the time shown if these are 5 or more.
Otherwise it is that of all their records, if these are, and if nothing but a
time is selected. Nobody is silent because the time shown has not passed yet;
with --as-of the time ends at the newest record that was there.

Days and hours are those of --tz. A table has one line for three or more empty
ones in a row; every other form has a line for each.

-o json is an object: by, buckets (start, start_time, end, end_time, audits,
agents, anonymous, unapproved), audits, agents, anonymous, sparse (empty
buckets are left out), cut (the earliest buckets are left out), silent
(agent_id, agent_label, last, last_time, audits, expected: records that it would
have had since), more_silent, lag (what SQLite
lacks: records, more, oldest; null when it lacks nothing older than a second).
-o ndjson, csv and plain text have a line for each bucket.`,
		Example: `  auditsql timeline --from yesterday
  auditsql timeline --by minute --around 2026-11-23T10:19 --window 1h
  auditsql timeline --by day --agent planner --tz Europe/Berlin`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			size, err := audit.ParseBucketSize(by)
			if err != nil {
				return usage("--by %q: want minute, quarter, hour or day", by)
			}
			return a.timeline(cmd.Context(), size, &f)
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	f.registerLimit(cmd, timelineLimit, "at most this many minutes, quarters, hours or days, the latest; 0 is 10000")
	cmd.Flags().StringVar(&by, "by", by, "the `size` of what is counted: minute, quarter (of an hour), hour or day")
	_ = cmd.RegisterFlagCompletionFunc("by", completeWords("minute", "quarter", "hour", "day"))
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func completeWords(words ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
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
	t, err := r.viewer().Timeline(ctx, size, filter)
	if err != nil {
		return err
	}
	out := tui.NewListing(a.screen(), a.form(""), a.timelineTable(r, size, t))
	if out.Form == tui.Table {
		err = timelineRows(out, size, t.Buckets)
	} else {
		err = show.Timeline(out, t)
	}
	if err != nil {
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

// timelineRows prints a table, with one line for three or more empty buckets in a row.
func timelineRows(out *tui.Listing[view.Bucket], size audit.BucketSize, buckets []view.Bucket) error {
	for i := 0; i < len(buckets); i++ {
		var err error
		if empty := emptyFrom(buckets[i:]); empty >= 3 {
			err = out.Rows.Add(emptyRow(empty, size)...)
			i += empty - 1
		} else {
			err = out.Add(&buckets[i])
		}
		if err != nil {
			return err
		}
	}
	return out.End()
}
