package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// waiter is a put that waits for its place in the log.
type waiter struct {
	id   audit.QueryID
	raw  []byte
	from uint64 // the node's cursor when the put began
	// What the reader found under the id since the put began, by the number of the message. Guarded by the node's mu.
	found map[uint64]audit.Outcome
	// settled: a message under the id was read, so SQLite has the record that stays.
	settled bool
}

// PutAudit stores a record, and returns its id when it is decided: when a majority of the log's replicas has it on disk, and this
// node has read the log up to its place. Then it is the first under its id, or was the same as the first. The node's SQLite gets it a
// moment later, together with others. The questions of this node wait for that.
//
// The errors are those of [audit.DB.PutAudit]. ErrUndecided, together with the reason, says that the record may be stored or not.
func (n *Node) PutAudit(ctx context.Context, q *audit.QueryAudit) (audit.QueryID, error) {
	results, err := n.PutAudits(ctx, []*audit.QueryAudit{q})
	if err != nil {
		return audit.QueryID{}, err
	}
	return results[0].ID, results[0].Err
}

// PutUntilRefused is [audit.DB.PutUntilRefused]. Each record is decided before the next one is given to the log.
func (n *Node) PutUntilRefused(ctx context.Context, qs []*audit.QueryAudit) (results []audit.PutResult, err error) {
	return putUntilRefused(ctx, qs, n.PutAudits)
}

func putUntilRefused(ctx context.Context, qs []*audit.QueryAudit, put func(context.Context, []*audit.QueryAudit) ([]audit.PutResult, error)) (results []audit.PutResult, err error) {
	for _, q := range qs {
		r, err := put(ctx, []*audit.QueryAudit{q})
		if err != nil {
			return nil, err
		}
		if results = append(results, r[0]); r[0].Err != nil {
			break
		}
	}
	return results, nil
}

// PutAudits stores records and returns a result for each, in the same order, when all are decided. They get their places in the
// log in their order, as long as the log answers.
//
// An error concerns the whole call. Some of the records may be stored then.
func (n *Node) PutAudits(ctx context.Context, qs []*audit.QueryAudit) ([]audit.PutResult, error) {
	given := make([]given, len(qs))
	for i, q := range qs {
		given[i] = encoded(q)
	}
	return n.put(ctx, given)
}

// given is a record that is to be put.
type given struct {
	raw []byte // its canonical JSON
	id  audit.QueryID
	err error // why it cannot be stored
}

func encoded(q *audit.QueryAudit) (g given) {
	if g.raw, g.err = q.Canonical(); g.err == nil {
		g.id, _ = audit.IDOf(g.raw)
	}
	return g
}

func (n *Node) put(ctx context.Context, records []given) ([]audit.PutResult, error) {
	if err := n.begin(); err != nil {
		return nil, err
	}
	defer n.puts.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.quit, cancel)()
	results := make([]audit.PutResult, len(records))
	var ms []Message
	var of []int // the record of each message
	for i, g := range records {
		m, err := n.messageOf(ctx, g, &results[i])
		if err != nil {
			return nil, err
		}
		if m != nil {
			ms, of = append(ms, *m), append(of, i)
		}
	}
	waiters := make([]*waiter, len(ms))
	for i, m := range ms {
		waiters[i] = n.wait(m, results[of[i]].ID)
	}
	defer n.forget(waiters)
	// Whoever is told what became of a record finds it. What is settled without a message of its own may have come with the newest one.
	defer func() { n.copy.Show(n.copy.Cursor()) }()
	open := make([]openPut, len(ms))
	for i, m := range ms {
		open[i] = openPut{m: m, w: waiters[i], result: &results[of[i]], tries: 1}
	}
	if err := n.decide(ctx, open); err != nil {
		return nil, err
	}
	return results, nil
}

// begin is the start of every call that puts.
func (n *Node) begin() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return audit.ErrClosed
	case n.trouble != nil:
		return n.trouble
	case n.unproven != nil:
		return n.unproven
	}
	if err := n.copy.Err(); err != nil {
		return err
	}
	n.puts.Add(1)
	return nil
}

