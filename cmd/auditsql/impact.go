package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
)

const impactLimit = 100

func (a *app) impactCommand() *cobra.Command {
	var f filterFlags
	var source bool
	var most uint64
	var deep depthOptions
	cmd := &cobra.Command{
		Use:   "impact HASH",
		Short: "Which answers an assertion or a source went into",
		Long: `Use impact when you have found a bad fact: which answers of which agents did
it go into, when, and how much did it weigh in them? HASH is an assertion, or
with --source a source of assertions. Write it in full, as its first 8 or more
digits, or as its label. The filters select answers; --unapproved and
--lifecycle are about HASH itself, as it was in the answer. The totals count all
answers that they select, whatever the limit. Of evidence that went
into millions of answers that takes minutes: --count ends it earlier. The exit
code is 3 when the hash is in no stored evidence.

One agent's answer may be evidence of another's. --depth N follows that N steps
far, and --depth all to the end: the nearest answers first, each once, with the
record whose answer it used (by). A step counts if the answer was given before
it was used; of two records of the same time either may have been first.
--any-order follows a step also if the answer was used earlier. The filters then
say which of the answers are shown and counted, not which are followed. At most
--limit answers are followed, 10000 if it is not given, and for at most
--timeout; a note says when either ends it. -o dot draws it for Graphviz:
auditsql impact HASH --depth all -o dot | dot -Tsvg > chain.svg

-o json is an object: hash, label, kind (assertion or source), answers
(query_id, timestamp, time, agent_id, agent_label, subject, predicate,
result_hash, result_label, result_confidence, result: whether this was the
answer, weight: of all of it in this answer, lifecycle: as it was then, several
of them joined by a comma, pieces: how many), more (the limit cut), totals
(answers, agents, anonymous, results, weight, assertions, more_assertions, cut:
--count ended the count, first, first_time, last, last_time, by_agent), onward
(answers: of those without a filter, how many were evidence elsewhere; more: how
many answers came of them; cut), and lag (what SQLite lacks: records, more,
oldest; null when it lacks nothing older than a second).
With --depth the object has depth and any_order, an answer has distance, by,
by_agent_id, by_agent_label and through too, and totals has steps, reached, cut
(answers, time or null) and more_deep.
-o ndjson, csv and plain text have a line for each answer, and no totals.`,
		Example: `  auditsql impact f2bf0ec5
  auditsql impact --source 'mail 7731' --from 2026-11-23
  auditsql impact f2bf0ec5 --depth all
  auditsql impact f2bf0ec5 -o json | jq .totals`,
		Args: arguments(1, 1, "an assertion's hash (or, with --source, a source's)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.impact(cmd.Context(), args[0], audit.ImpactOptions{Source: source, Budget: audit.Budget{Records: most}}, &f, &deep)
		},
		ValidArgsFunction: a.completeEvidence(),
	}
	f.register(a, cmd, "assertion", "source")
	f.registerLimit(cmd, impactLimit, "at most this many answers; 0 is no limit")
	cmd.Flags().BoolVar(&f.descending, "desc", false, "newest first")
	cmd.Flags().Uint64Var(&most, "count", 0, "count at most this many answers for the totals; 0 is no limit")
	cmd.Flags().BoolVar(&source, "source", false, "HASH is a source")
	deep.register(a, &f)
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) impact(ctx context.Context, typed string, o audit.ImpactOptions, f *filterFlags, deep *depthOptions) error {
	if err := checkTyped(typed); err != nil {
		return err
	}
	follow, further, err := deep.options(f)
	switch {
	case err != nil:
		return err
	case !further && a.form("") == show.Dot:
		return usage("-o dot goes with --depth")
	}
	if err := f.check(a); err != nil {
		return err
	}
	kind := audit.AssertionHash
	if o.Source {
		kind = audit.SourceHash
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if o.Filter, err = f.filter(ctx, r); err != nil {
		return err
	}
	h, err := r.find(ctx, typed, kind, o.Filter.AsOf)
	if err != nil {
		var unknown *audit.UnknownError
		if errors.As(err, &unknown) && unknown.Prefix {
			return trying(err, "%s", otherKind(o.Source))
		}
		return err
	}
	viewer := r.viewer()
	var not *view.NotEvidenceError
	switch err := viewer.CheckEvidence(ctx, h, o.Source, o.Filter.AsOf); {
	case errors.As(err, &not):
		return notEvidence(typed, not)
	case err != nil:
		return err
	}
	if further {
		follow.Source, follow.Filter = o.Source, o.Filter
		p := &downstreamPage{a, r, show.Downstream{Viewer: viewer, Hash: h, Options: follow}}
		return p.print(ctx)
	}
	p := &impactPage{a: a, r: r, viewer: viewer, hash: h, options: o}
	return p.print(ctx)
}

func otherKind(source bool) string {
	if source {
		return "without --source, if it is an assertion"
	}
	return "--source, if it is a source"
}

// nothingFits is printed in every form: an empty output alone could be read as "this did no harm".
const nothingFits = "(nothing found; no answer that fits the filters has it in its evidence)"

// notEvidence says what a hash is that is not in any evidence as typed.
func notEvidence(typed string, e *view.NotEvidenceError) error {
	kind := "an assertion"
	if e.Source {
		kind = "a source"
	}
	err := notFound("%q is not %s in any stored evidence", typed, kind)
	switch {
	case e.IsOther && e.Source:
		return trying(err, "without --source: it is an assertion")
	case e.IsOther:
		return trying(err, "--source: it is a source")
	case e.IsAgent:
		return trying(err, "auditsql list --agent %s: it is an agent", shellQuote(typed))
	}
	return trying(err, "%s", otherKind(e.Source))
}
