package view

import (
	"context"
	"iter"
	"slices"

	"github.com/auditsql/auditsql/audit"
)

// An Answer is one of the answers to a question over time.
type Answer struct {
	Flipped            bool             `json:"flipped"` // it differs from the one before
	Time               string           `json:"time"`
	Timestamp          uint64           `json:"timestamp"`
	QueryID            audit.QueryID    `json:"query_id"`
	AgentID            *audit.AgentID   `json:"agent_id"`
	AgentLabel         *string          `json:"agent_label"`
	ResultHash         *audit.Hash      `json:"result_hash"`
	ResultLabel        *string          `json:"result_label"`
	ResultConfidence   float32          `json:"result_confidence"`
	Lifecycle          *audit.Lifecycle `json:"lifecycle"` // that was asked for
	Lens               *string          `json:"lens"`
	Epoch              *audit.Hash      `json:"epoch"`
	Contributions      int              `json:"contributions"`
	Unapproved         int              `json:"unapproved"`
	PreviousResultHash *audit.Hash      `json:"previous_result_hash"`
	Causes             []audit.Cause    `json:"causes"` // why it flipped, as far as the records show

	Approved int            `json:"-"` // pieces of evidence
	Previous *audit.QueryID `json:"-"` // the record with the answer before it
}

// Answers streams the answers to a question, at most as many as the filter's limit. With flips it leaves out the answers
// that are equal to the one before; the limit does not count them.
func (v *Viewer) Answers(ctx context.Context, subject, predicate string, f audit.Filter, flips bool) *Stream[Answer] {
	s := &Stream[Answer]{limit: f.Limit}
	f.Limit = oneMore(f.Limit)
	if flips {
		f.Limit = 0
	}
	s.rows = mapped(v.store.Answers(ctx, subject, predicate, f), v.answer)
	if flips {
		s.rows = flipped(s.rows)
	}
	return s
}

func flipped(answers iter.Seq2[Answer, error]) iter.Seq2[Answer, error] {
	return func(yield func(Answer, error) bool) {
		for a, err := range answers {
			if (a.Flipped || err != nil) && !yield(a, err) {
				return
			}
		}
	}
}

func (v *Viewer) answer(a *audit.Answer) Answer {
	q := &a.Audit
	row := Answer{
		Flipped: a.Flipped, Time: v.time(q.Timestamp), Timestamp: q.Timestamp, QueryID: q.QueryID,
		AgentID: q.AgentID, AgentLabel: v.label(q.AgentID), ResultHash: q.ResultHash, ResultLabel: v.label(q.ResultHash),
		ResultConfidence: q.ResultConfidence, Lifecycle: q.Params.Lifecycle, Lens: q.Params.Lens, Epoch: q.Params.Epoch,
		Contributions: len(q.ContributingAssertions), Unapproved: unapproved(q), Approved: approved(q), Causes: a.Causes,
	}
	if a.Before != nil {
		row.PreviousResultHash, row.Previous = a.Before.A.ResultHash, &a.Before.A.QueryID
	}
	return row
}

// maxLookedAt is how many of the newest records with a subject Predicates reads.
const maxLookedAt = 200

// Predicates returns the predicates in the newest records with a subject, sorted. They help a reader whose question has no
// answers. subjectKnown is false when no record has that subject.
func (v *Viewer) Predicates(ctx context.Context, subject string) (predicates []string, subjectKnown bool, err error) {
	for q, err := range v.store.Audits(ctx, audit.Filter{Subject: &subject, Descending: true, Limit: maxLookedAt}) {
		if ofRecord(err) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		subjectKnown = true
		if p := q.Params.Predicate; p != nil && !slices.Contains(predicates, *p) {
			predicates = append(predicates, *p)
		}
	}
	slices.Sort(predicates)
	return predicates, subjectKnown, nil
}

// NextAfterFlip returns commands that look into an answer that flipped.
func (v *Viewer) NextAfterFlip(ctx context.Context, a *Answer) []Step {
	id := v.Query(ctx, a.QueryID)
	return []Step{
		{[]string{"diff", v.Query(ctx, *a.Previous), id}, "what changed where it flipped"},
		{[]string{"trace", id}, "why it was answered so"},
	}
}

// CauseTexts puts causes into words.
func CauseTexts(causes []audit.Cause) []string {
	words := make([]string, len(causes))
	for i, c := range causes {
		words[i] = causeText(c)
	}
	return words
}

func causeText(c audit.Cause) string {
	switch c {
	case audit.CauseLens:
		return "other lens"
	case audit.CauseEpoch:
		return "other epoch"
	case audit.CauseLifecycleAsked:
		return "other lifecycle asked"
	case audit.CauseNewEvidence:
		return "new evidence"
	case audit.CauseLostEvidence:
		return "lost evidence"
	case audit.CauseLifecycleChanged:
		return "lifecycle changed"
	case audit.CauseWeightChanged:
		return "weight changed"
	case audit.CauseSourceChanged:
		return "source changed"
	}
	return string(c)
}

// CauseWords writes each cause as one word, for narrow columns.
func CauseWords(causes []audit.Cause) []string {
	var words []string
	for _, c := range causes {
		word := "evidence"
		switch c {
		case audit.CauseLens, audit.CauseEpoch:
			word = string(c)
		case audit.CauseLifecycleAsked:
			word = "lifecycle"
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}