// messageOf returns the message for a record, or nil if its result is known already.
func (n *Node) messageOf(ctx context.Context, g given, result *audit.PutResult) (*Message, error) {
	raw := g.raw
	if result.ID, result.Err = g.id, g.err; g.err != nil {
		return nil, nil
	}
	if p := n.info.Partition; !p.has(result.ID) {
		result.Err = fmt.Errorf("%s: %w: it belongs to partition %d, and %s is partition %d", result.ID, ErrMismatch, PartitionOf(result.ID, p.Of), n.info.Name, p.Number)
		return nil, nil
	}
	if len(raw) > n.info.MaxPayload {
		result.Err = fmt.Errorf("%w: the record has %d bytes, and %s takes at most %d", audit.ErrInvalid, len(raw), n.info.Name, n.info.MaxPayload)
		return nil, nil
	}
	// The copy is a prefix of the log. So what it has under the id is the first, and stays.
	stored, err := n.copy.Stored(ctx, result.ID)
	switch {
	case errors.As(err, new(*audit.RecordError)):
		result.Err = err
		return nil, nil
	case err != nil:
		return nil, err
	case stored != nil:
		settle(result, raw, stored)
		return nil, nil
	}
	m := NewRecord(result.ID, raw)
	return &m, nil
}

// settle sets the result of a put under whose id these bytes are stored.
func settle(result *audit.PutResult, raw, stored []byte) {
	if result.Duplicate = bytes.Equal(raw, stored); !result.Duplicate {
		result.Err = fmt.Errorf("%s: %w", result.ID, audit.ErrConflict)
	}
}

