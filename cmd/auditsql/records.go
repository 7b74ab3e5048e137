package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// recordColumns are those of a listing of records; in CSV and plain text all of them in this order, which
// scripts rely on.
var recordColumns = []column{
	{name: "query_id", title: "query"},
	{name: "agent_id", title: "agent", flexible: true, least: len("anonymous")},
	{name: "timestamp", right: true},
	{name: "time"},
	{name: "subject", flexible: true, least: 14, middle: true},
	{name: "predicate", flexible: true, least: 9, middle: true, rank: 3},
	{name: "lifecycle", rank: 4},
	{name: "epoch"},
	{name: "lens", flexible: true, least: 6, rank: 6},
	{name: "result_hash", title: "result", flexible: true, least: briefHash, rank: 5},
	{name: "result_confidence", title: "conf", right: true, rank: 2},
	{name: "contributions", title: "approved", rank: 1},
	{name: "attributes"},
}

// tableColumns are the places in recordColumns of what a table shows, in its own order. Of the evidence it
// shows how much is approved, 2 of 3, and that to the last: it is what one looks for after an incident.
var tableColumns = []int{3, 0, 1, 4, 5, 6, 9, 10, 11, 8}

// briefHash is how many digits of a hash a table shows: as many as get takes.
const briefHash = 8

func hashCell(h audit.Hash) cell {
	s := h.String()
	return text(s).as(s[:briefHash])
}

func optionalHash(h *audit.Hash) cell {
	if h == nil {
		return cell{brief: "-"}
	}
	return hashCell(*h)
}

func optionalText(s *string) cell {
	if s == nil {
		return cell{brief: "-"}
	}
	return text(*s)
}

func optionalLifecycle(l *audit.Lifecycle) cell {
	if l == nil {
		return cell{brief: "-"}
	}
	return lifecycleCell(*l)
}

// lifecycleCell marks everything that nobody has approved.
func lifecycleCell(l audit.Lifecycle) cell {
	c := text(l.String())
	c.alarm = l != audit.Approved
	return c
}

// agentCell is an agent, or anonymous.
func agentCell(agent *audit.AgentID, l labels) cell {
	if agent == nil {
		return cell{brief: "anonymous"}
	}
	return l.hash(*agent)
}

// timeCell is a timestamp as people write it; where there is little room for it, without a fraction of a second,
// and without the year, which goes into the heading.
func timeCell(timestamp uint64, c when.Clock) cell {
	cell := text(c.Format(timestamp))
	if t, ok := c.Unit.Time(timestamp); ok {
		t = t.In(c.Zone)
		cell.short, cell.year = t.Format("01-02 15:04:05"), t.Format("2006")
	}
	return cell
}

// recordCells are the cells of one record, in the order of recordColumns.
func recordCells(q *audit.QueryAudit, c when.Clock, l labels) []cell {
	all, bad := len(q.ContributingAssertions), unapproved(q)
	evidence := number(all).as("-")
	if all > 0 {
		evidence.brief, evidence.alarm = fmt.Sprintf("%d of %d", all-bad, all), bad > 0
		if bad > 0 {
			evidence.brief += " !" // also where there is no colour
		}
	}
	return []cell{
		hashCell(q.QueryID),
		agentCell(q.AgentID, l),
		number(q.Timestamp),
		timeCell(q.Timestamp, c),
		optionalText(q.Params.Subject),
		optionalText(q.Params.Predicate),
		optionalLifecycle(q.Params.Lifecycle),
		optionalHash(q.Params.Epoch),
		optionalText(q.Params.Lens),
		l.optional(q.ResultHash),
		number(q.ResultConfidence),
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
func attributesCell(attributes map[string]any) cell {
	if len(attributes) == 0 {
		return cell{}
	}
	return cell{kind: kindJSON, text: string(toJSON(attributes))}
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
	*rows
	clock     when.Clock
	labels    labels
	limitName string // the flag that sets a limit, if one does
}

func (a *app) records(form string, c when.Clock, l labels) *recordWriter {
	columns := recordColumns
	if form == formTable {
		columns = pick(recordColumns, tableColumns)
	}
	return &recordWriter{rows: a.rows(form, columns...), clock: c, labels: l}
}

// write prints a record, given as its canonical JSON.
func (w *recordWriter) write(raw []byte) error {
	if w.form == formJSON || w.form == formNDJSON {
		return w.addRaw(raw)
	}
	q, err := audit.ParseAudit(raw)
	if err != nil {
		return fmt.Errorf("a stored record cannot be read (-o ndjson prints it as it is): %w", err)
	}
	cells := recordCells(&q, w.clock, w.labels)
	if w.form == formTable {
		cells = pick(cells, tableColumns)
	}
	return w.add(cells...)
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
	d, err := strconv.ParseFloat(number(f).text, 64)
	if err != nil {
		return float64(f)
	}
	return d
}
