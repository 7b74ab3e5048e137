// Package chart draws the few pictures of the pages as SVG: a histogram over time, lanes over time, and a bar.
//
// A picture is a value with numbers and names in, and markup out. Positions along the time are percentages, so a picture is as wide as
// its place and its letters keep their size. There are no colours and no style here: classes say what a mark means, and the style sheet
// of the pages says what that looks like, in the light and in the dark. What must be seen without colours has a shape: a hatched part, a
// ring, a sign.
//
// Every mark is a link with a name, so a picture can be read and used without eyes and without a mouse. A reader who does not want to
// step through all of them finds one stop in each picture; the same links are in the table beside it.
//
// Names may come from records. The caller makes them legible; here they are escaped for markup.
package chart

import (
	"embed"
	"html/template"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/auditsql/auditsql/web/internal/phrase"
)

//go:embed chart.html
var files embed.FS

var templates = sync.OnceValue(func() *template.Template { // when the first picture is drawn
	return template.Must(template.New("").Funcs(template.FuncMap{
		"href": func(a phrase.Address) string { return string(a) },
	}).ParseFS(files, "chart.html"))
})

func draw(name string, picture any) (template.HTML, error) {
	var b strings.Builder
	err := templates().ExecuteTemplate(&b, name, picture)
	return template.HTML(b.String()), err
}

// A Span is the time that a picture shows, as timestamps, both ends inclusive.
type Span struct{ From, To uint64 }

// at is where a timestamp is in the span, from 0 to 1.
func (s Span) at(timestamp uint64) float64 {
	if timestamp <= s.From || s.To <= s.From {
		return 0
	}
	return min(float64(timestamp-s.From)/(float64(s.To-s.From)+1), 1)
}

// percent writes a part of the width.
func percent(part float64) string { return strconv.FormatFloat(100*part, 'f', 3, 64) + "%" }

// A Bar is a part of a whole, as a bar in a row of a table. The number stands beside it.
type Bar struct {
	Part   float64 // from 0 to 1
	Marked bool    // hatched
}

// SVG draws the bar. It is decoration: the number says the same.
func (b Bar) SVG() (template.HTML, error) {
	part := min(max(b.Part, 0), 1)
	if math.IsNaN(part) { // a part of nothing
		part = 0
	}
	return draw("bar", struct {
		Width  string
		Marked bool
	}{percent(part), b.Marked})
}
