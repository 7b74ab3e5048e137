package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	pretty "github.com/jedib0t/go-pretty/v6/text"
)

// gap is what stands between two columns.
const gap = "  "

// cuts are what tables left out because the terminal is not wide enough.
type cuts struct {
	width   int
	shorter []string // columns that were cut
	left    []string // columns that were left out
}

func (c *cuts) add(more cuts) {
	c.width = more.width
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
		fmt.Fprintf(a.err, "(cut to %d columns, %s; -o plain has it all)\n", c.width, harmless(strings.Join(said, ", ")))
	}
}

// table draws rows under their columns, as wide as the terminal allows, and says what it had to leave out.
func (a *app) table(columns []column, rows [][]cell) (string, cuts) {
	natural := make([]int, len(columns))
	for i, c := range columns {
		natural[i] = pretty.StringWidthWithoutEscSequences(c.heading())
		for _, row := range rows {
			natural[i] = max(natural[i], pretty.StringWidthWithoutEscSequences(row[i].shown()))
		}
	}
	widths, cut := fit(columns, natural, a.width())

	t := table.NewWriter()
	t.SetStyle(a.tableStyle())
	t.SuppressTrailingSpaces()
	var header table.Row
	var configs []table.ColumnConfig
	for i, c := range columns {
		if widths[i] == 0 {
			continue
		}
		header = append(header, a.strong(cutTo(c.heading(), widths[i], false)))
		config := table.ColumnConfig{Number: len(header)}
		if c.right {
			config.Align, config.AlignHeader = pretty.AlignRight, pretty.AlignRight
		}
		configs = append(configs, config)
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for _, row := range rows {
		var line table.Row
		for i, c := range row {
			if widths[i] == 0 {
				continue
			}
			value := cutTo(c.shown(), widths[i], columns[i].middle)
			if c.alarm {
				value = a.alarm(value)
			}
			line = append(line, value)
		}
		t.AppendRow(line)
	}
	return withoutOverhang(t.Render()) + "\n", cut
}

// withoutOverhang takes the gap behind the last column off the line below the header. It is taken off the
// others already, and where the table is as wide as the terminal it would make the line wrap.
func withoutOverhang(table string) string {
	lines := strings.SplitN(table, "\n", 3)
	if len(lines) > 1 && strings.Trim(lines[1], "-") == "" {
		lines[1] = strings.TrimSuffix(lines[1], strings.Repeat("-", len(gap)))
	}
	return strings.Join(lines, "\n")
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

func (a *app) tableStyle() table.Style {
	style := table.StyleDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", gap
	style.Format.Header = pretty.FormatDefault
	style.Options = table.Options{}
	style.Color = table.ColorOptions{}
	// Where the header cannot be bold it gets a line below it.
	style.Options.SeparateHeader = !a.outTerm.color
	return style
}

// cutTo shortens a text to width columns, at its end or in its middle, and shows that it did.
func cutTo(s string, width int, middle bool) string {
	if pretty.StringWidthWithoutEscSequences(s) <= width {
		return s
	}
	const dots = "…"
	width-- // for the dots
	if !middle {
		return pretty.Trim(s, width) + dots
	}
	head := pretty.Trim(s, width/2)
	tail := []rune(s)
	for pretty.StringWidthWithoutEscSequences(string(tail)) > width-width/2 {
		tail = tail[1:]
	}
	return head + dots + string(tail)
}

// fit says how wide each column may be so that a line is no longer than width; 0 leaves it out. A width
// of 0 fits everything.
func fit(columns []column, natural []int, width int) ([]int, cuts) {
	widths := slices.Clone(natural)
	if width == 0 {
		return widths, cuts{}
	}
	cut := cuts{width: width}
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
