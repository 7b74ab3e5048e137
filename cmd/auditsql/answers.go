package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

const answersLimit = 100

func (a *app) answersCommand() *cobra.Command {
	var f filterFlags
	var flips bool
	cmd := &cobra.Command{
		Use:   "answers SUBJECT PREDICATE",
		Short: "The answers to one question over time, and where they flipped",
		Long: `Answers prints the answers to one question, SUBJECT and PREDICATE, oldest
first. ≠ stands before each answer that differs from the one before it. The
column changed says why: the lens, epoch or lifecycle asked for, evidence that
was added or removed, or the weight, lifecycle or source of the rest. --flips
prints only these. ! in the column approved is something else: evidence that
nobody approved.

The filters say which answers count. With --agent, for example, an answer is
compared with that agent's last one. --from and --to only say which are shown.

The members of a line in JSON, and the columns of CSV and plain text: flipped,
time, timestamp, query_id, agent_id, agent_label, lifecycle, lens, epoch,
result_hash, result_label, result_confidence, contributions, unapproved (how
many of them are not Approved), previous_result_hash, causes (lens, epoch,
lifecycle_asked, new_evidence, lost_evidence, lifecycle_changed,
weight_changed, source_changed).`,
		Example: `  auditsql answers supplier/Northwind payment_account
  auditsql answers Tesla revenue --flips --from 2026-11-01 --lens Consensus`,
		Args: arguments(2, 2, "a subject and a predicate"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.answers(cmd.Context(), args[0], args[1], flips, &f)
		},
		ValidArgsFunction: a.completeQuestion(),
	}
	f.register(a, cmd, "subject", "predicate", "not-subject", "not-predicate")
	f.registerLimit(cmd, answersLimit, "at most this many; 0 is no limit")
	cmd.Flags().BoolVar(&f.descending, "desc", false, "newest first")
	cmd.Flags().BoolVar(&flips, "flips", false, "only the answers that differ from the one before")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) answers(ctx context.Context, subject, predicate string, flips bool, f *filterFlags) error {
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
	if err := r.sayOtherSpelling(ctx, subject, filter.From, filter.To); err != nil {
		return err
	}
	v := r.viewer()
	out := tui.NewListing(a.screen(), a.form(""), r.answerTable())
	answers := v.Answers(ctx, subject, predicate, filter, flips)
	var flip *view.Answer // the first
	err = show.Rows(out, answers.Rows(), a.leaveOut, func(answer *view.Answer) {
		if answer.Flipped && flip == nil {
			flip = answer
		}
	})
	if err != nil {
		return err
	}
	if err := out.End(); err != nil {
		return err
	}
	if out.N() == 0 {
		return a.neverAsked(ctx, v, subject, predicate)
	}
	if out.Form == tui.Table && flip != nil {
		p := a.screen().Page()
		a.next(p, v.NextAfterFlip(ctx, flip))
		if err := p.End(); err != nil {
			return err
		}
	}
	if answers.More() {
		a.say("(cut at --limit %d, there are more)", filter.Limit)
	}
	return nil
}

// neverAsked says which part of a question without answers was never asked. It may be a typing error, and an empty answer
// would look as if no agent had asked.
func (a *app) neverAsked(ctx context.Context, v *view.Viewer, subject, predicate string) error {
	asked, known, err := v.Predicates(ctx, subject)
	switch {
	case err != nil:
		return err
	case !known:
		a.say("(no record has the subject %q; %s lists those most asked for)", subject, a.typed("top", "--by", "subject"))
	case !slices.Contains(asked, predicate) && len(asked) > 0:
		const most = 8
		more := ""
		if len(asked) > most {
			asked, more = asked[:most], " and others"
		}
		a.say("(asked of that subject: %s%s)", strings.Join(asked, ", "), more)
	}
	return nil
}

func (r *reading) answerTable() []tui.ColumnOf[view.Answer] {
	type row = view.Answer
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "flipped", Title: " ", Rank: -1}, Cell: func(a *row) tui.Cell {
			if !a.Flipped {
				return tui.Cell{}
			}
			return tui.Text(show.ChangedSign)
		}},
		{Column: tui.Column{Name: "time", Rank: -1}, Cell: func(a *row) tui.Cell { return timeCell(a.Timestamp, r.clock) }},
		{Column: tui.Column{Name: "query", Rank: -2}, Cell: func(a *row) tui.Cell { return hashCell(a.QueryID) }},
		{Column: tui.Column{Name: "agent", Flexible: true, Least: len(anonymous)}, Cell: func(a *row) tui.Cell { return r.labels.agent(a.AgentID) }},
		{Column: tui.Column{Name: "answer", Flexible: true, Least: briefHash}, Cell: func(a *row) tui.Cell { return tui.Or(a.ResultHash, r.labels.hash) }},
		{Column: tui.Column{Name: "conf", Right: true, Rank: 2}, Cell: func(a *row) tui.Cell { return tui.Figure(a.ResultConfidence) }},
		{Column: tui.Column{Name: "asked for", Rank: 3}, Cell: func(a *row) tui.Cell { return tui.Or(a.Lifecycle, lifecycleCell) }},
		{Column: tui.Column{Name: "lens", Flexible: true, Least: 6, Rank: 4}, Cell: func(a *row) tui.Cell { return tui.Or(a.Lens, tui.Text) }},
		{Column: tui.Column{Name: "approved", Rank: -3}, Cell: func(a *row) tui.Cell { return approvedCell(a.Contributions, a.Approved, a.Unapproved) }},
		{Column: tui.Column{Name: "changed", Flexible: true, Least: 10, Rank: 1}, Cell: causesCell},
	}
}

// causesCell says why an answer flipped.
func causesCell(a *view.Answer) tui.Cell {
	switch {
	case len(a.Causes) > 0:
		c := tui.Text(strings.Join(view.CauseTexts(a.Causes), ", "))
		c.Short = strings.Join(view.CauseWords(a.Causes), ", ")
		return c
	case a.Flipped:
		return tui.Text("nothing that is recorded")
	}
	return tui.Cell{Brief: "-"}
}
