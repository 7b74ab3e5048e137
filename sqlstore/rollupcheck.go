package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"
)

// How table activity is checked. While the pages of entries are checked, each record is added to a fingerprint of the rollup
// that the records make. In the end the rows of table activity are added to another one. Equal rollups have equal
// fingerprints, and two different ones have equal ones by a chance of about 2^-60. So nothing has to be kept in memory for
// each row. If the fingerprints differ, the places are searched for, a quarter of an hour at a time.

// rollupSum is a fingerprint of a rollup: the sum of a random number for each row, times what the row counts.
type rollupSum struct {
	seed               maphash.Seed
	audits, unapproved uint64
}

func (s *rollupSum) add(k rollupKey, n rollupCount) {
	h := maphash.Comparable(s.seed, k)
	s.audits += h * uint64(n.audits)
	s.unapproved += h * uint64(n.unapproved)
}

// addRecord adds a record to its minute and its quarter of an hour.
func (s *rollupSum) addRecord(minute, timestamp, agent int64, unapproved bool) {
	k := rollupKey{minuteSpan, timestamp / minute, agent}
	n := rollupCount{}.plus(unapproved)
	s.add(k, n)
	s.add(k.quarter(), n)
}

// join adds a fingerprint with the same seed.
func (s *rollupSum) join(other rollupSum) {
	s.audits += other.audits
	s.unapproved += other.unapproved
}

// activity compares table activity with the records.
func (c *checker) activity(ctx context.Context) error {
	if !c.derived || c.counted.minute == 0 {
		return nil // the problem is reported already, or the records of an older version are not counted yet
	}
	stored, err := c.storedActivity(ctx)
	if err != nil || stored == c.rollup {
		return err
	}
	before := c.reported
	if err := c.strayActivity(ctx); err != nil {
		return err
	}
	for next, more := int64(0), true; more; {
		if next, more, err = c.compareQuarter(ctx, next); err != nil {
			return err
		}
		if more && c.reported-before >= maxProblems {
			c.problem("activity: there may be more rows that are wrong")
			break
		}
	}
	return nil
}

