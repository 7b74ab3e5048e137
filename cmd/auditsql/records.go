package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// recordColumns are those of a listing of records; in CSV and plain text all of them in this order, which
// scripts rely on.
var recordColumns = []tui.Column{
	{Name: "query_id", Title: "query"},
	{Name: "agent_id", Title: "agent", Flexible: true, Least: len("anonymous")},
	{Name: "timestamp", Right: true},
	{Name: "time"},
	{Name: "subject", Flexible: true, Least: 14, Middle: true},
	{Name: "predicate", Flexible: true, Least: 9, Middle: true, Rank: 3},
	{Name: "lifecycle", Rank: 4},
	{Name: "epoch"},
	{Name: "lens", Flexible: true, Least: 6, Rank: 6},
	{Name: "result_hash", Title: "result", Flexible: true, Least: briefHash, Rank: 5},
	{Name: "result_confidence", Title: "conf", Right: true, Rank: 2},
	{Name: "contributions", Title: "approved", Rank: 1},
	{Name: "attributes"},
}

// tableColumns are the places in recordColumns of what a table shows, in its own order. Of the evidence it
// shows how much is approved, 2 of 3, and that to the last: it is what one looks for after an incident.
var tableColumns = []int{3, 0, 1, 4, 5, 6, 9, 10, 11, 8}

// briefHash is how many digits of a hash a table shows: as many as get takes.
const briefHash = 8

func hashCell(h audit.Hash) tui.Cell {
	s := h.String()
	return tui.Text(s).As(s[:briefHash])
}

func optionalHash(h *audit.Hash) tui.Cell {
	if h == nil {
		return tui.Cell{Brief: "-"}
	}
	return hashCell(*h)
}

func optionalText(s *string) tui.Cell {
	if s == nil {
		return tui.Cell{Brief: "-"}
	}
	return tui.Text(*s)
}

func optionalLifecycle(l *audit.Lifecycle) tui.Cell {
	if l == nil {
		return tui.Cell{Brief: "-"}
	}
	return lifecycleCell(*l)
}

// lifecycleCell marks everything that nobody has approved.
func lifecycleCell(l audit.Lifecycle) tui.Cell {
	c := tui.Text(l.String())
	c.Alarm = l != audit.Approved
	return c
}

// agentCell is an agent, or anonymous.
func agentCell(agent *audit.AgentID, l labels) tui.Cell {
	if agent == nil {
		return tui.Cell{Brief: "anonymous"}
	}
	return l.hash(*agent)
}

// timeCell is a timestamp as people write it; where there is little room for it, without a fraction of a second,
// and without the year, which goes into the heading.
func timeCell(timestamp uint64, c when.Clock) tui.Cell {
	cell := tui.Text(c.Format(timestamp))
	if t, ok := c.Unit.Time(timestamp); ok {
		t = t.In(c.Zone)
		cell.Short, cell.Year = t.Format("01-02 15:04:05"), t.Format("2006")
	}
	return cell
}

// recordCells are the cells of one record, in the order of recordColumns.
func recordCells(q *audit.QueryAudit, c when.Clock, l labels) []tui.Cell {
	all, bad := len(q.ContributingAssertions), unapproved(q)
	evidence := tui.Number(all).As("-")
	if all > 0 {
		evidence.Brief, evidence.Alarm = fmt.Sprintf("%d of %d", all-bad, all), bad > 0
		if bad > 0 {
			evidence.Brief += " !" // also where there is no colour
		}
	}
	return []tui.Cell{
		hashCell(q.QueryID),
		agentCell(q.AgentID, l),
		tui.Number(q.Timestamp),
		timeCell(q.Timestamp, c),
		optionalText(q.Params.Subject),
		optionalText(q.Params.Predicate),
		optionalLifecycle(q.Params.Lifecycle),
		optionalHash(q.Params.Epoch),
		optionalText(q.Params.Lens),
		l.optional(q.ResultHash),
		tui.Number(q.ResultConfidence),
		evidence,
		attributesCell(q.Attributes),
	}
}

// unapproved counts the evidence that is anything but Approved.
func unapproved(q *audit.QueryAudit) int {
	n := 0
	for _, c := range q.ContributingAssertions {
		if c.Lifecycle != audit.Approved {
			n++
		}
	}
	return n
}

// attributesCell is the attributes as a JSON object, and nothing when there are none.
func attributesCell(attributes map[string]any) tui.Cell {
	if len(attributes) == 0 {
		return tui.Cell{}
	}
	return tui.Cell{Kind: tui.Composite, Text: string(tui.ToJSON(attributes))}
}

// sortedKeys are the names of the attributes in the order in which they are printed.
func sortedKeys(attributes map[string]any) []string {
	keys := make([]string, 0, len(attributes))
	for k := range attributes {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// A recordWriter prints records in any form: in JSON their canonical bytes, otherwise taken apart.
type recordWriter struct {
	*tui.Rows
	a         *app
	clock     when.Clock
	labels    labels
	limitName string // the flag that sets a limit, if one does
}

func (a *app) records(form tui.Form, c when.Clock, l labels) *recordWriter {
	columns := recordColumns
	if form == tui.Table {
		columns = pick(recordColumns, tableColumns)
	}
	return &recordWriter{Rows: a.rows(form, columns...), a: a, clock: c, labels: l}
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
	cells := recordCells(&q, w.clock, w.labels)
	if w.Form == tui.Table {
		cells = pick(cells, tableColumns)
	}
	return w.Add(cells...)
}

func pick[T any](from []T, places []int) []T {
	picked := make([]T, len(places))
	for i, place := range places {
		picked[i] = from[place]
	}
	return picked
}

// shortestDouble is a weight as it is written, so that sums are those of what people read.
func shortestDouble(f float32) float64 {
	d, err := strconv.ParseFloat(tui.Number(f).Text, 64)
	if err != nil {
		return float64(f)
	}
	return d
}
