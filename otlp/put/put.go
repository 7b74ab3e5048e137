// Package put stores the records that were made of spans, and the names of what their hashes stand for. Both the import of files and
// the receiver use it.
//
// The first record of a span stays. If another record is stored under its id, the digest of the span decides: the same span is a
// duplicate, whatever else of the record is different now, and another one is a conflict (otlp.ErrChanged).
package put

import (
	"context"
	"errors"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
)

// A Store is where the records go. *audit.DB is one.
type Store interface {
	PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
	GetAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error)
	AddLabels(ctx context.Context, labels []audit.Label) error
}

// A Result is what became of a record.
type Result struct {
	Duplicate bool  // the span has a record already
	Err       error // why the record is not stored: otlp.ErrChanged, or the store refuses it
}

// A Putter stores records. It may not be used from several goroutines.
type Putter struct {
	store    Store
	labels   []audit.Label // that have to be added
	labelled map[audit.Hash]bool
}

// New returns a Putter for a store.
func New(store Store) *Putter {
	return &Putter{store: store, labelled: map[audit.Hash]bool{}}
}

const (
	maxLabels   = 2000    // that are added at once: SQLite's write lock is held for so long
	maxLabelled = 100_000 // hashes that are remembered as labelled. To add a label again is harmless
)

// Put stores the records of outcomes, each of which must have one. It returns a result for each. After an error, also that of ctx, it is
// not known which of them are stored, and putting them again is harmless.
//
// If many labels have been left by earlier calls, these are added before anything is put.
func (p *Putter) Put(ctx context.Context, outcomes []otlp.Outcome) ([]Result, error) {
	if len(outcomes) == 0 {
		return nil, nil
	}
	if len(p.labels) >= maxLabels {
		if err := p.AddLabels(ctx); err != nil {
			return nil, err
		}
	}
	records := make([]*audit.QueryAudit, len(outcomes))
	for i := range outcomes {
		records[i] = &outcomes[i].Record.Audit
	}
	stored, err := p.store.PutAudits(ctx, records)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(stored))
	for i, s := range stored {
		results[i] = Result{s.Duplicate, s.Err}
		labels := outcomes[i].Labels
		if errors.Is(s.Err, audit.ErrConflict) {
			results[i], labels = p.conflict(ctx, &outcomes[i])
		}
		if results[i].Err == nil {
			p.label(labels)
		}
	}
	return results, nil
}

// conflict is what became of a record under whose id another one is stored, with the labels that the other one can have.
func (p *Putter) conflict(ctx context.Context, o *otlp.Outcome) (Result, []audit.Label) {
	first, err := p.store.GetAudit(ctx, o.Record.Audit.QueryID)
	switch {
	case err != nil:
		return Result{Err: err}, nil
	case first.Attributes[otlp.DigestAttribute] != o.Record.Digest.String():
		return Result{Err: otlp.ErrChanged}, nil
	}
	return Result{Duplicate: true}, inRecord(o.Labels, first)
}

// inRecord are the labels of hashes that a record has. The record that stands may have another agent than the one that is made of the
// same span later, when fewer spans of its trace are known.
func inRecord(labels []audit.Label, q *audit.QueryAudit) []audit.Label {
	has := map[audit.Hash]bool{}
	if q.AgentID != nil {
		has[*q.AgentID] = true
	}
	for _, c := range q.ContributingAssertions {
		has[c.AssertionHash], has[c.SourceHash] = true, true
	}
	var in []audit.Label
	for _, l := range labels {
		if has[l.Hash] {
			in = append(in, l)
		}
	}
	return in
}

// label keeps labels until they are added.
func (p *Putter) label(labels []audit.Label) {
	for _, l := range labels {
		if !p.labelled[l.Hash] {
			p.labelled[l.Hash] = true
			p.labels = append(p.labels, l)
		}
	}
}

// AddLabels adds the labels that Put has left to be added together. Call it after the last Put, and when there is time. After an error
// the labels that are not added yet are kept for the next call.
func (p *Putter) AddLabels(ctx context.Context) error {
	for len(p.labels) > 0 {
		n := min(len(p.labels), maxLabels)
		if err := p.store.AddLabels(ctx, p.labels[:n]); err != nil {
			return err
		}
		p.labels = p.labels[n:]
	}
	p.labels = nil
	if len(p.labelled) > maxLabelled { // all of these are added
		clear(p.labelled)
	}
	return nil
}
