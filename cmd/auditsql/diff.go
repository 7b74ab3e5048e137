package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) diffCommand() *cobra.Command {
	var moment filterFlags
	cmd := &cobra.Command{
		Use:   "diff ID ID",
		Short: "What changed in question, answer and evidence between two records",
		Long: `Diff prints what changed from the first record to the second: in what was
asked, in the answer, in the evidence (+ added, - removed, ~ changed) and in the
attributes. An id may be cut to its first 8 or more digits. With --as-of a
record that came later is not found.

-o json is an object: from and to (the canonical records), from_time, to_time,
flipped (whether the answer is another), causes (as of answers), fields (field,
from, to), evidence (assertion_hash, assertion_label, change: added, removed or
changed, from and to: position, weight, source_hash, source_label, lifecycle),
same (how many pieces of evidence did not change), attributes (key, from, to).
Plain text and CSV have a line for each change: part (field, evidence or
attribute), name, label, change, from, to, and of evidence from_weight,
to_weight, from_source, to_source, from_lifecycle, to_lifecycle.`,
		Example: `  auditsql diff 0a3caa49 4058e593
  auditsql diff 0a3caa49 4058e593 -o json | jq .causes`,
		Args: arguments(2, 2, "two ids, or the first 8 or more digits of each"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.diff(cmd.Context(), args, &moment)
		},
		ValidArgsFunction: completeNothing,
	}
	moment.registerMoment(a, cmd)
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) diff(ctx context.Context, args []string, moment *filterFlags) error {
	for _, arg := range args {
		if err := checkPrefix(arg); err != nil {
			return err
		}
	}
	if err := moment.check(a); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	filter, err := moment.filter(ctx, r)
	if err != nil {
		return err
	}
	var ids []audit.QueryID
	for _, arg := range args {
		id, err := resolve(ctx, r.DB, arg, filter.AsOf)
		if err != nil {
			return err
		}
		if id == nil {
			return notFound("%s: no such record%s", arg, among(filter.AsOf))
		}
		ids = append(ids, *id)
	}
	v := r.viewer()
	d, err := v.Diff(ctx, ids[0], ids[1], filter.AsOf)
	if errors.Is(err, audit.ErrNotFound) {
		return &exitError{code: exitNotFound, err: err}
	}
	if err != nil {
		return err
	}
	form := a.form("")
	if form == tui.Table {
		return a.diffPage(ctx, r, v, d)
	}
	return show.Diff(a.screen(), form, d)
}
