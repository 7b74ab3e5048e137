package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

const impactLimit = 100

func (a *app) impactCommand() *cobra.Command {
	var f filterFlags
	var source bool
	cmd := &cobra.Command{
		Use:   "impact HASH",
		Short: "Which answers an assertion or a source went into",
		Long: `Impact is the question after a bad fact was found: which answers of which
agents it went into, when, and how much it weighed in them. HASH is an
assertion, with --source a source of assertions: in full, its first 8 or more
digits, or its label. The filters narrow the answers down; the totals count all
that fit, whatever the limit. A hash that is in no stored evidence ends it with
exit code 3.

-o json is an object: hash, label, kind (assertion or source), answers
(query_id, timestamp, time, agent_id, agent_label, subject, predicate,
result_hash, result_label, result_confidence, result: whether this was the
answer, weight: of all of it in this answer, lifecycle: as it was then, several
of them joined by a comma, pieces: how many), more (the limit cut), totals
(answers, agents, anonymous, results, weight, assertions, more_assertions,
first, first_time, last, last_time, by_agent), and lag (what SQLite lacks:
records, more, oldest; null when that is nothing or a moment). -o ndjson, csv
and plain text have the answers, a line each, and no totals.

` + filterHelp,
		Example: `  auditsql impact f2bf0ec5
  auditsql impact --source 'mail 7731' --from 2026-11-23
  auditsql impact f2bf0ec5 -o json | jq .totals`,
		Args: arguments(1, 1, "an assertion's hash (or, with --source, a source's)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.impact(cmd.Context(), args[0], source, &f)
		},
		ValidArgsFunction: a.completeHash,
	}
	f.register(a, cmd, "assertion", "source")
	f.registerLimit(cmd, impactLimit, "at most so many answers; 0 is no limit")
	cmd.Flags().BoolVar(&f.descending, "desc", false, "newest first")
	cmd.Flags().BoolVar(&source, "source", false, "HASH is a source")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

var impactColumns = []tui.Column{
	{Name: "time"},
	{Name: "timestamp", Hidden: true},
	{Name: "query_id", Title: "query"},
	{Name: "agent_id", Title: "agent", Flexible: true, Least: len("anonymous")},
	{Name: "agent_label", Hidden: true},
	{Name: "subject", Flexible: true, Least: 14, Middle: true},
	{Name: "predicate", Flexible: true, Least: 12, Middle: true, Rank: 4},
	{Name: "weight", Right: true},
	{Name: "lifecycle", Rank: 1},
	{Name: "pieces", Hidden: true},
	{Name: "result_hash", Hidden: true},
	{Name: "result_label", Hidden: true},
	{Name: "result", Title: "answer", Rank: 2},
	{Name: "result_confidence", Title: "conf", Right: true, Rank: 3},
}

func (a *app) impact(ctx context.Context, typed string, source bool, f *filterFlags) error {
	if err := checkTyped("", typed); err != nil {
		return err
	}
	if err := f.check(a); err != nil {
		return err
	}
	kind := audit.AssertionHash
	if source {
		kind = audit.SourceHash
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	h, err := r.find(ctx, "", typed, kind)
	if err != nil {
		var unknown *audit.UnknownError
		if errors.As(err, &unknown) && unknown.Prefix {
			return trying(err, "%s", otherKind(source))
		}
		return err
	}
	if err := r.checkKind(ctx, typed, h, source); err != nil {
		return err
	}
	filter, err := f.filter(ctx, r)
	if err != nil {
		return err
	}
	options := audit.ImpactOptions{Source: source, Filter: filter}
	w := &impactWriter{a: a, r: r, hash: h, kind: kind, rows: a.rows(a.form(""), impactColumns...)}
	if w.rows.Form == tui.Table || w.rows.Form == tui.JSON {
		options.Filter.Limit = 0
		if w.totals, err = r.ImpactTotals(ctx, h, options); err != nil {
			return err
		}
	}
	if w.rows.Form == tui.Table && w.totals.Answers == 0 {
		a.say(nothingFits)
		return nil
	}
	w.begin()
	more := false
	if filter.Limit > 0 {
		options.Filter.Limit = filter.Limit + 1
	}
	for answer, err := range r.Impact(ctx, h, options) {
		if err != nil {
			return err
		}
		if filter.Limit > 0 && w.n == filter.Limit {
			more = true
			break
		}
		if err := w.add(&answer); err != nil {
			return err
		}
	}
	if err := w.end(ctx, more); err != nil {
		return err
	}
	if w.n == 0 {
		a.say(nothingFits)
	}
	if more {
		a.say("(cut at --limit %d, there are more)", filter.Limit)
	}
	return nil
}

func otherKind(source bool) string {
	if source {
		return "without --source, if it is an assertion"
	}
	return "--source, if it is a source"
}

// nothingFits is said in every form: an empty output by itself could be taken for "this did no harm".
const nothingFits = "(nothing found; no answer that fits the filters has it in its evidence)"

// checkKind refuses a hash that no stored evidence has as this kind, and says what it is instead.
func (r *reading) checkKind(ctx context.Context, typed string, h audit.Hash, source bool) error {
	is, err := r.Identify(ctx, h)
	if err != nil {
		return err
	}
	kind, known, other := "an assertion", is.Assertion.Answers > 0, is.Source.Answers > 0
	if source {
		kind, known, other = "a source", other, known
	}
	if known {
		return nil
	}
	err = notFound("%q is not %s in any stored evidence", typed, kind)
	switch {
	case other && source:
		return trying(err, "without --source: it is an assertion")
	case other:
		return trying(err, "--source: it is a source")
	case is.Agent != nil:
		return trying(err, "auditsql list --agent %s: it is an agent", shellQuote(typed))
	}
	return trying(err, "%s", otherKind(source))
}

// An impactWriter prints what something went into, in any form.
type impactWriter struct {
	a      *app
	r      *reading
	hash   audit.Hash
	kind   audit.HashKind
	totals audit.ImpactTotals
	rows   *tui.Rows
	n      int
	first  *audit.QueryID // that it was the answer of
	more   bool
}

// begin prints what stands before the answers.
func (w *impactWriter) begin() {
	switch w.rows.Form {
	case tui.JSON:
		w.rows.Within(struct {
			Hash  audit.Hash `json:"hash"`
			Label *string    `json:"label"`
			Kind  string     `json:"kind"`
		}{w.hash, w.r.labels.orNull(&w.hash), w.kind.String()}, "answers", func() any {
			return struct {
				More   bool       `json:"more"`
				Totals any        `json:"totals"`
				Lag    *audit.Lag `json:"lag"`
			}{w.more, w.totalsObject(), w.r.lag}
		})
	case tui.Table:
		t := &w.totals
		p := w.a.screen().Page()
		agents := plural(t.Agents, "agent", "agents")
		if t.Anonymous > 0 {
			agents += fmt.Sprintf(" (and %d anonymous)", t.Anonymous)
		}
		p.Head(w.kind.String(), fmt.Sprintf(" %s went into %s of %s,", w.r.called(w.hash), plural(t.Answers, "answer", "answers"), agents))
		p.Note("%s", w.r.times(*t.First, *t.Last))
		what := "it was the answer in"
		if w.kind == audit.SourceHash {
			more := ""
			if t.MoreAssertions {
				more = "+"
			}
			what = fmt.Sprintf("with %d%s assertions, one of them the answer in", t.Assertions, more)
			if t.Assertions == 1 {
				what = "with one assertion, the answer in"
			}
		}
		p.Note("%s %d; weighing %s in all", what, t.Won, brief(t.Weight))
		var by []string
		for i, agent := range t.ByAgent {
			if i == shownOthers {
				by = append(by, fmt.Sprintf("%d more", len(t.ByAgent)-i))
				break
			}
			name := "anonymous"
			if agent.AgentID != nil {
				name = w.r.called(*agent.AgentID)
			}
			by = append(by, fmt.Sprintf("%s %d", name, agent.Answers))
		}
		p.Note("by agent: %s", strings.Join(by, ", "))
		_ = p.Flush() // the rows behind it meet the same error
	}
}

func (w *impactWriter) totalsObject() any {
	type byAgent struct {
		agentObject
		First     uint64  `json:"first"`
		FirstTime string  `json:"first_time"`
		Last      uint64  `json:"last"`
		LastTime  string  `json:"last_time"`
		Results   uint64  `json:"results"`
		Weight    float64 `json:"weight"`
	}
	t, c := &w.totals, w.r.clock
	list := []byAgent{}
	for _, b := range t.ByAgent {
		list = append(list, byAgent{agentObject{b.AgentID, w.r.labels.orNull(b.AgentID), b.Answers}, b.First, c.Format(b.First), b.Last, c.Format(b.Last), b.Won, b.Weight})
	}
	return struct {
		Answers        uint64    `json:"answers"`
		Agents         uint64    `json:"agents"`
		Anonymous      uint64    `json:"anonymous"`
		Results        uint64    `json:"results"`
		Weight         float64   `json:"weight"`
		Assertions     int       `json:"assertions"`
		MoreAssertions bool      `json:"more_assertions"`
		First          *uint64   `json:"first"`
		FirstTime      *string   `json:"first_time"`
		Last           *uint64   `json:"last"`
		LastTime       *string   `json:"last_time"`
		ByAgent        []byAgent `json:"by_agent"`
	}{t.Answers, t.Agents, t.Anonymous, t.Won, t.Weight, t.Assertions, t.MoreAssertions,
		t.First, timeOrNull(c, t.First), t.Last, timeOrNull(c, t.Last), list}
}

// orNull is a time, nil if there is none: null in JSON.
func timeOrNull(c when.Clock, timestamp *uint64) *string {
	if timestamp == nil {
		return nil
	}
	s := c.Format(*timestamp)
	return &s
}

func (w *impactWriter) add(answer *audit.ImpactedAnswer) error {
	w.n++
	q, l := &answer.Audit, w.r.labels
	weight := 0.0
	var as []string
	fit := true
	for i := range answer.Evidence {
		e := &answer.Evidence[i]
		weight += shortestDouble(e.Weight)
		if s := e.Lifecycle.String(); len(as) == 0 || as[len(as)-1] != s {
			as = append(as, s)
		}
		fit = fit && e.Lifecycle == audit.Approved
	}
	lifecycle := tui.Text(strings.Join(as, ","))
	lifecycle.Alarm = !fit
	if answer.Won && w.first == nil {
		w.first = &q.QueryID
	}
	result := tui.Bool(answer.Won).As("-")
	if answer.Won {
		result.Brief = "yes"
		result.Alarm = !fit
	}
	return w.rows.Add(
		timeCell(q.Timestamp, w.r.clock), tui.Number(q.Timestamp), hashCell(q.QueryID), agentCell(q.AgentID, l), l.cell(q.AgentID),
		optionalText(q.Params.Subject), optionalText(q.Params.Predicate), tui.Number(weight).As(brief(weight)), lifecycle, tui.Number(len(answer.Evidence)),
		optionalHash(q.ResultHash), l.cell(q.ResultHash), result, tui.Number(q.ResultConfidence),
	)
}

func (w *impactWriter) end(ctx context.Context, more bool) error {
	w.more = more
	if err := w.rows.End(); err != nil || w.rows.Form != tui.Table {
		return err
	}
	p := w.a.screen().Page()
	var steps []step
	if w.first != nil {
		steps = append(steps, step{[]string{"trace", w.r.query(ctx, *w.first)}, "the first that it was the answer of"})
	}
	if w.r.labels.Of(w.hash) == "" {
		steps = append(steps, step{[]string{"name", w.r.name(ctx, w.hash, w.kind), "LABEL"}, "give it a name"})
	}
	w.a.next(p, steps)
	return p.End()
}
