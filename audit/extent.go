package audit

import (
	"context"
	"fmt"
)

// Extent returns the timestamps of the first and the last record that a filter selects; ok is false if there is none. The filter's
// limit and order have no effect.
//
// It takes milliseconds for a filter that the stored counts answer (see Timeline). For any other it looks for the record at each end, as a
// list with a limit of 1 does.
func (db *DB) Extent(ctx context.Context, f Filter) (first, last uint64, ok bool, err error) {
	f.After, f.Limit, f.ByAdmission = nil, 0, false
	if f.none() {
		return 0, 0, false, nil
	}
	known := false
	err = db.ask(ctx, f.AsOf, func() error {
		from, to, some, is, err := db.sql.Extent(ctx, f.lower())
		first, last, ok, known = uint64(from), uint64(to), some, is
		return err
	})
	for _, newest := range []bool{false, true} {
		if err != nil || known {
			break
		}
		f.Descending = newest
		var end *QueryAudit
		if end, _, err = db.one(ctx, f, nil); err != nil || end == nil {
			ok = false
			break
		}
		if ok = true; newest {
			last = end.Timestamp
		} else {
			first = end.Timestamp
		}
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("extent: %w", err)
	}
	return first, last, ok, nil
}
