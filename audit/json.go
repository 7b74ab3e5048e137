package audit

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// A decoder reads a record from left to right. This file has the grammar of JSON (RFC 8259), and decode.go the fields
// of a record. It reads no other JSON: an unknown field is an error. So nothing is ever skipped, and the depth is
// bounded.
//
// Its methods start at the first byte of what they read, after white space, and end after the last.
// Their errors have no field, or one relative to the object that they were reading. Callers add theirs.
type decoder struct {
	in      []byte
	at      int
	scratch []byte // the last string that had escapes, without them
}

func (d *decoder) space() {
	for d.at < len(d.in) {
		switch d.in[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end. JSON has no meaning for a byte 0.
func (d *decoder) peek() byte {
	if d.at < len(d.in) {
		return d.in[d.at]
	}
	return 0
}

// word skips w if it is next.
func (d *decoder) word(w string) bool {
	if len(d.in)-d.at >= len(w) && string(d.in[d.at:d.at+len(w)]) == w {
		d.at += len(w)
		return true
	}
	return false
}

func (d *decoder) null() bool { return d.peek() == 'n' && d.word("null") }

// unexpected says what was found in place of what was expected.
func (d *decoder) unexpected(want string) *FieldError {
	var found string
	switch c := d.peek(); {
	case d.at >= len(d.in):
		return invalid("must be %s, but the input ends", want)
	case c == '"':
		found = "a string"
	case c == '{':
		found = "an object"
	case c == '[':
		found = "a list"
	case c == '-' || '0' <= c && c <= '9':
		found = "a number"
	case d.word("null"):
		found = "null"
	case d.word("true"), d.word("false"):
		found = "a boolean"
	default:
		found = fmt.Sprintf("%s at byte %d", excerpt(d.in[d.at:d.at+1]), d.at)
	}
	return invalid("must be %s, not %s", want, found)
}

// open skips the bracket that opens an object or a list.
func (d *decoder) open(bracket byte, what string) *FieldError {
	if d.peek() != bracket {
		return d.unexpected(what)
	}
	d.at++
	return nil
}

// next moves to the next member or element. At the end it moves after the closing bracket and reports false.
func (d *decoder) next(first bool, closing byte) (bool, *FieldError) {
	d.space()
	c := d.peek()
	if c == closing {
		d.at++
		return false, nil
	}
	if first {
		return true, nil
	}
	if c != ',' {
		return false, d.syntax("',' or '" + string(closing) + "'")
	}
	d.at++
	d.space()
	return true, nil
}

// member moves to the value of the next member of an object and returns its name, which is valid until the
// next string is read. At the end it moves after the object and reports false.
func (d *decoder) member(first bool) (name []byte, more bool, err *FieldError) {
	if more, err = d.next(first, '}'); err != nil || !more {
		return nil, false, err
	}
	if d.peek() != '"' {
		return nil, false, d.syntax("a field name")
	}
	if name, err = d.text(); err != nil {
		err.Reason = "a field name " + err.Reason
		return nil, false, err
	}
	d.space()
	if d.peek() != ':' {
		return nil, false, d.syntax("':'")
	}
	d.at++
	d.space()
	return name, true, nil
}

func (d *decoder) syntax(want string) *FieldError {
	if d.at >= len(d.in) {
		return invalid("not JSON: want %s, but the input ends", want)
	}
	return invalid("not JSON: want %s at byte %d, not %s", want, d.at, excerpt(d.in[d.at:d.at+1]))
}

// number returns the literal of a number.
func (d *decoder) number() ([]byte, *FieldError) {
	c := d.peek()
	if c != '-' && (c < '0' || c > '9') {
		return nil, d.unexpected("a number")
	}
	start := d.at
	if c == '-' {
		d.at++
	}
	whole := d.at
	digits := d.digits()
	if digits == 0 || digits > 1 && d.in[whole] == '0' {
		return nil, d.badNumber(start)
	}
	if d.peek() == '.' {
		d.at++
		if d.digits() == 0 {
			return nil, d.badNumber(start)
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.at++
		if c := d.peek(); c == '+' || c == '-' {
			d.at++
		}
		if d.digits() == 0 {
			return nil, d.badNumber(start)
		}
	}
	return d.in[start:d.at], nil
}

// digits skips decimal digits and returns how many there were.
func (d *decoder) digits() int {
	start := d.at
	for d.at < len(d.in) && '0' <= d.in[d.at] && d.in[d.at] <= '9' {
		d.at++
	}
	return d.at - start
}

func (d *decoder) badNumber(start int) *FieldError {
	return invalid("not a JSON number: %s", excerpt(d.in[start:min(d.at+1, len(d.in))]))
}

// text reads a string. The result is valid UTF-8 without NUL. It can be used until the next string is read.
func (d *decoder) text() ([]byte, *FieldError) {
	if d.peek() != '"' {
		return nil, d.unexpected("a string")
	}
	start := d.at + 1
	ascii := true
	i := start
scan:
	for ; i < len(d.in); i++ {
		switch c := d.in[i]; {
		case plain[c]:
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '"':
			break scan
		case c == '\\':
			return d.escapedText(start, i)
		default:
			return nil, badControl(c)
		}
	}
	if i == len(d.in) {
		return nil, errUnterminated()
	}
	text := d.in[start:i]
	if !ascii && !utf8.Valid(text) {
		return nil, errUTF8()
	}
	d.at = i + 1
	return text, nil
}

// escapedText continues where text found the first backslash, at i.
func (d *decoder) escapedText(start, i int) ([]byte, *FieldError) {
	out := append(d.scratch[:0], d.in[start:i]...)
	for i < len(d.in) {
		c := d.in[i]
		i++
		switch {
		case c == '"':
			// The string can be checked as a whole: no escape yields a byte that could complete a broken sequence.
			if !utf8.Valid(out) {
				return nil, errUTF8()
			}
			d.at, d.scratch = i, out
			return out, nil
		case c < ' ':
			return nil, badControl(c)
		case c != '\\':
			out = append(out, c)
			continue
		}
		if i == len(d.in) {
			break
		}
		c = d.in[i]
		i++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(d.in[i:])
			if !ok {
				return nil, invalid("has \\u without four hex digits")
			}
			i += 4
			if r == 0 {
				return nil, errNUL()
			}
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if rest := d.in[i:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
					if half, ok := hex4(rest[2:]); ok {
						low = half
					}
				}
				// DecodeRune returns U+FFFD unless the two are a high and a low half.
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return nil, invalid("has a lone surrogate")
				}
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			return nil, invalid("has an escape that JSON does not know: %s", excerpt([]byte{'\\', c}))
		}
	}
	return nil, errUnterminated()
}

// hex4 reads the four digits of a \u escape.
func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var seen byte
	var r rune
	for _, c := range b[:4] {
		v := hexValues[c]
		seen |= v
		r = r<<4 | rune(v&15)
	}
	return r, seen&notHex == 0
}

func badControl(c byte) *FieldError {
	if c == 0 {
		return errNUL()
	}
	return invalid("has a control character that is not escaped: %s", excerpt([]byte{c}))
}

func errUTF8() *FieldError { return invalid("is not valid UTF-8") }

func errNUL() *FieldError { return invalid("has a NUL character") }

func errUnterminated() *FieldError { return invalid("has no closing quote") }
