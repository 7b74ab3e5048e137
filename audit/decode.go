package audit

import (
	"bytes"
	"encoding/hex"
	"math/bits"
	"strconv"

	"github.com/auditsql/auditsql/sqlstore"
)

// ParseAudit reads one record from JSON. There may be white space before and after it, and nothing else.
//
// The order of the fields is free. query_id, attributes, contributing_assertions and what may be null may be missing. A
// lifecycle may be written in any case or as under_review, and hex digits in either case. The result always has a
// QueryID: when it is missing or zero, it is derived. Everything else that differs from canonical JSON is refused with
// a *FieldError, which is an ErrInvalid and says where. Nothing is dropped or corrected silently.
//
// ParseAudit keeps no reference to line. Its time and memory are bounded by len(line), whatever is in it.
func ParseAudit(line []byte) (QueryAudit, error) {
	var q QueryAudit
	d := decoder{in: line}
	if err := d.record(&q); err != nil {
		return QueryAudit{}, err
	}
	// Encoding makes a record longer by at most a tenth and a few KiB (1e20 is written with 21 digits), so
	// only a long line can become too long.
	if q.QueryID.IsZero() || len(line) > MaxEncoded/2 {
		id, err := q.check()
		if err != nil {
			return QueryAudit{}, err
		}
		q.QueryID = id
	}
	return q, nil
}

// ParseCanonical reads one record from canonical JSON. It refuses what ParseAudit refuses, and also, with
// ErrInvalid, a record that is not written as AppendCanonical writes it.
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

// optional has the values that a record's pointers point to, so that they need one allocation together.
type optional struct {
	agent, epoch, result     Hash
	subject, predicate, lens string
	lifecycle                Lifecycle
}

// fields has a bit for each field of an object that was read.
type fields uint

// add reports whether bit i is new.
func (f *fields) add(i int) bool {
	was := *f
	*f |= 1 << i
	return *f != was
}

// missing returns an error for the first of the required fields that was not read.
func (f fields) missing(required fields, names []string) *FieldError {
	if absent := required &^ f; absent != 0 {
		return invalid("is missing").in(names[bits.TrailingZeros(uint(absent))])
	}
	return nil
}

// The fields of each object, in canonical order, and which of them are required.
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
			// No contribution is shorter, so the slice never grows, and stays within the input's size.
			list = make([]ContributingAssertion, 0, min((len(d.in)-d.at)/minContributed+1, maxContributed))
		}
		if len(list) == maxContributed {
			return nil, errTooMany()
		}
		list = append(list, ContributingAssertion{})
		if err := d.contribution(&list[len(list)-1]); err != nil {
			return nil, err.in("[" + strconv.Itoa(len(list)-1) + "]")
		}
	}
}

// contribution reads one piece of evidence. Nearly all are in canonical form, in which no names have to be compared
// and no strings scanned. Any other one is read again from its start, field by field.
func (d *decoder) contribution(c *ContributingAssertion) *FieldError {
	start := d.at
	if d.canonicalContribution(c) {
		return nil
	}
	d.at = start
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

// canonicalContribution reads a contribution in canonical form. For any other it reports false. Then the position of d
// and the content of c are undefined.
func (d *decoder) canonicalContribution(c *ContributingAssertion) bool {
	if !d.word(openAssertion) || !d.rawHash(&c.AssertionHash) || !d.word(openWeight) {
		return false
	}
	weight, err := d.float32()
	if err != nil || !d.word(openSource) || !d.rawHash(&c.SourceHash) || !d.word(openLifecycle) {
		return false
	}
	c.Weight = weight
	for l, name := range lifecycleNames {
		if d.word(name) {
			c.Lifecycle = Lifecycle(l)
			return d.word(`"}`)
		}
	}
	return false
}

// idOf reads the id of a record in canonical form, where it comes first.
func idOf(payload []byte) (id QueryID, ok bool) {
	const end = len(openQueryID) + hexLen
	if len(payload) < end || string(payload[:len(openQueryID)]) != openQueryID {
		return id, false
	}
	_, err := hex.Decode(id[:], payload[len(openQueryID):end])
	return id, err == nil
}

// IDOf reads the id of a record in canonical JSON, and nothing after it. It reports false when the text does not begin as a record
// does.
func IDOf(canonical []byte) (id QueryID, ok bool) { return idOf(canonical) }

// headingOf reads what a record in canonical form begins with, up to the subject. It reports false when the record does not begin
// as a canonical one does.
func headingOf(value []byte) (h sqlstore.Heading, ok bool) {
	d := decoder{in: value}
	if !d.word(openQueryID) || !d.rawHash((*Hash)(&h.QueryID)) || !d.word(openAgentID) {
		return h, false
	}
	h.Anonymous = d.word("null")
	if !h.Anonymous && !(d.word(`"`) && d.rawHash((*Hash)(&h.AgentID)) && d.word(`"`)) {
		return h, false
	}
	if !d.word(openTimestamp) {
		return h, false
	}
	timestamp, err := d.timestamp()
	if err != nil || !d.word(openParams+openSubject) {
		return h, false
	}
	h.Timestamp = int64(timestamp)
	if !d.word("null") {
		h.Subject, err = d.text()
	}
	return h, err == nil
}

// rawHash skips a hash without its quotes.
func (d *decoder) rawHash(h *Hash) bool {
	if len(d.in)-d.at < hexLen || !h.fromHex((*[hexLen]byte)(d.in[d.at:])) {
		return false
	}
	d.at += hexLen
	return true
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

// orError returns nil in place of the number when there is an error.
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
	// It is not a hash, or one that is written with escapes.
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
	// A longer one is beyond the limit: JSON allows no leading zeros.
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
	v, err := parseFloat(literal, 32)
	return float32(v), err
}

// fieldIndex returns the index of name in names, or -1.
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
