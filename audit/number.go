package audit

import (
	"bytes"
	"math"
	"strconv"
)

// maxInteger is 2^53, the largest whole number in attributes. Beyond it not every integer is a float64,
// so a reader that takes numbers as float64, as RFC 8785 does, would see another number.
const maxInteger = 1 << 53

func finite(v float32) bool {
	return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
}

func notFinite[T float32 | float64](v T) *FieldError {
	return invalid("must be finite, not %v", v)
}

func errInteger() *FieldError {
	return invalid("a whole number beyond ±2^53 cannot be kept exactly; store it as a string")
}

func appendFloat32(dst []byte, v float32) []byte {
	// A whole number of this size is its own shortest form. Weights and confidences are often 0 or 1.
	if whole := int32(v); v > -1e6 && v < 1e6 && float32(whole) == v {
		return strconv.AppendInt(dst, int64(whole), 10)
	}
	size := v
	if size < 0 {
		size = -size
		dst = append(dst, '-')
	}
	if size == oddTie {
		return append(dst, "0.00024414062"...)
	}
	return appendShortest(dst, float64(size), 32, size < 1e-6 || size >= 1e21)
}

// oddTie is 2^-12, 0.000244140625. Two numbers of eight digits are equally near to it, and both read back as this
// float32. ECMAScript, and so RFC 8785, wants the one that ends in an even digit. strconv of Go 1.26
// does so in every other such case, but here it writes 0.00024414063: between a power of two and its
// smaller neighbour it rounds up. This is the only such float32 (all 254 powers were compared with
// exact arithmetic), and there is no such float64.
const oddTie = 1.0 / (1 << 12)

func appendFloat64(dst []byte, v float64) []byte {
	if whole := int64(v); v > -1e15 && v < 1e15 && float64(whole) == v {
		return strconv.AppendInt(dst, whole, 10)
	}
	size := math.Abs(v)
	return appendShortest(dst, v, 64, size < 1e-6 || size >= 1e21)
}

// appendShortest writes a finite number other than zero with the fewest digits that read back as the same number, in
// the format of ECMAScript's Number::toString, as RFC 8785 says (section 3.2.2.3): with an
// exponent from 1e21 up and below 1e-6, else without.
//
// Whether there is an exponent depends on the digits, not on the value: the float32 nearest to 1e21 is more
// than 1e21, and the one nearest to 1e-6 is less. A comparison as float32 gives the same result, since
// the constant 1e21 becomes the float32 whose shortest digits are 1e21.
func appendShortest(dst []byte, v float64, bits int, exponent bool) []byte {
	if !exponent {
		return strconv.AppendFloat(dst, v, 'f', -1, bits)
	}
	dst = strconv.AppendFloat(dst, v, 'e', -1, bits)
	// strconv pads the exponent to two digits, but 1e-07 must be 1e-7. Exponents from 21 up have two digits.
	if n := len(dst); dst[n-2] == '0' && dst[n-3] == '-' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// parseFloat reads a number in JSON's grammar as the nearest float of the given size. It refuses a number
// that is too large for that, and one that is not 0 and would become 0. -0 is 0.
func parseFloat(literal []byte, bits int) (float64, *FieldError) {
	whole := literal
	if len(literal) > maxLiteral {
		literal = numeralOf(literal).literal()
	}
	v, err := strconv.ParseFloat(string(literal), bits)
	switch {
	case err != nil:
		return 0, invalid("does not fit in a %d-bit float: %s", bits, excerpt(whole))
	case v != 0:
		return v, nil
	case len(numeralOf(literal).digits) > 0:
		return 0, invalid("is too small for a %d-bit float, which would be 0: %s", bits, excerpt(whole))
	}
	return 0, nil // also for -0
}

// maxLiteral is the longest literal that strconv is given. strconv reads five digits of an exponent at most. In a long
// literal that is wrong: a million zeros after the point, a 1 and then e1000001 is 1, and strconv returns 0.
const maxLiteral = 1000

// parseAttributeNumber reads a number of an attribute. It must be a float64, and whole numbers must be
// within ±2^53.
func parseAttributeNumber(literal []byte) (float64, *FieldError) {
	v, err := parseFloat(literal, 64)
	if err != nil {
		return 0, err
	}
	if size := math.Abs(v); size > maxInteger || size == maxInteger && numeralOf(literal).beyondMaxInteger() {
		return 0, errInteger()
	}
	return v, nil
}

// A numeral is the number 0.DIGITS × 10^exponent, without its sign. Without digits it is zero.
type numeral struct {
	negative bool
	digits   []byte // neither the first nor the last is '0'
	exponent int64
}

// maxDigits is how many digits matter for rounding to a float64: the number halfway between two neighbours
// has at most 767. Of the digits after that, it matters only whether all are zero.
const maxDigits = 800

// numeralOf reads a literal in JSON's grammar, of any length, in one pass.
func numeralOf(literal []byte) numeral {
	var d numeral
	if literal[0] == '-' {
		d.negative = true
		literal = literal[1:]
	}
	point, more := false, false
	i := 0
	for ; i < len(literal) && literal[i] != 'e' && literal[i] != 'E'; i++ {
		c := literal[i]
		switch {
		case c == '.':
			point = true
			continue
		case len(d.digits) == 0 && c == '0':
			if point {
				d.exponent--
			}
			continue
		case len(d.digits) < maxDigits:
			d.digits = append(d.digits, c)
		case c != '0':
			more = true
		}
		if !point {
			d.exponent++
		}
	}
	if more {
		d.digits = append(d.digits, '1')
	}
	d.digits = bytes.TrimRight(d.digits, "0")

	if i < len(literal) {
		i++
		sign := int64(1)
		switch literal[i] {
		case '-':
			sign = -1
			i++
		case '+':
			i++
		}
		exponent := int64(0)
		for ; i < len(literal); i++ {
			// The exponent stays at this value: no literal that fits in memory has enough digits to matter.
			if exponent < 1<<50 {
				exponent = exponent*10 + int64(literal[i]-'0')
			}
		}
		d.exponent += sign * exponent
	}
	return d
}

// literal writes the numeral as a literal that is short enough for strconv to read exactly.
func (d numeral) literal() []byte {
	if len(d.digits) == 0 {
		return []byte("0")
	}
	out := make([]byte, 0, len(d.digits)+16)
	if d.negative {
		out = append(out, '-')
	}
	out = append(out, "0."...)
	out = append(out, d.digits...)
	out = append(out, 'e')
	// Five digits of an exponent are enough to be too large or too small.
	return strconv.AppendInt(out, max(-99999, min(99999, d.exponent)), 10)
}

// beyondMaxInteger reports whether a numeral is more than 2^53, when the float64 nearest to it
// is 2^53. The float64 cannot tell: it is also the nearest to 2^53 + 1.
func (d numeral) beyondMaxInteger() bool {
	return string(d.digits) > "9007199254740992"
}
