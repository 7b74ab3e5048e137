package sqlstore

import (
	"math"
	"slices"
	"testing"
)

// Which filters the rollup answers depends on the filter, on what is stored and on nothing else.
func TestFromRollup(t *testing.T) {
	t.Parallel()
	var (
		hash    [32]byte
		seven   = int64(7)
		early   = int64(50_000)
		subject = "revenue"
		third   = uint8(3)
		half    = 0.5
	)
	z := sizes{lookup: 1000}
	stored := rollupState{whole: true, minute: 60_000, newest: 50_099, ofAgent: 1001}
	with := func(change func(*rollupState)) rollupState {
		s := stored
		change(&s)
		return s
	}
	for _, c := range []struct {
		name string
		f    Filter
		s    rollupState
		want bool
	}{
		{"all", Filter{}, stored, true},
		{"a time", Filter{From: &seven, To: &seven}, stored, true},
		{"nobody", Filter{Anonymous: true}, stored, true},
		{"an agent with many records", Filter{Agent: &hash, From: &seven}, stored, true},
		{"an agent with few records", Filter{Agent: &hash}, with(func(s *rollupState) { s.ofAgent = 1000 }), false},
		{"another order, and a limit", Filter{Descending: true, ByAdmission: true, Limit: 3}, stored, true},
		{"a moment", Filter{AsOf: &early}, stored, true},
		{"what is not Approved", Filter{Unapproved: true}, stored, true},
		{"a moment that has not come", Filter{AsOf: &early}, with(func(s *rollupState) { s.newest = 10 }), true},
		{"records that are not counted yet", Filter{}, with(func(s *rollupState) { s.whole = false }), false},

		{"a subject", Filter{Subject: &subject}, stored, false},
		{"a pattern", Filter{SubjectGlob: &subject}, stored, false},
		{"a predicate", Filter{Predicate: &subject}, stored, false},
		{"a lens", Filter{Lens: &subject}, stored, false},
		{"a lifecycle", Filter{Lifecycle: &third}, stored, false},
		{"a result", Filter{Result: &hash}, stored, false},
		{"an assertion", Filter{Assertion: &hash}, stored, false},
		{"a source", Filter{Source: &hash}, stored, false},
		{"an attribute", Filter{Attributes: []Attribute{{"a", "b"}}}, stored, false},
		{"a confidence", Filter{MinConfidence: &half}, stored, false},
		{"another confidence", Filter{MaxConfidence: &half}, stored, false},
	} {
		if got := c.s.fromRollup(&c.f, &z); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// A time is divided at whole quarters of an hour and minutes, and what is left over is counted from the records.
func TestDivide(t *testing.T) {
	t.Parallel()
	const last = math.MaxInt64
	everywhere := func(minutes int64) []Grid { return []Grid{{0, last, minutes}} }
	p := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name     string
		from, to *int64
		grid     []Grid
		want     []stretch
	}{
		// In seconds: a minute is 60, a quarter of an hour 900.
		{"all", nil, nil, everywhere(15), []stretch{{0, last, 15}}},
		{"all, by minute", nil, nil, everywhere(1), []stretch{{0, last, 1}}},
		{"all, one by one", nil, nil, everywhere(0), []stretch{{0, last, 0}}},
		{"quarters", p(900), p(2699), everywhere(15), []stretch{{900, 2699, 15}}},
		{"a quarter and minutes", p(840), p(1859), everywhere(15), []stretch{{840, 899, 1}, {900, 1799, 15}, {1800, 1859, 1}}},
		{"a quarter, minutes and seconds", p(839), p(1860), everywhere(15), []stretch{{839, 839, 0}, {840, 899, 1}, {900, 1799, 15}, {1800, 1859, 1}, {1860, 1860, 0}}},
		{"less than a quarter", p(901), p(1798), everywhere(15), []stretch{{901, 959, 0}, {960, 1739, 1}, {1740, 1798, 0}}},
		{"less than a minute", p(61), p(118), everywhere(15), []stretch{{61, 118, 0}}},
		{"within two minutes", p(61), p(178), everywhere(15), []stretch{{61, 178, 0}}},
		{"from the middle of a minute", p(899), nil, everywhere(1), []stretch{{899, 899, 0}, {900, last, 1}}},
		{"to the middle of a minute", nil, p(60), everywhere(1), []stretch{{0, 59, 1}, {60, 60, 0}}},
		{"the last timestamp", p(last), nil, everywhere(15), []stretch{{last, last, 0}}},
		{"to the last but one", p(last - last%60 - 60), p(last - 1), everywhere(15), []stretch{{last - last%60 - 60, last - last%60 - 1, 1}, {last - last%60, last - 1, 0}}},
		{"before 1970", p(-900), p(-1), everywhere(15), nil},
		{"from before 1970", p(-900), p(59), everywhere(15), []stretch{{0, 59, 1}}},
		{"backwards", p(2), p(1), everywhere(15), nil},
		{"a zone that changes", nil, p(7199), []Grid{{0, 2699, 0}, {2700, 4499, 1}, {4500, last, 15}},
			[]stretch{{0, 2699, 0}, {2700, 4499, 1}, {4500, 7199, 15}}},
		{"a zone that changes within a minute", nil, p(1799), []Grid{{0, 929, 15}, {930, last, 15}},
			[]stretch{{0, 899, 15}, {900, 959, 0}, {960, 1799, 1}}},
		{"a zone that changes at a quarter", nil, p(1799), []Grid{{0, 899, 15}, {900, last, 15}}, []stretch{{0, 1799, 15}}},
		{"a zone before the time", p(1800), p(1859), []Grid{{0, 899, 0}, {900, last, 1}}, []stretch{{1800, 1859, 1}}},
	} {
		if got := divide(&Filter{From: c.from, To: c.to}, c.grid, 60); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for unit, minute := range unitsPerMinute {
		for _, span := range []int64{1, 15} {
			if got := divide(&Filter{}, everywhere(span), minute); !slices.Equal(got, []stretch{{0, last, span}}) {
				t.Errorf("%s: %v", unit, got)
			}
		}
	}
}
