package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
)

// BucketSize is the length of a bucket of a Timeline.
type BucketSize uint8

// The sizes of buckets.
const (
	ByHour BucketSize = iota
	ByMinute
	ByDay
	ByQuarter // of an hour
)

var bucketNames = [...]string{ByHour: "hour", ByMinute: "minute", ByDay: "day", ByQuarter: "quarter"}

// ParseBucketSize reads "minute", "quarter", "hour" or "day". Anything else is ErrInvalid.
func ParseBucketSize(s string) (BucketSize, error) {
	if i := slices.Index(bucketNames[:], s); i >= 0 {
		return BucketSize(i), nil
	}
	return 0, invalid("unknown size %s: want minute, quarter, hour or day", excerpt(s))
}

// String returns "minute", "quarter", "hour" or "day".
func (b BucketSize) String() string {
	if int(b) >= len(bucketNames) {
		return "?"
	}
	return bucketNames[b]
}

// DefaultMaxBuckets is how many buckets a Timeline has at most by default, and MaxSilent how many
// silent agents it lists at most. What MinRated and MinExpected are says Timeline.Silent.
const (
	DefaultMaxBuckets = 10_000
	MaxSilent         = 100
	MinRated          = 5
	MinExpected       = 5
)

// TimelineOptions say what a Timeline counts, and how.
type TimelineOptions struct {
	By     BucketSize
	Zone   *time.Location // in which hours and days begin; nil: UTC
	Filter Filter         // its limit and order have no effect

	// Unapproved asks for the number of records with evidence that is not Approved. Where records are counted one by one, that
	// takes about twice as long.
	Unapproved bool

	MaxBuckets int // 0: DefaultMaxBuckets

	// Now is the present as a timestamp. Nobody is silent because the time shown has not passed yet. With 0 the present of an answer
	// as of a moment is the newest timestamp of the records that were there, so the answer stays the same. Without AsOf the whole time
	// shown counts as passed then.
	Now uint64

	// Budget can end the count of a filter that the stored counts do not answer.
	Budget Budget
}

// Timeline says how many records there were over time.
type Timeline struct {
	// Buckets are in the order of time, from the filter's From (or the first record) to its
	// To (or the last record), the empty ones included. If these are too many, the empty ones are left out (Sparse).
	// If the others are still too many, the earliest are left out (Cut).
	Buckets     []TimelineBucket
	Sparse, Cut bool

	// Incomplete says that the budget ended the count. The figures are of the records that were counted until then. No silent
	// agents are listed.
	Incomplete bool

	Audits    uint64 // records that were selected, those of left-out buckets included
	Agents    uint64 // different agents among them; anonymous records are no agent
	Anonymous uint64 // records of no agent

	// Silent are agents that stopped earlier than their own rate explains: at that rate they would have had MinExpected or more
	// records since their last one, up to the end of the time shown. The rate of an agent is that of its records in the time
	// shown, if they are MinRated or more. Otherwise it is that of all its records, if these are, and if the filter selects by time
	// only; then agents count as well that have no records in the time shown. Those with the latest record come first, at most
	// MaxSilent.
	Silent     []SilentAgent
	MoreSilent bool
}

// TimelineBucket is a minute, a quarter of an hour, an hour or a day.
type TimelineBucket struct {
	Start, End uint64 // its first and last timestamp, also where the filter begins or ends within it
	Audits     uint64
	Agents     uint64 // different agents
	Anonymous  uint64 // records of no agent
	Unapproved uint64 // records with evidence that is not Approved, if asked for
}

// SilentAgent is an agent that has stopped asking.
type SilentAgent struct {
	AgentID  AgentID
	Last     uint64 // timestamp of its last record up to the end of the time shown
	Shown    uint64 // its records in the time shown
	Expected uint64 // how many records it would have had since, at its rate
}

// Timeline counts records over time. It shows bursts, gaps, and agents that fell silent.
//
// The store keeps counts by agent and minute, and by agent and quarter of an hour of UTC. A filter that names nothing but an
// agent, anonymous records, a time and AsOf is answered from them, and takes a millisecond for a thousand counts. Records are
// counted one by one in the minute in which a time begins or ends, or else those of the rest of this minute are, which are subtracted:
// whichever are fewer. All are counted one by one with any other filter, where the zone's
// hours do not begin at quarters of an hour of UTC (or its minutes at minutes), and with an AsOf of more than 100,000 records
// ago. A million records take some seconds.
func (db *DB) Timeline(ctx context.Context, o TimelineOptions) (*Timeline, error) {
	return timeline(ctx, db, db.TimeUnit(), o)
}

