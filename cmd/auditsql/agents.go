package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) agentsCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "Every agent: how many records it has, its first and its last",
		Long: `Agents prints every agent that has records, those with the most first. The
anonymous records, if there are any, come last. With a filter, only the records
that it selects are counted.

The members of a line in JSON, and the columns of CSV and plain text: agent_id
(null for the anonymous ones), agent_label, audits, first, first_time, last,
last_time.`,
		Example: `  auditsql agents
  auditsql agents --from today --unapproved
  auditsql agents --subject 'supplier/*' -o json`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.agents(cmd.Context(), &f)
		},
		ValidArgsFunction: completeNothing,
	}
	f.register(a, cmd)
	f.registerLimit(cmd, 0, "at most this many; 0 is no limit")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) agents(ctx context.Context, f *filterFlags) error {
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
	out := tui.NewListing(a.screen(), a.form(""), r.agentTable())
	agents := r.viewer().Agents(ctx, filter)
	if err := show.Rows(out, agents.Rows(), a.leaveOut, nil); err != nil {
		return err
	}
	if err := out.End(); err != nil {
		return err
	}
	if agents.More() {
		a.say("(cut at --limit %d, there are more)", filter.Limit)
	}
	return nil
}

func (r *reading) agentTable() []tui.ColumnOf[view.Agent] {
	type row = view.Agent
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "agent", Flexible: true, Least: len(anonymous)}, Cell: func(a *row) tui.Cell { return r.labels.agent(a.AgentID) }},
		{Column: tui.Column{Name: "records", Right: true}, Cell: func(a *row) tui.Cell { return tui.Number(a.Audits) }},
		{Column: tui.Column{Name: "first"}, Cell: func(a *row) tui.Cell { return timeCell(a.First, r.clock) }},
		{Column: tui.Column{Name: "last"}, Cell: func(a *row) tui.Cell { return timeCell(a.Last, r.clock) }},
	}
}
