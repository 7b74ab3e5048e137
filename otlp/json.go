package otlp

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Values may be nested so deep. Real attributes have less than ten levels. In the JSON of OTLP a level of a value is four levels of
// JSON, and the span itself is eight levels down.
const (
	maxDepth     = 64
	maxJSONDepth = 4*maxDepth + 12
)

var (
	errTooDeep = errors.New("it is nested too deep")
	errCut     = errors.New("the JSON ends too early")
	errSyntax  = errors.New("this is not JSON")
	// What stands in the place of a number may be words that nobody may log, so these errors do not have it.
	errNoUnsigned = errors.New("this is no unsigned number")
	errNoInteger  = errors.New("this is no whole number")
	errNoNumber   = errors.New("this is no number")
	errTooMany    = fmt.Errorf("it has more than %d values", maxValues)
)

// maxValues is how many values a JSON text in an attribute may have. A value takes twenty times as much memory as its two bytes of text.
const maxValues = 1 << 20

// A scanner reads one JSON text. It reads exactly what RFC 8259 allows, and takes each byte once.
//
// encoding/json is not used here, because it would keep only the last of two members with one name, and half of its time goes
// into copying texts of which nearly all are thrown away. Strings of a scanner share the memory of the text unless they contain
// escapes, so what is kept for long must be cloned.
type scanner struct {
	s     string
	pos   int
	depth int
	left  int // one more than the values that may still come; 0: any number
}

// newScanner reads a text. Bytes that are no UTF-8 count as U+FFFD.
func newScanner(text string) *scanner {
	return &scanner{s: valid(text)}
}

func (s *scanner) fail(err error) error {
	if err == errSyntax && s.pos >= len(s.s) {
		err = errCut
	}
	return fmt.Errorf("%w at byte %d", err, s.pos)
}

// peek skips blanks and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.s) {
		switch c := s.s[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// end returns an error if something other than blanks follows.
func (s *scanner) end() error {
	if s.peek() != 0 || s.pos < len(s.s) {
		return s.fail(errSyntax)
	}
	return nil
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.pos >= len(s.s) {
		return false
	}
	s.pos++
	return true
}

// null takes null, if that comes next.
func (s *scanner) null() bool {
	if s.peek() == 'n' && strings.HasPrefix(s.s[s.pos:], "null") {
		s.pos += len("null")
		return true
	}
	return false
}

func (s *scanner) enter() error {
	if s.depth++; s.depth > maxJSONDepth {
		return s.fail(errTooDeep)
	}
	return nil
}

// object calls each for every member. Each must take the member's value. A null has no members.
func (s *scanner) object(each func(key string) error) error {
	if s.null() {
		return nil
	}
	if !s.take('{') {
		return s.fail(errSyntax)
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer func() { s.depth-- }()
	if s.take('}') {
		return nil
	}
	for {
		key, err := s.str()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return s.fail(errSyntax)
		}
		if err := each(key); err != nil {
			return err
		}
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return s.fail(errSyntax)
		}
	}
}

// array calls each for every element. Each must take the element. A null has no elements.
func (s *scanner) array(each func() error) error {
	if s.null() {
		return nil
	}
	if !s.take('[') {
		return s.fail(errSyntax)
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer func() { s.depth-- }()
	if s.take(']') {
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.fail(errSyntax)
		}
	}
}

// str takes a string.
func (s *scanner) str() (string, error) {
	if !s.take('"') {
		return "", s.fail(errSyntax)
	}
	start := s.pos
	for s.pos < len(s.s) {
		switch c := s.s[s.pos]; {
		case c == '"':
			s.pos++
			return s.s[start : s.pos-1], nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return "", s.fail(errSyntax)
		}
		s.pos++
	}
	return "", s.fail(errSyntax)
}

// escaped takes the rest of a string that has an escape.
func (s *scanner) escaped(start int) (string, error) {
	var b strings.Builder
	b.WriteString(s.s[start:s.pos])
	for s.pos < len(s.s) {
		c := s.s[s.pos]
		s.pos++
		switch {
		case c == '"':
			return b.String(), nil
		case c < ' ':
			s.pos--
			return "", s.fail(errSyntax)
		case c != '\\':
			b.WriteByte(c)
			continue
		}
		if s.pos >= len(s.s) {
			break
		}
		c = s.s[s.pos]
		s.pos++
		switch c {
		case '"', '\\', '/':
			b.WriteByte(c)
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			r, ok := s.hex4()
			if !ok {
				return "", s.fail(errSyntax)
			}
			if utf16.IsSurrogate(r) {
				// A high surrogate makes one character with the low one after it. Alone, either is no character.
				at := s.pos
				low := rune(-1)
				if strings.HasPrefix(s.s[s.pos:], `\u`) {
					s.pos += 2
					if low, ok = s.hex4(); !ok {
						return "", s.fail(errSyntax)
					}
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					s.pos = at
				}
			}
			b.WriteRune(r)
		default:
			s.pos--
			return "", s.fail(errSyntax)
		}
	}
	return "", s.fail(errSyntax)
}

