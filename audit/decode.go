package audit

import (
	"bytes"
	"fmt"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseAudit reads one record from JSON, and nothing but it: white space may stand around it.
//
// The order of the fields is free. query_id, attributes, contributing_assertions and what may be null may
// be missing, a lifecycle may be written in any case or as under_review, hex in either case. The
// result always has its QueryID: a missing one, or one of all zeros, is derived. Whatever else departs
// from the contract is refused with a *FieldError that is ErrInvalid and says where; nothing is dropped or
// put right in silence.
//
// ParseAudit keeps no reference to line. Its work and memory are bounded by len(line), whatever is in it.
func ParseAudit(line []byte) (QueryAudit, error) {
	var q QueryAudit
	d := decoder{in: line}
	if err := d.record(&q); err != nil {
		return QueryAudit{}, err
	}
	// Encoding makes a record longer by at most a tenth and a few KiB (1e20 is written with 21 digits), so
	// its length needs to be looked at in large ones only.
	if q.QueryID.IsZero() || len(line) > MaxEncoded/2 {
		id, err := q.check()
		if err != nil {
			return QueryAudit{}, err
		}
		q.QueryID = id
	}
	return q, nil
}

// ParseCanonical reads one record from canonical JSON. It refuses what ParseAudit refuses, and with
// ErrInvalid also a record that is written in any other way than AppendCanonical would write it.
func ParseCanonical(payload []byte) (QueryAudit, error) {
	q, err := ParseAudit(payload)
	if err != nil {
		return QueryAudit{}, err
	}
	buf := borrowBuffer()
	defer buf.giveBack()
	encoded, _, refused := q.encode(buf.take())
	if refused != nil {
		return QueryAudit{}, refused
	}
	buf.bytes = encoded
	if !bytes.Equal(encoded, payload) {
		return QueryAudit{}, invalid("not canonical JSON")
	}
	return q, nil
}

// A decoder reads a record from left to right. It knows the record's shape and nothing of other JSON: a
// field it does not know ends the reading, so nothing is ever skipped, and depth is no matter.
//
// Its methods start at the first byte of what they read, white space skipped, and end behind the last.
// Their errors carry no field, or one relative to the object they were reading; callers add theirs.
type decoder struct {
	in      []byte
	at      int
	scratch []byte // a string that had escapes, until the next one is read
}

// optional holds what a record's pointers point to, so that they cost one allocation together.
type optional struct {
	agent, epoch, result     Hash
	subject, predicate, lens string
	lifecycle                Lifecycle
}

// fields has a bit for each field of an object that was seen.
type fields uint

// add reports whether bit i is new.
func (f *fields) add(i int) bool {
	was := *f
	*f |= 1 << i
	return *f != was
}

// missing returns the first of the required fields that was not seen.
func (f fields) missing(required fields, names []string) *FieldError {
	if absent := required &^ f; absent != 0 {
		return invalid("is missing").in(names[bits.TrailingZeros(uint(absent))])
	}
	return nil
}

// The fields of each object, in canonical order, and which of them must be there.
const (
	fieldQueryID = iota
	fieldAgentID
	fieldTimestamp
	fieldParams
	fieldResultHash
	fieldResultConfidence
	fieldContributing
	fieldAttributes

	requiredOfRecord fields = 1<<fieldTimestamp | 1<<fieldParams | 1<<fieldResultConfidence
)

const (
	fieldSubject = iota
	fieldPredicate
	fieldParamsLifecycle
	fieldEpoch
	fieldLens
)

const (
	fieldAssertionHash = iota
	fieldWeight
	fieldSourceHash
	fieldLifecycle

	requiredOfContribution fields = 1<<fieldAssertionHash | 1<<fieldWeight | 1<<fieldSourceHash | 1<<fieldLifecycle
)

var (
	recordFields = []string{"query_id", "agent_id", "timestamp", "params", "result_hash", "result_confidence",
		"contributing_assertions", "attributes"}
	paramsFields       = []string{"subject", "predicate", "lifecycle", "epoch", "lens"}
	contributionFields = []string{"assertion_hash", "weight", "source_hash", "lifecycle"}
)

func (d *decoder) record(q *QueryAudit) *FieldError {
	d.space()
	if d.at == len(d.in) {
		return invalid("empty where a record should be")
	}
	if bytes.HasPrefix(d.in, []byte("\ufeff")) {
		return invalid("begins with a byte order mark")
	}
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	var opt optional
	o := &opt
	var seen fields
	for {
		name, more, err := d.member(seen == 0)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		i := fieldIndex(name, recordFields)
		if i < 0 {
			return unknownField(name, recordFields)
		}
		if !seen.add(i) {
			return invalid("is doubled").in(recordFields[i])
		}
		switch i {
		case fieldQueryID:
			err = d.hash(&q.QueryID)
		case fieldAgentID:
			q.AgentID, err = d.hashOrNull(&o.agent)
		case fieldTimestamp:
			q.Timestamp, err = d.timestamp()
		case fieldParams:
			err = d.params(&q.Params, o)
		case fieldResultHash:
			q.ResultHash, err = d.hashOrNull(&o.result)
		case fieldResultConfidence:
			q.ResultConfidence, err = d.float32()
		case fieldContributing:
			q.ContributingAssertions, err = d.contributions()
		case fieldAttributes:
			q.Attributes, err = d.attributes()
		}
		if err != nil {
			return err.in(recordFields[i])
		}
	}
	if err := seen.missing(requiredOfRecord, recordFields); err != nil {
		return err
	}
	d.space()
	if d.at < len(d.in) {
		return invalid("something follows the record at byte %d", d.at)
	}
	return nil
}

func (d *decoder) params(p *QueryParams, o *optional) *FieldError {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	var seen fields
	for {
		name, more, err := d.member(seen == 0)
		if err != nil || !more {
			return err
		}
		i := fieldIndex(name, paramsFields)
		if i < 0 {
			return unknownField(name, paramsFields)
		}
		if !seen.add(i) {
			return invalid("is doubled").in(paramsFields[i])
		}
		switch i {
		case fieldSubject:
			p.Subject, err = d.textOrNull(&o.subject)
		case fieldPredicate:
			p.Predicate, err = d.textOrNull(&o.predicate)
		case fieldParamsLifecycle:
			if !d.null() {
				o.lifecycle, err = d.lifecycle()
				p.Lifecycle = &o.lifecycle
			}
		case fieldEpoch:
			p.Epoch, err = d.hashOrNull(&o.epoch)
		case fieldLens:
			p.Lens, err = d.textOrNull(&o.lens)
		}
		if err != nil {
			return err.in(paramsFields[i])
		}
	}
}

func (d *decoder) contributions() ([]ContributingAssertion, *FieldError) {
	if err := d.open('[', "a list"); err != nil {
		return nil, err
	}
	var list []ContributingAssertion
	for {
		more, err := d.next(len(list) == 0, ']')
		if err != nil || !more {
			return list, err
		}
		if list == nil {
			// No contribution is shorter, so this never grows, and it stays within the input's size.
			list = make([]ContributingAssertion, 0, (len(d.in)-d.at)/minContributed+1)
		}
		list = append(list, ContributingAssertion{})
		if err := d.contribution(&list[len(list)-1]); err != nil {
			return nil, err.in("[" + strconv.Itoa(len(list)-1) + "]")
		}
	}
}

func (d *decoder) contribution(c *ContributingAssertion) *FieldError {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	var seen fields
	for {
		name, more, err := d.member(seen == 0)
		if err != nil {
			return err
		}
		if !more {
			return seen.missing(requiredOfContribution, contributionFields)
		}
		i := fieldIndex(name, contributionFields)
		if i < 0 {
			return unknownField(name, contributionFields)
		}
		if !seen.add(i) {
			return invalid("is doubled").in(contributionFields[i])
		}
		switch i {
		case fieldAssertionHash:
			err = d.hash(&c.AssertionHash)
		case fieldWeight:
			c.Weight, err = d.float32()
		case fieldSourceHash:
			err = d.hash(&c.SourceHash)
		case fieldLifecycle:
			c.Lifecycle, err = d.lifecycle()
		}
		if err != nil {
			return err.in(contributionFields[i])
		}
	}
}

func (d *decoder) attributes() (map[string]any, *FieldError) {
	if err := d.open('{', "an object"); err != nil {
		return nil, err
	}
	var attributes map[string]any
	for {
		name, more, err := d.member(len(attributes) == 0)
		if err != nil || !more {
			return attributes, err
		}
		key := string(name)
		if _, doubled := attributes[key]; doubled {
			return nil, invalid("is doubled").in(pathElement(key))
		}
		if len(attributes) == MaxAttributes {
			return nil, invalid("at most %d are allowed", MaxAttributes)
		}
		value, err := d.attribute()
		if err != nil {
			return nil, err.in(pathElement(key))
		}
		if attributes == nil {
			attributes = make(map[string]any)
		}
		attributes[key] = value
	}
}

func (d *decoder) attribute() (any, *FieldError) {
	switch c := d.peek(); {
	case c == '"':
		text, err := d.text()
		return string(text), err
	case c == 't' && d.word("true"):
		return true, nil
	case c == 'f' && d.word("false"):
		return false, nil
	case c == '-' || '0' <= c && c <= '9':
		literal, err := d.number()
		if err != nil {
			return nil, err
		}
		return orError(parseAttributeNumber(literal))
	}
	return nil, d.unexpected("a string, a number or a boolean")
}

// orError keeps a number out of the interface when there is an error beside it.
func orError(v float64, err *FieldError) (any, *FieldError) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (d *decoder) hash(h *Hash) *FieldError {
	if rest := d.in[d.at:]; len(rest) >= hexLen+2 && rest[0] == '"' && rest[hexLen+1] == '"' &&
		h.fromHex((*[hexLen]byte)(rest[1:])) {
		d.at += hexLen + 2
		return nil
	}
	// Not a hash, or one that is written with escapes.
	text, err := d.text()
	if err != nil {
		return err
	}
	return h.setHex(text)
}

func (d *decoder) hashOrNull(h *Hash) (*Hash, *FieldError) {
	if d.null() {
		return nil, nil
	}
	return h, d.hash(h)
}

func (d *decoder) textOrNull(s *string) (*string, *FieldError) {
	if d.null() {
		return nil, nil
	}
	text, err := d.text()
	*s = string(text)
	return s, err
}

func (d *decoder) lifecycle() (Lifecycle, *FieldError) {
	text, err := d.text()
	if err != nil {
		return 0, err
	}
	return lifecycleOf(text)
}

func (d *decoder) timestamp() (uint64, *FieldError) {
	literal, err := d.number()
	if err != nil {
		return 0, err
	}
	if literal[0] == '-' {
		return 0, invalid("must not be negative: %s", excerpt(literal))
	}
	if bytes.ContainsAny(literal, ".eE") {
		return 0, invalid("must be a plain integer, without fraction or exponent: %s", excerpt(literal))
	}
	// Longer ones are beyond the limit: JSON allows no zeros in front.
	if len(literal) <= len("9223372036854775807") {
		var v uint64
		for _, c := range literal {
			v = v*10 + uint64(c-'0')
		}
		if v <= MaxTimestamp {
			return v, nil
		}
	}
	return 0, invalid("must be at most 2^63-1: %s", excerpt(literal))
}

func (d *decoder) float32() (float32, *FieldError) {
	literal, err := d.number()
	if err != nil {
		return 0, err
	}
	v, ok := parseFloat(literal, 32)
	if !ok {
		return 0, invalid("does not fit in a 32-bit float: %s", excerpt(literal))
	}
	return float32(v), nil
}

// fieldIndex returns the place of name among the known names, or -1.
func fieldIndex(name []byte, known []string) int {
	for i, k := range known {
		if string(name) == k {
			return i
		}
	}
	return -1
}

func unknownField(name []byte, known []string) *FieldError {
	for _, k := range known {
		if equalFoldASCII(name, k) {
			return invalid("unknown field; it is written %s", k).in(pathElement(name))
		}
	}
	return invalid("unknown field").in(pathElement(name))
}

// The grammar of JSON, RFC 8259.

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

// peek returns the next byte, or 0 at the end, which is a byte that JSON has no use for.
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

// unexpected says what stands where something else should.
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

// next goes to the next member or element, or behind the closing bracket and reports false.
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

// member goes to the value of the next member of an object and returns its name, which is good until the
// next string is read; or it goes behind the object's end and reports false.
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

// text reads a string. The result is good until the next one is read; it is valid UTF-8 without NUL.
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

// escapedText reads on where text met the first backslash, at i.
func (d *decoder) escapedText(start, i int) ([]byte, *FieldError) {
	out := append(d.scratch[:0], d.in[start:i]...)
	for i < len(d.in) {
		c := d.in[i]
		i++
		switch {
		case c == '"':
			// Checked as a whole: no escape yields a byte that could complete a broken sequence.
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
				// DecodeRune gives U+FFFD unless the two are a high and a low half.
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
