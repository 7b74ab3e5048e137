package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) compareCommand() *cobra.Command {
	var f filterFlags
	by, with, and := string(audit.TopAgents), "", ""
	cmd := &cobra.Command{
		Use:   "compare --from A --to B --with C [--and D]",
		Short: "What is new, gone, more or less frequent in one period than in another",
		Long: `Compare counts the values of one field in two periods, as top does for one, and
shows both counts side by side. The first period is from --from to --to, and the
second one from --with to --and. The earlier one is "before", whichever you name
first. Without --to the first period ends now. Without --and the second one is
as long as the first. The periods may meet, and must not overlap: what happened
at the instant at which one ends and the other begins counts in the later one
alone.

What is in the later period alone came, and what is in the earlier one alone
went.
Anything else grew or shrank by its number of records (or pieces of evidence) in
the same length of time, so a day can be compared with an hour. The greatest
differences are printed first.

-o json is an object: by, before and after (the periods: from, from_time, to,
to_time), entries (change: came, went, grew, shrank or same; hash, label, text,
before, after), came, went, grew, shrank, same (how many of each in all),
total_before, total_after, without_before, without_after, more (the limit cut),
missed, incomplete, lag. See top for what these say.
-o ndjson, csv and plain text have a line for each entry.`,
		Example: `  auditsql compare --by source --from 1h --with 2026-11-23T09:00
  auditsql compare --from 2h --to 1h --with 3h
  auditsql compare --by agent --from today --with yesterday
  auditsql compare --by attr:model --unapproved --from 1h --with 1d --and 1h`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind, err := audit.ParseTopBy(by)
			if err != nil {
				return usage("--by %q: want %s", by, audit.TopKeys)
			}
			return a.compare(cmd.Context(), kind, with, and, &f)
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	f.registerLimit(cmd, audit.DefaultTop, "at most this many, 1 or more")
	cmd.Flags().StringVar(&by, "by", by, "`what` to compare: "+audit.TopKeys)
	cmd.Flags().StringVar(&with, "with", "", "the `time` at which the second period begins")
	cmd.Flags().StringVar(&and, "and", "", "the `time` at which the second period ends")
	_ = cmd.RegisterFlagCompletionFunc("by", completeWords(topWords...))
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) compare(ctx context.Context, by audit.TopBy, with, and string, f *filterFlags) error {
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
	o := audit.CompareOptions{By: by}
	if o.Filter, err = f.filter(ctx, r); err != nil {
		return err
	}
	var notes []ask.Note
	o.Before, o.After, notes, err = ask.Windows(&o.Filter, r.clock.Unit, with, and, r.askOptions())
	r.say(notes, flagName)
	if err != nil {
		err = refusal(err, flagName, nil)
		if errors.Is(err, ask.ErrOverlap) {
			err = trying(err, "--with TIME, where the second period begins; it lasts as long as the first one, unless --and ends it")
		}
		return err
	}
	v := r.viewer()
	c, err := v.Compare(ctx, o)
	if err != nil {
		return err
	}
	out := tui.NewListing(a.screen(), a.form(""), r.compareTable(c.By))
	if err := show.Comparison(out, c); err != nil {
		return err
	}
	if out.Form == tui.Table && len(c.Entries) > 0 {
		p := a.screen().Page()
		for _, line := range comparedOf(c, r) {
			p.Text(line)
		}
		a.next(p, v.NextAfterCompare(ctx, c))
		if err := p.End(); err != nil {
			return err
		}
	}
	if c.More {
		a.say("(cut at --limit %d, there are more)", f.limit)
	}
	if c.Missed > 0 {
		a.say("(there are too many different ones to count all: a count may be too small by up to %d, and what came or went may have been there as often; a shorter time makes them fewer)", c.Missed)
	}
	return nil
}

// compareTable are the columns of a comparison.
func (r *reading) compareTable(by audit.TopBy) []tui.ColumnOf[view.Compared] {
	type row = view.Compared
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "change", Rank: -1}, Cell: func(e *row) tui.Cell { return tui.Text(string(e.Change)) }},
		{Column: keyColumn(by), Cell: func(e *row) tui.Cell { return r.keyCell(e.Hash, e.Text) }},
		{Column: tui.Column{Name: "before", Right: true}, Cell: func(e *row) tui.Cell { return tui.Number(e.Before) }},
		{Column: tui.Column{Name: "after", Right: true}, Cell: func(e *row) tui.Cell { return tui.Number(e.After) }},
	}
}

// comparedOf says what the counts are of, and how many entries there are of each change.
func comparedOf(c *view.Comparison, r *reading) []string {
	var all []string
	for _, n := range []struct {
		n    uint64
		what audit.Change
	}{{c.Came, audit.Came}, {c.Went, audit.Went}, {c.Grew, audit.Grew}, {c.Shrank, audit.Shrank}, {c.Same, "stayed the same"}} {
		if n.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n.n, n.what))
		}
	}
	window := func(name string, w view.Window, n, without uint64) string {
		line := fmt.Sprintf("%s: %s to %s, %s", name, r.clock.Format(w.From), r.clock.Format(w.To), countedOf(c.By, n))
		if without > 0 {
			line += fmt.Sprintf(", and %s with no %s", plural(without, "record", "records"), keyName(c.By))
		}
		return line
	}
	return []string{
		strings.Join(all, ", "),
		window("before", c.ComparisonHead.Before, c.TotalBefore, c.WithoutBefore),
		window("after", c.ComparisonHead.After, c.TotalAfter, c.WithoutAfter),
	}
}