func timeline(ctx context.Context, in asked, unit TimeUnit, o TimelineOptions) (*Timeline, error) {
	t := &Timeline{Buckets: []TimelineBucket{}, Silent: []SilentAgent{}}
	if int(o.By) >= len(bucketNames) {
		return nil, fmt.Errorf("timeline: %w", invalid("unknown size of bucket %d", o.By))
	}
	if o.Filter.none() {
		return t, nil
	}
	err := in.inParts(ctx, o.Filter.AsOf, func(p *parts) error {
		c, err := p.calendar(ctx, o, unit)
		if err != nil {
			return err
		}
		c.fill(t)
		return c.silent(ctx, p, t)
	})
	if err != nil {
		return nil, fmt.Errorf("timeline: %w", err)
	}
	return t, nil
}

// calendar sorts timestamps into buckets.
type calendar struct {
	o    TimelineOptions
	zone *time.Location
	unit TimeUnit
	size uint64 // of a bucket, in units, where the zone does not matter

	// By start. Only the latest are kept, between most and twice as many: a bucket that begins before floor is counted
	// in the totals only. So the memory does not depend on the number of records.
	buckets map[uint64]*bucketCount
	most    int
	floor   uint64
	cut     bool // some buckets were dropped

	agents      map[int64]*agentSpan // by number; of several parts that in book
	first, last *uint64              // of the records
	asOf        []int64              // of each part the index from which on records do not count
	incomplete  bool                 // the budget ended the count

	book *agentBook // nil for one part: its own numbers are those of its agents
}

type bucketCount struct {
	TimelineBucket
	agents map[int64]struct{}
}

// agentSpan is an agent with its records. The first of them is from firstFrom to firstTo, and the last from lastFrom to lastTo:
// counts say in which minute or quarter of an hour they are.
type agentSpan struct{ firstFrom, firstTo, lastFrom, lastTo, audits uint64 }

func newCalendar(o TimelineOptions, unit TimeUnit) *calendar {
	c := &calendar{o: o, zone: o.Zone, unit: unit, most: orDefault(o.MaxBuckets, DefaultMaxBuckets), buckets: map[uint64]*bucketCount{}, agents: map[int64]*agentSpan{}}
	if c.zone == nil {
		c.zone = time.UTC
	}
	c.size = [...]uint64{ByHour: 3600, ByMinute: 60, ByDay: 86400, ByQuarter: 900}[o.By] * unit.PerSecond()
	return c
}

// start returns the first timestamp of the bucket of a timestamp. After the year 9999 the zone is
// UTC.
func (c *calendar) start(timestamp uint64) uint64 {
	t, ok := c.unit.Time(timestamp)
	if !ok || c.zone == time.UTC {
		return timestamp - timestamp%c.size
	}
	t = t.In(c.zone)
	switch c.o.By {
	case ByMinute:
		t = t.Add(-time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	case ByQuarter:
		t = t.Add(-time.Duration(t.Minute()%15)*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	case ByHour:
		t = t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	case ByDay:
		t = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, c.zone)
	}
	start, _ := c.unit.Timestamp(t) // 0 when the bucket began before 1970
	return start
}

// next returns the first timestamp of the bucket after the one that starts here. It reports false when no timestamp is
// later.
func (c *calendar) next(start uint64) (uint64, bool) {
	after := start + c.size
	if t, ok := c.unit.Time(start); ok && c.zone != time.UTC && c.o.By == ByDay {
		// West of Greenwich the first bucket is of 1969-12-31 and begins at 0. One day after its start in local time
		// is right for it as well.
		t = t.In(c.zone)
		if n, ok := c.unit.Timestamp(time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, c.zone)); ok {
			after = n
		}
	}
	if after > MaxTimestamp || after < start {
		return 0, false
	}
	// When the clock is set back, an hour is longer.
	for c.start(after) <= start {
		after += 60 * c.unit.PerSecond()
	}
	return c.start(after), true
}

