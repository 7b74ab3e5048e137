package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Difference says what differs between two records in question, answer and evidence. Their ids are not
// compared.
type Difference struct {
	A, B QueryAudit

	// Fields that differ, in the order agent_id, timestamp, subject, predicate, lifecycle, epoch, lens,
	// result_hash, result_confidence.
	Fields []FieldChange

	// Evidence that differs: first that of B, in its order, then that which only A has, in A's order. If a record has
	// an assertion several times, the first is compared with the first, the second with the second. Same counts the
	// evidence that does not differ.
	Evidence []EvidenceChange
	Same     int

	Attributes []AttributeChange // by key
}

// FieldChange is a field with two values as text; nil is null.
type FieldChange struct {
	Field string
	A, B  *string
}

// EvidenceChange is a piece of evidence that only one record has, or that differs.
type EvidenceChange struct {
	AssertionHash        Hash
	A, B                 *ContributingAssertion // nil: this record does not have it
	PositionA, PositionB int                    // in the record, from 0; -1: none

	Weight, Lifecycle, Source bool // what differs, when both have it
}

// AttributeChange is an attribute with two values as text; nil: this record does not have it.
type AttributeChange struct {
	Key  string
	A, B *string
}

// Cause is a possible reason, as far as the records show, for another answer than before.
type Cause string

// The causes, in the order in which Causes lists them. Those in the question come first, since they explain most.
const (
	CauseLens             Cause = "lens"              // another lens was asked for
	CauseEpoch            Cause = "epoch"             // another epoch was asked for
	CauseLifecycleAsked   Cause = "lifecycle_asked"   // another lifecycle was asked for
	CauseNewEvidence      Cause = "new_evidence"      // an assertion was not there before
	CauseLostEvidence     Cause = "lost_evidence"     // an assertion is not there any more
	CauseLifecycleChanged Cause = "lifecycle_changed" // of an assertion that both have
	CauseWeightChanged    Cause = "weight_changed"    // of an assertion that both have
	CauseSourceChanged    Cause = "source_changed"    // of an assertion that both have
)

// Flipped reports whether the answers differ.
func (d *Difference) Flipped() bool { return d.changed("result_hash") }

func (d *Difference) changed(field string) bool {
	return slices.ContainsFunc(d.Fields, func(f FieldChange) bool { return f.Field == field })
}

// Causes lists what else changed from A to B that can explain another answer. An empty list says that nothing in
// the records explains it.
func (d *Difference) Causes() []Cause {
	found := map[Cause]bool{
		CauseLens: d.changed("lens"), CauseEpoch: d.changed("epoch"), CauseLifecycleAsked: d.changed("lifecycle"),
	}
	for _, e := range d.Evidence {
		found[CauseNewEvidence] = found[CauseNewEvidence] || e.A == nil
		found[CauseLostEvidence] = found[CauseLostEvidence] || e.B == nil
		found[CauseLifecycleChanged] = found[CauseLifecycleChanged] || e.Lifecycle
		found[CauseWeightChanged] = found[CauseWeightChanged] || e.Weight
		found[CauseSourceChanged] = found[CauseSourceChanged] || e.Source
	}
	causes := []Cause{}
	for _, c := range []Cause{CauseLens, CauseEpoch, CauseLifecycleAsked, CauseNewEvidence, CauseLostEvidence,
		CauseLifecycleChanged, CauseWeightChanged, CauseSourceChanged} {
		if found[c] {
			causes = append(causes, c)
		}
	}
	return causes
}

// Diff compares two records. An id that is not stored is ErrNotFound.
func (db *DB) Diff(ctx context.Context, a, b QueryID) (*Difference, error) {
	return diff(ctx, db.GetAudit, a, b)
}

// DiffAsOf is Diff as of a moment (see Filter.AsOf), nil: as it is. A record that was admitted later is ErrNotFound.
func (db *DB) DiffAsOf(ctx context.Context, a, b QueryID, asOf *uint64) (*Difference, error) {
	return diff(ctx, auditsAsOf(db.GetRawAsOf, asOf), a, b)
}

