package view

import (
	"context"

	"github.com/auditsql/auditsql/audit"
)

// A Count says how many records a filter selects.
type Count struct {
	Count uint64     `json:"count"`
	Cut   bool       `json:"cut"` // the budget ended the count: there are more
	Lag   *audit.Lag `json:"lag"`
}

// Count counts what a filter selects, whatever its limit.
func (v *Viewer) Count(ctx context.Context, f audit.Filter) (*Count, error) {
	n, cut, err := v.store.Count(ctx, f, v.Budget)
	if err != nil {
		return nil, err
	}
	return &Count{n, cut, v.lag(f.AsOf)}, nil
}
