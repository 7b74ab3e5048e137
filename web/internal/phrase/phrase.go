// Package phrase writes one question in the three ways in which somebody may ask it again: as the address of a page, as a command for a
// shell, and as SQL for a database.
//
// What comes from records may contain anything. Nothing here needs to trust it: an address is percent-encoded, a word of a command is
// quoted so that a shell takes it as it is, and a text in SQL is a literal. What no shell can be given has no command.
package phrase

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/auditsql/auditsql/internal/legible"
)

// An Address is where a link leads: a path of this server, with encoded parameters. Only To makes one, so nothing that is stored can
// be a scheme, a host or a fragment.
type Address string

// To returns the address of a path with parameters. The path begins with a slash, and the caller has checked what it puts into it: it has
// digits of hashes at most. Parameters without a value are kept.
func To(path string, values url.Values) Address {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		panic("phrase: " + path + " is no path of this server")
	}
	if len(values) == 0 {
		return Address(path)
	}
	return Address(path + "?" + values.Encode())
}

// Quote writes a word so that a POSIX shell reads it as it is. What nobody could see or type (control characters, characters that change
// the direction of writing) is in the form $'…', which bash, zsh and ksh read.
func Quote(word string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:=,@%+", r)
	}
	switch {
	case word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0:
		return word
	case legible.Text(word) == word:
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for len(word) > 0 {
		r, size := utf8.DecodeRuneInString(word)
		switch char := word[:size]; {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + char)
		case legible.Text(char) == char:
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

// Command writes a command of auditsql on the store in dir. It returns "" when a word has a zero byte: no program can be given one.
func Command(dir string, words ...string) string {
	parts := []string{"auditsql"}
	if dir != "" {
		parts = append(parts, "-d", Quote(dir))
	}
	for _, word := range words {
		if strings.ContainsRune(word, 0) {
			return ""
		}
		parts = append(parts, Quote(word))
	}
	return strings.Join(parts, " ")
}
