package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"math"
)

// A count of the records in a time that have some evidence can go through the records of the time, or through all records that have
// the evidence. Which is shorter is found out here: the rollup has the number of the former, an index that of the latter.

// passedPerUse is how many records are looked at in passing in the time that it takes to look up one by its evidence.
const passedPerUse = 3

// weigh learns whether it is shorter to go through the evidence.
func (s *selection) weigh(ctx context.Context) error {
	s.stats.weighed = true
	c := activityCount{db: s.db, f: *s.q.Filter}
	if err := c.learn(ctx); err != nil || !c.state.whole {
		if errors.Is(err, ErrMalformed) { // of the rollup, which the answer does not need
			err = nil
		}
		return err
	}
	passed, err := c.recordsIn(ctx, s.q.times().within(span{0, math.MaxInt64}))
	if err != nil {
		return err
	}
	most := passed / passedPerUse
	uses, err := s.uses(ctx, most)
	s.stats.rare = uses <= most
	return err
}

// recordsIn returns how many records the filter's agent, or everybody, has in a time, more or less: the quarters of an hour at its
// ends count as a whole.
func (c *activityCount) recordsIn(ctx context.Context, in span) (n int64, err error) {
	const counted = `SELECT coalesce(sum(audits), 0) FROM activity WHERE span = 15 AND start >= ? AND start <= ?`
	query, args := counted, []any{in.least/c.state.minute - quarterSpan, in.most / c.state.minute}
	if c.f.Agent != nil || c.f.Anonymous {
		query, args = counted+` AND agent = ?`, append(args, c.number)
	}
	err = first(ctx, c.db.readers, query, args, func(row []driver.Value) { n = integer(row[0]) })
	return n, err
}
