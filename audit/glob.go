package audit

import (
	"strings"
	"unicode/utf8"
)

// SQLGlob writes a pattern of Filter.SubjectGlob for SQLite's operator GLOB. There a set that begins with ! is one that begins
// with ^, and a [ that no ] closes matches nothing instead of itself.
func SQLGlob(pattern string) string {
	var b strings.Builder
	for _, part := range parseGlob(pattern) {
		switch {
		case part.set == nil:
			b.WriteString(part.text)
		case part.negated:
			b.WriteString("[^" + part.text + "]")
		default:
			b.WriteString("[" + part.text + "]")
		}
	}
	return b.String()
}

func sqlGlobOf(pattern *string) *string {
	if pattern == nil {
		return nil
	}
	s := SQLGlob(*pattern)
	return &s
}

// globPart is a character of a pattern, or a set of characters.
type globPart struct {
	text    string      // as it is in the pattern; of a set what is between the brackets, without the negation
	set     []runeRange // nil: no set
	negated bool
	wild    byte // * or ?, 0 for a character that stands for itself
}

type runeRange struct{ from, to rune }

// parseGlob reads a pattern as a shell does.
func parseGlob(pattern string) (parts []globPart) {
	for len(pattern) > 0 {
		if set, length := parseSet(pattern); length > 0 {
			parts, pattern = append(parts, set), pattern[length:]
			continue
		}
		_, n := utf8.DecodeRuneInString(pattern)
		part := globPart{text: pattern[:n]}
		switch pattern[0] {
		case '*', '?':
			part.wild = pattern[0]
		case '[': // nothing closes it
			part = globPart{text: "[", set: []runeRange{{'[', '['}}}
		}
		parts, pattern = append(parts, part), pattern[n:]
	}
	return parts
}

// parseSet reads the set that a pattern begins with, and returns how long it is. 0 means that the pattern begins with none.
func parseSet(pattern string) (set globPart, length int) {
	if pattern[0] != '[' {
		return set, 0
	}
	begin := 1
	if strings.HasPrefix(pattern[1:], "!") || strings.HasPrefix(pattern[1:], "^") {
		set.negated, begin = true, 2
	}
	// A ] that is the first of the set belongs to it.
	end := -1
	if begin < len(pattern) {
		end = strings.IndexByte(pattern[begin+1:], ']')
	}
	if end < 0 {
		return set, 0
	}
	set.text = pattern[begin : begin+1+end]
	chars := []rune(set.text)
	set.set = []runeRange{}
	for i := 0; i < len(chars); i++ {
		// SQLite begins no range with a ] that is the first of the set.
		if i+2 < len(chars) && chars[i+1] == '-' && (i > 0 || chars[0] != ']') {
			set.set = append(set.set, runeRange{chars[i], chars[i+2]})
			i += 2
			continue
		}
		set.set = append(set.set, runeRange{chars[i], chars[i]})
	}
	return set, begin + 1 + end + 1
}

// matches reports whether the part is this character.
func (p *globPart) matches(c rune, text string) bool {
	switch {
	case p.wild == '?':
		return true
	case p.set == nil:
		return p.text == text
	}
	in := false
	for _, r := range p.set {
		in = in || r.from <= c && c <= r.to
	}
	return in != p.negated
}

// globMatches reports whether a pattern of Filter.SubjectGlob matches a text, as SQLite's GLOB tells it of SQLGlob.
func globMatches(pattern, text string) bool {
	parts := parseGlob(pattern)
	// After a * the rest is tried at each place. Only the last * needs to be tried again: what an earlier one takes more of, the
	// last one can take less of.
	i, star, retry := 0, -1, ""
	for len(text) > 0 {
		c, n := utf8.DecodeRuneInString(text)
		switch {
		case i < len(parts) && parts[i].wild == '*':
			star, retry = i, text
			i++
		case i < len(parts) && parts[i].matches(c, text[:n]):
			i++
			text = text[n:]
		case star >= 0:
			_, n := utf8.DecodeRuneInString(retry)
			retry = retry[n:]
			i, text = star+1, retry
		default:
			return false
		}
	}
	for i < len(parts) && parts[i].wild == '*' {
		i++
	}
	return i == len(parts)
}
