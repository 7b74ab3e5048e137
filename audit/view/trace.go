package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/auditsql/auditsql/audit"
)

// A Trace says why an agent was answered as it was. See audit.Trace.
type Trace struct {
	Audit       Record         `json:"audit"`
	Time        string         `json:"time"`
	AgentLabel  *string        `json:"agent_label"`
	ResultLabel *string        `json:"result_label"`
	Findings    []Finding      `json:"findings"`
	TotalWeight float64        `json:"total_weight"`
	Evidence    []Evidence     `json:"evidence"` // the weightiest first
	Untraced    int            `json:"untraced"`
	Before      []Record       `json:"before"`
	After       []Record       `json:"after"`
	Previous    *audit.QueryID `json:"previous_query_id"` // the agent's last record with the same question

	// Damaged are records beside this one that could not be read.
	Damaged []*audit.RecordError `json:"-"`
}

// Unstated is for how many pieces of evidence no lifecycle is stated.
func (t *Trace) Unstated() int {
	n := 0
	for i := range t.Evidence {
		if t.Evidence[i].Lifecycle == audit.Unstated {
			n++
		}
	}
	return n
}

// A Finding is something about a record that a person should look at.
type Finding struct {
	Kind      audit.FindingKind `json:"kind"`
	Positions []int             `json:"positions"` // of the evidence that it is about
	Text      string            `json:"-"`         // the same in words
}

// Evidence is a piece of a record's evidence, and where else that went.
type Evidence struct {
	Position       int             `json:"position"`
	AssertionHash  audit.Hash      `json:"assertion_hash"`
	AssertionLabel *string         `json:"assertion_label"`
	Weight         float32         `json:"weight"`
	SourceHash     audit.Hash      `json:"source_hash"`
	SourceLabel    *string         `json:"source_label"`
	Lifecycle      audit.Lifecycle `json:"lifecycle"`
	Approved       bool            `json:"approved"`
	Result         bool            `json:"result"` // it is the answer
	Uses
	Others   Others         `json:"others"`
	Answered *EarlierAnswer `json:"answered"` // who answered it first, before this record; nil: nobody
}

// Uses counts the records that some evidence went into.
type Uses struct {
	FirstSeen     *uint64 `json:"first_seen"`
	FirstSeenTime *string `json:"first_seen_time"`
	Answers       int     `json:"answers"`
	Agents        int     `json:"agents"`
	More          bool    `json:"more"` // counting ended at a limit
}

// Others are the uses of some evidence in other records than the one that is traced.
type Others struct {
	Uses
	// ByAgent says who used it, in the order of the first use. It is only there for evidence that is not Approved,
	// and only for a few pieces of it, the weightiest.
	ByAgent []OtherUser `json:"by_agent"`
}

// An OtherUser is an agent whose other records have some evidence.
type OtherUser struct {
	AgentID     *audit.AgentID `json:"agent_id"` // nil: the anonymous records
	AgentLabel  *string        `json:"agent_label"`
	Answers     uint64         `json:"answers"`
	First, Last uint64         `json:"-"`
}

// maxOthers is the greatest number of pieces of evidence for which addOthers asks the store.
const maxOthers = 8

// Trace traces one record. An id that is not stored is audit.ErrNotFound.
func (v *Viewer) Trace(ctx context.Context, id audit.QueryID, o audit.TraceOptions) (*Trace, error) {
	found, err := v.store.Trace(ctx, id, o)
	if err != nil {
		return nil, err
	}
	t := &Trace{
		Audit: v.Record(&found.Audit), TotalWeight: found.TotalWeight, Untraced: found.Untraced,
		Findings: make([]Finding, len(found.Findings)), Evidence: make([]Evidence, len(found.Evidence)),
		Before: v.records(found.Before), After: v.records(found.After), Damaged: found.Damaged,
	}
	t.Time, t.AgentLabel, t.ResultLabel = t.Audit.Time, t.Audit.AgentLabel, t.Audit.ResultLabel
	for i, f := range found.Findings {
		t.Findings[i] = Finding{f.Kind, f.Positions, findingText(f, found)}
	}
	for i := range found.Evidence {
		t.Evidence[i] = v.evidence(&found.Evidence[i])
	}
	if err := v.addOthers(ctx, t, found); err != nil {
		return nil, err
	}
	t.Previous, err = v.previous(ctx, found)
	if damaged := (*audit.RecordError)(nil); errors.As(err, &damaged) {
		t.Damaged, err = append(t.Damaged, damaged), nil
	}
	return t, err
}