// calendar counts the records of all parts.
func (p *parts) calendar(ctx context.Context, o TimelineOptions, unit TimeUnit) (*calendar, error) {
	o.Budget = o.Budget.share(len(p.dbs))
	found, err := each(ctx, p, func(ctx context.Context, i int, db *DB) (*calendar, error) {
		of := o
		of.Filter = p.at(o.Filter, i)
		c := newCalendar(of, unit)
		return c, c.count(ctx, db)
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 1 {
		return found[0], nil
	}
	c := newCalendar(o, unit)
	c.book = &agentBook{}
	for i, part := range found {
		if err := c.add(ctx, p.dbs[i], part); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// add adds what was counted in one part.
//
// Each part has kept its latest buckets, at least as many as are shown. So it has all of its records in those that are the latest of all
// parts together. What it has of an earlier one may be less than all, and is not shown.
func (c *calendar) add(ctx context.Context, db *DB, part *calendar) error {
	shared, err := c.book.shared(ctx, db, slices.Collect(maps.Keys(part.agents)))
	if err != nil {
		return err
	}
	for number, s := range part.agents {
		if into := c.agents[shared[number]]; into != nil {
			// The first record of both is one of the two first ones, and is within both of their spans' lower and upper ends.
			into.firstFrom, into.firstTo = min(into.firstFrom, s.firstFrom), min(into.firstTo, s.firstTo)
			into.lastFrom, into.lastTo = max(into.lastFrom, s.lastFrom), max(into.lastTo, s.lastTo)
			into.audits += s.audits
		} else {
			c.agents[shared[number]] = s
		}
	}
	for start, b := range part.buckets {
		into := c.bucket(start)
		into.Audits, into.Anonymous, into.Unapproved = into.Audits+b.Audits, into.Anonymous+b.Anonymous, into.Unapproved+b.Unapproved
		for number := range b.agents {
			into.agents[shared[number]] = struct{}{}
		}
	}
	if part.first != nil {
		widen(&c.first, &c.last, *part.first, *part.last)
	}
	c.cut, c.incomplete = c.cut || part.cut, c.incomplete || part.incomplete
	c.asOf = append(c.asOf, part.asOf...)
	return nil
}

// count asks SQLite.
func (c *calendar) count(ctx context.Context, db *DB) error {
	var b *bucketCount // of the records before, which most share
	var end uint64     // its last timestamp
	budget := c.o.Budget.lower().Start()
	counted, err := db.sql.CountActivity(ctx, c.o.Filter.lower(), c.grid, c.o.Unapproved, func(a sqlstore.Activity) bool {
		if !budget.More() {
			return false
		}
		from, audits := uint64(a.From), uint64(a.Audits)
		if b == nil || from < b.Start || from > end {
			var start uint64
			start, end = c.around(from)
			b = c.bucket(start)
		}
		b.Audits += audits
		b.Unapproved += uint64(a.Unapproved)
		s := c.agents[a.Agent]
		to := uint64(a.To)
		if s == nil {
			s = &agentSpan{firstFrom: from, firstTo: to}
			c.agents[a.Agent] = s
		}
		if from <= s.firstFrom {
			s.firstFrom, s.firstTo = from, to
		}
		if to >= s.lastTo {
			s.lastFrom, s.lastTo = from, to
		}
		s.audits += audits
		if a.Agent == 0 {
			b.Anonymous += audits
		} else {
			b.agents[a.Agent] = struct{}{}
		}
		return true
	})
	if counted.Any {
		first, last := uint64(counted.First), uint64(counted.Last)
		c.first, c.last = &first, &last
	}
	c.asOf, c.incomplete = []int64{counted.AsOf}, counted.Cut
	return err
}

// grid says where buckets begin, for CountActivity: whether counts by quarter of an hour or by minute do, or each record must be
// looked at. It depends on the offset of the zone, and so on the time.
func (c *calendar) grid(first, last int64) (grid []sqlstore.Grid) {
	if c.zone == time.UTC {
		return []sqlstore.Grid{{To: MaxTimestamp, Minutes: c.minutes(0)}}
	}
	for next, more := uint64(first), true; more && next <= uint64(last); next++ {
		g := sqlstore.Grid{From: int64(next), To: MaxTimestamp, Minutes: c.minutes(0)}
		if t, ok := c.unit.Time(next); ok { // else the zone is UTC
			t = t.In(c.zone)
			begin, end := t.ZoneBounds() // zero where there is no such bound, which is no timestamp either
			if len(grid) == 0 {
				from, _ := c.unit.Timestamp(begin) // 0 if it is before 1970
				g.From = int64(from)
			}
			if !end.IsZero() && !end.After(t) {
				// ZoneBounds takes every year for one of 365 days: on the last day of a leap year it returns the beginning of that day.
				end = t.Truncate(24 * time.Hour).Add(24 * time.Hour)
			}
			_, offset := t.Zone()
			g.Minutes = c.minutes(offset)
			if to, ok := c.unit.Timestamp(time.Unix(lastSecond+1, 0)); ok {
				g.To = int64(to) - 1
			}
			if to, ok := c.unit.Timestamp(end); ok {
				g.To = min(g.To, int64(to)-1)
			}
		}
		if n := len(grid); n > 0 {
			// The first bucket after a change can begin before it, see around.
			grid[n-1].Minutes = min(grid[n-1].Minutes, g.Minutes)
		}
		grid = append(grid, g)
		next, more = uint64(g.To), g.To < MaxTimestamp
	}
	return grid
}

// minutes returns Grid.Minutes for buckets in a zone with an offset from UTC, in seconds.
func (c *calendar) minutes(offset int) int64 {
	switch {
	case c.o.By != ByMinute && offset%(15*60) == 0:
		return 15
	case offset%60 == 0:
		return 1
	}
	return 0
}

// bucket returns the bucket that starts here. For one that is too early to be shown it returns a new one each time, which
// is not kept.
func (c *calendar) bucket(start uint64) *bucketCount {
	if b := c.buckets[start]; b != nil {
		return b
	}
	b := &bucketCount{TimelineBucket{Start: start}, map[int64]struct{}{}}
	if start < c.floor {
		return b
	}
	c.buckets[start] = b
	if len(c.buckets)-c.most > c.most {
		c.dropEarliest()
	}
	return b
}

// dropEarliest drops all but the latest buckets, as many as are shown.
func (c *calendar) dropEarliest() {
	starts := slices.Sorted(maps.Keys(c.buckets))
	early := len(starts) - c.most
	for _, start := range starts[:early] {
		delete(c.buckets, start)
	}
	c.floor, c.cut = starts[early], true
}

// around returns the first and the last timestamp of the bucket of a timestamp. When the clock is set back or forward, the next
// bucket can begin earlier than the clock says: 00:45 can follow 23:59, and then the hour of both begins at 00:00. Each
// timestamp is in one bucket all the same.
func (c *calendar) around(timestamp uint64) (start, end uint64) {
	for start = c.start(timestamp); ; {
		next, ok := c.next(start)
		switch {
		case !ok:
			return start, MaxTimestamp
		case timestamp < next:
			return start, next - 1
		}
		start = next
	}
}

// end returns the last timestamp of the bucket that starts here.
func (c *calendar) end(start uint64) uint64 {
	if next, ok := c.next(start); ok {
		return next - 1
	}
	return MaxTimestamp
}

// shown returns the time that the timeline covers.
func (c *calendar) shown() (from, to uint64, ok bool) {
	f := &c.o.Filter
	from, to = deref(f.From, deref(c.first, 0)), min(deref(f.To, deref(c.last, 0)), MaxTimestamp)
	if f.To == nil && c.last == nil {
		to = from
	}
	return from, to, c.first != nil || f.From != nil && f.To != nil && from <= to
}

// fill puts the buckets together.
func (c *calendar) fill(t *Timeline) {
	t.Incomplete = c.incomplete
	for number, s := range c.agents {
		t.Audits += s.audits
		if number == 0 {
			t.Anonymous = s.audits
		} else {
			t.Agents++
		}
	}
	from, to, ok := c.shown()
	if !ok {
		return
	}
	order, whole := c.filled(from, to)
	if !whole {
		order, t.Sparse, t.Cut = slices.Sorted(maps.Keys(c.buckets)), true, c.cut
	}
	if len(order) > c.most {
		order, t.Cut = order[len(order)-c.most:], true
	}
	for _, start := range order {
		b := TimelineBucket{Start: start}
		if counted := c.buckets[start]; counted != nil {
			b = counted.TimelineBucket
			b.Agents = uint64(len(counted.agents))
		}
		b.End = c.end(start)
		t.Buckets = append(t.Buckets, b)
	}
}

// filled returns the starts of all buckets of a time in order, the empty ones included, or false if they are too many.
func (c *calendar) filled(from, to uint64) ([]uint64, bool) {
	// They are counted first: the end may be hundreds of thousands of years away.
	if c.cut || (to-from)/c.size > 2*uint64(c.most) {
		return nil, false
	}
	filled := map[uint64]bool{}
	first, _ := c.around(from)
	for start, more := first, true; more && start <= to && len(filled) <= c.most; start, more = c.next(start) {
		filled[start] = true
	}
	for start := range c.buckets {
		filled[start] = true
	}
	return slices.Sorted(maps.Keys(filled)), len(filled) <= c.most
}
