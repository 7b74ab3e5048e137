package tui

import (
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
)

// A steady table is printed in pieces, as its rows come, with one head. Nobody knows the rows that will come. So its columns keep
// the widths that they have, and only grow as far as the terminal has room.
type steady struct {
	begun   bool
	short   bool  // times have no fractions of a second; decided by the first piece
	natural []int // how wide each column would be for all rows so far
}

// Steady makes a table one whose rows are printed by Flush, without waiting for others. Other forms do so anyway.
func (r *Rows) Steady() { r.steady = &steady{} }

// piece draws the next rows of a steady table.
func (s *Screen) piece(t *steady, width int, columns []Column, rows [][]Cell) (string, cuts) {
	d := drawing{screen: s, columns: columns, rows: rows, headings: make([]string, len(columns)), natural: make([]int, len(columns))}
	d.texts = make([][]string, len(rows))
	for n := range rows {
		d.texts[n] = make([]string, len(columns))
	}
	write, alike := legible.Apart(looks(rows))
	fill := func() {
		for i, c := range columns {
			d.headings[i] = legible.Text(c.heading())
			d.natural[i] = d.fill(i, d.headings[i], func(cell Cell) string { return write(cell.steadily(t.short)) })
			if c.Flexible {
				d.natural[i] = max(d.natural[i], c.Least)
			}
			if t.natural != nil {
				d.natural[i] = max(d.natural[i], t.natural[i])
			}
		}
	}
	fill()
	if !t.begun && cramped(columns, d.natural, width) {
		t.short = true
		fill()
	}
	t.natural = d.natural
	var cut cuts
	d.widths, cut = fit(columns, d.natural, width)
	cut.alike = alike
	drawn := d.draw()
	if t.begun {
		drawn = drawn[len(d.head()):]
	}
	t.begun = true
	return drawn, cut
}

// steadily is the text of a cell in a steady table. A short time keeps its date: there is no heading that could have the year of
// the rows that will come.
func (c Cell) steadily(short bool) string {
	if short && c.Year != "" {
		return c.Year + "-" + c.short()
	}
	return c.brief()
}

// head is the first line of a table, and what underlines it.
func (d *drawing) head() string {
	var out strings.Builder
	d.line(&out, d.headings, func(_ int, s string) string { return d.screen.Strong(s) })
	if !d.screen.OutTerm.Color {
		out.WriteString(strings.Repeat("-", total(d.widths)) + "\n")
	}
	return out.String()
}
