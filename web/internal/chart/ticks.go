package chart

import (
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A Tick is a time at the edge of a picture.
type Tick struct {
	At     float64 // a part of the width
	X      string  // the same as a percentage
	Anchor string  // start, middle or end: letters stay within the picture
	Label  string
}

// steps are the distances between ticks that people read easily. Longer ones are whole days.
var steps = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond,
	time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

const day = 24 * time.Hour

// mostTicks is how many ticks fit into a narrow picture.
const mostTicks = 5

// Ticks returns a few round times within a span, in the clock of a zone. There are none for a span that has no times, as after the
// year 9999.
func Ticks(s Span, unit audit.TimeUnit, zone *time.Location) []Tick {
	from, ok := unit.Time(s.From)
	to, ok2 := unit.Time(s.To)
	if !ok || !ok2 || !to.After(from) || to.Year() > 9999 {
		return nil
	}
	from, to = from.In(zone), to.In(zone)
	length := to.Sub(from)
	step, perTick, form := time.Duration(0), 0, "15:04"
	for _, candidate := range steps {
		if length/candidate <= mostTicks {
			step = candidate
			break
		}
	}
	switch {
	case step == 0:
		// A Duration ends at 292 years, so these are counted in seconds.
		days := (to.Unix() - from.Unix()) / 86400
		step, form = day, "2006-01-02"
		perTick = int(days/mostTicks) + 1
	case step < time.Second:
		form = "15:04:05.000"
	case step < time.Minute:
		form = "15:04:05"
	case from.YearDay() != to.YearDay() || from.Year() != to.Year():
		form = "01-02 15:04"
	}
	var ticks []Tick
	// Steps count from midnight in the zone, so that a day begins at a tick.
	first := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, zone)
	for i := 0; len(ticks) <= 2*mostTicks; i++ {
		t := first.Add(time.Duration(i) * step)
		if perTick > 0 {
			t = first.AddDate(0, 0, i*perTick)
		} else if skipped := from.Sub(first) / step; i == 0 && skipped > 0 {
			i = int(skipped)
			t = first.Add(skipped * step)
		}
		if t.After(to) {
			break
		}
		timestamp, ok := unit.Timestamp(t)
		if !ok || t.Before(from) {
			continue
		}
		ticks = append(ticks, tick(s.at(timestamp), t.Format(form)))
	}
	return ticks
}

// tick places a label. Near an edge it stands on the inner side.
func tick(at float64, label string) Tick {
	anchor := "middle"
	switch {
	case at < 0.08:
		anchor = "start"
	case at > 0.92:
		anchor = "end"
	}
	return Tick{at, percent(at), anchor, label}
}
