package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/wal"
)

// A batch is worked through in parts of at most this much, and of a quarter of the backlog, each with a
// sync of its own, so that it neither holds the whole backlog nor waits for all of it to be free.
const (
	partRecords = 4096
	partBytes   = 16 << 20
)

// PutAudit stores a record and returns its id once it is durable at the store's level (see
// WithDurability). It never writes to q, and q may be changed as soon as it returns.
//
// A record of the same bytes that is stored already is no error. ErrConflict: another record has the id;
// ErrInvalid: the record cannot be stored (see FieldError). When ctx ends first, its error is returned and
// the outcome is open: giving the same record again is safe.
func (db *DB) PutAudit(ctx context.Context, q *QueryAudit) (QueryID, error) {
	results, err := db.PutAudits(ctx, []*QueryAudit{q})
	if err != nil {
		return QueryID{}, err
	}
	return results[0].ID, results[0].Err
}

// PutAudits stores records in their order and returns what became of each, in the same order. A record
// that is refused does not keep the others from being stored. The batch is not atomic.
//
// The error is for what concerns all: ErrReadOnly, ErrClosed, ctx's, or wal.ErrFailed when the journal or
// SQLite has failed (see Err). Some of the records may be stored then.
func (db *DB) PutAudits(ctx context.Context, qs []*QueryAudit) ([]PutResult, error) {
	done, err := db.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	results := make([]PutResult, len(qs))
	part := make([]put, 0, min(len(qs), db.partRecords))
	size := 0
	for i, q := range qs {
		raw, err := q.Canonical()
		if err != nil {
			results[i].Err = err
			continue
		}
		if len(part) == db.partRecords || len(part) > 0 && size+len(raw) > db.partBytes {
			if err := db.admit(ctx, part); err != nil {
				return nil, err
			}
			part, size = part[:0], 0
		}
		part, size = append(part, newPut(q, raw, &results[i])), size+len(raw)
	}
	if err := db.admit(ctx, part); err != nil {
		return nil, err
	}
	return results, nil
}

// put is one record that somebody wants stored.
type put struct {
	admission *admission
	result    *PutResult
}

func newPut(q *QueryAudit, raw []byte, result *PutResult) put {
	a := &admission{raw: raw, anonymous: q.AgentID == nil, timestamp: q.Timestamp}
	a.id, _ = idOf(raw)
	if q.AgentID != nil {
		a.agent = *q.AgentID
	}
	result.ID = a.id
	return put{a, result}
}

// admit stores the part of a batch, again and again with what had to wait for somebody else's record of
// the same id, until all is settled.
func (db *DB) admit(ctx context.Context, part []put) error {
	for len(part) > 0 {
		again, err := db.admitOnce(ctx, part)
		if err != nil {
			return err
		}
		part = again
	}
	return nil
}

// waits is a put that has found its id held by another.
type waits struct {
	put
	holder *admission
}

// admitOnce claims the ids, gives the journal what is new, and waits for it and for those who held an id
// before. It returns the puts whose holder gave up, which have to try again.
//
// Nobody waits for another's record while holding a claim that is not on its way, so two batches with
// the same ids in different orders cannot wait for each other.
func (db *DB) admitOnce(ctx context.Context, part []put) (again []put, err error) {
	fresh := make([]*admission, 0, len(part))
	var blocked []waits
	size := int64(0)
	for _, p := range part {
		size += int64(len(p.admission.raw))
	}
	if err := db.pending.reserve(ctx, len(part), size); err != nil {
		return nil, fmt.Errorf("wait for room in the backlog: %w", err)
	}
	for i, p := range part {
		a := p.admission
		found, holder := db.pending.claim(a)
		if found == claimHeld {
			db.pending.release(1, int64(len(a.raw)))
			blocked = append(blocked, waits{p, holder})
			continue
		}
		var stored []byte
		if found == claimAcked || db.seen.maybe(a.id) {
			stored, err = db.stored(ctx, a.id)
			if found == claimNew && errors.Is(err, ErrNotFound) {
				err = nil // the filter may say "maybe" of what is not there
			}
		}
		if found == claimNew && stored == nil && err == nil {
			fresh = append(fresh, a)
			continue
		}
		if found == claimNew {
			db.pending.giveUp(a, nil)
		} else {
			db.pending.release(1, int64(len(a.raw)))
		}
		if err != nil {
			for _, a := range fresh {
				db.pending.giveUp(a, nil)
			}
			for _, rest := range part[i+1:] {
				db.pending.release(1, int64(len(rest.admission.raw)))
			}
			return nil, cmp.Or(ctx.Err(), err)
		}
		p.settle(stored)
	}
	if err := db.store(ctx, fresh); err != nil {
		return nil, err
	}
	for _, w := range blocked {
		select {
		case <-w.holder.settled:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case w.holder.stored:
			w.settle(w.holder.raw)
		case w.holder.err != nil:
			return nil, w.holder.err
		default:
			again = append(again, w.put)
		}
	}
	return again, nil
}

// settle answers a put whose id is taken.
func (p put) settle(stored []byte) {
	if p.result.Duplicate = bytes.Equal(p.admission.raw, stored); !p.result.Duplicate {
		p.result.Err = fmt.Errorf("%s: %w", p.admission.id, ErrConflict)
	}
}

// store gives the journal records whose ids are claimed, and waits until they are durable.
func (db *DB) store(ctx context.Context, as []*admission) error {
	if len(as) == 0 {
		return nil
	}
	payloads := make([][]byte, len(as))
	for i, a := range as {
		payloads[i] = a.raw
	}
	ticket, err := db.journal.Start(ctx, payloads)
	if err != nil {
		err = journalError(err)
		for _, a := range as {
			// A caller's own context is no reason for the others to fail.
			if ctx.Err() != nil {
				db.pending.giveUp(a, nil)
			} else {
				db.pending.giveUp(a, err)
			}
		}
		return err
	}
	offs, err := ticket.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		// The records are on their way all the same, and their ids stay claimed until it is known what became
		// of them: a record with other bytes must not get in between.
		select {
		case <-ticket.Done():
		default:
			db.puts.Go(func() {
				offs, err := ticket.Wait(context.Background())
				db.settleStored(as, offs, err)
			})
			return ctx.Err()
		}
		offs, err = ticket.Wait(context.Background())
	}
	return db.settleStored(as, offs, err)
}

func (db *DB) settleStored(as []*admission, offs []wal.Offset, err error) error {
	if err == nil {
		db.pending.acknowledge(as, offs)
		return nil
	}
	err = journalError(err)
	for _, a := range as {
		db.pending.giveUp(a, err)
	}
	return err
}
