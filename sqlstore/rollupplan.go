package sqlstore

import (
	"math"
	"reflect"
)

// What the rollup answers is planned here, by functions that do not touch the database.

// A Grid says what a question wants of a part of time: its records are sorted into pieces, which begin and end in a regular
// way.
type Grid struct {
	From, To int64 // timestamps, both inclusive
	// Minutes is where the pieces begin and end: 15 at quarters of an hour of UTC, 1 at minutes, 0 anywhere, so that each record
	// has to be looked at.
	Minutes int64
}

// stretch is a part of the time of a question, and what its records are counted from.
type stretch struct {
	from, to int64 // timestamps, both inclusive
	span     int64 // minuteSpan or quarterSpan: rows of table activity. 0: the records themselves
}

// rollupState is what a plan depends on besides the filter.
type rollupState struct {
	whole   bool  // table activity is there, and has all records
	minute  int64 // in units of time
	newest  int64 // index of the newest record; -1: there is none
	ofAgent int64 // how many records the agent of the filter has, if it names one
}

// fromRollup decides whether the records that a filter selects are counted from the rollup. Otherwise each is looked at.
func (s *rollupState) fromRollup(f *Filter, z *sizes) bool {
	switch {
	case !f.isCounted(), !s.whole:
		return false
	case f.Agent != nil && s.ofAgent <= int64(z.lookup):
		return false // its records are in one stretch of an index, and its rows of table activity are not
	}
	return true
}

// isCounted reports whether the filter has no conditions but those that table activity has columns for.
func (f *Filter) isCounted() bool {
	g := *f
	g.Agent, g.Anonymous, g.From, g.To, g.AsOf, g.Unapproved = nil, false, nil, nil, nil, false
	g.Limit, g.After, g.Descending, g.ByAdmission, g.numbers = 0, nil, false, false, nil
	return reflect.DeepEqual(g, Filter{})
}

// asOf returns the index from which on records are not in the answer.
func (s *rollupState) asOf(f *Filter) int64 {
	if f.AsOf != nil {
		return min(*f.AsOf, s.newest+1)
	}
	return s.newest + 1
}

// divide divides the time of a filter at the borders of quarters of an hour and minutes, the coarsest that the grid allows. It
// returns the stretches in the order of time. The grid must be in that order as well.
func divide(f *Filter, grid []Grid, minute int64) (all []stretch) {
	from, to := int64(0), int64(math.MaxInt64)
	if f.From != nil {
		from = max(from, *f.From)
	}
	if f.To != nil {
		to = *f.To
	}
	add := func(from, to, span int64) {
		if from > to {
			return
		}
		if n := len(all); n > 0 && all[n-1].span == span && all[n-1].to+1 == from {
			all[n-1].to = to
			return
		}
		all = append(all, stretch{from, to, span})
	}
	// inner adds a time: the whole spans in it, and around them what rest adds.
	inner := func(from, to, span int64, rest func(from, to int64)) {
		first, end, ok := wholeSpans(from, to, span*minute)
		if !ok {
			rest(from, to)
			return
		}
		rest(from, first-1)
		add(first, end, span)
		if end < to {
			rest(end+1, to)
		}
	}
	rows := func(from, to int64) { add(from, to, 0) }
	minutes := func(from, to int64) { inner(from, to, minuteSpan, rows) }
	for _, g := range grid {
		a, b := max(from, g.From), min(to, g.To)
		switch {
		case a > b:
		case g.Minutes == quarterSpan:
			inner(a, b, quarterSpan, minutes)
		case g.Minutes == minuteSpan:
			minutes(a, b)
		default:
			rows(a, b)
		}
	}
	return all
}

// wholeSpans returns the first and the last timestamp of the spans of some length that are whole in a time, or false if
// there are none. There are no timestamps after math.MaxInt64, so the span that has it is whole where the time has it.
func wholeSpans(from, to, length int64) (first, last int64, ok bool) {
	if from > to {
		return 0, 0, false
	}
	n := from / length
	if from%length > 0 {
		n++
	}
	if n > math.MaxInt64/length {
		return 0, 0, false
	}
	first, last = n*length, to
	if to < math.MaxInt64 {
		last = (to+1)/length*length - 1
	}
	return first, last, first <= last
}