// storedActivity returns the fingerprint of table activity as it was when the check began.
func (c *checker) storedActivity(ctx context.Context) (rollupSum, error) {
	const query = `SELECT span, start, agent, audits, unapproved FROM activity WHERE (span, start, agent) > (?, ?, ?)
		ORDER BY span, start, agent LIMIT ?`
	sum := rollupSum{seed: c.rollup.seed}
	a := activityCount{db: c.db, state: c.counted}
	a.corrected = c.newest + 1
	if err := a.correct(ctx); err != nil {
		return sum, err
	}
	after, most := []any{int64(math.MinInt64), int64(math.MinInt64), int64(math.MinInt64)}, c.db.sizes.rollupPage
	for n := most; n == most; {
		n = 0
		err := c.db.readers.use(ctx, func(conn *readerConn) error {
			return conn.readTx(ctx, func() error {
				if _, err := a.correctPage(ctx, conn, -1); err != nil {
					return err
				}
				return conn.each(ctx, query, append(slices.Clone(after), most), all(func(row []driver.Value) {
					n++
					after = []any{row[0], row[1], row[2]}
					k := rollupKey{integer(row[0]), integer(row[1]), integer(row[2])}
					later := a.corrections[k]
					sum.add(k, rollupCount{integer(row[3]) - later.audits, integer(row[4]) - later.unapproved})
				}))
			})
		})
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// strayActivity reports rows that stand for no time that a record can have.
func (c *checker) strayActivity(ctx context.Context) error {
	const query = `SELECT span, start, agent FROM activity WHERE span NOT IN (1, 15) OR start < 0 OR typeof(start) <> 'integer' OR typeof(agent) <> 'integer' LIMIT ?`
	return c.db.readers.each(ctx, query, []any{maxProblems}, all(func(row []driver.Value) {
		c.problem("activity: the row of %v minutes from minute %v on, of agent %v, was put in by hand", row[0], row[1], row[2])
	}))
}

// compareQuarter compares the first quarter of an hour from minute next on for which there are rows of table activity or
// records, in one read transaction. It returns the minute to go on with.
func (c *checker) compareQuarter(ctx context.Context, next int64) (after int64, more bool, err error) {
	const (
		firstMinute = `SELECT min(start) FROM activity WHERE span = ? AND start >= ?`
		firstRecord = `SELECT min(timestamp) FROM audit WHERE timestamp >= ?`
		records     = `SELECT a.agent, a.timestamp, ` + unapproved + ` FROM audit a INDEXED BY audit_by_time WHERE a.timestamp BETWEEN ? AND ?`
		rows        = `SELECT span, start, agent, audits, unapproved FROM activity WHERE span = ? AND start BETWEEN ? AND ?`
	)
	minute := c.counted.minute
	want, have := map[rollupKey]rollupCount{}, map[rollupKey]rollupCount{}
	err = c.db.readers.use(ctx, func(conn *readerConn) error {
		return conn.readTx(ctx, func() error {
			start := int64(math.MaxInt64) // of what comes next
			least := func(row []driver.Value) {
				if at, ok := row[0].(int64); ok {
					start = min(start, at)
				}
			}
			for _, span := range [...]int64{minuteSpan, quarterSpan} {
				if err := first(ctx, conn, firstMinute, []any{span, next}, least); err != nil {
					return err
				}
			}
			if next <= math.MaxInt64/minute {
				err := first(ctx, conn, firstRecord, []any{next * minute}, func(row []driver.Value) {
					if at, ok := row[0].(int64); ok {
						start = min(start, at/minute)
					}
				})
				if err != nil {
					return err
				}
			}
			if more = start < math.MaxInt64; !more {
				return nil
			}
			start -= start % quarterSpan
			last := min(start, math.MaxInt64-quarterSpan) + quarterSpan - 1
			after, more = last+1, last < math.MaxInt64-quarterSpan
			if start <= math.MaxInt64/minute {
				to := int64(math.MaxInt64)
				if last < math.MaxInt64/minute {
					to = (last+1)*minute - 1
				}
				err := conn.each(ctx, records, []any{start * minute, to}, all(func(row []driver.Value) {
					k := rollupKey{minuteSpan, integer(row[1]) / minute, integer(row[0])}
					for _, k := range [...]rollupKey{k, k.quarter()} {
						want[k] = want[k].plus(integer(row[2]) != 0)
					}
				}))
				if err != nil {
					return err
				}
			}
			for _, span := range [...]int64{minuteSpan, quarterSpan} {
				err := conn.each(ctx, rows, []any{span, start, last}, all(func(row []driver.Value) {
					have[rollupKey{integer(row[0]), integer(row[1]), integer(row[2])}] = rollupCount{integer(row[3]), integer(row[4])}
				}))
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return after, false, err
	}
	return after, more, c.reportActivity(ctx, have, want)
}

// reportActivity reports the rows in which two parts of a rollup differ.
func (c *checker) reportActivity(ctx context.Context, have, want map[rollupKey]rollupCount) error {
	var wrong []rollupKey
	agents := map[int64]struct{}{}
	differ := func(k rollupKey) { wrong, agents[k.agent] = append(wrong, k), struct{}{} }
	for k, n := range have {
		if n != want[k] {
			differ(k)
		}
	}
	for k := range want {
		if _, there := have[k]; !there {
			differ(k)
		}
	}
	hashes, err := agentHashes(ctx, c.db, agents)
	if err != nil {
		return err
	}
	slices.SortFunc(wrong, rollupKey.compare)
	for _, k := range wrong[:min(len(wrong), maxProblems)] {
		who := "of nobody"
		if h := hashes[k.agent]; h != nil {
			who = fmt.Sprintf("of agent %x", *h)
		} else if k.agent != 0 {
			who = fmt.Sprintf("of agent number %d, which there is not,", k.agent)
		}
		c.problem("activity: %s %s has %d records, %d of them with evidence that is not Approved; the table says %d and %d",
			k.when(), who, want[k].audits, want[k].unapproved, have[k].audits, have[k].unapproved)
	}
	return nil
}

// when names the time of a row.
func (k rollupKey) when() string {
	what := "the minute"
	if k.span == quarterSpan {
		what = "the quarter of an hour"
	}
	const lastMinute = 253402300799 / 60 // of the year 9999
	if k.start > lastMinute {
		return fmt.Sprintf("%s from minute %d on", what, k.start)
	}
	return what + " from " + time.Unix(k.start*60, 0).UTC().Format("2006-01-02T15:04Z") + " on"
}

// learnActivity finds out whether table activity can be compared, and in which unit.
func (c *checker) learnActivity(ctx context.Context) error {
	a := activityCount{db: c.db}
	if err := a.learn(ctx); err != nil && !errors.Is(err, ErrMalformed) {
		return err
	}
	if a.state.whole {
		c.counted = a.state
	}
	return nil
}
