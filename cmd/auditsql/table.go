package main

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"

	pretty "github.com/jedib0t/go-pretty/v6/text"

	"github.com/auditsql/auditsql/internal/legible"
)

// gap is what stands between two columns.
const gap = "  "

// cuts are what a reader of tables should know of them: what they left out because the terminal is not wide
// enough, and that some texts only look the same.
type cuts struct {
	width   int
	shorter []string // columns that were cut
	left    []string // columns that were left out
	alike   bool     // texts that differ would have looked the same
}

func (c *cuts) add(more cuts) {
	c.width = more.width
	c.alike = c.alike || more.alike
	for _, name := range more.shorter {
		if !slices.Contains(c.shorter, name) {
			c.shorter = append(c.shorter, name)
		}
	}
	for _, name := range more.left {
		if !slices.Contains(c.left, name) {
			c.left = append(c.left, name)
		}
	}
}

// tell says it on standard error.
func (c *cuts) tell(a *app) {
	var said []string
	if len(c.shorter) > 0 {
		said = append(said, "shortened: "+strings.Join(c.shorter, ", "))
	}
	if len(c.left) > 0 {
		said = append(said, "left out: "+strings.Join(c.left, ", "))
	}
	if len(said) > 0 {
		to := c.width
		if to == 0 {
			to = widestColumn
		}
		a.say("(cut to %d columns, %s; -o plain has it all)", to, strings.Join(said, ", "))
	}
	if c.alike {
		a.say("(some texts differ and look the same: escapes show in what; -o json has them as they are)")
	}
}

// say tells on standard error what a person should know of what was printed.
func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.err, wrap(harmless(fmt.Sprintf(format, args...)), a.width()))
}

