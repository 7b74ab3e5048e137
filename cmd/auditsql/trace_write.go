package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// A traceWriter prints traces in any form.
type traceWriter struct {
	a    *app
	r    *reading
	page *tui.Page // of form table
	rows *tui.Rows // of all others
	n    int
}

func (a *app) traces(r *reading) *traceWriter {
	w := &traceWriter{a: a, r: r, page: a.screen().Page(), rows: a.rows(a.form(""), traceColumns...)}
	return w
}

// A tracing is a trace, and what else is to be told with it.
type tracing struct {
	*audit.Trace
	others   map[int][]audit.AgentImpact // by position of the evidence that is not Approved: who else used it
	previous *audit.QueryID              // the agent's last answer to the same question
}

func (w *traceWriter) write(ctx context.Context, t *audit.Trace) error {
	full, err := w.complete(ctx, t)
	if err != nil {
		return err
	}
	w.n++
	switch w.rows.Form {
	case tui.Table:
		w.readable(ctx, full)
		return nil
	case tui.JSON, tui.NDJSON:
		object, err := w.object(full)
		if err != nil {
			return err
		}
		return w.rows.AddJSON(object)
	}
	return w.flat(full)
}

func (w *traceWriter) flush() error { return errors.Join(w.page.Flush(), w.rows.Flush()) }

func (w *traceWriter) end() error {
	if w.rows.Form == tui.Table && w.n > 0 {
		return w.page.End()
	}
	return w.rows.End()
}

// tracedOthers bounds for how many pieces of evidence it is found out who else used them.
const tracedOthers = 8

// complete finds out who else used what is not Approved, and when the agent asked the same before.
func (w *traceWriter) complete(ctx context.Context, t *audit.Trace) (*tracing, error) {
	full := &tracing{Trace: t, others: map[int][]audit.AgentImpact{}}
	for i := range t.Evidence {
		e := &t.Evidence[i]
		if e.Fit || e.Others.Answers == 0 || e.Others.More || len(full.others) == tracedOthers {
			continue // of what is in more than a thousand answers, impact tells
		}
		totals, err := w.r.ImpactTotals(ctx, e.AssertionHash, audit.ImpactOptions{})
		if err != nil {
			return nil, err
		}
		others := without(totals.ByAgent, t.Audit.AgentID)
		slices.SortStableFunc(others, func(a, b audit.AgentImpact) int { return cmp.Compare(a.First, b.First) })
		full.others[e.Position] = others
	}
	q := &t.Audit
	if q.AgentID == nil || q.Params.Subject == nil || q.Params.Predicate == nil || q.Timestamp == 0 {
		return full, nil
	}
	to := q.Timestamp - 1
	before := audit.Filter{Agent: q.AgentID, Subject: q.Params.Subject, Predicate: q.Params.Predicate, To: &to, Descending: true, Limit: 1}
	for same, err := range w.r.Audits(ctx, before) {
		if err != nil {
			return nil, err
		}
		full.previous = &same.QueryID
	}
	return full, nil
}

// without leaves one answer of an agent out.
func without(all []audit.AgentImpact, agent *audit.AgentID) []audit.AgentImpact {
	var others []audit.AgentImpact
	for _, i := range all {
		if (i.AgentID == nil) == (agent == nil) && (agent == nil || *i.AgentID == *agent) {
			i.Answers--
		}
		if i.Answers > 0 {
			others = append(others, i)
		}
	}
	return others
}