func (v *Viewer) evidence(e *audit.TracedEvidence) Evidence {
	return Evidence{
		Position: e.Position, AssertionHash: e.AssertionHash, AssertionLabel: v.label(&e.AssertionHash), Weight: e.Weight,
		SourceHash: e.SourceHash, SourceLabel: v.label(&e.SourceHash), Lifecycle: e.Lifecycle, Approved: e.Fit, Result: e.Won,
		Uses: v.uses(e.Uses), Others: Others{v.uses(e.Others), []OtherUser{}}, Answered: v.earlier(e.Answered),
	}
}

func (v *Viewer) uses(u audit.Uses) Uses {
	return Uses{u.First, v.timeOf(u.First), u.Answers, u.Agents, u.More}
}

// addOthers finds out which agents also used evidence that is not Approved. It skips evidence that is in more records
// than Trace counts, since that would take long; the command impact answers it.
func (v *Viewer) addOthers(ctx context.Context, t *Trace, found *audit.Trace) error {
	asked := 0
	for i := range t.Evidence {
		e := &t.Evidence[i]
		if !e.Lifecycle.Unapproved() || e.Others.Answers == 0 || e.Others.More || asked == maxOthers {
			continue
		}
		asked++
		totals, err := v.store.ImpactTotals(ctx, e.AssertionHash, audit.ImpactOptions{Filter: audit.Filter{AsOf: found.AsOf}})
		if err != nil {
			return err
		}
		for _, user := range totals.ByAgent {
			if equal(user.AgentID, t.Audit.AgentID) && !found.Pending {
				user.Answers-- // the traced record itself
				if user.Answers > 0 {
					if err := v.spanWithout(ctx, e.AssertionHash, found, &user); err != nil {
						return err
					}
				}
			}
			if user.Answers > 0 {
				e.Others.ByAgent = append(e.Others.ByAgent, OtherUser{user.AgentID, v.label(user.AgentID), user.Answers, user.First, user.Last})
			}
		}
		slices.SortStableFunc(e.Others.ByAgent, func(a, b OtherUser) int { return cmp.Compare(a.First, b.First) })
	}
	return nil
}

// spanWithout sets the first and last time of the agent's records with some evidence, leaving out one record of that agent.
func (v *Viewer) spanWithout(ctx context.Context, assertion audit.Hash, found *audit.Trace, user *audit.AgentImpact) error {
	traced := &found.Audit
	for descending, at := range map[bool]*uint64{false: &user.First, true: &user.Last} {
		f := audit.Filter{Agent: traced.AgentID, Anonymous: traced.AgentID == nil, AsOf: found.AsOf, Limit: 2, Descending: descending}
		for a, err := range v.store.Impact(ctx, assertion, audit.ImpactOptions{Filter: f}) {
			if err != nil {
				return err
			}
			if a.Audit.QueryID != traced.QueryID {
				*at = a.Audit.Timestamp
				break
			}
		}
	}
	return nil
}

func equal(a, b *audit.AgentID) bool { return a == b || a != nil && b != nil && *a == *b }

// previous is the agent's last record with the same question, nil where there is none.
func (v *Viewer) previous(ctx context.Context, found *audit.Trace) (*audit.QueryID, error) {
	q := &found.Audit
	if q.AgentID == nil || q.Params.Subject == nil || q.Params.Predicate == nil || q.Timestamp == 0 {
		return nil, nil
	}
	to := q.Timestamp - 1
	same := audit.Filter{Agent: q.AgentID, Subject: q.Params.Subject, Predicate: q.Params.Predicate, To: &to, AsOf: found.AsOf, Descending: true, Limit: 1}
	for earlier, err := range v.store.Audits(ctx, same) {
		if err != nil {
			return nil, err
		}
		return &earlier.QueryID, nil
	}
	return nil, nil
}

