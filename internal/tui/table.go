package tui

import (
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
)

// Gap separates two columns.
const Gap = "  "

// table draws rows under their columns in at most width columns of the terminal, 0 being any number, and says what it
// cut. The texts are harmless, so each line is as wide as DisplayWidth says, whatever is stored.
func (s *Screen) table(width int, columns []Column, rows [][]Cell) (string, cuts) {
	d := drawing{screen: s, columns: columns, rows: rows, headings: make([]string, len(columns)), natural: make([]int, len(columns))}
	d.texts = make([][]string, len(rows))
	for n := range rows {
		d.texts[n] = make([]string, len(columns))
	}
	write, alike := legible.Apart(looks(rows))
	brief := func(c Cell) string { return write(c.brief()) }
	for i, c := range columns {
		d.headings[i] = legible.Text(c.heading())
		d.natural[i] = d.fill(i, d.headings[i], brief)
	}
	shortened := d.shorten(width, write)
	var cut cuts
	d.widths, cut = fit(columns, d.natural, width)
	shortened = slices.DeleteFunc(shortened, func(name string) bool { return slices.Contains(cut.left, name) || slices.Contains(cut.shorter, name) })
	cut.shorter = append(shortened, cut.shorter...)
	cut.alike = alike
	return d.draw(), cut
}

// A drawing is a table while it is laid out.
type drawing struct {
	screen   *Screen
	columns  []Column
	rows     [][]Cell
	headings []string
	texts    [][]string // what is shown of rows
	natural  []int      // how wide each column would be
	widths   []int      // how wide each column is; 0: it is left out
}

// shorten shows the short texts of cells in a table that has too little room, and returns the headings of these columns.
//
// A time can lose its year, its zone and the fractions of its second: that is better than to leave a column out. The times
// of a row should look alike, so when the times of one column are short, those of the later columns are too. When all
// times of a column are of one year and one zone, its heading has these: without its year, an event of two years ago
// would look recent, and without its zone nobody could compare it with the time in another log. Of several columns with
// the same zone the first one has it, as long as no other stays longer.
func (d *drawing) shorten(width int, write func(string) string) (shortened []string) {
	brief := func(c Cell) string { return write(c.brief()) }
	timesToo := false
	var saidZones []string
	saidBy := Column{}
	for i, c := range d.columns {
		years := each(i, d.rows, func(c Cell) string { return c.Year })
		zones := each(i, d.rows, func(c Cell) string { return c.Zone })
		if !cramped(d.columns, d.natural, width) && !(timesToo && len(years) > 0) {
			continue
		}
		look := func(c Cell) string {
			text := write(c.short())
			if len(years) > 1 && c.Year != "" {
				text = c.Year + "-" + text
			}
			if len(zones) > 1 {
				text += c.Zone
			}
			return text
		}
		heading := d.headings[i]
		var about []string
		if len(years) == 1 {
			about = years
		}
		if len(zones) == 1 && (!slices.Equal(zones, saidZones) || saidBy.Rank > c.Rank) {
			about = append(about, strings.Replace(zones[0], "Z", "UTC", 1))
		}
		if len(about) > 0 {
			heading += " (" + strings.Join(about, ", ") + ")"
		}
		if n := d.fill(i, heading, look); n < d.natural[i] {
			d.natural[i], d.headings[i] = n, heading
			shortened = append(shortened, c.said())
			if timesToo = timesToo || len(years) > 0; len(zones) == 1 && saidZones == nil {
				saidZones, saidBy = zones, c
			}
		} else {
			d.fill(i, d.headings[i], brief)
		}
	}
	return shortened
}

// fill sets the texts of a column, and returns its width.
func (d *drawing) fill(i int, heading string, look func(Cell) string) int {
	width := DisplayWidth(heading)
	longest := 0 // fraction in this column
	for n, row := range d.rows {
		d.texts[n][i] = look(row[i])
		if d.columns[i].Right {
			longest = max(longest, len(fraction(d.texts[n][i])))
		}
	}
	for n := range d.rows {
		if s := d.texts[n][i]; longest > 0 && decimal.MatchString(s) {
			d.texts[n][i] += strings.Repeat(" ", longest-len(fraction(s)))
		}
		width = max(width, DisplayWidth(d.texts[n][i]))
	}
	return width
}

// draw writes the lines. A header that cannot be bold is underlined.
func (d *drawing) draw() string {
	var out strings.Builder
	out.WriteString(d.head())
	for n, row := range d.rows {
		d.line(&out, d.texts[n], func(i int, s string) string {
			if row[i].Alarm {
				return d.screen.Alarm(s)
			}
			return s
		})
	}
	return out.String()
}

// line writes one line, without blanks at its end.
func (d *drawing) line(out *strings.Builder, texts []string, look func(i int, s string) string) {
	blanks := 0 // to be written before the next text
	first := true
	for i, s := range texts {
		if d.widths[i] == 0 {
			continue
		}
		if !first {
			blanks += len(Gap)
		}
		first = false
		s = CutTo(s, d.widths[i], d.columns[i].Middle)
		free := d.widths[i] - DisplayWidth(s)
		if d.columns[i].Right {
			blanks += free
			// The blanks that align the point of a number with the others come after it.
			number := strings.TrimRight(s, " ")
			free, s = DisplayWidth(s)-DisplayWidth(number), number
		}
		if s != "" {
			out.WriteString(strings.Repeat(" ", blanks))
			out.WriteString(look(i, s))
			blanks = 0
		}
		blanks += free
	}
	out.WriteByte('\n')
}

// looks are the texts that a table of these rows may show.
func looks(rows [][]Cell) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, row := range rows {
			for _, c := range row {
				if !yield(c.brief()) || c.Short != "" && !yield(c.Short) {
					return
				}
			}
		}
	}
}

// decimal is a number that is aligned at its point.
var decimal = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// fraction is the decimal point of a number and the digits after it.
func fraction(s string) string {
	if m := decimal.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

// each are the texts that the cells of a column have of something, each once, in the order of the rows.
func each(i int, rows [][]Cell, of func(Cell) string) []string {
	var texts []string
	for _, row := range rows {
		if text := of(row[i]); text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// enough is the width at which a text that was cut is still understood.
const enough = 24

// cramped reports whether a table in width columns has to leave a column out, or to cut one to less than enough.
func cramped(columns []Column, natural []int, width int) bool {
	widths, _ := fit(columns, natural, width)
	for i := range widths {
		if widths[i] < min(natural[i], enough) {
			return true
		}
	}
	return false
}