// auditsAsOf returns what reads records as of a moment.
func auditsAsOf(raw func(context.Context, QueryID, *uint64) ([]byte, error), asOf *uint64) func(context.Context, QueryID) (*QueryAudit, error) {
	return func(ctx context.Context, id QueryID) (*QueryAudit, error) {
		b, err := raw(ctx, id, asOf)
		if err != nil {
			return nil, err
		}
		return parsedAudit(id, b)
	}
}

func diff(ctx context.Context, get func(context.Context, QueryID) (*QueryAudit, error), a, b QueryID) (*Difference, error) {
	// GetAudit finds every acknowledged record, and needs no forensic table.
	qa, err := get(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	qb, err := get(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	d := Compare(*qa, *qb)
	return &d, nil
}

// Compare returns what changed from a to b. The result shares their memory.
func Compare(a, b QueryAudit) Difference {
	d := Difference{A: a, B: b, Fields: []FieldChange{}, Evidence: []EvidenceChange{}, Attributes: []AttributeChange{}}
	field := func(name string, a, b *string) {
		if !equal(a, b) {
			d.Fields = append(d.Fields, FieldChange{name, a, b})
		}
	}
	field("agent_id", textOf(a.AgentID), textOf(b.AgentID))
	field("timestamp", ptrTo(strconv.FormatUint(a.Timestamp, 10)), ptrTo(strconv.FormatUint(b.Timestamp, 10)))
	field("subject", a.Params.Subject, b.Params.Subject)
	field("predicate", a.Params.Predicate, b.Params.Predicate)
	field("lifecycle", textOf(a.Params.Lifecycle), textOf(b.Params.Lifecycle))
	field("epoch", textOf(a.Params.Epoch), textOf(b.Params.Epoch))
	field("lens", a.Params.Lens, b.Params.Lens)
	field("result_hash", textOf(a.ResultHash), textOf(b.ResultHash))
	field("result_confidence", ptrTo(string(appendFloat32(nil, a.ResultConfidence))), ptrTo(string(appendFloat32(nil, b.ResultConfidence))))
	d.evidence()
	d.attributes()
	return d
}

func (d *Difference) evidence() {
	as := map[Hash][]int{} // positions in A that are not matched yet
	for i, c := range d.A.ContributingAssertions {
		as[c.AssertionHash] = append(as[c.AssertionHash], i)
	}
	for i := range d.B.ContributingAssertions {
		b := &d.B.ContributingAssertions[i]
		left := as[b.AssertionHash]
		if len(left) == 0 {
			d.Evidence = append(d.Evidence, EvidenceChange{AssertionHash: b.AssertionHash, B: b, PositionA: -1, PositionB: i})
			continue
		}
		as[b.AssertionHash] = left[1:]
		a := &d.A.ContributingAssertions[left[0]]
		c := EvidenceChange{
			AssertionHash: b.AssertionHash, A: a, B: b, PositionA: left[0], PositionB: i,
			Weight: a.Weight != b.Weight, Lifecycle: a.Lifecycle != b.Lifecycle, Source: a.SourceHash != b.SourceHash,
		}
		if c.Weight || c.Lifecycle || c.Source {
			d.Evidence = append(d.Evidence, c)
		} else {
			d.Same++
		}
	}
	for i := range d.A.ContributingAssertions {
		a := &d.A.ContributingAssertions[i]
		if slices.Contains(as[a.AssertionHash], i) {
			d.Evidence = append(d.Evidence, EvidenceChange{AssertionHash: a.AssertionHash, A: a, PositionA: i, PositionB: -1})
		}
	}
}

func (d *Difference) attributes() {
	keys := maps.Clone(d.A.Attributes)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, d.B.Attributes)
	value := func(q *QueryAudit, key string) *string {
		if v, ok := q.Attributes[key]; ok {
			return ptrTo(attributeText(v))
		}
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, b := value(&d.A, key), value(&d.B, key)
		if !equal(a, b) || d.A.Attributes[key] != d.B.Attributes[key] { // "1" and 1 are the same text
			d.Attributes = append(d.Attributes, AttributeChange{key, a, b})
		}
	}
}

func ptrTo[T any](v T) *T { return &v }

func equal[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// textOf returns a value's text. nil stays nil.
func textOf[T fmt.Stringer](v *T) *string {
	if v == nil {
		return nil
	}
	return ptrTo((*v).String())
}
