package main

import (
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/tui"
)

// recordTable is how a table shows records. Of the evidence it shows how much is approved, as in 2 of 3, and leaves that
// column out last of all: it is what people look for after an incident.
func (r *reading) recordTable() []tui.ColumnOf[view.RecordRow] {
	type row = view.RecordRow
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "time", Rank: -1}, Cell: func(q *row) tui.Cell { return timeCell(q.Timestamp, r.clock) }},
		{Column: tui.Column{Name: "query", Rank: -2}, Cell: func(q *row) tui.Cell { return hashCell(q.QueryID) }},
		{Column: tui.Column{Name: "agent", Flexible: true, Least: len(anonymous)}, Cell: func(q *row) tui.Cell { return r.labels.agent(q.AgentID) }},
		{Column: tui.Column{Name: "subject", Flexible: true, Least: 14, Middle: true}, Cell: func(q *row) tui.Cell { return tui.Or(q.Subject, tui.Text) }},
		{Column: tui.Column{Name: "predicate", Flexible: true, Least: 9, Middle: true, Rank: 2}, Cell: func(q *row) tui.Cell { return tui.Or(q.Predicate, tui.Text) }},
		{Column: tui.Column{Name: "lifecycle", Rank: 3}, Cell: func(q *row) tui.Cell { return tui.Or(q.Lifecycle, lifecycleCell) }},
		{Column: tui.Column{Name: "result", Flexible: true, Least: briefHash, Rank: 4}, Cell: func(q *row) tui.Cell { return tui.Or(q.ResultHash, r.labels.hash) }},
		{Column: tui.Column{Name: "conf", Right: true, Rank: 1}, Cell: func(q *row) tui.Cell { return tui.Figure(q.ResultConfidence) }},
		{Column: tui.Column{Name: "approved", Rank: -3}, Cell: func(q *row) tui.Cell { return approvedCell(q.Contributions, q.Approved, q.Unapproved) }},
		{Column: tui.Column{Name: "lens", Flexible: true, Least: 6, Rank: 5}, Cell: func(q *row) tui.Cell { return tui.Or(q.Lens, tui.Text) }},
	}
}

// records prints records in any form: as their canonical JSON, or as rows of values.
func (a *app) records(form tui.Form, r *reading) *show.Records {
	return show.NewRecords(a.screen(), form, r.viewer(), r.recordTable())
}
