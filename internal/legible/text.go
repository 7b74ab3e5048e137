// Package legible shows text that a stranger wrote to a person.
//
// [Text] and [Visible] make it harmless: what would change the terminal, or cannot be seen, is written as an escape.
// [Apart] writes texts that look the same in different ways, so that nobody takes one for the other. [Spellings] are the
// other ways to write a text that look the same.
package legible

import (
	"fmt"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Text makes stored text fit for a terminal and for one line of plain text. It writes escapes for control characters, for
// characters that change the direction of writing or cannot be seen, for marks without a letter or too many on one, and for
// invalid UTF-8. The rest is what it looks like. Backslashes stay as they are, so a text cannot be read back from it: JSON is
// for that.
func Text(s string) string {
	if isPlain(s) {
		return s
	}
	return escaped(s, func(int, rune) bool { return false })
}

// Visible is Text for a cell of a table, where nobody sees a blank at an end. It writes an escape for such a blank, and for
// every blank but U+0020. Of several blanks at an end the outermost one shows that there are others.
func Visible(s string) string {
	if isPlain(s) && (s == "" || s[0] != ' ' && s[len(s)-1] != ' ') {
		return s
	}
	return escaped(s, func(at int, r rune) bool { return isHiddenBlank(s, at, r) })
}

func isHiddenBlank(s string, at int, r rune) bool {
	return r == '\u00a0' || r == '\u3000' || r == ' ' && (at == 0 || at == len(s)-1)
}

// exact is Visible with escapes for everything that has another spelling, so that two texts that differ are never written
// alike. It doubles each backslash. Of a character that Unicode composes to another one (a letter and its marks, Hangul from
// its parts, the Kelvin sign) it escapes all but the letter.
func exact(s string) string {
	other := map[int]bool{} // offsets of what is to be escaped
	for at := 0; at < len(s); {
		end := at + norm.NFC.NextBoundaryInString(s[at:], true)
		if segment := s[at:end]; !norm.NFC.IsNormalString(segment) {
			for i, r := range segment {
				other[at+i] = i > 0 || !norm.NFC.IsNormalString(string(r))
			}
		}
		at = end
	}
	return escaped(s, func(at int, r rune) bool { return r == '\\' || other[at] || isHiddenBlank(s, at, r) })
}

// Apart returns how to write the texts of one screen. It writes as Visible does, and uses escapes for texts that differ
// and would still look the same. alike says whether there are such texts. Two texts look the same when Unicode's canonical
// composition makes them equal. Letters that only resemble each other, as in another alphabet, are not looked for.
func Apart(texts iter.Seq[string]) (write func(string) string, alike bool) {
	odd := false // if every text is shown as it is, no two that differ can look the same
	for s := range texts {
		odd = odd || appearance(s) != s
	}
	if !odd {
		return Visible, false
	}
	first := map[string]string{} // by appearance
	differ := map[string]bool{}  // appearances of texts that differ
	for s := range texts {
		look := appearance(s)
		if one, seen := first[look]; !seen {
			first[look] = s
		} else if one != s {
			differ[look] = true
		}
	}
	return func(s string) string {
		// Where other texts have doubled backslashes, a single one would look like an escape.
		if differ[appearance(s)] || len(differ) > 0 && strings.ContainsRune(s, '\\') {
			return exact(s)
		}
		return Visible(s)
	}, len(differ) > 0
}

// Spellings returns the other ways to write a text that look the same: with each letter and its marks as one character
// where there is one, and with all of them apart. Most texts have none.
func Spellings(s string) []string {
	var others []string
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		if other := form.String(s); other != s {
			others = append(others, other)
		}
	}
	return others
}

// EitherSpelling is a pattern that fits all spellings of a text. It has * for each part with more than one spelling.
func EitherSpelling(s string) string {
	var pattern strings.Builder
	for at := 0; at < len(s); {
		end := at + norm.NFC.NextBoundaryInString(s[at:], true)
		if segment := s[at:end]; len(Spellings(segment)) == 0 {
			pattern.WriteString(segment)
		} else {
			pattern.WriteByte('*')
		}
		at = end
	}
	return pattern.String()
}

// appearance is the same for texts that look the same.
func appearance(s string) string { return norm.NFC.String(Visible(s)) }

// escaped writes escapes for what is not Shown, and for what more says, which is asked with a character's offset.
func escaped(s string, more func(at int, r rune) bool) string {
	var b strings.Builder
	b.Grow(len(s) + 16)
	// The character before, and how many marks stand on it. At the beginning, and after an escape, no character could
	// take a mark.
	previous, marks := rune(-1), mostMarks
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		isShown := (r != utf8.RuneError || size > 1) && Shown(r, previous) && !more(i, r)
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
		case r == '\\':
			b.WriteString(`\\`)
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

// mostMarks is how many marks may stand on one letter. Written languages need no more than four (a Hebrew consonant with
// its dots, vowel and accent). Many more would cover the lines above and below.
const mostMarks = 4

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Shown reports whether a character may be shown as it is after previous, which is -1 at the beginning.
func Shown(r, previous rune) bool {
	switch {
	case r == '\u00a0' || r == '\u3000': // blanks that are at home in French and Japanese
		return true
	case r == '\u2800': // a symbol of Braille that has no dots
		return false
	case r == '\ufe0e' || r == '\ufe0f':
		// One of these says how the symbol before it looks. A row of them hides a message in what looks like a
		// single symbol.
		return previous > unicode.MaxASCII && !unicode.Is(unicode.Variation_Selector, previous)
	case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return false
	}
	return unicode.IsPrint(r)
}
