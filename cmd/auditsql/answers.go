package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

const answersLimit = 100

func (a *app) answersCommand() *cobra.Command {
	var f filterFlags
	var flips bool
	cmd := &cobra.Command{
		Use:   "answers SUBJECT PREDICATE",
		Short: "The answers to one question over time, and where they flipped",
		Long: `Answers prints what was answered when SUBJECT and PREDICATE were asked, oldest
first, and marks where the answer is another than the one before it, with what
had changed: the lens, epoch or lifecycle asked for, evidence that came or went,
or the weight, lifecycle or source of what stayed. --flips prints these alone.

The filters say which answers count: with --agent, say, an answer is held
against that agent's last one. --from and --to only say which are shown.

The members of a line in JSON, and the columns of CSV and plain text: flipped,
time, timestamp, query_id, agent_id, agent_label, lifecycle, lens, epoch,
result_hash, result_label, result_confidence, contributions, unapproved (how
many of them are not Approved), previous_result_hash, causes (lens, epoch,
lifecycle_asked, new_evidence, lost_evidence, lifecycle_changed,
weight_changed, source_changed).

` + filterHelp,
		Example: `  auditsql answers supplier/Northwind payment_account
  auditsql answers Tesla revenue --flips --from 2026-11-01 --lens Consensus`,
		Args: arguments(2, 2, "a subject and a predicate"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.answers(cmd.Context(), args[0], args[1], flips, &f)
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd, "subject", "predicate")
	f.registerLimit(cmd, answersLimit, "at most so many; 0 is no limit")
	cmd.Flags().BoolVar(&f.descending, "desc", false, "newest first")
	cmd.Flags().BoolVar(&flips, "flips", false, "only where the answer is another than before")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

var answerColumns = []tui.Column{
	{Name: "flipped", Title: " "},
	{Name: "time"},
	{Name: "timestamp", Hidden: true},
	{Name: "query_id", Title: "query"},
	{Name: "agent_id", Title: "agent", Flexible: true, Least: len("anonymous")},
	{Name: "agent_label", Hidden: true},
	{Name: "result_hash", Title: "answer", Flexible: true, Least: briefHash},
	{Name: "result_label", Hidden: true},
	{Name: "result_confidence", Title: "conf", Right: true},
	{Name: "lifecycle", Title: "asked for", Rank: 3},
	{Name: "lens", Flexible: true, Least: 6, Rank: 4},
	{Name: "epoch", Hidden: true},
	{Name: "contributions", Title: "approved", Rank: 2},
	{Name: "unapproved", Hidden: true},
	{Name: "previous_result_hash", Hidden: true},
	{Name: "causes", Title: "changed", Flexible: true, Least: 10, Rank: 1},
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
	if err := r.tellSpellings(ctx, subject, filter.From, filter.To); err != nil {
		return err
	}
	out := a.rows(a.form(""), answerColumns...)
	limit := filter.Limit
	filter.Limit = 0 // answers that did not flip count for nothing
	if limit > 0 && !flips {
		filter.Limit = limit + 1
	}
	more := false
	var flip *audit.Answer // the first
	for answer, err := range r.Answers(ctx, subject, predicate, filter) {
		if err != nil {
			return err
		}
		if flips && !answer.Flipped {
			continue
		}
		if limit > 0 && out.N() == uint64(limit) {
			more = true
			break
		}
		if answer.Flipped && flip == nil {
			flip = &answer
		}
		if err := out.Add(r.answerCells(&answer)...); err != nil {
			return err
		}
	}
	if err := out.End(); err != nil {
		return err
	}
	if out.N() == 0 {
		return a.neverAsked(ctx, r, subject, predicate)
	}
	if out.Form == tui.Table && flip != nil {
		p := a.screen().Page()
		a.next(p, []step{
			{[]string{"diff", r.query(ctx, flip.Before.A.QueryID), r.query(ctx, flip.Audit.QueryID)}, "what changed where it flipped"},
			{[]string{"trace", r.query(ctx, flip.Audit.QueryID)}, "why it was answered so"},
		})
		if err := p.End(); err != nil {
			return err
		}
	}
	if more {
		a.say("(cut at --limit %d, there are more)", limit)
	}
	return nil
}

// predicatesLookedAt bounds in how many of a subject's newest records its predicates are looked for.
const predicatesLookedAt = 200

// neverAsked says which part of a question without answers was never asked: it may be a slip, and to find
// nothing would look as if the agents had not asked.
func (a *app) neverAsked(ctx context.Context, r *reading, subject, predicate string) error {
	var asked []string
	any := false
	for q, err := range r.Audits(ctx, audit.Filter{Subject: &subject, Descending: true, Limit: predicatesLookedAt}) {
		if err != nil {
			return err
		}
		any = true
		if p := q.Params.Predicate; p != nil && !slices.Contains(asked, *p) {
			asked = append(asked, *p)
		}
	}
	switch {
	case !any:
		a.say("(no record has the subject %q; %s lists those most asked for)", subject, a.typed("top", "--by", "subject"))
	case !slices.Contains(asked, predicate) && len(asked) > 0:
		slices.Sort(asked)
		const most = 8
		more := ""
		if len(asked) > most {
			asked, more = asked[:most], " and others"
		}
		a.say("(asked of that subject: %s%s)", strings.Join(asked, ", "), more)
	}
	return nil
}

// causeWords are what tables call what changed.
var causeWords = map[audit.Cause]string{
	audit.CauseLens: "other lens", audit.CauseEpoch: "other epoch", audit.CauseLifecycleAsked: "other lifecycle asked",
	audit.CauseNewEvidence: "new evidence", audit.CauseLostEvidence: "lost evidence", audit.CauseLifecycleChanged: "lifecycle changed",
	audit.CauseWeightChanged: "weight changed", audit.CauseSourceChanged: "source changed",
}

// kindsOfCauses are causes in a word each, where there is little room.
func kindsOfCauses(causes []audit.Cause) []string {
	var kinds []string
	for _, c := range causes {
		kind := "evidence"
		switch c {
		case audit.CauseLens, audit.CauseEpoch:
			kind = string(c)
		case audit.CauseLifecycleAsked:
			kind = "lifecycle"
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (r *reading) answerCells(answer *audit.Answer) []tui.Cell {
	q := &answer.Audit
	record := recordCells(q, r.clock, r.labels)
	flipped := tui.Bool(answer.Flipped).As(tui.Blank)
	causes, words := []string{}, []string{}
	for _, c := range answer.Causes {
		causes, words = append(causes, string(c)), append(words, causeWords[c])
	}
	var previous *audit.Hash
	if answer.Before != nil {
		previous = answer.Before.A.ResultHash
	}
	result := r.labels.optional(q.ResultHash)
	why := tui.Texts(causes).As(strings.Join(words, ", "))
	if why.Brief == "" {
		why.Brief = "-"
	}
	why.Short = strings.Join(kindsOfCauses(answer.Causes), ", ")
	if answer.Flipped {
		flipped.Brief = "!"
		if len(words) == 0 {
			why.Brief = "nothing that is recorded"
		}
		flipped.Alarm, result.Alarm = true, true
	}
	return []tui.Cell{
		flipped, timeCell(q.Timestamp, r.clock), tui.Number(q.Timestamp), hashCell(q.QueryID), agentCell(q.AgentID, r.labels), r.labels.cell(q.AgentID),
		result, r.labels.cell(q.ResultHash), tui.Number(q.ResultConfidence), optionalLifecycle(q.Params.Lifecycle), optionalText(q.Params.Lens),
		optionalHash(q.Params.Epoch), record[11], tui.Number(unapproved(q)), optionalHash(previous), why,
	}
}
