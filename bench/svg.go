package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The sizes of the picture, in pixels.
const (
	svgWidth, svgHeight = 860, 430
	svgLeft, svgRight   = 76, 150
	svgTop, svgBottom   = 46, 52
)

// lines differ in colour and in dashes. The colours are readable on white and on near-black.
var lineColours = []string{"#d6336c", "#1c7ed6", "#2f9e44", "#e8590c", "#7048e8", "#846358", "#b08900", "#0b7285", "#868e96"}

// svgOf draws the sustained curves: records a second against records. It draws the longest curve of each store. It returns
// "" if there are none.
func svgOf(rows []row) string {
	var curves []row
	highest, longest := 0.0, 0
	for _, r := range rows {
		if r.Workload == "sustained" && len(r.WindowRates) > 0 {
			curves = slices.DeleteFunc(curves, func(c row) bool { return c.Store == r.Store && c.N <= r.N })
			if slices.ContainsFunc(curves, func(c row) bool { return c.Store == r.Store }) {
				continue
			}
			curves = append(curves, r)
			highest = max(highest, slices.Max(r.WindowRates))
			longest = max(longest, len(r.WindowRates)*r.Window)
		}
	}
	if len(curves) == 0 {
		return ""
	}
	step := roundStep(highest / 5)
	top := math.Ceil(highest/step) * step
	x := func(records float64) float64 {
		return svgLeft + records/float64(longest)*(svgWidth-svgLeft-svgRight)
	}
	y := func(rate float64) float64 {
		return svgHeight - svgBottom - rate/top*(svgHeight-svgTop-svgBottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="sustained records a second">
<style>
  .paper { fill: #ffffff } .ink { fill: #212529 } .grid { stroke: #dee2e6 } .axis { stroke: #495057 }
  text { font: 13px system-ui, sans-serif }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #16181c } .ink { fill: #e9ecef } .grid { stroke: #343a40 } .axis { stroke: #adb5bd }
  }
</style>
<rect class="paper" width="%d" height="%d"/>
<text class="ink" x="%d" y="26" font-weight="bold">Records a second put by %d writers, counted when every question finds them</text>
`, svgWidth, svgHeight, svgWidth, svgHeight, svgLeft, curves[0].Writers)
	for rate := 0.0; rate <= top+step/2; rate += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="ink" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			svgLeft, svgWidth-svgRight, y(rate), y(rate), svgLeft-8, y(rate)+4, thousands(rate))
	}
	for i := range 6 {
		records := float64(longest) * float64(i) / 5
		fmt.Fprintf(&b, `<text class="ink" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(records), svgHeight-svgBottom+20, thousands(records))
	}
	fmt.Fprintf(&b, `<text class="ink" x="%d" y="%d" text-anchor="middle">records</text>`+"\n", (svgLeft+svgWidth-svgRight)/2, svgHeight-12)
	fmt.Fprintf(&b, `<path class="axis" fill="none" d="M%d %d V%d H%d"/>`+"\n", svgLeft, svgTop, svgHeight-svgBottom, svgWidth-svgRight)
	for i, c := range curves {
		colour, width, dash := lineColours[i%len(lineColours)], 2, ""
		if c.Store == "auditsql" {
			width = 4
		} else if i%2 == 1 {
			dash = ` stroke-dasharray="7 4"`
		}
		var points []string
		for k, rate := range c.WindowRates {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(float64((k+1)*c.Window)), y(rate)))
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="%d"%s points="%s"/>`+"\n", colour, width, dash, strings.Join(points, " "))
		at := svgTop + 14 + i*22
		fmt.Fprintf(&b, `<line stroke="%s" stroke-width="%d"%s x1="%d" x2="%d" y1="%d" y2="%d"/><text class="ink" x="%d" y="%d">%s</text>`+"\n",
			colour, width, dash, svgWidth-svgRight+14, svgWidth-svgRight+40, at, at, svgWidth-svgRight+48, at+4, c.Store)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// roundStep returns the smallest number of the form 1, 2 or 5 times a power of ten that is not below v.
func roundStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5, 10} {
		if f*power >= v {
			return f * power
		}
	}
	return 10 * power
}

func thousands(v float64) string {
	switch {
	case v >= 1e6:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v/1e6), ".0") + " M"
	case v >= 1e3:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v/1e3), ".0") + " k"
	}
	return fmt.Sprintf("%.0f", v)
}
