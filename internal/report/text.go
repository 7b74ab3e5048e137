package report

import (
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/auditsql/auditsql/internal/legible"
)

// longestText is how many characters of a stored text a report shows. The records have all of it.
const longestText = 200

// stored writes a text that a stranger wrote, as a code span. In one nothing is markup: no link, no image, no HTML, no address that
// a reader of Markdown makes a link of. Backslashes would not do: readers make links of addresses also where something in them is
// escaped.
//
// What cannot be seen, or changes what is around it, is written as an escape, as in a terminal. So is a vertical bar: in a table it
// would end the cell, also within a code span.
func stored(s string) string {
	if s == "" {
		return "(empty)"
	}
	s = cut(legible.Visible(s), longestText)
	s = strings.ReplaceAll(s, "|", `\u007c`)
	// A span ends at as many backquotes as it begins with.
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	// A reader takes one blank away at each end, if there is one at both. A backquote at an end needs one.
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}

// storedOr is stored for a text that may be missing.
func storedOr(s *string) string {
	if s == nil {
		return none
	}
	return stored(*s)
}

// none is what a table shows where there is no value.
const none = "–"

// cut shortens a text to so many characters.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n == most-1 {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// longestRun is the length of the longest run of a character in a text.
func longestRun(s string, c rune) int {
	longest, run := 0, 0
	for _, r := range s {
		if r != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// block writes lines as a block of code. Each line is one line: it has no line end in it, and the block ends at a longer fence than
// any that is in it.
func block(kind string, lines ...string) string {
	longest := 2
	for _, line := range lines {
		longest = max(longest, longestRun(line, '`'))
	}
	fence := strings.Repeat("`", longest+1)
	return fence + kind + "\n" + strings.Join(lines, "\n") + "\n" + fence + "\n"
}

// visibleJSON writes a record of canonical JSON so that nothing in it is invisible or changes what is around it. All its characters
// that are not ASCII stand within texts, where JSON has escapes for them.
func visibleJSON(raw []byte) string {
	var b strings.Builder
	previous := rune(-1)
	for _, r := range string(raw) {
		if r < 0x7f && r >= ' ' || r >= utf8.RuneSelf && legible.Shown(r, previous) {
			b.WriteRune(r)
		} else if r > 0xffff {
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		previous = r
	}
	return b.String()
}
