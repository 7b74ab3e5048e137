package audit

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/blake3"
)

// Canonical returns the record's canonical JSON in a new slice. See AppendCanonical.
func (q *QueryAudit) Canonical() ([]byte, error) {
	return q.AppendCanonical(nil)
}

// AppendCanonical appends the record's canonical JSON to dst and returns the result. Strings and numbers are written as
// RFC 8785 says. The fields are not sorted: they are in the order of the types' fields. f32 fields have the shortest
// form that reads back as the same f32. Equal records have equal bytes.
//
// A zero QueryID is written as the derived one (see ID). q itself is never written to, so several
// goroutines may encode one record. A record that breaks a rule is refused with a *FieldError, which is an
// ErrInvalid, and dst is returned unchanged.
func (q *QueryAudit) AppendCanonical(dst []byte) ([]byte, error) {
	out, _, err := q.encode(dst)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// ID returns the record's QueryID. When that is zero, ID returns the derived one: the BLAKE3-256 of the canonical JSON
// with a query_id of 64 zeros. Only then is the record checked as AppendCanonical checks it.
func (q *QueryAudit) ID() (QueryID, error) {
	if q != nil && !q.QueryID.IsZero() {
		return q.QueryID, nil
	}
	id, err := q.check()
	return id, err.orNil()
}

// check encodes the record to find out its id, or why it is refused.
func (q *QueryAudit) check() (QueryID, *FieldError) {
	buf := borrowBuffer()
	defer buf.giveBack()
	out, id, err := q.encode(buf.take())
	if err == nil {
		buf.bytes = out
	}
	return id, err
}

// encode checks the record and appends its canonical JSON to dst. It returns the id under which the
// record is to be stored as well: q.QueryID, or the derived one.
func (q *QueryAudit) encode(dst []byte) ([]byte, QueryID, *FieldError) {
	if q == nil {
		return nil, QueryID{}, invalid("there is no audit: the pointer is nil")
	}
	start := len(dst)
	out, err := q.appendFields(dst)
	if err == nil && len(out)-start > MaxEncoded {
		err = errTooLarge(len(out) - start)
	}
	if err != nil {
		return nil, QueryID{}, err
	}
	if !q.QueryID.IsZero() {
		return out, q.QueryID, nil
	}
	id := QueryID(blake3.Sum256(out[start:]))
	hex.Encode(out[start+len(openQueryID):], id[:])
	return out, id, nil
}

func errTooLarge(n int) *FieldError {
	return invalid("more than 16 MiB encoded: %d bytes", n)
}

func errTooMany() *FieldError {
	return invalid("more than 16 MiB encoded: more than %d cannot fit", maxContributed)
}

// The fixed text between values, which the decoder uses as well. In a contribution it is a third of the bytes, so
// it is copied and compared in few pieces.
const (
	openQueryID   = `{"query_id":"`
	openAgentID   = `","agent_id":`
	openTimestamp = `,"timestamp":`
	openParams    = `,"params":`
	openSubject   = `{"subject":`
	openAssertion = `{"assertion_hash":"`
	openWeight    = `","weight":`
	openSource    = `,"source_hash":"`
	openLifecycle = `","lifecycle":"`

	// minContributed is the length of the shortest contribution, with its comma. A record cannot hold more than
	// maxContributed of them.
	minContributed = len(openAssertion+openWeight+openSource+openLifecycle) + 2*hexLen + len(`0`+`Approved`+`"},`)
	maxContributed = MaxEncoded / minContributed
)

// appendFields checks and appends the whole record, with the QueryID as it stands in q.
func (q *QueryAudit) appendFields(dst []byte) ([]byte, *FieldError) {
	list := q.ContributingAssertions
	// More than this cannot fit. That is checked before anything is allocated for them.
	if len(list) > maxContributed {
		return nil, errTooMany().in("contributing_assertions")
	}
	if q.Timestamp > MaxTimestamp {
		return nil, invalid("must be at most 2^63-1, not %d", q.Timestamp).in("timestamp")
	}
	// A weight usually has up to ten characters more than the shortest, a lifecycle three.
	dst = slices.Grow(dst, 600+len(list)*(minContributed+12))

	dst = append(dst, openQueryID...)
	dst = q.QueryID.appendHex(dst)
	dst = append(dst, openAgentID...)
	dst = appendHash(dst, q.AgentID)
	dst = append(dst, openTimestamp...)
	dst = strconv.AppendUint(dst, q.Timestamp, 10)
	dst = append(dst, openParams...)
	dst, err := q.Params.append(dst)
	if err != nil {
		return nil, err.in("params")
	}
	dst = append(dst, `,"result_hash":`...)
	dst = appendHash(dst, q.ResultHash)
	dst = append(dst, `,"result_confidence":`...)
	if !finite(q.ResultConfidence) {
		return nil, notFinite(q.ResultConfidence).in("result_confidence")
	}
	dst = appendFloat32(dst, q.ResultConfidence)
	dst = append(dst, `,"contributing_assertions":[`...)
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = list[i].append(dst); err != nil {
			return nil, err.in("[" + strconv.Itoa(i) + "]").in("contributing_assertions")
		}
	}
	dst = append(dst, ']')
	if len(q.Attributes) > 0 {
		dst = append(dst, `,"attributes":`...)
		if dst, err = appendAttributes(dst, q.Attributes); err != nil {
			return nil, err.in("attributes")
		}
	}
	return append(dst, '}'), nil
}

