package audit

import (
	"context"
	"fmt"
)

// Count returns how many records a filter selects. Its After, Limit and order have no effect. Where the stored counts answer the
// filter (see Timeline), no record is read. cut is true if the budget ended the count.
func (db *DB) Count(ctx context.Context, f Filter, b Budget) (n uint64, cut bool, err error) {
	return count(ctx, db, f, b)
}

func count(ctx context.Context, in asked, f Filter, b Budget) (n uint64, cut bool, err error) {
	if f.none() {
		return 0, false, nil
	}
	err = in.inParts(ctx, f.AsOf, func(p *parts) (err error) {
		n, cut, err = p.count(ctx, f, b)
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("count: %w", err)
	}
	return n, cut, nil
}

func (p *parts) count(ctx context.Context, f Filter, b Budget) (n uint64, cut bool, err error) {
	counts, cut, err := p.agentCounts(ctx, f, b)
	for _, c := range counts {
		n += uint64(c.Audits)
	}
	return n, cut, err
}
