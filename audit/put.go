package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// A batch is stored in parts of at most this size, and of at most a quarter of the backlog, each with a
// sync of its own, so that it neither takes the whole backlog nor waits until all of it is free.
const (
	partRecords = 4096
	partBytes   = 16 << 20
)

// PutAudit stores a record and returns its id once it is durable at the store's level (see
// WithDurability). It never writes to q, and q may be changed as soon as it returns. Fields that are left out are stored as what they are: a
// timestamp of 0 is in 1970.
//
// A record whose bytes are stored already is no error. ErrConflict: another record has the id.
// ErrInvalid: the record cannot be stored (see FieldError). *RecordError: a record is stored under the id, and is damaged.
// When ctx ends first, its error is returned. If it is an ErrBusy too, the record is not stored. Otherwise it may be stored or
// not. Putting the same record again is safe.
func (db *DB) PutAudit(ctx context.Context, q *QueryAudit) (QueryID, error) {
	results, err := db.PutAudits(ctx, []*QueryAudit{q})
	if err != nil {
		return QueryID{}, err
	}
	return results[0].ID, results[0].Err
}

// PutAudits stores records in their order and returns a result for each, in the same order. A record
// that is refused does not keep the others from being stored. The batch is not atomic.
//
// The error concerns the whole call: ErrReadOnly, ErrClosed, ctx's, or wal.ErrFailed when the journal or
// SQLite has failed (see Err). Some of the records may be stored then, unless the error is an ErrBusy.
func (db *DB) PutAudits(ctx context.Context, qs []*QueryAudit) ([]PutResult, error) {
	done, err := db.beginPut()
	if err != nil {
		return nil, err
	}
	defer done()
	results := make([]PutResult, len(qs))
	part := make([]put, 0, min(len(qs), db.partRecords))
	size, begun := 0, false // begun: a part was admitted
	for i, q := range qs {
		raw, err := q.Canonical()
		if err != nil {
			results[i].Err = err
			continue
		}
		if len(part) == db.partRecords || len(part) > 0 && size+len(raw) > db.partBytes {
			if err := db.admit(ctx, part, begun); err != nil {
				return nil, err
			}
			part, size, begun = part[:0], 0, true
		}
		part, size = append(part, newPut(q, raw, &results[i])), size+len(raw)
	}
	if err := db.admit(ctx, part, begun); err != nil {
		return nil, err
	}
	return results, nil
}

// put is one record that a caller wants stored, and where its result goes.
type put struct {
	claim  *backlog.Claim
	result *PutResult
}

func newPut(q *QueryAudit, raw []byte, result *PutResult) put {
	c := &backlog.Claim{Raw: raw, Leaf: tree.LeafHash(raw), Anonymous: q.AgentID == nil, Timestamp: q.Timestamp}
	result.ID, _ = idOf(raw)
	c.ID = result.ID
	if q.AgentID != nil {
		c.Agent = *q.AgentID
	}
	return put{c, result}
}

