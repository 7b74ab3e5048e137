package view

import (
	"context"
	"iter"

	"github.com/auditsql/auditsql/audit"
)

// A Diff is what changed from one record to another.
type Diff struct {
	From       Record            `json:"from"`
	To         Record            `json:"to"`
	FromTime   string            `json:"from_time"`
	ToTime     string            `json:"to_time"`
	Flipped    bool              `json:"flipped"` // the answers differ
	Causes     []audit.Cause     `json:"causes"`
	Fields     []FieldChange     `json:"fields"`
	Evidence   []EvidenceChange  `json:"evidence"`
	Same       int               `json:"same"` // pieces of evidence that did not change
	Attributes []AttributeChange `json:"attributes"`
}

// A FieldChange is a field with two values as text; nil is null.
type FieldChange struct {
	Field string  `json:"field"`
	From  *string `json:"from"`
	To    *string `json:"to"`
}

// An EvidenceChange is a piece of evidence that was added, removed or changed.
type EvidenceChange struct {
	AssertionHash  audit.Hash `json:"assertion_hash"`
	AssertionLabel *string    `json:"assertion_label"`
	Change         string     `json:"change"` // one of the constants
	From           *Side      `json:"from"`
	To             *Side      `json:"to"`
}

// The changes of a piece of evidence.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Unapproved reports whether the second record has the evidence and it is neither Approved nor Unstated.
func (c *EvidenceChange) Unapproved() bool { return c.To != nil && c.To.Lifecycle.Unapproved() }

// A Side is a piece of evidence as one of the records has it.
type Side struct {
	Position    int             `json:"position"`
	Weight      float32         `json:"weight"`
	SourceHash  audit.Hash      `json:"source_hash"`
	SourceLabel *string         `json:"source_label"`
	Lifecycle   audit.Lifecycle `json:"lifecycle"`
}

// An AttributeChange is an attribute with two values as text; nil: the record does not have it.
type AttributeChange struct {
	Key  string  `json:"key"`
	From *string `json:"from"`
	To   *string `json:"to"`
}

// Diff compares two records. An id that is not stored is audit.ErrNotFound, and so is one that was stored after the moment asOf, if that
// is not nil.
func (v *Viewer) Diff(ctx context.Context, from, to audit.QueryID, asOf *uint64) (*Diff, error) {
	found, err := v.store.DiffAsOf(ctx, from, to, asOf)
	if err != nil {
		return nil, err
	}
	d := &Diff{
		From: v.Record(&found.A), To: v.Record(&found.B), FromTime: v.time(found.A.Timestamp), ToTime: v.time(found.B.Timestamp),
		Flipped: found.Flipped(), Causes: found.Causes(), Same: found.Same,
		Fields: make([]FieldChange, len(found.Fields)), Evidence: make([]EvidenceChange, len(found.Evidence)),
		Attributes: make([]AttributeChange, len(found.Attributes)),
	}
	for i, f := range found.Fields {
		d.Fields[i] = FieldChange{f.Field, f.A, f.B}
	}
	for i := range found.Evidence {
		e := &found.Evidence[i]
		d.Evidence[i] = EvidenceChange{e.AssertionHash, v.label(&e.AssertionHash), change(e), v.side(e.A, e.PositionA), v.side(e.B, e.PositionB)}
	}
	for i, a := range found.Attributes {
		d.Attributes[i] = AttributeChange{a.Key, a.A, a.B}
	}
	return d, nil
}

func (v *Viewer) side(c *audit.ContributingAssertion, position int) *Side {
	if c == nil {
		return nil
	}
	return &Side{position, c.Weight, c.SourceHash, v.label(&c.SourceHash), c.Lifecycle}
}

func change(e *audit.EvidenceChange) string {
	switch {
	case e.A == nil:
		return Added
	case e.B == nil:
		return Removed
	}
	return Changed
}

// NextAfterDiff returns commands that look further.
func (v *Viewer) NextAfterDiff(ctx context.Context, d *Diff) []Step {
	return []Step{{[]string{"trace", v.Query(ctx, d.To.QueryID)}, "why the second was answered so"}}
}

// A DiffLine is a change as a row of values. Part says of what: field, evidence or attribute.
type DiffLine struct {
	Part          string           `json:"part"`
	Name          string           `json:"name"` // of a field or an attribute, or the hash of an assertion
	Label         *string          `json:"label"`
	Change        string           `json:"change"`
	From          *string          `json:"from"`
	To            *string          `json:"to"`
	FromWeight    *float32         `json:"from_weight"`
	ToWeight      *float32         `json:"to_weight"`
	FromSource    *audit.Hash      `json:"from_source"`
	ToSource      *audit.Hash      `json:"to_source"`
	FromLifecycle *audit.Lifecycle `json:"from_lifecycle"`
	ToLifecycle   *audit.Lifecycle `json:"to_lifecycle"`
}

// Lines yields the changes as rows.
func (d *Diff) Lines() iter.Seq[DiffLine] {
	return func(yield func(DiffLine) bool) {
		_ = each(d.Fields, func(f *FieldChange) bool {
			return yield(DiffLine{Part: "field", Name: f.Field, Change: Changed, From: f.From, To: f.To})
		}) && each(d.Evidence, func(e *EvidenceChange) bool {
			line := DiffLine{Part: "evidence", Name: e.AssertionHash.String(), Label: e.AssertionLabel, Change: e.Change}
			if e.From != nil {
				line.FromWeight, line.FromSource, line.FromLifecycle = &e.From.Weight, &e.From.SourceHash, &e.From.Lifecycle
			}
			if e.To != nil {
				line.ToWeight, line.ToSource, line.ToLifecycle = &e.To.Weight, &e.To.SourceHash, &e.To.Lifecycle
			}
			return yield(line)
		}) && each(d.Attributes, func(a *AttributeChange) bool {
			return yield(DiffLine{Part: "attribute", Name: a.Key, Change: Changed, From: a.From, To: a.To})
		})
	}
}
