// Package phrase writes one question in the three ways in which somebody may ask it again: as the address of a page, as a command for a
// shell, and as SQL for a database.
//
// What comes from records may contain anything. Nothing here needs to trust it: an address is percent-encoded, a word of a command is
// quoted so that a shell takes it as it is, and a text in SQL is a literal. What no shell can be given has no command.
package phrase

import (
	"net/url"
	"strings"

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

// Command writes a command of auditsql on the store in dir. It returns "" when a word has a zero byte: no program can be given one.
func Command(dir string, words ...string) string {
	parts := []string{"auditsql"}
	if dir != "" {
		parts = append(parts, "-d", legible.ShellQuote(dir))
	}
	for _, word := range words {
		if strings.ContainsRune(word, 0) {
			return ""
		}
		parts = append(parts, legible.ShellQuote(word))
	}
	return strings.Join(parts, " ")
}
