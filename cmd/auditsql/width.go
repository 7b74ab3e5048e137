package main

import (
	"strings"
	"unicode"
	"unicode/utf8"

	pretty "github.com/jedib0t/go-pretty/v6/text"
)

// displayWidth is how many columns of a terminal a harmless text takes.
func displayWidth(s string) int {
	width := 0
	for _, r := range s {
		width += runeWidth(r)
	}
	return width
}

// runeWidth is the number of columns of one character. go-pretty's table of widths counts most marks that
// stand above or below a letter as a column of their own (vowels in Thai, Hindi, Hebrew), and so do its
// tables; terminals do not. The same goes for the vowels and finals of which Hangul syllables are composed.
func runeWidth(r rune) int {
	switch {
	case r < 0x300: // none of those is below
	case unicode.In(r, unicode.Mn, unicode.Me), 0x1160 <= r && r <= 0x11ff:
		return 0
	}
	return pretty.RuneWidth(r)
}

// pad fills a text up to width columns, on its right or on its left.
func pad(s string, width int, left bool) string {
	blanks := strings.Repeat(" ", max(width-displayWidth(s), 0))
	if left {
		return blanks + s
	}
	return s + blanks
}

// cutTo shortens a text to width columns, at its end or in its middle, and shows that it did.
func cutTo(s string, width int, middle bool) string {
	if displayWidth(s) <= width {
		return s
	}
	const dots = '…'
	width -= runeWidth(dots) // 2 in the locales of East Asia
	if !middle {
		return firstColumns(s, width) + string(dots)
	}
	return firstColumns(s, width/2) + string(dots) + lastColumns(s, width-width/2)
}

// firstColumns is as much of the beginning of s as fits into width columns.
func firstColumns(s string, width int) string {
	for i, r := range s {
		if width -= runeWidth(r); width < 0 {
			return s[:i]
		}
	}
	return s
}

// lastColumns is as much of the end of s as fits into width columns. It begins with no mark, which would
// stand on what comes before.
func lastColumns(s string, width int) string {
	start := len(s)
	for i := len(s); i > 0; {
		r, size := utf8.DecodeLastRuneInString(s[:i])
		i -= size
		w := runeWidth(r)
		if width -= w; width < 0 {
			break
		}
		if w > 0 {
			start = i
		}
	}
	return s[start:]
}