// The objects of a trace in JSON.
type (
	traceObject struct {
		Audit       json.RawMessage   `json:"audit"`
		Time        string            `json:"time"`
		AgentLabel  *string           `json:"agent_label"`
		ResultLabel *string           `json:"result_label"`
		Findings    []findingObject   `json:"findings"`
		TotalWeight float64           `json:"total_weight"`
		Evidence    []evidenceObject  `json:"evidence"`
		Untraced    int               `json:"untraced"`
		Before      []json.RawMessage `json:"before"`
		After       []json.RawMessage `json:"after"`
		Previous    *audit.QueryID    `json:"previous_query_id"` // the agent's last answer to the same question
	}
	findingObject struct {
		Kind      audit.FindingKind `json:"kind"`
		Positions []int             `json:"positions"`
	}
	evidenceObject struct {
		Position       int             `json:"position"`
		AssertionHash  audit.Hash      `json:"assertion_hash"`
		AssertionLabel *string         `json:"assertion_label"`
		Weight         json.RawMessage `json:"weight"`
		SourceHash     audit.Hash      `json:"source_hash"`
		SourceLabel    *string         `json:"source_label"`
		Lifecycle      string          `json:"lifecycle"`
		Approved       bool            `json:"approved"`
		Result         bool            `json:"result"`
		usesObject
		Others othersObject `json:"others"`
	}
	usesObject struct {
		FirstSeen     *uint64 `json:"first_seen"`
		FirstSeenTime *string `json:"first_seen_time"`
		Answers       int     `json:"answers"`
		Agents        int     `json:"agents"`
		More          bool    `json:"more"`
	}
	othersObject struct {
		usesObject
		ByAgent []agentObject `json:"by_agent"`
	}
	agentObject struct {
		AgentID    *audit.AgentID `json:"agent_id"`
		AgentLabel *string        `json:"agent_label"`
		Answers    uint64         `json:"answers"`
	}
)

func (w *traceWriter) object(t *tracing) ([]byte, error) {
	o := traceObject{
		Time: w.r.clock.Format(t.Audit.Timestamp), AgentLabel: w.r.labels.orNull(t.Audit.AgentID), ResultLabel: w.r.labels.orNull(t.Audit.ResultHash),
		Findings: []findingObject{}, TotalWeight: t.TotalWeight, Evidence: []evidenceObject{}, Untraced: t.Untraced,
		Previous: t.previous,
	}
	var err error
	if o.Audit, err = t.Audit.Canonical(); err != nil {
		return nil, err
	}
	for _, f := range t.Findings {
		o.Findings = append(o.Findings, findingObject(f))
	}
	for i := range t.Evidence {
		e := &t.Evidence[i]
		one := evidenceObject{
			Position: e.Position, AssertionHash: e.AssertionHash, AssertionLabel: w.r.labels.orNull(&e.AssertionHash),
			Weight: json.RawMessage(tui.Number(e.Weight).Text), SourceHash: e.SourceHash, SourceLabel: w.r.labels.orNull(&e.SourceHash),
			Lifecycle: e.Lifecycle.String(), Approved: e.Fit, Result: e.Won,
			usesObject: w.uses(e.Uses), Others: othersObject{w.uses(e.Others), []agentObject{}},
		}
		for _, other := range t.others[e.Position] {
			one.Others.ByAgent = append(one.Others.ByAgent, agentObject{other.AgentID, w.r.labels.orNull(other.AgentID), other.Answers})
		}
		o.Evidence = append(o.Evidence, one)
	}
	if o.Before, err = canonical(t.Before); err != nil {
		return nil, err
	}
	if o.After, err = canonical(t.After); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(tui.ToJSON(o)), nil
}

func (w *traceWriter) uses(u audit.Uses) usesObject {
	o := usesObject{FirstSeen: u.First, Answers: u.Answers, Agents: u.Agents, More: u.More}
	if u.First != nil {
		time := w.r.clock.Format(*u.First)
		o.FirstSeenTime = &time
	}
	return o
}

func canonical(list []audit.QueryAudit) ([]json.RawMessage, error) {
	raws := []json.RawMessage{}
	for i := range list {
		raw, err := list[i].Canonical()
		if err != nil {
			return nil, err
		}
		raws = append(raws, raw)
	}
	return raws, nil
}

// traceColumns are those of a trace's lines in plain text and CSV.
var traceColumns = []tui.Column{
	{Name: "part"}, {Name: "query_id"}, {Name: "timestamp"}, {Name: "time"}, {Name: "agent_id"}, {Name: "agent_label"},
	{Name: "subject"}, {Name: "predicate"}, {Name: "lifecycle"}, {Name: "epoch"}, {Name: "lens"},
	{Name: "result_hash"}, {Name: "result_label"}, {Name: "result_confidence"}, {Name: "finding"}, {Name: "position"},
	{Name: "weight"}, {Name: "assertion_hash"}, {Name: "assertion_label"}, {Name: "source_hash"}, {Name: "source_label"},
	{Name: "first_seen"}, {Name: "first_seen_time"}, {Name: "answers"}, {Name: "agents"}, {Name: "more"},
}