// wrap breaks a text into lines of at most width columns, at blanks where it can; 0 is any number.
func wrap(s string, width int) string {
	if width == 0 {
		return s
	}
	var b strings.Builder
	n := 0
	for i, word := range strings.Split(s, " ") {
		w := displayWidth(word)
		switch {
		case i == 0:
		case n+1+w > width && n > 0:
			b.WriteByte('\n')
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
		for n+w > width {
			part := firstColumns(word, width-n)
			if part == "" {
				break // one character that is wider than the line
			}
			b.WriteString(part + "\n")
			word = word[len(part):]
			n, w = 0, displayWidth(word)
		}
		b.WriteString(word)
		n += w
	}
	return b.String()
}

// table draws rows under their columns, as wide as the terminal allows, and says what it had to leave out.
// The texts are harmless, so each line is as wide as displayWidth says, whatever is stored.
func (a *app) table(columns []column, rows [][]cell) (string, cuts) {
	return a.tableWithin(a.width(), columns, rows)
}

// tableWithin is table in width columns; 0 is any number.
func (a *app) tableWithin(width int, columns []column, rows [][]cell) (string, cuts) {
	headings := make([]string, len(columns))
	shown := make([][]string, len(rows))
	for n := range rows {
		shown[n] = make([]string, len(columns))
	}
	write, alike := legible.Apart(looks(rows))
	natural := make([]int, len(columns))
	for i, c := range columns {
		headings[i] = harmless(c.heading())
		natural[i] = show(i, c, headings[i], rows, shown, func(c cell) string { return write(c.look()) })
	}
	var short []string
	timesToo := false
	for i, c := range columns {
		years := yearsIn(i, rows)
		if !cramped(columns, natural, width) && !(timesToo && len(years) > 0) {
			continue
		}
		// That a time has no year and no fraction of a second is less of a loss than a column. The times of a
		// row look alike, so when one is short all are. A year is told once when it is that of all of them:
		// without it, what happened two years ago looks like this month.
		look := func(c cell) string { return write(c.shortLook()) }
		heading := headings[i]
		switch {
		case len(years) == 1:
			heading += " (" + years[0] + ")"
		case len(years) > 1:
			look = func(c cell) string {
				if c.year == "" {
					return write(c.shortLook())
				}
				return c.year + "-" + c.shortLook()
			}
		}
		if n := show(i, c, heading, rows, shown, look); n < natural[i] {
			natural[i], headings[i] = n, heading
			short = append(short, c.heading())
			timesToo = timesToo || len(years) > 0
		} else {
			show(i, c, headings[i], rows, shown, func(c cell) string { return write(c.look()) })
		}
	}
	widths, cut := fit(columns, natural, width)
	short = slices.DeleteFunc(short, func(name string) bool { return slices.Contains(cut.left, name) || slices.Contains(cut.shorter, name) })
	cut.shorter = append(short, cut.shorter...)
	cut.alike = alike

	var out strings.Builder
	line := func(texts []string, look func(i int, s string) string) {
		blanks := 0 // owed: there are none at the end of a line
		first := true
		for i, s := range texts {
			if widths[i] == 0 {
				continue
			}
			if !first {
				blanks += len(gap)
			}
			first = false
			s = cutTo(s, widths[i], columns[i].middle)
			free := widths[i] - displayWidth(s)
			if columns[i].right {
				blanks += free
				free = 0
				// The blanks behind a number whose point is below those of the others.
				number := strings.TrimRight(s, " ")
				free, s = displayWidth(s)-displayWidth(number), number
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
	line(headings, func(_ int, s string) string { return a.strong(s) })
	if !a.outTerm.color {
		// Where the header cannot be bold it gets a line below it.
		out.WriteString(strings.Repeat("-", total(widths)) + "\n")
	}
	for n, row := range rows {
		line(shown[n], func(i int, s string) string {
			if row[i].alarm {
				return a.alarm(s)
			}
			return s
		})
	}
	return out.String(), cut
}

// looks are the texts that a table of these rows may show.
func looks(rows [][]cell) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, row := range rows {
			for _, c := range row {
				if !yield(c.look()) || c.short != "" && !yield(c.short) {
					return
				}
			}
		}
	}
}

// show fills a column of what a table shows, and returns its width.
func show(i int, c column, heading string, rows [][]cell, shown [][]string, look func(cell) string) int {
	width := displayWidth(heading)
	most := 0 // that follows a whole number in this column
	for n, row := range rows {
		shown[n][i] = look(row[i])
		if c.right {
			most = max(most, len(fraction(shown[n][i])))
		}
	}
	for n := range rows {
		if s := shown[n][i]; most > 0 && decimal.MatchString(s) {
			shown[n][i] += strings.Repeat(" ", most-len(fraction(s)))
		}
		width = max(width, displayWidth(shown[n][i]))
	}
	return width
}

// decimal is a number as people compare it, point below point.
var decimal = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// fraction is the decimal point of a number and what is behind it.
func fraction(s string) string {
	if m := decimal.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

// yearsIn are the years of the times in a column, in order and each once.
func yearsIn(i int, rows [][]cell) []string {
	var years []string
	for _, row := range rows {
		if y := row[i].year; y != "" && !slices.Contains(years, y) {
			years = append(years, y)
		}
	}
	return years
}

// enough is the width of a text that is cut and still says something.
const enough = 24

// cramped reports whether a table in width columns has to leave something out, or to cut it to little.
func cramped(columns []column, natural []int, width int) bool {
	widths, _ := fit(columns, natural, width)
	for i := range widths {
		if widths[i] < min(natural[i], enough) {
			return true
		}
	}
	return false
}

// alarm makes a value of a table or a detail view catch the eye.
func (a *app) alarm(s string) string {
	if !a.outTerm.color || s == "" {
		return s
	}
	return pretty.Colors{pretty.FgYellow, pretty.Bold}.Sprint(s)
}

// strong makes a heading of a detail view stand out.
func (a *app) strong(s string) string {
	if !a.outTerm.color {
		return s
	}
	return pretty.Bold.Sprint(s)
}

// widestColumn is how wide a column gets where nobody said how wide is too wide. Every line of a table is
// filled up to its widest one, so a text of a megabyte would make a gigabyte of a thousand lines.
const widestColumn = 1000

// fit says how wide each column may be so that a line is no longer than width; 0 leaves it out. A width
// of 0 fits everything that is no longer than widestColumn.
func fit(columns []column, natural []int, width int) ([]int, cuts) {
	widths := slices.Clone(natural)
	cut := cuts{width: width}
	if width == 0 {
		for i, c := range columns {
			if widths[i] > widestColumn && c.flexible {
				widths[i] = widestColumn
				cut.shorter = append(cut.shorter, c.heading())
			}
		}
		return widths, cut
	}
	for total(widths) > width {
		// Enough if the flexible columns went down to their least? Else the next one goes.
		least := 0
		for i, c := range columns {
			if widths[i] > 0 {
				least += len(gap) + leastOf(c, widths[i])
			}
		}
		if least-len(gap) <= width {
			break
		}
		last := -1
		for i, c := range columns {
			if widths[i] > 0 && c.rank > 0 && (last < 0 || c.rank >= columns[last].rank) {
				last = i
			}
		}
		if last < 0 {
			break
		}
		widths[last] = 0
		cut.left = append(cut.left, columns[last].heading())
	}
	// The widest flexible column gives way first, so that short texts stay whole beside a long one. When no
	// column is left that could be left out, they go below what they should have.
	for over := total(widths) - width; over > 0; over-- {
		widest := -1
		for i, c := range columns {
			if c.flexible && widths[i] > shortest && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	for i, c := range columns {
		if widths[i] > 0 && widths[i] < natural[i] {
			cut.shorter = append(cut.shorter, c.heading())
		}
	}
	return widths, cut
}

// shortest is how far a text may be cut at all.
const shortest = 4

// leastOf is the width to which a column may be cut that would take natural.
func leastOf(c column, natural int) int {
	if c.flexible {
		return min(c.least, natural)
	}
	return natural
}

func total(widths []int) int {
	sum := 0
	for _, w := range widths {
		if w > 0 {
			sum += w + len(gap)
		}
	}
	return max(sum-len(gap), 0)
}
