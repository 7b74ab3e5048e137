package audit

import "strings"

// SQLGlob writes a pattern of Filter.SubjectGlob for SQLite's operator GLOB. There a set that begins with ! is one that begins
// with ^, and a [ that no ] closes matches nothing instead of itself.
func SQLGlob(pattern string) string {
	var b strings.Builder
	for pattern != "" {
		switch length := setLength(pattern); {
		case length > 0 && pattern[1] == '!':
			b.WriteString("[^" + pattern[2:length])
			pattern = pattern[length:]
		case length > 0:
			b.WriteString(pattern[:length])
			pattern = pattern[length:]
		case pattern[0] == '[':
			b.WriteString("[[]")
			pattern = pattern[1:]
		default:
			b.WriteByte(pattern[0])
			pattern = pattern[1:]
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

// setLength returns how long the set is that a pattern begins with, 0 if it begins with none.
func setLength(pattern string) int {
	if pattern[0] != '[' {
		return 0
	}
	begin := 1
	if strings.HasPrefix(pattern[1:], "!") || strings.HasPrefix(pattern[1:], "^") {
		begin = 2
	}
	if begin >= len(pattern) {
		return 0
	}
	// A ] that is the first of the set belongs to it.
	end := strings.IndexByte(pattern[begin+1:], ']')
	if end < 0 {
		return 0
	}
	return begin + 1 + end + 1
}
