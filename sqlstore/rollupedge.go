package sqlstore

import (
	"context"
	"database/sql/driver"
	"math"
	"slices"
)

// A time that begins or ends within a minute has a part of that minute. Its records are counted one by one, or those of the rest of
// the minute are, and subtracted from the stored count: whichever are fewer. Often the rest has none: the time begins with the first
// record of the store, or ends at the present.

// edge is a minute that a time has in part.
type edge struct{ inside, outside span }

// edges returns the minutes in which a time begins and ends, if it has them in part and the grid divides nothing within them.
func edges(in span, grid []Grid, minute int64) (first, last *edge) {
	part := func(at int64, of func(whole span) edge) *edge {
		whole := span{at - at%minute, math.MaxInt64}
		if whole.least > math.MaxInt64-minute {
			return nil
		}
		whole.most = whole.least + minute - 1
		e := of(whole)
		divided := !slices.ContainsFunc(grid, func(g Grid) bool { return g.Minutes > 0 && g.From <= whole.least && whole.most <= g.To })
		if divided || e.outside.least > e.outside.most {
			return nil
		}
		return &e
	}
	if in.least < 0 || in.least > in.most {
		return nil, nil
	}
	first = part(in.least, func(whole span) edge {
		return edge{span{in.least, min(in.most, whole.most)}, span{whole.least, in.least - 1}}
	})
	last = part(in.most, func(whole span) edge {
		return edge{span{max(in.least, whole.least), in.most}, span{in.most + 1, whole.most}}
	})
	if first != nil && last != nil && in.least/minute == in.most/minute {
		return nil, nil // the rest of the minute is in two pieces
	}
	return first, last
}

// widen returns the time with the whole of the minutes of which it has a part, where the rest of the minute has fewer records. It
// notes these, to be subtracted.
func (c *activityCount) widen(ctx context.Context, in span, grid []Grid) (span, error) {
	first, last := edges(in, grid, c.state.minute)
	for _, e := range []*edge{first, last} {
		if e == nil {
			continue
		}
		fewer, err := c.fewerOutside(ctx, e)
		if err != nil {
			return in, err
		}
		if !fewer {
			continue
		}
		if err := c.subtract(ctx, e.outside); err != nil {
			return in, err
		}
		in = span{min(in.least, e.outside.least), max(in.most, e.outside.most)}
	}
	return in, nil
}

// fewerOutside reports whether fewer records are outside of a time than inside of it. It reads an index alone.
func (c *activityCount) fewerOutside(ctx context.Context, e *edge) (bool, error) {
	count := func(s span, most int64) (n int64, err error) {
		f := c.edgeFilter(s)
		p := f.path(false)
		where := p.where()
		query := `SELECT count(*) FROM (SELECT 1 FROM ` + p.from + ` WHERE ` + where.sql + ` LIMIT ?)`
		err = first(ctx, c.db.readers, query, append(where.args, most), func(row []driver.Value) { n = integer(row[0]) })
		return n, err
	}
	most := int64(c.db.sizes.corrections)
	outside, err := count(e.outside, most+1)
	if err != nil || outside == 0 || outside > most {
		return outside == 0, err
	}
	inside, err := count(e.inside, outside+1)
	return inside > outside, err
}

// edgeFilter selects the records of a time that are the filter's but for that.
func (c *activityCount) edgeFilter(s span) Filter {
	return Filter{Agent: c.f.Agent, Anonymous: c.f.Anonymous, From: &s.least, To: &s.most, AsOf: &c.AsOf}
}

// subtract notes the records of a time, to be subtracted from the stored counts.
func (c *activityCount) subtract(ctx context.Context, s span) error {
	_, err := c.db.scanSome(ctx, c.edgeFilter(s), `a.agent, a.timestamp, `+unapproved, noJoin, nil, func(row []driver.Value) bool {
		c.noteCorrection(row[0], row[1], row[2])
		return true
	})
	return err
}
