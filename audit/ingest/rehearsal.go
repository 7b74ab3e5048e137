package ingest

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/auditsql/auditsql/audit"
)

// A Checker says what a put would say, without putting. *audit.DB is one.
type Checker interface {
	TimeUnit() audit.TimeUnit
	CheckAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
}

// A Rehearsal is a Store that stores nothing. Lines that go into it have the outcomes that they would have in the checker's store:
// also a line that is a duplicate of an earlier one, or contradicts it. For that it remembers an id and a hash of each record, about
// 100 bytes. One goroutine at a time may use it.
type Rehearsal struct {
	checker Checker
	taken   map[audit.QueryID][sha256.Size]byte // hashes of the records that a put would have stored
}

// Rehearse begins a rehearsal.
func Rehearse(c Checker) *Rehearsal {
	return &Rehearsal{checker: c, taken: map[audit.QueryID][sha256.Size]byte{}}
}

// TimeUnit returns the unit of the checker's store.
func (r *Rehearsal) TimeUnit() audit.TimeUnit { return r.checker.TimeUnit() }

// PutAudits returns what the PutAudits of a store would return.
func (r *Rehearsal) PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	return r.put(ctx, records, false)
}

// PutUntilRefused returns what the PutUntilRefused of a store would return.
func (r *Rehearsal) PutUntilRefused(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	return r.put(ctx, records, true)
}

func (r *Rehearsal) put(ctx context.Context, records []*audit.QueryAudit, untilRefused bool) ([]audit.PutResult, error) {
	results, err := r.checker.CheckAudits(ctx, records)
	if err != nil {
		return nil, err
	}
	for i := range results {
		one := &results[i]
		if one.Err == nil && !one.Duplicate {
			raw, err := records[i].Canonical()
			if err != nil {
				return nil, err // the checker has just encoded it
			}
			hash := sha256.Sum256(raw)
			switch before, taken := r.taken[one.ID]; {
			case !taken:
				r.taken[one.ID] = hash
			case before == hash:
				one.Duplicate = true
			default:
				one.Err = fmt.Errorf("%s: %w", one.ID, audit.ErrConflict)
			}
		}
		if one.Err != nil && untilRefused {
			return results[:i+1], nil
		}
	}
	return results, nil
}
