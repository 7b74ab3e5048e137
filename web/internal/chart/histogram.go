package chart

import (
	"html/template"
	"strconv"

	"github.com/auditsql/auditsql/web/internal/phrase"
)

// A Histogram shows how many records there were over time. Those with evidence that nobody approved are hatched, at the bottom of
// their column.
type Histogram struct {
	Label   string // what the picture shows, in a sentence
	Span    Span
	Columns []Column // in the order of time; columns without records may be left out
	Ticks   []Tick
}

// A Column is a bucket of time.
type Column struct {
	From, To      uint64 // timestamps, both inclusive
	Count, Marked uint64 // Marked are some of Count
	Address       phrase.Address
	Name          string // of the link: the time and the counts

	// Start and End are the ends of the bucket as parameters of an address, for who selects several columns.
	Start, End string
}

// The heights of a histogram, in pixels: of the highest column, of the room above it, and of the room for ticks.
const (
	columnsHeight = 112
	aboveColumns  = 20
	ticksHeight   = 22
)

// mostSigns is how many columns a histogram has at most that signs stand above those with marked records. In more columns they would
// cover each other, and the hatching must do.
const mostSigns = 90

type column struct {
	Column
	X, Width, Middle string
	Top, Height      int // of the records that are not marked
	MarkTop, MarkHeight,
	SignAt int // 0: no sign
	Stop bool // the stop for the keyboard
}

// SVG draws the histogram.
func (h Histogram) SVG() (template.HTML, error) {
	most := uint64(1)
	for _, c := range h.Columns {
		most = max(most, c.Count)
	}
	pixels := func(n uint64) int {
		if n == 0 {
			return 0
		}
		return max(int(float64(n)/float64(most)*columnsHeight+0.5), 2)
	}
	base := aboveColumns + columnsHeight
	columns := make([]column, 0, len(h.Columns))
	for _, c := range h.Columns {
		if c.Count == 0 {
			continue
		}
		left, right := h.Span.at(c.From), h.Span.at(min(c.To, h.Span.To))
		if c.To >= h.Span.To {
			right = 1
		}
		gap := (right - left) * 0.12
		drawn := column{Column: c, X: percent(left + gap/2), Width: percent(max(right-left-gap, 0.001)), Middle: percent((left + right) / 2), Stop: len(columns) == 0}
		drawn.MarkHeight = pixels(c.Marked)
		drawn.MarkTop = base - drawn.MarkHeight
		drawn.Height = max(pixels(c.Count)-drawn.MarkHeight, 0)
		if c.Count > c.Marked {
			drawn.Height = max(drawn.Height, 1)
		}
		drawn.Top = drawn.MarkTop - drawn.Height
		if c.Marked > 0 && len(h.Columns) <= mostSigns {
			drawn.SignAt = drawn.Top - 5
		}
		columns = append(columns, drawn)
	}
	return draw("histogram", struct {
		Label                                     string
		Height, Base, Full, Above, TickAt, HalfAt int
		Most, Half                                string
		Columns                                   []column
		Ticks                                     []Tick
	}{
		h.Label, base + ticksHeight, base, columnsHeight, aboveColumns, base + ticksHeight - 6, aboveColumns + columnsHeight/2,
		strconv.FormatUint(most, 10), half(most), columns, h.Ticks,
	})
}

// half is the label of the line in the middle; an odd number has none.
func half(n uint64) string {
	if n%2 != 0 {
		return ""
	}
	return strconv.FormatUint(n/2, 10)
}