func (s *scanner) hex4() (rune, bool) {
	if s.pos+4 > len(s.s) {
		s.pos = len(s.s)
		return 0, false
	}
	n, err := strconv.ParseUint(s.s[s.pos:s.pos+4], 16, 16)
	if err != nil || s.s[s.pos] == '+' {
		return 0, false
	}
	s.pos += 4
	return rune(n), true
}

// numeral takes a number and returns it as it is written.
func (s *scanner) numeral() (string, error) {
	s.peek()
	start := s.pos
	s.sign("-")
	if s.pos < len(s.s) && s.s[s.pos] == '0' {
		s.pos++
	} else if !s.digits() {
		return "", s.fail(errSyntax)
	}
	if s.sign(".") && !s.digits() {
		return "", s.fail(errSyntax)
	}
	if s.sign("eE") {
		s.sign("+-")
		if !s.digits() {
			return "", s.fail(errSyntax)
		}
	}
	return s.s[start:s.pos], nil
}

// sign takes one of these characters, if one comes next.
func (s *scanner) sign(of string) bool {
	if s.pos < len(s.s) && strings.IndexByte(of, s.s[s.pos]) >= 0 {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.s) && '0' <= s.s[s.pos] && s.s[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// value takes any value.
func (s *scanner) value() (Value, error) {
	switch s.left {
	case 0:
	case 1:
		return Value{}, s.fail(errTooMany)
	default:
		s.left--
	}
	switch c := s.peek(); {
	case c == '{':
		var keys []string
		var values []Value
		err := s.object(func(key string) error {
			v, err := s.value()
			keys, values = append(keys, key), append(values, v)
			return err
		})
		return objectValue(keys, values), err
	case c == '[':
		var values []Value
		err := s.array(func() error {
			v, err := s.value()
			values = append(values, v)
			return err
		})
		return listValue(values), err
	case c == '"':
		text, err := s.str()
		return StringValue(text), err
	case s.null():
		return Value{}, nil
	case strings.HasPrefix(s.s[s.pos:], "true"):
		s.pos += len("true")
		return boolValue(true), nil
	case strings.HasPrefix(s.s[s.pos:], "false"):
		s.pos += len("false")
		return boolValue(false), nil
	}
	n, err := s.numeral()
	if err != nil {
		return Value{}, err
	}
	if i, err := strconv.ParseInt(n, 10, 64); err == nil {
		return intValue(i), nil
	}
	f, _ := strconv.ParseFloat(n, 64) // beyond float64 it is an infinity
	return doubleValue(f), nil
}

// skip takes any value and forgets it.
func (s *scanner) skip() error {
	switch s.peek() {
	case '{':
		return s.object(func(string) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, err := s.str()
		return err
	}
	_, err := s.value()
	return err
}

// text takes a string; null is an empty one.
func (s *scanner) text() (string, error) {
	if s.null() {
		return "", nil
	}
	return s.str()
}

// textOrNumeral takes a string or a number, and returns it as it is written.
func (s *scanner) textOrNumeral() (string, error) {
	switch s.peek() {
	case '"', 'n':
		return s.text()
	}
	return s.numeral()
}

// uint takes a number that is written as a number or as a text. Null and an empty text are 0.
func (s *scanner) uint() (uint64, error) {
	at := s.pos
	n, err := s.textOrNumeral()
	if err != nil || n == "" {
		return 0, err
	}
	if u, err := strconv.ParseUint(n, 10, 64); err == nil {
		return u, nil
	}
	if f, err := strconv.ParseFloat(n, 64); err == nil && f >= 0 && f < math.MaxUint64 {
		return uint64(f), nil
	}
	s.pos = at
	return 0, s.fail(errNoUnsigned)
}

// parseValue reads a JSON text of any kind.
func parseValue(text string) (Value, error) { return newScanner(text).whole() }

// parseAttribute is parseValue for the text of an attribute, with at most maxValues values.
func parseAttribute(text string) (Value, error) {
	s := newScanner(text)
	s.left = maxValues + 1
	return s.whole()
}

// whole takes a value and the end after it.
func (s *scanner) whole() (Value, error) {
	v, err := s.value()
	if err == nil {
		err = s.end()
	}
	return v, err
}

// valid replaces what is no UTF-8.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// brief shortens a text for an error.
func brief(s string) string {
	if len(s) > 40 {
		return cutAt(s, 40) + "…"
	}
	return s
}

// cutAt cuts a text at a character, so that it has at most so many bytes.
func cutAt(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
