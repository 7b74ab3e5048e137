package evidence

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/auditsql/auditsql/tree"
)

// maxText is how long a text may be that is read here, in bytes. A proof with a hundred signatures has some 20,000.
const maxText = 1 << 20

// ParseError says where a text is not in its format.
type ParseError struct {
	What string // "checkpoint", "proof", "policy", "signatures", "hashes", "verifier key", "private key"
	Line int    // from 1; 0 when it is about the whole text
	Err  error  // what is wrong there
}

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.What, e.Err)
	}
	return fmt.Sprintf("%s, line %d: %v", e.What, e.Line, e.Err)
}

func (e *ParseError) Unwrap() error { return e.Err }

// text is the lines of a text that is being read from top to bottom.
type text struct {
	what  string
	lines []string // what is left
	line  int      // the number of the last line that was taken, from 1
}

// newText splits b into lines. It refuses what no format here allows: a last line without its end, carriage returns
// and other control characters, bytes that are not UTF-8.
func newText(what string, b []byte) (*text, error) {
	t := &text{what: what}
	if len(b) > maxText {
		return nil, t.errorf("it has %d bytes, more than %d", len(b), maxText)
	}
	s := string(b)
	if s == "" {
		return nil, t.errorf("it is empty")
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		t.line = i + 1
		switch {
		case strings.Contains(line, "\r"):
			return nil, t.errorf("it has a carriage return: lines end in a line feed alone")
		case !utf8.ValidString(line):
			return nil, t.errorf("it is not valid UTF-8")
		case strings.ContainsFunc(line, func(r rune) bool { return r < 0x20 }):
			return nil, t.errorf("it has a control character")
		}
	}
	if lines[len(lines)-1] != "" {
		return nil, t.errorf("the last line does not end in a line feed: the text was cut")
	}
	return &text{what: what, lines: lines[:len(lines)-1]}, nil
}

func (t *text) errorf(format string, args ...any) error {
	return &ParseError{t.what, t.line, fmt.Errorf(format, args...)}
}

// next takes the next line. It is "" after the last one: there ok is false.
func (t *text) next() (line string, ok bool) {
	t.line++
	if len(t.lines) == 0 {
		return "", false
	}
	line, t.lines = t.lines[0], t.lines[1:]
	return line, true
}

// bytes returns the lines that are left, as they stood in the text.
func (t *text) bytes() []byte {
	if len(t.lines) == 0 {
		return nil
	}
	return []byte(strings.Join(t.lines, "\n") + "\n")
}

var (
	errLeadingZero  = errors.New("it begins with a zero or a sign")
	errNotNumber    = errors.New("it is not a number in decimal digits")
	errNotBase64    = errors.New("it is not standard base64 with padding")
	errNotCanonical = errors.New("its base64 is not canonical: the last bits, which no byte uses, are not zero")
)

// parseNumber reads a decimal number from 0 to the largest size of a tree.
func parseNumber(s string) (int64, error) {
	digits := strings.TrimLeft(s, "+-")
	if digits == "" || strings.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, errNotNumber
	}
	if s != digits || len(s) > 1 && s[0] == '0' {
		return 0, errLeadingZero
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > tree.MaxSize {
		return 0, fmt.Errorf("it is larger than any log, which has at most %d records", int64(tree.MaxSize))
	}
	return n, nil
}

// parseBase64 reads the one base64 form of bytes.
func parseBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // the decoder skips these two
		return nil, errNotBase64
	}
	if base64.StdEncoding.EncodeToString(b) != s {
		return nil, errNotCanonical
	}
	return b, nil
}

// parseHash reads a hash in base64.
func parseHash(s string) (h tree.Hash, err error) {
	b, err := parseBase64(s)
	if err != nil {
		return h, err
	}
	if len(b) != tree.HashSize {
		return h, fmt.Errorf("it has %d bytes, a hash has %d", len(b), tree.HashSize)
	}
	return tree.Hash(b), nil
}

// checkName refuses what cannot be the name of a key, and so not an origin either.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case !utf8.ValidString(name):
		return errors.New("the name is not valid UTF-8")
	case strings.Contains(name, "+"):
		return errors.New("the name has a plus in it, which separates the parts of a key")
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r < 0x20 }):
		return errors.New("the name has a space or a control character in it")
	}
	return nil
}
