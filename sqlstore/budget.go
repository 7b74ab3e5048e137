package sqlstore

import "time"

// Budget ends a count that takes too long. The zero value has no end.
type Budget struct {
	Records int64         // how many records, or rows of stored counts, are counted at most; 0: no limit
	Time    time.Duration // after which no more are counted; 0: no limit
}

// Part returns the budget with so many parts of its time, of the whole in that many.
func (b Budget) Part(n, of time.Duration) Budget {
	if b.Time > 0 {
		b.Time = max(1, b.Time*n/of) // 0 would have no end
	}
	return b
}

// Meter is a Budget that is being used up. One goroutine at a time may use it.
type Meter struct {
	budget Budget
	begun  time.Time
	used   int64
}

// clockEvery is how many records are counted before the clock is looked at again.
const clockEvery = 256

// Start returns the meter of a count that begins now.
func (b Budget) Start() *Meter { return &Meter{budget: b, begun: time.Now()} }

// More reports whether one more may be counted.
func (m *Meter) More() bool {
	b := &m.budget
	if b.Records > 0 && m.used == b.Records {
		return false
	}
	if b.Time > 0 && m.used%clockEvery == 0 && time.Since(m.begun) >= b.Time {
		return false
	}
	m.used++
	return true
}

// Spent adds records that were counted without asking More before each, and reports whether the budget is used up.
func (m *Meter) Spent(records int64) bool {
	b := &m.budget
	m.used += records
	return b.Records > 0 && m.used >= b.Records || b.Time > 0 && time.Since(m.begun) >= b.Time
}
