package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) diffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff ID ID",
		Short: "What changed in question, answer and evidence between two records",
		Long: `Diff prints what is otherwise in the second record than in the first: in what
was asked, in the answer, in the evidence (+ came, - went, ~ changed) and in the
attributes. An id may be cut to its first 8 or more digits.

-o json is an object: from and to (the canonical records), from_time, to_time,
flipped (whether the answer is another), causes (as of answers), fields (field,
from, to), evidence (assertion_hash, assertion_label, change: added, removed or
changed, from and to: position, weight, source_hash, source_label, lifecycle),
same (how many pieces of evidence are as before), attributes (key, from, to).
Plain text and CSV have a line for each change: part (field, evidence or
attribute), name, label, change, from, to, and of evidence from_weight,
to_weight, from_source, to_source, from_lifecycle, to_lifecycle.`,
		Example: `  auditsql diff 0a3caa49 4058e593
  auditsql diff 0a3caa49 4058e593 -o json | jq .causes`,
		Args: arguments(2, 2, "two ids, or the first 8 or more digits of each"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.diff(cmd.Context(), args)
		},
		ValidArgsFunction: completeNothing,
	}
	a.addReading(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) diff(ctx context.Context, args []string) error {
	for _, arg := range args {
		if err := checkPrefix(arg); err != nil {
			return err
		}
	}
	if _, err := a.clock(audit.Milliseconds); err != nil {
		return err
	}
	r, err := a.read(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	var ids []audit.QueryID
	for _, arg := range args {
		id, err := resolve(ctx, r.DB, arg)
		if err != nil {
			return err
		}
		if id == nil {
			return notFound("%s: no such audit", arg)
		}
		ids = append(ids, *id)
	}
	d, err := r.Diff(ctx, ids[0], ids[1])
	if errors.Is(err, audit.ErrNotFound) {
		return &exitError{code: exitNotFound, err: err}
	}
	if err != nil {
		return err
	}
	switch out := a.rows(a.form(""), diffColumns...); out.Form {
	case tui.Table:
		return a.diffPage(ctx, r, d)
	case tui.JSON, tui.NDJSON:
		object, err := diffObject(r, d)
		if err != nil {
			return err
		}
		return a.copyOut(string(object) + "\n")
	default:
		return diffLines(out, r, d)
	}
}

// diffObject is a difference in JSON.
func diffObject(r *reading, d *audit.Difference) ([]byte, error) {
	type side struct {
		Position    int             `json:"position"`
		Weight      json.RawMessage `json:"weight"`
		SourceHash  audit.Hash      `json:"source_hash"`
		SourceLabel *string         `json:"source_label"`
		Lifecycle   string          `json:"lifecycle"`
	}
	type field struct {
		Field string  `json:"field"`
		From  *string `json:"from"`
		To    *string `json:"to"`
	}
	type piece struct {
		AssertionHash  audit.Hash `json:"assertion_hash"`
		AssertionLabel *string    `json:"assertion_label"`
		Change         string     `json:"change"`
		From           *side      `json:"from"`
		To             *side      `json:"to"`
	}
	type attribute struct {
		Key  string  `json:"key"`
		From *string `json:"from"`
		To   *string `json:"to"`
	}
	object := struct {
		From       json.RawMessage `json:"from"`
		To         json.RawMessage `json:"to"`
		FromTime   string          `json:"from_time"`
		ToTime     string          `json:"to_time"`
		Flipped    bool            `json:"flipped"`
		Causes     []audit.Cause   `json:"causes"`
		Fields     []field         `json:"fields"`
		Evidence   []piece         `json:"evidence"`
		Same       int             `json:"same"`
		Attributes []attribute     `json:"attributes"`
	}{
		FromTime: r.clock.Format(d.A.Timestamp), ToTime: r.clock.Format(d.B.Timestamp), Flipped: d.Flipped(), Causes: d.Causes(),
		Fields: []field{}, Evidence: []piece{}, Same: d.Same, Attributes: []attribute{},
	}
	var err error
	if object.From, err = d.A.Canonical(); err != nil {
		return nil, err
	}
	if object.To, err = d.B.Canonical(); err != nil {
		return nil, err
	}
	of := func(c *audit.ContributingAssertion, position int) *side {
		if c == nil {
			return nil
		}
		return &side{position, json.RawMessage(tui.Number(c.Weight).Text), c.SourceHash, r.labels.orNull(&c.SourceHash), c.Lifecycle.String()}
	}
	for _, f := range d.Fields {
		object.Fields = append(object.Fields, field{f.Field, f.A, f.B})
	}
	for _, e := range d.Evidence {
		object.Evidence = append(object.Evidence, piece{e.AssertionHash, r.labels.orNull(&e.AssertionHash), change(&e), of(e.A, e.PositionA), of(e.B, e.PositionB)})
	}
	for _, at := range d.Attributes {
		object.Attributes = append(object.Attributes, attribute{at.Key, at.A, at.B})
	}
	return tui.ToJSON(object), nil
}

// change says what became of a piece of evidence.
func change(e *audit.EvidenceChange) string {
	switch {
	case e.A == nil:
		return "added"
	case e.B == nil:
		return "removed"
	}
	return "changed"
}

var diffColumns = []tui.Column{
	{Name: "part"}, {Name: "name"}, {Name: "label"}, {Name: "change"}, {Name: "from"}, {Name: "to"},
	{Name: "from_weight"}, {Name: "to_weight"}, {Name: "from_source"}, {Name: "to_source"}, {Name: "from_lifecycle"}, {Name: "to_lifecycle"},
}

// diffLines prints a line for each change.
func diffLines(out *tui.Rows, r *reading, d *audit.Difference) error {
	var errs error
	line := func(cells ...tui.Cell) {
		errs = errors.Join(errs, out.Add(append(cells, make([]tui.Cell, len(diffColumns)-len(cells))...)...))
	}
	two := func(part, name string, from, to *string) {
		line(tui.Text(part), tui.Text(name), tui.Cell{}, tui.Text("changed"), nullable(from), nullable(to))
	}
	for _, f := range d.Fields {
		two("field", f.Field, f.A, f.B)
	}
	for _, e := range d.Evidence {
		from, to := sideCells(e.A), sideCells(e.B)
		line(tui.Text("evidence"), hashCell(e.AssertionHash), r.labels.cell(&e.AssertionHash), tui.Text(change(&e)), tui.Cell{}, tui.Cell{},
			from[0], to[0], from[1], to[1], from[2], to[2])
	}
	for _, at := range d.Attributes {
		two("attribute", at.Key, at.A, at.B)
	}
	return errors.Join(errs, out.End())
}

func nullable(s *string) tui.Cell {
	if s == nil {
		return tui.Cell{}
	}
	return tui.Text(*s)
}

// sideCells are the weight, source and lifecycle of a piece of evidence.
func sideCells(c *audit.ContributingAssertion) [3]tui.Cell {
	if c == nil {
		return [3]tui.Cell{}
	}
	return [3]tui.Cell{tui.Number(c.Weight), hashCell(c.SourceHash), lifecycleCell(c.Lifecycle)}
}

func (a *app) diffPage(ctx context.Context, r *reading, d *audit.Difference) error {
	p := a.screen().Page()
	p.Head("from", tui.Gap+r.query(ctx, d.A.QueryID)+tui.Gap+r.clock.Format(d.A.Timestamp)+tui.Gap+r.asker(d.A.AgentID))
	p.Head("to  ", tui.Gap+r.query(ctx, d.B.QueryID)+tui.Gap+r.clock.Format(d.B.Timestamp)+tui.Gap+r.asker(d.B.AgentID))
	if len(d.Fields)+len(d.Evidence)+len(d.Attributes) == 0 {
		p.Head("", "no difference but in the ids")
		return p.End()
	}
	if d.Flipped() {
		var words []string
		for _, c := range d.Causes() {
			words = append(words, causeWords[c])
		}
		if len(words) == 0 {
			words = []string{"nothing that is recorded explains it"}
		}
		p.TextAlarm("! the answer is another: " + strings.Join(words, ", "))
	}
	r.changedFields(p, d)
	r.changedEvidence(p, d)
	if len(d.Attributes) > 0 {
		p.Head("attributes", "")
		var rows [][]tui.Cell
		for _, at := range d.Attributes {
			rows = append(rows, []tui.Cell{tui.Text(at.Key), tui.Text(orDash(at.A)), tui.Text(orDash(at.B))})
		}
		p.Table(changeColumns("attribute"), rows)
	}
	a.next(p, []step{{[]string{"trace", r.query(ctx, d.B.QueryID)}, "why the second was answered so"}})
	return p.End()
}

func changeColumns(what string) []tui.Column {
	return []tui.Column{{Name: what, Flexible: true, Least: 8}, {Name: "from", Flexible: true, Least: 8}, {Name: "to", Flexible: true, Least: 8}}
}

// changedFields shows what is otherwise in question and answer, hashes with their labels.
func (r *reading) changedFields(p *tui.Page, d *audit.Difference) {
	var rows [][]tui.Cell
	for _, f := range d.Fields {
		from, to := tui.Text(orDash(f.A)), tui.Text(orDash(f.B))
		name := strings.TrimPrefix(f.Field, "result_")
		switch f.Field {
		case "timestamp":
			continue // in the heading
		case "agent_id":
			name, from, to = "agent", agentCell(d.A.AgentID, r.labels), agentCell(d.B.AgentID, r.labels)
		case "epoch":
			from, to = optionalHash(d.A.Params.Epoch), optionalHash(d.B.Params.Epoch)
		case "result_hash":
			name, from, to = "answer", r.labels.optional(d.A.ResultHash), r.labels.optional(d.B.ResultHash)
			to.Alarm = true
		}
		rows = append(rows, []tui.Cell{tui.Text(name), from, to})
	}
	if len(rows) > 0 {
		p.Head("question and answer", "")
		p.Table(changeColumns("field"), rows)
	}
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func (r *reading) changedEvidence(p *tui.Page, d *audit.Difference) {
	count := map[string]int{}
	for i := range d.Evidence {
		count[change(&d.Evidence[i])]++
	}
	var counted []string
	for _, kind := range []struct{ change, word string }{{"added", "came"}, {"changed", "changed"}, {"removed", "went"}} {
		if n := count[kind.change]; n > 0 {
			counted = append(counted, fmt.Sprintf("%d %s", n, kind.word))
		}
	}
	counted = append(counted, fmt.Sprintf("%d as before", d.Same))
	p.Head("evidence", " ("+strings.Join(counted, ", ")+")")
	if len(d.Evidence) == 0 {
		return
	}
	both := func(a, b string) tui.Cell {
		switch {
		case a == b || b == "":
			return tui.Text(a)
		case a == "":
			return tui.Text(b)
		}
		return tui.Text(a + " to " + b)
	}
	var rows [][]tui.Cell
	left, leftBad := 0, 0
	shown := map[string]int{}
	for i := range d.Evidence {
		e := &d.Evidence[i]
		// As many of each change, and beyond these what is not Approved, as in a trace.
		kind, fit := change(e), e.B == nil || e.B.Lifecycle == audit.Approved
		if shown[kind] >= shownEvidence && (fit || shown[kind] >= 2*shownEvidence) {
			left++
			if !fit {
				leftBad++
			}
			continue
		}
		shown[kind]++
		from, to := sideCells(e.A), sideCells(e.B)
		row := []tui.Cell{
			tui.Text(map[string]string{"added": "+", "removed": "-", "changed": "~"}[kind]), r.labels.hash(e.AssertionHash),
			both(from[0].Text, to[0].Text), both(from[2].Text, to[2].Text), r.sources(e),
		}
		if !fit {
			for i := range row {
				row[i].Alarm = true
			}
		}
		rows = append(rows, row)
	}
	p.Table([]tui.Column{
		{Name: "mark", Title: " "}, {Name: "assertion", Flexible: true, Least: briefHash}, {Name: "weight"}, {Name: "lifecycle"},
		{Name: "source", Flexible: true, Least: briefHash, Rank: 1},
	}, rows)
	if left > 0 {
		p.Note("(%d more, %d of them not Approved; -o plain has all)", left, leftBad)
	}
}

// sources are those of a piece of evidence before and after, as far as they differ.
func (r *reading) sources(e *audit.EvidenceChange) tui.Cell {
	switch {
	case e.A == nil:
		return r.labels.hash(e.B.SourceHash)
	case e.B == nil || e.A.SourceHash == e.B.SourceHash:
		return r.labels.hash(e.A.SourceHash)
	}
	return tui.Text(r.called(e.A.SourceHash) + " to " + r.called(e.B.SourceHash))
}
