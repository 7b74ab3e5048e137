package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
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
	switch out := a.rows(a.form(""), diffColumns...); out.form {
	case formTable:
		return a.diffPage(ctx, r, d)
	case formJSON, formNDJSON:
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
		return &side{position, number(c.Weight).json(), c.SourceHash, r.labels.orNull(&c.SourceHash), c.Lifecycle.String()}
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
	return toJSON(object), nil
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

var diffColumns = []column{
	{name: "part"}, {name: "name"}, {name: "label"}, {name: "change"}, {name: "from"}, {name: "to"},
	{name: "from_weight"}, {name: "to_weight"}, {name: "from_source"}, {name: "to_source"}, {name: "from_lifecycle"}, {name: "to_lifecycle"},
}

// diffLines prints a line for each change.
func diffLines(out *rows, r *reading, d *audit.Difference) error {
	var errs error
	line := func(cells ...cell) {
		errs = errors.Join(errs, out.add(append(cells, make([]cell, len(diffColumns)-len(cells))...)...))
	}
	two := func(part, name string, from, to *string) {
		line(text(part), text(name), cell{}, text("changed"), nullable(from), nullable(to))
	}
	for _, f := range d.Fields {
		two("field", f.Field, f.A, f.B)
	}
	for _, e := range d.Evidence {
		from, to := sideCells(e.A), sideCells(e.B)
		line(text("evidence"), hashCell(e.AssertionHash), r.labels.cell(&e.AssertionHash), text(change(&e)), cell{}, cell{},
			from[0], to[0], from[1], to[1], from[2], to[2])
	}
	for _, at := range d.Attributes {
		two("attribute", at.Key, at.A, at.B)
	}
	return errors.Join(errs, out.end())
}

func nullable(s *string) cell {
	if s == nil {
		return cell{}
	}
	return text(*s)
}

// sideCells are the weight, source and lifecycle of a piece of evidence.
func sideCells(c *audit.ContributingAssertion) [3]cell {
	if c == nil {
		return [3]cell{}
	}
	return [3]cell{number(c.Weight), hashCell(c.SourceHash), lifecycleCell(c.Lifecycle)}
}

func (a *app) diffPage(ctx context.Context, r *reading, d *audit.Difference) error {
	p := a.page(r)
	p.head("from", gap+r.query(ctx, d.A.QueryID)+gap+r.clock.Format(d.A.Timestamp)+gap+r.asker(d.A.AgentID))
	p.head("to  ", gap+r.query(ctx, d.B.QueryID)+gap+r.clock.Format(d.B.Timestamp)+gap+r.asker(d.B.AgentID))
	if len(d.Fields)+len(d.Evidence)+len(d.Attributes) == 0 {
		p.head("", "no difference but in the ids")
		return p.end()
	}
	if d.Flipped() {
		var words []string
		for _, c := range d.Causes() {
			words = append(words, causeWords[c])
		}
		if len(words) == 0 {
			words = []string{"nothing that is recorded explains it"}
		}
		p.out.WriteString(p.alarmed(p.fold("! the answer is another: "+strings.Join(words, ", "), 0, indent)) + "\n")
	}
	r.changedFields(p, d)
	r.changedEvidence(p, d)
	if len(d.Attributes) > 0 {
		p.head("attributes", "")
		var rows [][]cell
		for _, at := range d.Attributes {
			rows = append(rows, []cell{text(at.Key), text(orDash(at.A)), text(orDash(at.B))})
		}
		p.table(changeColumns("attribute"), rows)
	}
	p.next([]step{{[]string{"trace", r.query(ctx, d.B.QueryID)}, "why the second was answered so"}})
	return p.end()
}

func changeColumns(what string) []column {
	return []column{{name: what, flexible: true, least: 8}, {name: "from", flexible: true, least: 8}, {name: "to", flexible: true, least: 8}}
}

// changedFields shows what is otherwise in question and answer, hashes with their labels.
func (r *reading) changedFields(p *page, d *audit.Difference) {
	var rows [][]cell
	for _, f := range d.Fields {
		from, to := text(orDash(f.A)), text(orDash(f.B))
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
			to.alarm = true
		}
		rows = append(rows, []cell{text(name), from, to})
	}
	if len(rows) > 0 {
		p.head("question and answer", "")
		p.table(changeColumns("field"), rows)
	}
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func (r *reading) changedEvidence(p *page, d *audit.Difference) {
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
	p.head("evidence", " ("+strings.Join(counted, ", ")+")")
	if len(d.Evidence) == 0 {
		return
	}
	both := func(a, b string) cell {
		switch {
		case a == b || b == "":
			return text(a)
		case a == "":
			return text(b)
		}
		return text(a + " to " + b)
	}
	var rows [][]cell
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
		row := []cell{
			text(map[string]string{"added": "+", "removed": "-", "changed": "~"}[kind]), r.labels.hash(e.AssertionHash),
			both(from[0].text, to[0].text), both(from[2].text, to[2].text), r.sources(e),
		}
		if !fit {
			for i := range row {
				row[i].alarm = true
			}
		}
		rows = append(rows, row)
	}
	p.table([]column{
		{name: "mark", title: " "}, {name: "assertion", flexible: true, least: briefHash}, {name: "weight"}, {name: "lifecycle"},
		{name: "source", flexible: true, least: briefHash, rank: 1},
	}, rows)
	if left > 0 {
		p.note("(%d more, %d of them not Approved; -o plain has all)", left, leftBad)
	}
}

// sources are those of a piece of evidence before and after, as far as they differ.
func (r *reading) sources(e *audit.EvidenceChange) cell {
	switch {
	case e.A == nil:
		return r.labels.hash(e.B.SourceHash)
	case e.B == nil || e.A.SourceHash == e.B.SourceHash:
		return r.labels.hash(e.A.SourceHash)
	}
	return text(r.called(e.A.SourceHash) + " to " + r.called(e.B.SourceHash))
}