func (p *QueryParams) append(dst []byte) ([]byte, *FieldError) {
	dst = append(dst, openSubject...)
	dst, err := appendText(dst, p.Subject)
	if err != nil {
		return nil, err.in("subject")
	}
	dst = append(dst, `,"predicate":`...)
	if dst, err = appendText(dst, p.Predicate); err != nil {
		return nil, err.in("predicate")
	}
	dst = append(dst, `,"lifecycle":`...)
	switch {
	case p.Lifecycle == nil:
		dst = append(dst, `null`...)
	case !p.Lifecycle.Valid():
		return nil, unknownLifecycle(*p.Lifecycle).in("lifecycle")
	default:
		dst = append(dst, '"')
		dst = append(dst, lifecycleNames[*p.Lifecycle]...)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"epoch":`...)
	dst = appendHash(dst, p.Epoch)
	dst = append(dst, `,"lens":`...)
	if dst, err = appendText(dst, p.Lens); err != nil {
		return nil, err.in("lens")
	}
	return append(dst, '}'), nil
}

func (c *ContributingAssertion) append(dst []byte) ([]byte, *FieldError) {
	if !finite(c.Weight) {
		return nil, notFinite(c.Weight).in("weight")
	}
	if !c.Lifecycle.Valid() {
		return nil, unknownLifecycle(c.Lifecycle).in("lifecycle")
	}
	dst = append(dst, openAssertion...)
	dst = c.AssertionHash.appendHex(dst)
	dst = append(dst, openWeight...)
	dst = appendFloat32(dst, c.Weight)
	dst = append(dst, openSource...)
	dst = c.SourceHash.appendHex(dst)
	dst = append(dst, openLifecycle...)
	dst = append(dst, lifecycleNames[c.Lifecycle]...)
	return append(dst, `"}`...), nil
}

func appendAttributes(dst []byte, attributes map[string]any) ([]byte, *FieldError) {
	if len(attributes) > MaxAttributes {
		return nil, invalid("at most %d are allowed, not %d", MaxAttributes, len(attributes))
	}
	var onStack [MaxAttributes]string
	keys := onStack[:0]
	for key := range attributes {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareUTF16)

	separator := byte('{')
	for _, key := range keys {
		dst = append(dst, separator)
		separator = ','
		var err *FieldError
		if dst, err = appendString(dst, key); err == nil {
			dst, err = appendAttribute(append(dst, ':'), attributes[key])
		}
		if err != nil {
			return nil, err.in(pathElement(key))
		}
	}
	return append(dst, '}'), nil
}

// appendAttribute accepts the built-in types only. The text of a named type may be another one than that of its kind:
// json.Number is a string that means a number, and time.Duration a number that is written as text.
func appendAttribute(dst []byte, value any) ([]byte, *FieldError) {
	switch v := value.(type) {
	case string:
		return appendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v), nil
	case float64:
		return appendAttributeFloat(dst, v)
	case float32:
		// Converted exactly: 0.1 becomes 0.10000000149011612, which is its value. The shortest digits of the float32
		// would change whole numbers above 2^24.
		return appendAttributeFloat(dst, float64(v))
	case int:
		return appendAttributeInt(dst, int64(v))
	case int8:
		return appendAttributeInt(dst, int64(v))
	case int16:
		return appendAttributeInt(dst, int64(v))
	case int32:
		return appendAttributeInt(dst, int64(v))
	case int64:
		return appendAttributeInt(dst, v)
	case uint:
		return appendAttributeUint(dst, uint64(v))
	case uint8:
		return appendAttributeInt(dst, int64(v))
	case uint16:
		return appendAttributeInt(dst, int64(v))
	case uint32:
		return appendAttributeInt(dst, int64(v))
	case uint64:
		return appendAttributeUint(dst, v)
	case nil:
		return nil, invalid("must be a string, a number or a boolean, not null")
	}
	return nil, invalid("must be a string, a number or a boolean, not %s", excerpt(fmt.Sprintf("%T", value)))
}