// findingText puts a finding into words.
func findingText(f audit.Finding, t *audit.Trace) string {
	pieces := "1 piece"
	if n := len(t.Evidence); n != 1 {
		pieces = fmt.Sprintf("%d pieces", n)
	}
	switch f.Kind {
	case audit.UnfitResult:
		for i := range t.Evidence {
			if e := &t.Evidence[i]; e.Won {
				return fmt.Sprintf("the answer itself is %s, not Approved", e.Lifecycle)
			}
		}
	case audit.UnfitEvidence:
		return fmt.Sprintf("%d of %s of evidence not Approved", len(f.Positions), pieces)
	case audit.OneSource:
		return "all of its evidence comes from one source"
	case audit.FirstUse:
		return fmt.Sprintf("%d of %s of evidence had been in no answer before", len(f.Positions), pieces)
	case audit.LowConfidence:
		return "its confidence is low"
	case audit.NoEvidence:
		return "there is no evidence for the answer"
	case audit.ForeignResult:
		return "the answer is not among its evidence"
	}
	return string(f.Kind)
}

// Next returns commands that look further: at a few pieces of evidence that are not Approved, at the question, and at the
// last time that it was asked. It asks the store how far ids and hashes can be cut.
func (v *Viewer) Next(ctx context.Context, t *Trace) []Step {
	var steps []Step
	seen := map[audit.Hash]bool{}
	for i := range t.Evidence {
		e := &t.Evidence[i]
		if !e.Lifecycle.Unapproved() || seen[e.AssertionHash] || len(seen) == 4 {
			continue
		}
		seen[e.AssertionHash] = true
		steps = append(steps, Step{[]string{"impact", v.Name(ctx, e.AssertionHash, audit.AssertionHash)}, "where else this went"})
		if !seen[e.SourceHash] {
			seen[e.SourceHash] = true
			steps = append(steps, Step{[]string{"impact", "--source", v.Name(ctx, e.SourceHash, audit.SourceHash)}, "what else came from there"})
		}
	}
	if earlier := t.EarlierAnswers(); len(earlier) > 0 {
		e := earlier[0]
		for _, one := range earlier[1:] {
			if one.Lifecycle.Unapproved() && !e.Lifecycle.Unapproved() {
				e = one
			}
		}
		steps = append(steps,
			Step{[]string{"trace", v.Query(ctx, e.Answered.QueryID)}, "how " + e.AssertionHash.String()[:lengths[0]] + " was answered"},
			Step{[]string{"trace", "--up", v.Query(ctx, t.Audit.QueryID)}, "back to where it came from"})
	}
	asked := &t.Audit.Params
	if asked.Subject != nil && asked.Predicate != nil && typable(*asked.Subject) && typable(*asked.Predicate) {
		steps = append(steps, Step{answersArgs(*asked.Subject, *asked.Predicate), "how its answer changed"})
	}
	if t.Previous != nil {
		steps = append(steps, Step{[]string{"diff", v.Query(ctx, *t.Previous), v.Query(ctx, t.Audit.QueryID)}, "since it was last asked"})
	}
	return steps
}

// EarlierAnswers are the pieces of evidence that were answers of other records before, each assertion once.
func (t *Trace) EarlierAnswers() []*Evidence {
	var list []*Evidence
	seen := map[audit.Hash]bool{}
	for i := range t.Evidence {
		if e := &t.Evidence[i]; e.Answered != nil && !seen[e.AssertionHash] {
			seen[e.AssertionHash] = true
			list = append(list, e)
		}
	}
	return list
}

// A TraceLine is a part of a trace as a row of values. Part says what it is: query, finding, evidence, answered, other, before or
// after. In a row answered, QueryID is the record that answered the evidence before. Lifecycle is that of the question in a row of a record, and that of the evidence in other rows.
type TraceLine struct {
	Part             string           `json:"part"`
	QueryID          audit.QueryID    `json:"query_id"`
	Timestamp        *uint64          `json:"timestamp"`
	Time             *string          `json:"time"`
	AgentID          *audit.AgentID   `json:"agent_id"`
	AgentLabel       *string          `json:"agent_label"`
	Subject          *string          `json:"subject"`
	Predicate        *string          `json:"predicate"`
	Lifecycle        *audit.Lifecycle `json:"lifecycle"`
	Epoch            *audit.Hash      `json:"epoch"`
	Lens             *string          `json:"lens"`
	ResultHash       *audit.Hash      `json:"result_hash"`
	ResultLabel      *string          `json:"result_label"`
	ResultConfidence *float32         `json:"result_confidence"`
	Finding          *string          `json:"finding"`
	Position         *int             `json:"position"`
	Weight           *float32         `json:"weight"`
	AssertionHash    *audit.Hash      `json:"assertion_hash"`
	AssertionLabel   *string          `json:"assertion_label"`
	SourceHash       *audit.Hash      `json:"source_hash"`
	SourceLabel      *string          `json:"source_label"`
	FirstSeen        *uint64          `json:"first_seen"`
	FirstSeenTime    *string          `json:"first_seen_time"`
	Answers          *uint64          `json:"answers"`
	Agents           *int             `json:"agents"`
	More             *bool            `json:"more"`
}

