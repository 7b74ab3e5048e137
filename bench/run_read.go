package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// The variants of a read: records, or the bytes that are stored. For SQLite raw is the bare SELECT.
const (
	asRecord = "record"
	asRaw    = "raw"
)

// limit is how many records agent100 and recent100 ask for.
const limit = 100

// question asks a store once. no selects what it asks for.
type question func(ctx context.Context, no int) error

// errAnswer means that a store has given a wrong answer, so its figures mean nothing.
var errAnswer = errors.New("wrong answer")

// questionOf returns the question for a store, or nil if the store cannot answer it without a scan.
func questionOf(j job, s store) (question, error) {
	in, ok := s.(reader)
	if !ok {
		return nil, nil
	}
	d, decodes := s.(decoder)
	decodes = decodes && j.Variant == asRecord
	w := j.world()
	// The ids are chosen before the measurement, because making a record takes as long as some reads.
	const picks = 2000
	picked := make([]*audit.QueryAudit, min(picks, j.N))
	r := stream(j.Seed)
	for i := range picked {
		picked[i] = w.record(r.below(j.N))
	}
	check := func(raws [][]byte, err error) error {
		if err == nil && len(raws) == 0 {
			return errAnswer
		}
		return decode(j.Variant, raws, err)
	}
	switch j.Step {
	case "get":
		return func(ctx context.Context, no int) error {
			id := w.id(no % j.N)
			if decodes {
				q, err := d.getAudit(ctx, id)
				if err == nil && q.QueryID != id {
					err = errAnswer
				}
				return err
			}
			raw, err := in.get(ctx, id)
			return check([][]byte{raw}, err)
		}, nil
	case "agent100":
		return func(ctx context.Context, no int) error {
			q := picked[no%len(picked)]
			if decodes {
				found, err := d.agentAudits(ctx, *q.AgentID, q.Timestamp, limit)
				if err == nil && (len(found) == 0 || *found[0].AgentID != *q.AgentID) {
					err = errAnswer
				}
				return err
			}
			return check(in.agent(ctx, *q.AgentID, q.Timestamp, limit))
		}, nil
	case "recent100":
		t, ok := s.(timeline)
		if !ok {
			return nil, nil
		}
		return func(ctx context.Context, _ int) error {
			if decodes {
				found, err := d.recentAudits(ctx, limit)
				if err == nil && len(found) != min(limit, j.N) {
					err = errAnswer
				}
				return err
			}
			return check(t.recent(ctx, limit))
		}, nil
	case "impact":
		e, ok := s.(evidenceFinder)
		if !ok {
			return nil, nil
		}
		return func(ctx context.Context, no int) error {
			fact := *picked[no%len(picked)].ResultHash
			if decodes {
				found, err := d.impacted(ctx, fact)
				if err == nil && len(found) == 0 {
					err = errAnswer
				}
				return err
			}
			return check(e.impact(ctx, fact))
		}, nil
	}
	return nil, fmt.Errorf("no question %q", j.Step)
}

// decode decodes records, if the variant asks for that.
func decode(variant string, raws [][]byte, err error) error {
	if err != nil || variant == asRaw {
		return err
	}
	for _, raw := range raws {
		if _, err := audit.ParseAudit(raw); err != nil {
			return err
		}
	}
	return nil
}

// asking asks questions with several readers at once.
type asking struct {
	ask     question
	store   store // whose servers are measured too; may be nil
	readers int
	seed    uint64
	pause   time.Duration // between an answer and the next question
}

// measure asks for a while without measuring, and then measures into the row. The probe is one that has ended.
func (a asking) measure(ctx context.Context, j job, r *row) (*probe, error) {
	if _, err := a.run(ctx, closedAfter(j.span()/5)); err != nil {
		return nil, err
	}
	a.seed++
	p := begin(j.Dir, a.store)
	h, err := a.run(ctx, closedAfter(j.span()))
	if err != nil {
		return nil, err
	}
	p.end(r, int(h.n), 0)
	r.latencies(h)
	return p, nil
}

// run returns the latencies of all answers within a time.
func (a asking) run(ctx context.Context, stop <-chan struct{}) (*histogram, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]histogram, a.readers)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			r := stream(a.seed + uint64(i)<<32)
			for more := true; more && ctx.Err() == nil; more = !isClosed(stop) { // at least once
				if a.pause > 0 {
					time.Sleep(a.pause)
				}
				no := int(r.next() >> 2)
				began := time.Now()
				if err := a.ask(ctx, no); err != nil {
					cancel(err)
					return
				}
				results[i].add(time.Since(began))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for i := range results[1:] {
		results[0].merge(&results[i+1])
	}
	return &results[0], nil
}

// runRead measures questions to a store with N records that was loaded before. It returns no row if the store cannot
// answer.
func runRead(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	ask, err := questionOf(j, s)
	if err != nil {
		return nil, err
	}
	if ask == nil {
		return []row{}, s.close()
	}
	r := row{Store: j.Store, Workload: j.Step, Variant: j.Variant, Readers: j.Readers, Records: j.N}
	a := asking{ask: ask, store: s, readers: j.Readers, seed: j.Seed}
	p, err := a.measure(ctx, j, &r)
	if err != nil {
		return nil, err
	}
	return closed(&r, j, s, p)
}
