package put_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/put"
)

// A store notes which labels it gets.
type store struct {
	calls []int // how many labels each call has brought
	times map[audit.Hash]int
	busy  error
}

func (s *store) PutAudits(_ context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	return make([]audit.PutResult, len(records)), nil
}

func (s *store) GetAudit(context.Context, audit.QueryID) (*audit.QueryAudit, error) {
	return nil, audit.ErrNotFound
}

func (s *store) AddLabels(_ context.Context, labels []audit.Label) error {
	if s.busy != nil {
		return s.busy
	}
	s.calls = append(s.calls, len(labels))
	for _, l := range labels {
		s.times[l.Hash]++
	}
	return nil
}

func hash(n int) (h audit.Hash) {
	binary.BigEndian.PutUint64(h[:], uint64(n))
	return h
}

// with returns the outcome of a span whose record has the hashes of some numbers.
func with(from, to int) []otlp.Outcome {
	o := otlp.Outcome{Record: &otlp.Record{}}
	for n := from; n < to; n++ {
		o.Labels = append(o.Labels, audit.Label{Hash: hash(n), Label: "a name"})
	}
	return []otlp.Outcome{o}
}

// A hash is labelled once. After very many others it is forgotten, and labelled again, so the memory that this takes is bounded: also when
// the labels are added after each put.
func TestLabelsAreRememberedForAWhile(t *testing.T) {
	t.Parallel()
	s := &store{times: map[audit.Hash]int{}}
	p := put.New(s)
	give := func(from, to int) {
		t.Helper()
		if _, err := p.Put(t.Context(), with(from, to)); err != nil {
			t.Fatal(err)
		}
		if err := p.AddLabels(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	give(0, 1)
	give(0, 1)
	if n := s.times[hash(0)]; n != 1 {
		t.Errorf("a hash was labelled %d times", n)
	}
	for n := 1; n <= 101_000; n += 1000 {
		give(n, n+1000)
	}
	give(0, 1)
	if n := s.times[hash(0)]; n != 2 {
		t.Errorf("after 101,000 others the hash was labelled %d times, want 2", n)
	}
}

// Labels that the store could not take are kept. They come in portions, so that SQLite's write lock is never held for long.
func TestLabelsThatTheStoreDoesNotTake(t *testing.T) {
	t.Parallel()
	s := &store{times: map[audit.Hash]int{}, busy: errors.New("somebody else is writing")}
	p := put.New(s)
	if results, err := p.Put(t.Context(), with(0, 4500)); err != nil || len(results) != 1 || results[0] != (put.Result{}) {
		t.Fatalf("%+v, %v", results, err)
	}
	if err := p.AddLabels(t.Context()); !errors.Is(err, s.busy) {
		t.Errorf("got %v", err)
	}
	// Nothing is put while so many labels wait.
	if _, err := p.Put(t.Context(), with(4500, 4501)); !errors.Is(err, s.busy) {
		t.Errorf("got %v", err)
	}
	s.busy = nil
	if err := p.AddLabels(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.times) != 4500 || len(s.calls) != 3 || max(s.calls[0], s.calls[1], s.calls[2]) > 2000 {
		t.Errorf("%d hashes have a label, which came in portions of %v", len(s.times), s.calls)
	}
}
