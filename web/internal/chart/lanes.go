package chart

import (
	"cmp"
	"html/template"
	"slices"

	"github.com/auditsql/auditsql/web/internal/phrase"
)

// Lanes shows when things were used, a lane for each of them. With Steps a line leads from each dot to the next one in time, so
// it shows where an answer changed.
type Lanes struct {
	Label string // what the picture shows, in a sentence
	Span  Span
	Lanes []Lane
	Ticks []Tick
	Steps bool
}

// A Lane is one thing over time.
type Lane struct {
	Kind    string // source, assertion, agent, answer: in small letters before the name
	Name    string
	About   string // a count, after the name
	Address phrase.Address
	Marked  bool // a sign stands before the name

	First, Last uint64 // a line reaches from one to the other; equal: there is none
	Dots        []Dot
}

// A Dot is a record in a lane.
type Dot struct {
	At      uint64
	Address phrase.Address
	Name    string // of the link: the time and what the record is
	Full    bool   // filled: it was the answer
	Marked  bool   // a square in place of a circle: something is not approved
	Ring    bool   // the answer changed here
}

// The heights of a lane, in pixels: of all of it, and of its name and of its line from its top.
const (
	laneHeight = 44
	nameAt     = 13
	lineAt     = 29
)

type lane struct {
	Lane
	NameAt, LineAt int
	X1, X2         string // of the line
	HasLine        bool
}

type dot struct {
	Dot
	X    string
	Y    int
	Stop bool
}

type segment struct {
	X1, X2 string
	Y1, Y2 int
}

// inner keeps dots off the edges, where half of them would be cut off.
func inner(at float64) float64 { return 0.012 + at*0.976 }

// SVG draws the lanes.
func (l Lanes) SVG() (template.HTML, error) {
	x := func(timestamp uint64) float64 {
		if l.Span.To == l.Span.From {
			return 0.5
		}
		return inner(float64(timestamp-min(l.Span.From, timestamp)) / float64(l.Span.To-l.Span.From))
	}
	var lanes []lane
	var dots []dot
	for i, one := range l.Lanes {
		top := i * laneHeight
		drawn := lane{Lane: one, NameAt: top + nameAt, LineAt: top + lineAt, HasLine: one.Last > one.First}
		drawn.X1, drawn.X2 = percent(x(one.First)), percent(x(one.Last))
		lanes = append(lanes, drawn)
		for _, d := range one.Dots {
			dots = append(dots, dot{Dot: d, X: percent(x(d.At)), Y: top + lineAt})
		}
	}
	// A keyboard steps through the dots in the order of time, whatever their lanes.
	slices.SortStableFunc(dots, func(a, b dot) int { return cmp.Compare(a.At, b.At) })
	var line []segment
	for i := range dots {
		dots[i].Stop = i == 0
		if !l.Steps || i == 0 {
			continue
		}
		before, d := &dots[i-1], &dots[i]
		line = append(line, segment{before.X, d.X, before.Y, before.Y})
		if before.Y != d.Y {
			line = append(line, segment{d.X, d.X, before.Y, d.Y})
		}
	}
	ticks := make([]Tick, len(l.Ticks))
	for i, t := range l.Ticks {
		ticks[i] = t
		ticks[i].X = percent(inner(t.At))
	}
	base := len(lanes) * laneHeight
	return draw("lanes", struct {
		Label                string
		Height, Base, TickAt int
		Lanes                []lane
		Dots                 []dot
		Line                 []segment
		Ticks                []Tick
	}{l.Label, base + ticksHeight, base, base + ticksHeight - 6, lanes, dots, line, ticks})
}
