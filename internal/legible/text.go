// Package legible tells what of a text can be seen for what it is: by a person who reads it on a terminal, and
// types it again.
package legible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text makes stored text fit for a terminal and for one line of plain text: control and escape
// characters, what turns the direction of writing, what cannot be seen, marks without a letter or in a heap,
// and invalid UTF-8 are written as escapes. What is left is what it looks like. Backslashes stay as they
// are, so the way back is not unambiguous: JSON is for that.
func Text(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	// What stands before: the character, and the marks on it. At the beginning and behind an escape there
	// is none that could take a mark.
	previous, marks := rune(-1), mostMarks
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		isShown := (r != utf8.RuneError || size > 1) && Shown(r, previous)
		switch {
		case !isShown, unicode.IsMark(r) && marks == mostMarks:
			isShown, previous, marks = false, -1, mostMarks
		case unicode.IsMark(r):
			previous, marks = r, marks+1
		default:
			previous, marks = r, 0
		}
		switch {
		case isShown:
			b.WriteString(s[i : i+size])
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.String()
}

// mostMarks is how many marks may stand on one letter. Written languages make do with four (a Hebrew
// consonant with its dots, vowel and accent); a heap of them covers the lines around it.
const mostMarks = 4

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Shown reports whether a character may stand as it is behind previous, which is -1 if there is none.
func Shown(r, previous rune) bool {
	switch {
	case r == '\u00a0' || r == '\u3000': // blanks that are at home in French and Japanese
		return true
	case r == '\ufe0e' || r == '\ufe0f':
		// One of these says how the symbol before it looks. A row of them hides a message in what seems
		// to be a single symbol.
		return previous > unicode.MaxASCII && !unicode.Is(unicode.Variation_Selector, previous)
	case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return false
	}
	return unicode.IsPrint(r)
}
