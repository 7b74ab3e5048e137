package tui

import (
	"slices"
	"strings"
)

// cuts are what a reader of tables should know: what was left out because the terminal is not wide enough, and whether
// some texts look the same although they differ.
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

// tell prints the cuts on standard error.
func (c *cuts) tell(s *Screen) {
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
		s.Say("(cut to %d columns, %s; -o plain has it all)", to, strings.Join(said, ", "))
	}
	if c.alike {
		s.Say("(some texts differ and look the same: escapes show in what; -o json has them as they are)")
	}
}

// widestColumn is how wide a flexible column gets in a table of any width. Every line is filled up to the widest one, so
// one text of a megabyte would turn a thousand lines into a gigabyte.
const widestColumn = 1000

// fit returns how wide each column becomes, so that a line is no wider than width; a column of width 0 is left out. When
// width is 0, lines may have any width, and fit only cuts flexible columns to widestColumn.
func fit(columns []Column, natural []int, width int) ([]int, cuts) {
	widths := slices.Clone(natural)
	cut := cuts{width: width}
	if width == 0 {
		for i, c := range columns {
			if widths[i] > widestColumn && c.Flexible {
				widths[i] = widestColumn
				cut.shorter = append(cut.shorter, c.said())
			}
		}
		return widths, cut
	}
	for total(widths) > width {
		// A column is left out only if the line is still too wide when all flexible columns are cut to their least.
		least := 0
		for i, c := range columns {
			if widths[i] > 0 {
				least += len(Gap) + leastOf(c, widths[i])
			}
		}
		if least-len(Gap) <= width {
			break
		}
		last, left := -1, 0
		for i, c := range columns {
			if widths[i] == 0 {
				continue
			}
			left++
			if last < 0 || c.Rank >= columns[last].Rank {
				last = i
			}
		}
		// A column of rank 0 or less goes only where the narrowest flexible columns do not help. It does go there: a line that
		// the terminal breaks cannot be read at all.
		if columns[last].Rank <= 0 && (left == 1 || tightest(columns, widths) <= width) {
			break
		}
		widths[last] = 0
		cut.left = append(cut.left, columns[last].said())
	}
	// The widest flexible column is cut first, so that short texts stay whole beside a long one. When no other column can
	// be left out, columns get narrower than their least.
	for over := total(widths) - width; over > 0; over-- {
		widest := -1
		for i, c := range columns {
			if c.Flexible && widths[i] > shortest && (widest < 0 || widths[i] > widths[widest]) {
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
			cut.shorter = append(cut.shorter, c.said())
		}
	}
	return widths, cut
}

// tightest is how wide a line is whose flexible columns are as narrow as they can be.
func tightest(columns []Column, widths []int) int {
	least := slices.Clone(widths)
	for i, c := range columns {
		if c.Flexible {
			least[i] = min(least[i], shortest)
		}
	}
	return total(least)
}

// shortest is the width to which a text may be cut at all.
const shortest = 4

// leastOf is the width to which a column may be cut. natural is its width when it is not cut.
func leastOf(c Column, natural int) int {
	if c.Flexible {
		return min(c.Least, natural)
	}
	return natural
}

func total(widths []int) int {
	sum := 0
	for _, w := range widths {
		if w > 0 {
			sum += w + len(Gap)
		}
	}
	return max(sum-len(Gap), 0)
}
