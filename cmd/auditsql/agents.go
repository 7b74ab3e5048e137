package main

import (
	"context"

	"github.com/spf13/cobra"
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

var agentColumns = []column{
	{name: "agent_id", title: "agent", flexible: true, least: len("anonymous")},
	{name: "agent_label", hidden: true},
	{name: "audits", title: "records", right: true},
	{name: "first", hidden: true},
	{name: "first_time", title: "first"},
	{name: "last", hidden: true},
	{name: "last_time", title: "last"},
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
		if limit > 0 && out.n == uint64(limit) {
			more = true
			break
		}
		err := out.add(agentCell(agent.AgentID, r.labels), r.labels.cell(agent.AgentID), number(agent.Audits),
			number(agent.First), timeCell(agent.First, r.clock), number(agent.Last), timeCell(agent.Last, r.clock))
		if err != nil {
			return err
		}
	}
	if err := out.end(); err != nil {
		return err
	}
	if more {
		a.say("(cut at --limit %d, there are more)", limit)
	}
	return nil
}
