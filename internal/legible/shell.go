package legible

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// ShellQuote writes a word so that a POSIX shell reads it as it is. What nobody could see or type (control characters, characters that
// change the direction of writing) is in the form $'…', which bash, zsh and ksh read.
func ShellQuote(word string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:=,@%+", r)
	}
	switch {
	case word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0:
		return word
	case Text(word) == word:
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for len(word) > 0 {
		r, size := utf8.DecodeRuneInString(word)
		switch char := word[:size]; {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + char)
		case Text(char) == char:
			b.WriteString(char)
		default:
			// Octal, since a shell reads at most three digits of it: the text after it cannot become a part of the number.
			for i := range size {
				fmt.Fprintf(&b, `\%03o`, char[i])
			}
		}
		word = word[size:]
	}
	b.WriteString("'")
	return b.String()
}
