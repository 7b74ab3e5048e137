package tui

import (
	"strings"
	"unicode"
	"unicode/utf8"

	pretty "github.com/jedib0t/go-pretty/v6/text"
)

// DisplayWidth is how many columns of a terminal a harmless text takes.
func DisplayWidth(s string) int {
	width := 0
	for _, r := range s {
		width += runeWidth(r)
	}
	return width
}

// runeWidth is the number of columns of one character. go-pretty counts a column for most marks that stand above or below
// a letter (vowels in Thai, Hindi, Hebrew), and terminals do not. The same goes for the vowels and finals of which Hangul
// syllables are composed.
func runeWidth(r rune) int {
	switch {
	case r < 0x300: // none of these has a lower code point
	case unicode.In(r, unicode.Mn, unicode.Me), 0x1160 <= r && r <= 0x11ff:
		return 0
	}
	return pretty.RuneWidth(r)
}

// Pad fills a text with blanks up to width columns.
func Pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-DisplayWidth(s), 0))
}

// CutTo shortens a text to width columns, at its end or in its middle, and shows that it did.
func CutTo(s string, width int, middle bool) string {
	if DisplayWidth(s) <= width {
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

// lastColumns is as much of the end of s as fits into width columns. It does not begin with a mark, which would stand on
// the character before it.
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

// Wrap breaks a text into lines of at most width columns, at blanks where it can; 0 is any number.
func Wrap(s string, width int) string {
	if width == 0 {
		return s
	}
	var b strings.Builder
	n := 0
	for i, word := range strings.Split(s, " ") {
		w := DisplayWidth(word)
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
			n, w = 0, DisplayWidth(word)
		}
		b.WriteString(word)
		n += w
	}
	return b.String()
}

// TrimLines is a text without blanks at the ends of its lines, nor empty lines at its end.
func TrimLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, " \n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
