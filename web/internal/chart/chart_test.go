package chart_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/hostile"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/web/internal/chart"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

type fataler interface {
	Fatalf(string, ...any)
	Helper()
}

// marks reads a picture, and checks what every picture promises: it is well-formed, nothing lies outside of it, nothing has a style of its
// own, and every link has a name. It returns the elements.
func marks(t fataler, svg template.HTML, err error) []xml.StartElement {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
	var all []xml.StartElement
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v: %s", err, svg)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		all = append(all, e.Copy())
		for _, a := range e.Attr {
			switch name := a.Name.Local; name {
			case "x", "x1", "x2", "cx", "width":
				if part, isPart := strings.CutSuffix(a.Value, "%"); isPart {
					n, err := strconv.ParseFloat(part, 64)
					if err != nil || math.IsNaN(n) || n < 0 || n > 100 {
						t.Fatalf("%s %s=%q: %s", e.Name.Local, name, a.Value, svg)
					}
				}
			case "height":
				if n, err := strconv.Atoi(strings.TrimSuffix(a.Value, "%")); err != nil || n < 0 {
					t.Fatalf("%s %s=%q: %s", e.Name.Local, name, a.Value, svg)
				}
			case "style":
				t.Fatalf("has a style: %s", svg)
			}
		}
		if e.Name.Local == "a" && attr(e, "class") != "lane" && attr(e, "aria-label") == "" {
			t.Fatalf("a link without a name: %s", svg)
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func classes(all []xml.StartElement, class string) (n int) {
	for _, e := range all {
		if strings.Contains(" "+attr(e, "class")+" ", " "+class+" ") {
			n++
		}
	}
	return n
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint64Range(0, audit.MaxTimestamp-1).Draw(t, "from")
		size := rapid.Uint64Range(1, 1<<40).Draw(t, "size")
		h := chart.Histogram{Label: "records"}
		shown, marked := 0, 0
		n := rapid.IntRange(1, 120).Draw(t, "columns")
		for i := range n {
			start := from + uint64(i)*size
			c := chart.Column{From: start, To: start + size - 1, Count: rapid.Uint64().Draw(t, "count"), Name: legible.Visible(hostile.Text().Draw(t, "name")) + "x", Address: phrase.To("/list", nil)}
			if c.Count > 0 {
				c.Marked = rapid.Uint64Range(0, c.Count).Draw(t, "marked")
				shown++
			}
			if c.Marked > 0 {
				marked++
			}
			h.Columns = append(h.Columns, c)
		}
		h.Span = chart.Span{From: from, To: from + uint64(n)*size - 1}
		h.Ticks = chart.Ticks(h.Span, audit.Milliseconds, time.UTC)
		svg, err := h.SVG()
		all := marks(t, svg, err)
		if got := classes(all, "column"); got != shown {
			t.Fatalf("%d columns, want %d", got, shown)
		}
		if got := classes(all, "marked"); got != marked {
			t.Fatalf("%d hatched, want %d", got, marked)
		}
		stops := 0
		for _, e := range all {
			if attr(e, "tabindex") == "0" {
				stops++
			}
		}
		if shown > 0 && stops != 1 {
			t.Fatalf("%d stops for the keyboard", stops)
		}
	})
}

func TestLanes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint64Range(0, audit.MaxTimestamp).Draw(t, "from")
		to := rapid.Uint64Range(from, audit.MaxTimestamp).Draw(t, "to")
		l := chart.Lanes{Label: "answers", Span: chart.Span{From: from, To: to}, Steps: rapid.Bool().Draw(t, "steps")}
		dots, rings := 0, 0
		for range rapid.IntRange(1, 6).Draw(t, "lanes") {
			lane := chart.Lane{Kind: "agent", Name: legible.Visible(hostile.Text().Draw(t, "name")), First: from, Last: to}
			for range rapid.IntRange(0, 6).Draw(t, "dots") {
				d := chart.Dot{At: rapid.Uint64Range(from, to).Draw(t, "at"), Address: phrase.To("/q/00", nil), Name: "record", Ring: rapid.Bool().Draw(t, "ring"), Marked: rapid.Bool().Draw(t, "marked")}
				lane.Dots = append(lane.Dots, d)
				dots++
				if d.Ring {
					rings++
				}
			}
			l.Lanes = append(l.Lanes, lane)
		}
		l.Ticks = chart.Ticks(l.Span, audit.Seconds, time.UTC)
		svg, err := l.SVG()
		all := marks(t, svg, err)
		if got := classes(all, "dot"); got != dots {
			t.Fatalf("%d dots, want %d", got, dots)
		}
		if got := classes(all, "ring"); got != rings {
			t.Fatalf("%d rings, want %d", got, rings)
		}
	})
}

func TestBar(t *testing.T) {
	t.Parallel()
	for _, part := range []float64{-3, 0, 0.5, 1, 1e9, math.Inf(1), math.NaN()} {
		svg, err := chart.Bar{Part: part, Marked: true}.SVG()
		marks(t, svg, err)
	}
}

// Ticks are few, within the picture, at round times of the zone, and none where there are no times.
func TestTicks(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) uint64 {
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(parsed.UnixMilli())
	}
	for _, test := range []struct {
		from, to string
		zone     *time.Location
		want     string
	}{
		{"2026-11-23T09:30:00Z", "2026-11-23T10:27:03Z", time.UTC, "[09:30 09:40 09:50 10:00 10:10 10:20]"},
		{"2026-11-23T09:30:00Z", "2026-11-23T10:27:03Z", berlin, "[10:30 10:40 10:50 11:00 11:10 11:20]"},
		{"2026-11-23T09:30:00Z", "2026-11-23T09:30:04Z", time.UTC, "[09:30:00 09:30:01 09:30:02 09:30:03 09:30:04]"},
		{"2026-11-22T22:00:00Z", "2026-11-23T10:00:00Z", time.UTC, "[11-23 00:00 11-23 03:00 11-23 06:00 11-23 09:00]"},
		{"2026-11-01T00:00:00Z", "2026-11-30T00:00:00Z", time.UTC, "[2026-11-01 2026-11-07 2026-11-13 2026-11-19 2026-11-25]"},
	} {
		var labels []string
		for _, tick := range chart.Ticks(chart.Span{From: at(test.from), To: at(test.to)}, audit.Milliseconds, test.zone) {
			labels = append(labels, tick.Label)
		}
		if got := fmt.Sprint(labels); got != test.want {
			t.Errorf("%s to %s: %s, want %s", test.from, test.to, got, test.want)
		}
	}
	if ticks := chart.Ticks(chart.Span{From: audit.MaxTimestamp - 10, To: audit.MaxTimestamp}, audit.Seconds, time.UTC); ticks != nil {
		t.Errorf("after the year 9999: %v", ticks)
	}
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint64Range(0, 1<<50).Draw(t, "from")
		s := chart.Span{From: from, To: from + rapid.Uint64Range(1, 1<<45).Draw(t, "length")}
		unit := rapid.SampledFrom([]audit.TimeUnit{audit.Seconds, audit.Milliseconds, audit.Microseconds, audit.Nanoseconds}).Draw(t, "unit")
		zone := rapid.SampledFrom([]*time.Location{time.UTC, berlin}).Draw(t, "zone")
		if ticks := chart.Ticks(s, unit, zone); len(ticks) > 8 {
			t.Fatalf("%d ticks", len(ticks))
		}
	})
}