// flat prints a line for each part of a trace. The lifecycle is that of the question in a line of a record,
// and of the evidence in others.
func (w *traceWriter) flat(t *tracing) error {
	line := func(part string, id audit.QueryID, values map[string]tui.Cell) error {
		cells := make([]tui.Cell, len(traceColumns))
		cells[0], cells[1] = tui.Text(part), hashCell(id)
		for i, c := range traceColumns {
			if v, ok := values[c.Name]; ok {
				cells[i] = v
			}
		}
		return w.rows.Add(cells...)
	}
	l := w.r.labels
	asked := func(part string, q *audit.QueryAudit) error {
		return line(part, q.QueryID, map[string]tui.Cell{
			"timestamp": tui.Number(q.Timestamp), "time": timeCell(q.Timestamp, w.r.clock), "agent_id": optionalHash(q.AgentID), "agent_label": l.cell(q.AgentID),
			"subject": optionalText(q.Params.Subject), "predicate": optionalText(q.Params.Predicate), "lifecycle": optionalLifecycle(q.Params.Lifecycle),
			"epoch": optionalHash(q.Params.Epoch), "lens": optionalText(q.Params.Lens),
			"result_hash": optionalHash(q.ResultHash), "result_label": l.cell(q.ResultHash), "result_confidence": tui.Number(q.ResultConfidence),
		})
	}
	id := t.Audit.QueryID
	err := asked("query", &t.Audit)
	for _, f := range t.Findings {
		if len(f.Positions) == 0 {
			err = errors.Join(err, line("finding", id, map[string]tui.Cell{"finding": tui.Text(string(f.Kind))}))
		}
		for _, position := range f.Positions {
			err = errors.Join(err, line("finding", id, map[string]tui.Cell{"finding": tui.Text(string(f.Kind)), "position": tui.Number(position)}))
		}
	}
	for i := range t.Evidence {
		e := &t.Evidence[i]
		err = errors.Join(err, line("evidence", id, map[string]tui.Cell{
			"position": tui.Number(e.Position), "weight": tui.Number(e.Weight), "lifecycle": lifecycleCell(e.Lifecycle),
			"assertion_hash": hashCell(e.AssertionHash), "assertion_label": l.cell(&e.AssertionHash),
			"source_hash": hashCell(e.SourceHash), "source_label": l.cell(&e.SourceHash),
			"first_seen": optionalNumber(e.Uses.First), "first_seen_time": optionalTime(e.Uses.First, w.r.clock),
			"answers": tui.Number(e.Uses.Answers), "agents": tui.Number(e.Uses.Agents), "more": tui.Bool(e.Uses.More),
		}))
		for _, other := range t.others[e.Position] {
			err = errors.Join(err, line("other", id, map[string]tui.Cell{
				"position": tui.Number(e.Position), "assertion_hash": hashCell(e.AssertionHash), "assertion_label": l.cell(&e.AssertionHash),
				"lifecycle": lifecycleCell(e.Lifecycle), "agent_id": optionalHash(other.AgentID), "agent_label": l.cell(other.AgentID),
				"answers": tui.Number(other.Answers),
			}))
		}
	}
	for i := range t.Before {
		err = errors.Join(err, asked("before", &t.Before[i]))
	}
	for i := range t.After {
		err = errors.Join(err, asked("after", &t.After[i]))
	}
	return err
}

func optionalNumber(n *uint64) tui.Cell {
	if n == nil {
		return tui.Cell{}
	}
	return tui.Number(*n)
}

func optionalTime(timestamp *uint64, c when.Clock) tui.Cell {
	if timestamp == nil {
		return tui.Cell{}
	}
	return timeCell(*timestamp, c)
}
