package main

import (
	"fmt"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

// recordTable is how a table shows records. Of the evidence it shows how much is approved, as in 2 of 3, and leaves that
// column out last of all: it is what people look for after an incident.
func (r *reading) recordTable() []tui.ColumnOf[view.RecordRow] {
	type row = view.RecordRow
	return []tui.ColumnOf[row]{
		{Column: tui.Column{Name: "time"}, Cell: func(q *row) tui.Cell { return timeCell(q.Timestamp, r.clock) }},
		{Column: tui.Column{Name: "query"}, Cell: func(q *row) tui.Cell { return hashCell(q.QueryID) }},
		{Column: tui.Column{Name: "agent", Flexible: true, Least: len(anonymous)}, Cell: func(q *row) tui.Cell { return r.labels.agent(q.AgentID) }},
		{Column: tui.Column{Name: "subject", Flexible: true, Least: 14, Middle: true}, Cell: func(q *row) tui.Cell { return tui.Or(q.Subject, tui.Text) }},
		{Column: tui.Column{Name: "predicate", Flexible: true, Least: 9, Middle: true, Rank: 3}, Cell: func(q *row) tui.Cell { return tui.Or(q.Predicate, tui.Text) }},
		{Column: tui.Column{Name: "lifecycle", Rank: 4}, Cell: func(q *row) tui.Cell { return tui.Or(q.Lifecycle, lifecycleCell) }},
		{Column: tui.Column{Name: "result", Flexible: true, Least: briefHash, Rank: 5}, Cell: func(q *row) tui.Cell { return tui.Or(q.ResultHash, r.labels.hash) }},
		{Column: tui.Column{Name: "conf", Right: true, Rank: 2}, Cell: func(q *row) tui.Cell { return tui.Number(q.ResultConfidence) }},
		{Column: tui.Column{Name: "approved", Rank: 1}, Cell: func(q *row) tui.Cell { return approvedCell(q.Contributions, q.Approved, q.Unapproved) }},
		{Column: tui.Column{Name: "lens", Flexible: true, Least: 6, Rank: 6}, Cell: func(q *row) tui.Cell { return tui.Or(q.Lens, tui.Text) }},
	}
}

// A recordWriter prints records in any form: as their canonical JSON, or as rows of values.
type recordWriter struct {
	*tui.Listing[view.RecordRow]
	viewer *view.Viewer
}

func (a *app) records(form tui.Form, r *reading) *recordWriter {
	return &recordWriter{Listing: tui.NewListing(a.screen(), form, r.recordTable()), viewer: r.viewer()}
}

// write prints a record, given as its canonical JSON.
func (w *recordWriter) write(raw []byte) error {
	if w.Form == tui.JSON || w.Form == tui.NDJSON {
		return w.AddJSON(raw)
	}
	q, err := audit.ParseAudit(raw)
	if err != nil {
		return fmt.Errorf("a stored record cannot be read (-o ndjson prints it as it is): %w", err)
	}
	record := w.viewer.Record(&q)
	row := record.Row()
	return w.Add(&row)
}
