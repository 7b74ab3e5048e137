package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) agentsCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "Every agent with its count, first and last",
		Long: `Agents prints every agent that has a record, those with the most first, and the
records of no agent, if there are any, last. With a filter only the records that
fit it count.

The members of a line in JSON, and the columns of CSV and plain text: agent_id
(null for the anonymous ones), agent_label, audits, first, first_time, last,
last_time.

` + filterHelp,
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
	f.registerLimit(cmd, 0, "at most so many; 0 is no limit")
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

var agentColumns = []tui.Column{
	{Name: "agent_id", Title: "agent", Flexible: true, Least: len("anonymous")},
	{Name: "agent_label", Hidden: true},
	{Name: "audits", Title: "records", Right: true},
	{Name: "first", Hidden: true},
	{Name: "first_time", Title: "first"},
	{Name: "last", Hidden: true},
	{Name: "last_time", Title: "last"},
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
	limit, more := filter.Limit, false
	if limit > 0 {
		filter.Limit++
	}
	out := a.rows(a.form(""), agentColumns...)
	for agent, err := range r.Agents(ctx, filter) {
		if err != nil {
			return err
		}
		if limit > 0 && out.N() == uint64(limit) {
			more = true
			break
		}
		err := out.Add(agentCell(agent.AgentID, r.labels), r.labels.cell(agent.AgentID), tui.Number(agent.Audits),
			tui.Number(agent.First), timeCell(agent.First, r.clock), tui.Number(agent.Last), timeCell(agent.Last, r.clock))
		if err != nil {
			return err
		}
	}
	if err := out.End(); err != nil {
		return err
	}
	if more {
		a.say("(cut at --limit %d, there are more)", limit)
	}
	return nil
}