// admit stores a part of a batch. It repeats that with the puts whose id another caller had claimed, until every put has
// its result. begun says that an earlier part of the call may be stored.
func (db *DB) admit(ctx context.Context, part []put, begun bool) error {
	for len(part) > 0 {
		again, err := db.admitOnce(ctx, part)
		if errors.Is(err, backlog.ErrFull) && !begun {
			// Nothing was given to the journal yet: the budget is reserved before that.
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
		if err != nil {
			return err
		}
		part, begun = again, true
	}
	return nil
}

// waits is a put whose id another caller has claimed.
type waits struct {
	put
	holder *backlog.Claim
}

// admitOnce claims the ids, gives the journal what is new, and waits for it and for the callers who had claimed an id
// before. It returns the puts whose holder gave up: they have to try again.
//
// A caller waits for another one's record only after its own claims are on their way to the journal. So two batches with
// the same ids in different orders cannot wait for each other.
func (db *DB) admitOnce(ctx context.Context, part []put) (again []put, err error) {
	fresh := make([]*backlog.Claim, 0, len(part))
	var blocked []waits
	size := int64(0)
	for _, p := range part {
		size += int64(len(p.claim.Raw))
	}
	if err := db.backlog.Reserve(ctx, len(part), size); err != nil {
		return nil, err
	}
	for i, p := range part {
		c := p.claim
		found, holder := db.backlog.Claim(c)
		if found == backlog.Held {
			db.backlog.Release(1, int64(len(c.Raw)))
			blocked = append(blocked, waits{p, holder})
			continue
		}
		stored, err := db.under(ctx, c.ID, found)
		if found == backlog.Free && stored == nil && err == nil {
			fresh = append(fresh, c)
			continue
		}
		if found == backlog.Free {
			db.backlog.GiveUp(c, nil)
		} else {
			db.backlog.Release(1, int64(len(c.Raw)))
		}
		if ofRecord(err) {
			// Whether this is the same record cannot be told: what is stored under the id is damaged.
			p.result.Err = err
			continue
		}
		if err != nil {
			for _, c := range fresh {
				db.backlog.GiveUp(c, nil)
			}
			for _, rest := range part[i+1:] {
				db.backlog.Release(1, int64(len(rest.claim.Raw)))
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
		case <-w.holder.Settled():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch stored, err := w.holder.Outcome(); {
		case stored:
			w.settle(w.holder.Raw)
		case err != nil:
			return nil, err
		default:
			again = append(again, w.put)
		}
	}
	return again, nil
}

// under returns the bytes that are stored under an id, nil if none are. found is what the claim of the id has found.
func (db *DB) under(ctx context.Context, id QueryID, found backlog.Found) ([]byte, error) {
	if found == backlog.Free && !db.ids.MayHave(id) {
		return nil, nil
	}
	stored, err := db.stored(ctx, id)
	if found == backlog.Free && errors.Is(err, ErrNotFound) {
		err = nil // a false positive of the filter
	}
	return stored, err
}

// settle sets the result of a put under whose id these bytes are stored.
func (p put) settle(stored []byte) {
	if p.result.Duplicate = bytes.Equal(p.claim.Raw, stored); !p.result.Duplicate {
		p.result.Err = conflict(p.result.ID)
	}
}

// conflict refuses a record because other bytes are stored under its id.
func conflict(id QueryID) error { return fmt.Errorf("%s: %w", id, ErrConflict) }

// store gives the journal records whose ids are claimed, and waits until they are durable.
func (db *DB) store(ctx context.Context, claims []*backlog.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	payloads := make([][]byte, len(claims))
	for i, c := range claims {
		payloads[i] = c.Raw
	}
	ticket, err := db.journal.Start(ctx, payloads)
	if err != nil {
		err = journalError(err)
		for _, c := range claims {
			// When this caller's context ends, other callers must not fail.
			if ctx.Err() != nil {
				db.backlog.GiveUp(c, nil)
			} else {
				db.backlog.GiveUp(c, err)
			}
		}
		return err
	}
	offs, err := ticket.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		// The records may still be stored. Their ids stay claimed until that is known: a record with other bytes must not
		// be stored before them.
		select {
		case <-ticket.Done():
		default:
			db.puts.Go(func() {
				offs, err := ticket.Wait(context.Background())
				db.settleStored(claims, offs, err)
			})
			return ctx.Err()
		}
		offs, err = ticket.Wait(context.Background())
	}
	return db.settleStored(claims, offs, err)
}

// settleStored ends claims with what the journal said of their records.
func (db *DB) settleStored(claims []*backlog.Claim, offs []wal.Offset, err error) error {
	if err == nil {
		db.backlog.Acknowledge(claims, offs)
		return nil
	}
	err = journalError(err)
	for _, c := range claims {
		db.backlog.GiveUp(c, err)
	}
	return err
}
