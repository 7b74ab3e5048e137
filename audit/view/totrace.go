package view

import (
	"context"
	"errors"

	"github.com/auditsql/auditsql/audit"
)

// ToTrace returns the ids of the records that a trace by a filter is about: as many of the newest as the filter's limit says, 0 is all
// of them. With around, which is the middle of the filter's time, they come in the order of time, and with a limit of 1 it is the one
// nearest to that moment. more says that the filter selects others.
//
// damaged is called once for each record that is left out because it is damaged. If it returns an error, that is the end.
func (v *Viewer) ToTrace(ctx context.Context, f audit.Filter, around *uint64, damaged func(*audit.RecordError) error) (ids []audit.QueryID, more bool, err error) {
	limit := f.Limit
	f.Descending, f.Limit = around == nil, oneMore(limit)
	said := map[audit.QueryID]bool{}
	leftOut := func(err *audit.RecordError) error {
		if said[err.ID] {
			return nil
		}
		said[err.ID] = true
		return damaged(err)
	}
	for {
		rows := 0
		ids = nil
		for q, err := range v.store.Audits(ctx, f) {
			rows++
			if of := (*audit.RecordError)(nil); errors.As(err, &of) {
				if err := leftOut(of); err != nil {
					return nil, false, err
				}
				continue
			}
			if err != nil {
				return nil, false, err
			}
			if limit > 0 && len(ids) == limit {
				more = true
				break
			}
			ids = append(ids, q.QueryID)
		}
		if more || limit == 0 || rows < f.Limit {
			break
		}
		f.Limit *= 2 // some of them were damaged
	}
	if limit != 1 || !more || around == nil {
		return ids, more, nil
	}
	nearest, broken, err := v.store.Nearest(ctx, f, *around)
	for _, of := range broken {
		if err := leftOut(of); err != nil {
			return nil, false, err
		}
	}
	if err != nil {
		return nil, false, err
	}
	return []audit.QueryID{nearest.QueryID}, more, nil
}