// Lines yields the trace as rows.
func (t *Trace) Lines() iter.Seq[TraceLine] {
	return func(yield func(TraceLine) bool) {
		_ = yield(recordLine("query", &t.Audit)) &&
			each(t.Findings, func(f *Finding) bool { return t.findingLines(f, yield) }) &&
			each(t.Evidence, func(e *Evidence) bool { return t.evidenceLines(e, yield) }) &&
			each(t.Before, func(r *Record) bool { return yield(recordLine("before", r)) }) &&
			each(t.After, func(r *Record) bool { return yield(recordLine("after", r)) })
	}
}

// each visits the values of a list until visit returns false, and reports whether it reached the end.
func each[T any](list []T, visit func(*T) bool) bool {
	for i := range list {
		if !visit(&list[i]) {
			return false
		}
	}
	return true
}

func recordLine(part string, r *Record) TraceLine {
	return TraceLine{
		Part: part, QueryID: r.QueryID, Timestamp: &r.Timestamp, Time: &r.Time, AgentID: r.AgentID, AgentLabel: r.AgentLabel,
		Subject: r.Params.Subject, Predicate: r.Params.Predicate, Lifecycle: r.Params.Lifecycle, Epoch: r.Params.Epoch, Lens: r.Params.Lens,
		ResultHash: r.ResultHash, ResultLabel: r.ResultLabel, ResultConfidence: &r.ResultConfidence,
	}
}

// findingLines are a row for each position, or one where the finding has none.
func (t *Trace) findingLines(f *Finding, yield func(TraceLine) bool) bool {
	line := TraceLine{Part: "finding", QueryID: t.Audit.QueryID, Finding: ptr(string(f.Kind))}
	if len(f.Positions) == 0 {
		return yield(line)
	}
	return each(f.Positions, func(position *int) bool {
		line.Position = position
		return yield(line)
	})
}

// evidenceLines are a row for the evidence, one for the record that answered it before, and one for each other agent that used it.
func (t *Trace) evidenceLines(e *Evidence, yield func(TraceLine) bool) bool {
	line := TraceLine{
		Part: "evidence", QueryID: t.Audit.QueryID, Position: &e.Position, Weight: &e.Weight, Lifecycle: &e.Lifecycle,
		AssertionHash: &e.AssertionHash, AssertionLabel: e.AssertionLabel, SourceHash: &e.SourceHash, SourceLabel: e.SourceLabel,
		FirstSeen: e.FirstSeen, FirstSeenTime: e.FirstSeenTime, Answers: ptr(uint64(e.Answers)), Agents: &e.Agents, More: &e.More,
	}
	if !yield(line) {
		return false
	}
	if a := e.Answered; a != nil && !yield(TraceLine{
		Part: "answered", QueryID: a.QueryID, Timestamp: &a.Timestamp, Time: &a.Time, AgentID: a.AgentID, AgentLabel: a.AgentLabel, Position: &e.Position,
		Lifecycle: &e.Lifecycle, AssertionHash: &e.AssertionHash, AssertionLabel: e.AssertionLabel, Answers: ptr(uint64(a.Answers)), More: &a.More,
	}) {
		return false
	}
	return each(e.Others.ByAgent, func(other *OtherUser) bool {
		return yield(TraceLine{
			Part: "other", QueryID: t.Audit.QueryID, Position: &e.Position, Lifecycle: &e.Lifecycle,
			AssertionHash: &e.AssertionHash, AssertionLabel: e.AssertionLabel,
			AgentID: other.AgentID, AgentLabel: other.AgentLabel, Answers: &other.Answers,
		})
	})
}