func appendAttributeFloat(dst []byte, v float64) ([]byte, *FieldError) {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return nil, notFinite(v)
	case math.Abs(v) > maxInteger:
		// Every float64 of this size is a whole number.
		return nil, errInteger()
	}
	return appendFloat64(dst, v), nil
}

func appendAttributeInt(dst []byte, v int64) ([]byte, *FieldError) {
	if v < -maxInteger || v > maxInteger {
		return nil, errInteger()
	}
	return strconv.AppendInt(dst, v, 10), nil
}

func appendAttributeUint(dst []byte, v uint64) ([]byte, *FieldError) {
	if v > maxInteger {
		return nil, errInteger()
	}
	return strconv.AppendUint(dst, v, 10), nil
}

func appendHash(dst []byte, h *Hash) []byte {
	if h == nil {
		return append(dst, `null`...)
	}
	dst = append(dst, '"')
	dst = h.appendHex(dst)
	return append(dst, '"')
}

func appendText(dst []byte, s *string) ([]byte, *FieldError) {
	if s == nil {
		return append(dst, `null`...), nil
	}
	return appendString(dst, *s)
}

// appendString writes s as RFC 8785 says: the quote, the backslash and characters below U+0020 are escaped,
// in the short form where JSON has one, and nothing else is.
func appendString(dst []byte, s string) ([]byte, *FieldError) {
	dst = append(dst, '"')
	written := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				return nil, errUTF8()
			}
			i += size
			continue
		}
		if c == 0 {
			return nil, errNUL()
		}
		dst = append(dst, s[written:i]...)
		if short := shortEscape[c]; short != 0 {
			dst = append(dst, '\\', short)
		} else {
			dst = append(dst, `\u00`...)
			dst = hex.AppendEncode(dst, []byte{c})
		}
		i++
		written = i
	}
	dst = append(dst, s[written:]...)
	return append(dst, '"'), nil
}

// plain marks the ASCII bytes that stand for themselves inside a JSON string.
var plain = func() (is [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		is[c] = c != '"' && c != '\\'
	}
	return is
}()

// shortEscape holds the letter that follows the backslash for the bytes that have one.
var shortEscape = [256]byte{
	'\b': 'b', '\t': 't', '\n': 'n', '\f': 'f', '\r': 'r', '"': '"', '\\': '\\',
}

// compareUTF16 orders valid UTF-8 strings by their UTF-16 code units, as RFC 8785 sorts keys.
//
// This differs from the order of bytes in one case. In UTF-16 a character beyond U+FFFF begins with a
// surrogate, D800 to DBFF, so it sorts before U+E000 to U+FFFF. In UTF-8 the former begins with F0
// or more, the latter with EE or EF, and no other byte is that large.
func compareUTF16(a, b string) int {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x >= 0xee && y >= 0xee && (x >= 0xf0) != (y >= 0xf0) {
			x, y = y, x
		}
		if x < y {
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// A buffer holds an encoding that is only hashed or compared.
type buffer struct{ bytes []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func borrowBuffer() *buffer { return buffers.Get().(*buffer) }

// take returns the buffer, empty. The caller stores the slice that it grew to in bytes.
func (b *buffer) take() []byte { return b.bytes[:0] }

// giveBack returns the buffer to the pool, unless it has grown so large that keeping it would hold memory for a
// size that is rare.
func (b *buffer) giveBack() {
	if cap(b.bytes) <= 1<<20 {
		buffers.Put(b)
	}
}