// wait begins to note what the reader finds under an id.
func (n *Node) wait(m Message, id audit.QueryID) *waiter {
	w := &waiter{id: id, raw: m.Payload, found: map[uint64]audit.Outcome{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	w.from = n.cursor
	n.waiting[m.ID] = append(n.waiting[m.ID], w)
	return w
}

func (n *Node) forget(waiters []*waiter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range waiters {
		key := w.id.String()
		left := slices.DeleteFunc(n.waiting[key], func(other *waiter) bool { return other == w })
		if n.waiting[key] = left; len(left) == 0 {
			delete(n.waiting, key)
		}
	}
}

// openPut is a put that is not decided yet.
type openPut struct {
	m      Message
	w      *waiter
	result *audit.PutResult
	tries  int // how many IDs it had in the log
	// unanswered: it was given to the log, and no answer came, so that it may be stored.
	unanswered bool
}

// decide waits until it is known what became of puts. Those that have no answer are given to the log again, together and in their order.
func (n *Node) decide(ctx context.Context, puts []openPut) error {
	for pause := firstPause; len(puts) > 0; {
		ms := make([]Message, len(puts))
		for i := range puts {
			ms[i] = puts[i].m
		}
		// The log leaves out what it has, for as long as it remembers the ID. After that the copy does.
		var open []openPut
		var unanswered error // why the first one has no answer
		for i, done := range n.log.Append(ctx, ms) {
			p := puts[i]
			switch {
			case errors.Is(done.Err, ErrRefused) && p.unanswered:
				return fmt.Errorf("put %s: %w: an earlier try got no answer, and now: %w", p.w.id, ErrUndecided, done.Err)
			case errors.Is(done.Err, ErrRefused):
				return fmt.Errorf("put %s: %w", p.w.id, done.Err)
			case done.Err != nil:
				if unanswered == nil {
					unanswered = done.Err
				}
				p.unanswered = true
				open = append(open, p)
			default:
				decided, err := n.at(ctx, p.w, done, p.result)
				if err != nil {
					return err
				}
				if !decided {
					// The log remembers the ID of a message that stored nothing under the id: somebody has used it for another message.
					p.tries++
					p.m.ID = fmt.Sprintf("%s/%d", p.w.id, p.tries)
					open = append(open, p)
				}
			}
		}
		if len(open) < len(puts) {
			pause = firstPause
		}
		if puts = open; unanswered == nil {
			continue
		}
		// They may be in the log or not. If one is, or another one under its id, the reader finds it.
		found, left, err := n.settledWithin(ctx, puts, &pause)
		if err != nil {
			return fmt.Errorf("put %s: %w: %w", left[0].w.id, ErrUndecided, errors.Join(err, unanswered))
		}
		for _, p := range found {
			if err := n.settleStored(ctx, p.w, p.result); err != nil {
				return err
			}
		}
		puts = left
	}
	return nil
}

// at waits until the copy has the message of a put, and sets its result. It reports false when nothing is stored under the id.
func (n *Node) at(ctx context.Context, w *waiter, done Appended, result *audit.PutResult) (decided bool, err error) {
	if done.Sequence <= w.from && !done.Duplicate {
		err := fmt.Errorf("%s: %w: it gave a new message the number %d, which it had given before", n.info.Name, ErrRewound, done.Sequence)
		n.stop(err)
		return false, err
	}
	n.wantUpTo(done.Sequence)
	if err := n.awaitDecided(ctx, done.Sequence); err != nil {
		return false, fmt.Errorf("put %s, message %d: %w: %w", w.id, done.Sequence, ErrUndecided, err)
	}
	n.mu.Lock()
	outcome, found := w.found[done.Sequence]
	n.mu.Unlock()
	switch {
	case done.Duplicate || !found:
		stored, err := n.copy.Stored(ctx, w.id)
		if err != nil || stored == nil {
			return false, err
		}
		settle(result, w.raw, stored)
	case outcome == audit.Poison, outcome == audit.Passed:
		return false, fmt.Errorf("put %s: %w: message %d of %s is %s", w.id, ErrAltered, done.Sequence, n.info.Name, outcome)
	case outcome == audit.Conflict:
		result.Err = fmt.Errorf("%s: %w", w.id, audit.ErrConflict)
	default:
		result.Duplicate = outcome == audit.Duplicate
	}
	return true, nil
}

// settledWithin waits for a pause, or until the reader has found a message under the id of each of these puts. It returns those of which it
// has, and the others. With an error there are others.
func (n *Node) settledWithin(ctx context.Context, puts []openPut, pause *time.Duration) (found, left []openPut, err error) {
	t := time.NewTimer(*pause)
	defer t.Stop()
	*pause = min(2**pause, lastPause)
	settled := 0 // so many of the first ones
	for ended := false; !ended && err == nil; {
		n.mu.Lock()
		for settled < len(puts) && puts[settled].w.settled {
			settled++
		}
		changed, trouble := n.changed, n.trouble
		n.mu.Unlock()
		switch {
		case settled == len(puts):
			return puts, nil, nil
		case trouble != nil:
			err = trouble
			continue
		case n.quit.Err() != nil:
			err = audit.ErrClosed
			continue
		}
		select {
		case <-changed:
		case <-t.C:
			ended = true
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return nil, puts[settled:], err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range puts {
		if p.w.settled {
			found = append(found, p)
		} else {
			left = append(left, p)
		}
	}
	return found, left, nil
}

// settleStored sets the result of a put whose message was found, or another one under its id.
func (n *Node) settleStored(ctx context.Context, w *waiter, result *audit.PutResult) error {
	stored, err := n.copy.Stored(ctx, w.id)
	if err == nil && stored == nil {
		err = fmt.Errorf("%w: record %s was read from %s, and is not there", audit.ErrDamaged, w.id, n.info.Name)
	}
	if err != nil {
		return err
	}
	settle(result, w.raw, stored)
	return nil
}

// foundAll tells the puts that wait what became of messages.
func (n *Node) foundAll(ms []Stored, outcomes []audit.Outcome) {
	n.announce(func() {
		n.cursor = ms[len(ms)-1].Sequence
		if len(n.waiting) == 0 {
			return
		}
		for i, m := range ms {
			key, _, _ := strings.Cut(m.ID, "/")
			for _, w := range n.waiting[key] {
				w.found[m.Sequence] = outcomes[i]
				// A message that is no record says nothing about its id.
				w.settled = w.settled || outcomes[i] <= audit.Conflict && sameID(m.Payload, w.id)
			}
		}
	})
}

func sameID(payload []byte, id audit.QueryID) bool {
	have, ok := audit.IDOf(payload)
	return ok && have == id
}
