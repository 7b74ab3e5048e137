package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/internal/backlog"
)

// PutUntilRefused stores records in their order as PutAudits does, and stops at the first that is refused: no record after it
// is stored, whoever else writes at the same time. It returns a result for each record up to that one, and it alone has an Err.
// So when none is refused, there is a result for every record.
//
// A record is refused when it is invalid, or when another one has its id: one that was stored before, one that somebody else is
// storing, or one that is earlier in the batch. The batch is not atomic. The error is that of PutAudits.
func (db *DB) PutUntilRefused(ctx context.Context, qs []*QueryAudit) ([]PutResult, error) {
	done, err := db.beginPut()
	if err != nil {
		return nil, err
	}
	defer done()
	results := make([]PutResult, 0, len(qs)) // puts point into it
	var part []put
	size, begun := 0, false
	admit := func() (n int, err error) {
		n, err = db.admitUntilRefused(ctx, part)
		if errors.Is(err, backlog.ErrFull) && !begun {
			err = fmt.Errorf("%w: %w", ErrBusy, err) // as in admit
		}
		begun = begun || len(part) > 0
		return n, err
	}
	for _, q := range qs {
		raw, refused := q.Canonical()
		if refused != nil || len(part) == db.partRecords || len(part) > 0 && size+len(raw) > db.partBytes {
			n, err := admit()
			if err != nil {
				return nil, err
			}
			if n < len(part) {
				return results[:len(results)-len(part)+n+1], nil
			}
			part, size = part[:0], 0
		}
		results = append(results, PutResult{Err: refused})
		if refused != nil {
			return results, nil
		}
		part, size = append(part, newPut(q, raw, &results[len(results)-1])), size+len(raw)
	}
	n, err := admit()
	if err != nil {
		return nil, err
	}
	return results[:len(results)-len(part)+min(n+1, len(part))], nil
}

// admitUntilRefused stores a part of a batch up to the first put that is refused, and returns how many stand before that one.
// All of them are durable then.
//
// An id is claimed only when all puts before it are known not to be refused. So nothing has to be taken back.
func (db *DB) admitUntilRefused(ctx context.Context, part []put) (n int, err error) {
	left := int64(0) // of the budget: bytes of the puts that are not claimed yet
	for _, p := range part {
		left += int64(len(p.claim.Raw))
	}
	if err := db.backlog.Reserve(ctx, len(part), left); err != nil {
		return 0, err
	}
	claimed := 0 // puts whose part of the budget is in a claim, or released
	defer func() { db.backlog.Release(len(part)-claimed, left) }()
	took := func(p put) { claimed, left = claimed+1, left-int64(len(p.claim.Raw)) }

	var fresh []*backlog.Claim
	for n < len(part) {
		p := part[n]
		found, holder := db.backlog.Claim(p.claim)
		if found == backlog.Held {
			// Whether this put is refused depends on the holder, which may be a put of this part. As in admitOnce, the claims of
			// this caller have to be on their way before it waits.
			if err := db.store(ctx, fresh); err != nil {
				return 0, err
			}
			fresh = nil
			stored, err := settled(ctx, holder)
			if err != nil {
				return 0, err
			}
			if !stored {
				continue // the id may be free now
			}
			took(p)
			db.backlog.Release(1, int64(len(p.claim.Raw)))
			if p.settle(holder.Raw); p.result.Err != nil {
				return n, nil
			}
			n++
			continue
		}
		took(p)
		stored, err := db.under(ctx, p.claim.ID, found)
		if found == backlog.Free && stored == nil && err == nil {
			fresh = append(fresh, p.claim)
			n++
			continue
		}
		if found == backlog.Free {
			db.backlog.GiveUp(p.claim, nil)
		} else {
			db.backlog.Release(1, int64(len(p.claim.Raw)))
		}
		switch {
		case ofRecord(err):
			p.result.Err = err // what is stored under the id is damaged
		case err != nil:
			for _, c := range fresh {
				db.backlog.GiveUp(c, nil)
			}
			return 0, cmp.Or(ctx.Err(), err)
		default:
			p.settle(stored)
		}
		if p.result.Err != nil {
			break
		}
		n++
	}
	if err := db.store(ctx, fresh); err != nil {
		return 0, err
	}
	return n, nil
}

// settled waits until a claim has ended, and returns how.
func settled(ctx context.Context, holder *backlog.Claim) (stored bool, err error) {
	select {
	case <-holder.Settled():
		return holder.Outcome()
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
