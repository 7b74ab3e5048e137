package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
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

var answerColumns = []column{
	{name: "flipped", title: " "},
	{name: "time"},
	{name: "timestamp", hidden: true},
	{name: "query_id", title: "query"},
	{name: "agent_id", title: "agent", flexible: true, least: len("anonymous")},
	{name: "agent_label", hidden: true},
	{name: "result_hash", title: "answer", flexible: true, least: briefHash},
	{name: "result_label", hidden: true},
	{name: "result_confidence", title: "conf", right: true},
	{name: "lifecycle", title: "asked for", rank: 3},
	{name: "lens", flexible: true, least: 6, rank: 4},
	{name: "epoch", hidden: true},
	{name: "contributions", title: "approved", rank: 2},
	{name: "unapproved", hidden: true},
	{name: "previous_result_hash", hidden: true},
	{name: "causes", title: "changed", flexible: true, least: 10, rank: 1},
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
		if limit > 0 && out.n == uint64(limit) {
			more = true
			break
		}
		if answer.Flipped && flip == nil {
			flip = &answer
		}
		if err := out.add(r.answerCells(&answer)...); err != nil {
			return err
		}
	}
	if err := out.end(); err != nil {
		return err
	}
	if out.n == 0 {
		return a.neverAsked(ctx, r, subject, predicate)
	}
	if out.form == formTable && flip != nil {
		p := a.page(r)
		p.next([]step{
			{[]string{"diff", r.query(ctx, flip.Before.A.QueryID), r.query(ctx, flip.Audit.QueryID)}, "what changed where it flipped"},
			{[]string{"trace", r.query(ctx, flip.Audit.QueryID)}, "why it was answered so"},
		})
		if err := p.end(); err != nil {
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

func (r *reading) answerCells(answer *audit.Answer) []cell {
	q := &answer.Audit
	record := recordCells(q, r.clock, r.labels)
	flipped := boolean(answer.Flipped).as(blank)
	causes, words := []string{}, []string{}
	for _, c := range answer.Causes {
		causes, words = append(causes, string(c)), append(words, causeWords[c])
	}
	var previous *audit.Hash
	if answer.Before != nil {
		previous = answer.Before.A.ResultHash
	}
	result := r.labels.optional(q.ResultHash)
	why := textList(causes).as(strings.Join(words, ", "))
	if why.brief == "" {
		why.brief = "-"
	}
	why.short = strings.Join(kindsOfCauses(answer.Causes), ", ")
	if answer.Flipped {
		flipped.brief = "!"
		if len(words) == 0 {
			why.brief = "nothing that is recorded"
		}
		flipped.alarm, result.alarm = true, true
	}
	return []cell{
		flipped, timeCell(q.Timestamp, r.clock), number(q.Timestamp), hashCell(q.QueryID), agentCell(q.AgentID, r.labels), r.labels.cell(q.AgentID),
		result, r.labels.cell(q.ResultHash), number(q.ResultConfidence), optionalLifecycle(q.Params.Lifecycle), optionalText(q.Params.Lens),
		optionalHash(q.Params.Epoch), record[11], number(unapproved(q)), optionalHash(previous), why,
	}
}
