package sqlstore

import (
	"cmp"
	"fmt"
	"slices"
)

// The rollup: table activity has the records of each agent by minute and by quarter of an hour, counted. So a question
// about months reads thousands of rows and not millions of records.
//
//	rollup.go        counts the records of a batch, and writes the counts
//	rollupplan.go    decides which part of a question the rollup answers
//	rollupread.go    reads it, as of any moment
//	rollupedge.go    counts the minutes that a time has in part
//	rollupcheck.go   compares it with the records

// The lengths that table activity has rows for, in minutes.
const (
	minuteSpan  = 1
	quarterSpan = 15
)

// unitsPerMinute is how many units of time a minute has. Timestamps count from 1970, and minutes and quarters of an hour of
// UTC begin at multiples of their length from then on.
var unitsPerMinute = map[string]int64{"s": 60, "ms": 60e3, "us": 60e6, "ns": 60e9}

// minuteUnits is unitsPerMinute for the value that table store has.
func minuteUnits(unit any) (int64, error) {
	name, _ := unit.(string)
	if n := unitsPerMinute[name]; n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%w: table store has the time unit %v, which is none of s, ms, us and ns", ErrMalformed, unit)
}

// rollupKey names a row of table activity, and rollupCount is what is in it.
type (
	rollupKey   struct{ span, start, agent int64 }
	rollupCount struct{ audits, unapproved int64 }
)

func (k rollupKey) compare(l rollupKey) int {
	return cmp.Or(cmp.Compare(k.span, l.span), cmp.Compare(k.start, l.start), cmp.Compare(k.agent, l.agent))
}

// quarter returns the key of the quarter of an hour that has a minute.
func (k rollupKey) quarter() rollupKey {
	return rollupKey{quarterSpan, k.start - k.start%quarterSpan, k.agent}
}

// plus adds a record to the count.
func (c rollupCount) plus(unapproved bool) rollupCount {
	c.audits++
	if unapproved {
		c.unapproved++
	}
	return c
}

// rollup counts records by time. During a batch it counts in memory, and at the end of the batch it writes table activity: one
// statement for each agent and minute, and for each agent and quarter of an hour, however many records they have. New
// records have new times as a rule, so the rows that it writes stand together at the end of the minutes and of the quarters.
type rollup struct {
	unit, add *stmt

	minute int64                     // in units of time; 0: not known
	tally  map[rollupKey]rollupCount // of this batch, by minute
	keys   []rollupKey
}

func newRollup(p *preparer) *rollup {
	return &rollup{
		unit: p.prepare(`SELECT value FROM store WHERE name = 'time_unit'`),
		add: p.prepare(`INSERT OR FAIL INTO activity (span, start, agent, audits, unapproved) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (span, start, agent) DO UPDATE SET audits = audits + excluded.audits, unapproved = unapproved + excluded.unapproved`),
		tally: map[rollupKey]rollupCount{},
	}
}

// begin is called in a transaction before the first count.
func (u *rollup) begin() error {
	if u.minute > 0 {
		return nil
	}
	row, err := u.unit.query()
	if err != nil {
		return err
	}
	var unit any
	if row != nil {
		unit = row[0]
	}
	u.minute, err = minuteUnits(unit)
	return err
}

// count counts a record of the agent with this number.
func (u *rollup) count(agent, timestamp int64, unapproved bool) {
	k := rollupKey{minuteSpan, timestamp / u.minute, agent}
	u.tally[k] = u.tally[k].plus(unapproved)
}

// write brings table activity up to date with what was counted.
func (u *rollup) write() error {
	defer u.forget()
	for k, c := range u.tally {
		if k.span != minuteSpan {
			continue
		}
		q := u.tally[k.quarter()]
		q.audits += c.audits
		q.unapproved += c.unapproved
		u.tally[k.quarter()] = q
	}
	for k := range u.tally {
		u.keys = append(u.keys, k)
	}
	slices.SortFunc(u.keys, rollupKey.compare)
	for _, k := range u.keys {
		c := u.tally[k]
		if err := u.add.exec(k.span, k.start, k.agent, c.audits, c.unapproved); err != nil {
			return fmt.Errorf("activity of agent %d in minute %d: %w", k.agent, k.start, err)
		}
	}
	return nil
}

// forget drops what was counted and not written.
func (u *rollup) forget() {
	clear(u.tally)
	u.keys = u.keys[:0]
}
