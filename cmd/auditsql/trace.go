package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/internal/show"
)

// traceOptions are the flags of trace.
type traceOptions struct {
	filter     filterFlags
	neighbours int
	low        string
	up         bool
}

func (a *app) traceCommand() *cobra.Command {
	var o traceOptions
	cmd := &cobra.Command{
		Use:   "trace [ID…]",
		Short: "Why did you think that?",
		Long: `Trace explains one answer: what was asked, what was answered, and the evidence,
the weightiest first. It marks everything that is not Approved. For each
assertion it says when it was first seen, and how many answers of how many
agents it went into. Then it says which agents also used an assertion that is
not Approved, what the agent asked just before and after, and what to type next.
Evidence that was the answer of another record before is named with the record
that answered it first.

--up goes back instead: the evidence, the evidence of the answers that it was,
and so on, up to what nobody in the store answered before. It is a tree of at
most 1000 answers, and takes at most 2 seconds; a note says when either cuts it.
An answer was there before if its time is not later. -o dot draws the tree for
Graphviz: auditsql trace --up ID -o dot | dot -Tsvg > tree.svg

Name the answer by its id (the first 8 or more digits will do), or by a filter.
A filter traces the newest record that it selects; with --around it traces the
one nearest to that time. --limit N traces N of them: newest first, or in the
order of time with --around. The exit code is 3 when an id is not stored, or
when a filter selects nothing.

-o json is a list of objects with the members audit (the canonical record),
time, agent_label, result_label, findings (kind, positions), total_weight,
evidence (position, assertion_hash, assertion_label, weight, source_hash,
source_label, lifecycle, approved, result: whether it is the answer,
first_seen, first_seen_time, answers, agents, more; others: the same without
this record, and by_agent for the weightiest 8 that are not Approved),
untraced (pieces that were too many to look into), before and after (canonical
records), previous_query_id (when the agent last asked the same). A piece of
evidence has answered too: who answered it first (query_id, agent_id,
agent_label, timestamp, time, answers: how many did by then, more), or null.
-o ndjson is one such object on each line. Plain text and CSV have a line for
each part of it; the first column says which: query, finding, evidence,
answered, other, before, after. At most 1000 uses of an assertion are counted,
and 100 answers with it; more is true when there are more.`,
		Example: `  auditsql trace 4058e593
  auditsql trace --attr trace_id=pay-20931
  auditsql trace --agent planner --around 2026-11-23T10:19 --window 15m
  auditsql trace --agent planner --from today --unapproved --limit 5
  auditsql trace --up 4058e593`,
		Args: arguments(0, anyNumber, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.trace(cmd.Context(), args, &o)
		},
		ValidArgsFunction: completeNothing,
	}
	o.filter.register(a, cmd)
	o.filter.registerLimit(cmd, 1, "trace at most this many of the records that the filter selects; 0 is no limit")
	cmd.Flags().IntVar(&o.neighbours, "neighbours", audit.DefaultNeighbours, "how many of the agent's questions before and after")
	cmd.Flags().StringVar(&o.low, "low-confidence", "", "the `confidence` below which an answer is marked (default 0.5)")
	cmd.Flags().BoolVar(&o.up, "up", false, "follow the evidence back to assertions that no earlier record gave as its answer")
	withDot(cmd)
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

// check refuses flags that do not go together.
func (o *traceOptions) check(a *app) error {
	switch changed := o.filter.cmd.Flags().Changed; {
	case !o.up && a.form("") == show.Dot:
		return usage("-o dot goes with --up")
	case o.up && changed("neighbours"), o.up && changed("low-confidence"):
		return usage("--neighbours and --low-confidence go without --up")
	case a.form("") == show.Dot && o.filter.limit != 1:
		return usage("-o dot is a picture of one record: leave out --limit")
	}
	return nil
}

// options are the options of audit.DB.Trace.
func (o *traceOptions) options() (audit.TraceOptions, error) {
	t := audit.TraceOptions{Neighbours: o.neighbours}
	switch {
	case o.neighbours < 0:
		return t, usage("--neighbours %d: want 0 or more", o.neighbours)
	case o.neighbours == 0:
		t.Neighbours = -1
	}
	if o.filter.cmd.Flags().Changed("low-confidence") {
		low, err := ask.Number(o.low)
		if err != nil {
			return t, usage("--low-confidence: %w", err)
		}
		t.LowConfidence = &low
	}
	return t, nil
}

func (a *app) trace(ctx context.Context, args []string, o *traceOptions) error {
	options, err := o.options()
	if err == nil {
		err = o.check(a)
	}
	if err == nil {
		err = o.filter.check(a)
	}
	if err != nil {
		return err
	}
	switch filtered := o.filter.any(); {
	case len(args) > 0 && filtered != "":
		return usage("want ids or a filter, and got %q and --%s", args[0], filtered)
	case len(args) > 1 && a.form("") == show.Dot:
		return usage("-o dot is a picture of one record, and got %d ids", len(args))
	case len(args) == 0 && filtered == "":
		return trying(usage("want an id, or a filter that selects one"), "auditsql trace --agent NAME --around now; auditsql recent lists ids")
	}
	for _, arg := range args {
		if err := checkPrefix(arg); err != nil {
			return trying(err, "%s", a.byTraceID(arg))
		}
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	filter, err := o.filter.filter(ctx, r)
	if err != nil {
		return err
	}
	options.AsOf = filter.AsOf
	ids, more, err := a.traced(ctx, r, args, &o.filter, filter)
	if err != nil {
		return err
	}
	var w idWriter
	if o.up {
		w = a.origins(r, options.AsOf)
	} else {
		w = a.traces(r, options)
	}
	missing := false
	for i, id := range ids {
		if id != nil {
			err = w.write(ctx, *id)
		}
		if id == nil || errors.Is(err, audit.ErrNotFound) {
			var typed, try string
			switch {
			case len(args) == 0: // a filter found it, and it was not found again: an index is damaged
				typed = id.String()
			case r.isTraceID(ctx, args[i]):
				typed, try = args[i], "; try: "+a.byTraceID(args[i])
			case options.AsOf == nil:
				typed, try = args[i], a.otherHash(ctx, r, args[i])
			default:
				typed = args[i]
			}
			fmt.Fprintf(a.err, "auditsql: trace: %s: no such record%s%s\n", harmless(typed), among(options.AsOf), try)
			missing = true
			continue
		}
		if a.leaveOut(err) {
			continue
		}
		if err != nil {
			return errors.Join(err, w.flush())
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	if more {
		a.sayMore(&o.filter)
	}
	switch {
	case missing:
		return quietly(exitNotFound)
	case len(ids) == 0 && a.leftOut == 0:
		return trying(notFound("no record fits the filters"), "fewer of them, or a longer period; auditsql list takes the same")
	}
	return nil
}

// byTraceID is the command that traces the record with this id of a trace. People have these at hand, in the logs of other
// programs, and a trace is what they belong to.
func (a *app) byTraceID(id string) string { return a.typed("trace", "--attr", traceIDKey+"="+id) }

// traceIDKey is the attribute in which records usually have the id of a trace.
const traceIDKey = "trace_id"

// isTraceID reports whether a record has this id of a trace.
func (r *reading) isTraceID(ctx context.Context, id string) bool {
	for _, err := range r.Audits(ctx, audit.Filter{Attributes: []audit.Attribute{{Key: traceIDKey, Value: id}}, Limit: 1}) {
		return err == nil
	}
	return false
}

// An idWriter prints what is asked about records, one after the other.
type idWriter interface {
	write(ctx context.Context, id audit.QueryID) error
	flush() error
	end() error
}

// sayMore says that the filter selects more than was traced.
func (a *app) sayMore(f *filterFlags) {
	which := "the newest"
	if _, given := f.around(); given {
		which = "the nearest"
	}
	if f.limit > 1 {
		which = "the first"
	}
	a.say("(%s of several that fit; --limit 0 traces all, auditsql list shows them)", which)
}

// traced returns the ids to trace, nil where no record has such an id, and whether the filter selects more.
func (a *app) traced(ctx context.Context, r *reading, args []string, f *filterFlags, filter audit.Filter) (ids []*audit.QueryID, more bool, err error) {
	for _, arg := range args {
		id, err := resolve(ctx, r.DB, arg, filter.AsOf)
		if err != nil {
			return nil, false, err
		}
		ids = append(ids, id)
	}
	if len(args) > 0 {
		return ids, false, nil
	}
	var around *uint64
	if text, given := f.around(); given {
		clock := r.clock
		clock.Note = nil // the filter has given it already
		at, err := clock.Parse(text)
		if err != nil {
			return nil, false, err
		}
		around = &at.First
	}
	found, more, err := r.viewer().ToTrace(ctx, filter, around, func(err *audit.RecordError) error {
		a.leaveOut(err)
		return nil
	})
	for i := range found {
		ids = append(ids, &found[i])
	}
	return ids, more, err
}
