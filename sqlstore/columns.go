package sqlstore

import (
	"bytes"
	"cmp"
	"database/sql/driver"
	"encoding/hex"
	"slices"
	"strings"
)

// The columns of the derived tables. Each is declared here once. What Apply and Reindex insert and what CheckDerived compares
// follow from the declaration. A new column needs a line here, a field in Record, and a migration. Its line is the last one
// of its table, because ALTER TABLE ADD COLUMN adds a column at the end.

// kind is how SQLite stores the values of a column.
type kind string

const (
	integerKind kind = "INTEGER"
	realKind    kind = "REAL"
	textKind    kind = "TEXT"
)

// column is a column of a derived table. A row of the table is made from an S.
type column[S any] struct {
	name  string
	kind  kind         // as the migration declares it, which a test compares
	value func(*S) any // as the driver binds it: int64, float64, string, []byte, or nil for NULL

	// CheckDerived compares the stored column with value, unless these fields say otherwise.
	stored   string       // SQL of what is compared in place of the column
	expected func(*S) any // what is compared in place of value
	as       string       // the column's name in a reported problem, if it is not name
	hint     bool         // nothing is compared: a wrong value does no harm
}

// auditSource is what a row of table audit is made from.
type auditSource struct {
	idx, agent, kvRow int64 // kvRow is the row of kv that has the record
	r                 *Record
	hex               *hexText
	epoch, result     any // the numbers of the hashes, or NULL; not for a comparison
}

// auditTable is table audit. The first column is the row id.
var auditTable = []column[auditSource]{
	{name: "idx", kind: integerKind, value: func(s *auditSource) any { return s.idx }},
	{name: "query_hex", kind: textKind, value: func(s *auditSource) any { return s.hex.of(&s.r.QueryID) }, as: "query_id"},
	{name: "agent", kind: integerKind, value: func(s *auditSource) any { return s.agent },
		// The column has the id of a row in table agent, so the hash in that row is compared. If there is no such row,
		// 'unknown' is compared: it differs from every hash and from NULL.
		stored: "iif(g.id IS NULL, 'unknown', g.agent_id)", expected: func(s *auditSource) any { return optionalHash(s.r.AgentID) }},
	{name: "timestamp", kind: integerKind, value: func(s *auditSource) any { return s.r.Timestamp }},
	{name: "subject", kind: textKind, value: func(s *auditSource) any { return optional(s.r.Subject) }},
	{name: "predicate", kind: textKind, value: func(s *auditSource) any { return optional(s.r.Predicate) }},
	{name: "lifecycle", kind: integerKind, value: func(s *auditSource) any { return optionalNumber(s.r.Lifecycle) }},
	{name: "epoch", kind: integerKind, value: func(s *auditSource) any { return s.epoch },
		stored: storedHash("e", "a.epoch", "a.idx"), expected: func(s *auditSource) any { return s.hex.optional(s.r.Epoch) }},
	{name: "lens", kind: textKind, value: func(s *auditSource) any { return optional(s.r.Lens) }},
	{name: "result", kind: integerKind, value: func(s *auditSource) any { return s.result }, as: "result_hash",
		stored: storedHash("r", "a.result", "a.idx"), expected: func(s *auditSource) any { return s.hex.optional(s.r.ResultHash) }},
	{name: "result_confidence", kind: realKind, value: func(s *auditSource) any { return s.r.ResultConfidence }},
	{name: "contributions", kind: integerKind, value: func(s *auditSource) any { return int64(len(s.r.Contributions)) }},
	{name: "kv_row", kind: integerKind, value: func(s *auditSource) any { return s.kvRow }, hint: true},
}

// contributionSource is what a row of table contribution is made from.
type contributionSource struct {
	idx, position     int64
	c                 *Contribution
	hex               *hexText
	assertion, source int64 // the numbers of the hashes; not for a comparison
}

// auditJoins and contributionJoins are what the compared columns of the tables need besides the table.
var (
	auditJoins        = ` LEFT JOIN agent g ON g.id = a.agent` + withHash("e", "a.epoch") + withHash("r", "a.result")
	contributionJoins = withHash("h", "c.assertion") + withHash("s", "c.source")
)

// contributionTable is table contribution. The first two columns are its key.
var contributionTable = []column[contributionSource]{
	{name: "audit", kind: integerKind, value: func(s *contributionSource) any { return s.idx }},
	{name: "position", kind: integerKind, value: func(s *contributionSource) any { return s.position }},
	{name: "assertion", kind: integerKind, value: func(s *contributionSource) any { return s.assertion },
		stored: storedHash("h", "c.assertion", "c.audit"), expected: func(s *contributionSource) any { return s.hex.of(&s.c.AssertionHash) }},
	{name: "weight", kind: realKind, value: func(s *contributionSource) any { return s.c.Weight }},
	{name: "source", kind: integerKind, value: func(s *contributionSource) any { return s.source },
		stored: storedHash("s", "c.source", "c.audit"), expected: func(s *contributionSource) any { return s.hex.of(&s.c.SourceHash) }},
	{name: "lifecycle", kind: integerKind, value: func(s *contributionSource) any { return int64(s.c.Lifecycle) }},
}

// attributeSource is what a row of table attribute is made from.
type attributeSource struct {
	idx int64
	a   *Attribute
}

// attributeTable is table attribute. The first two columns are its key.
var attributeTable = []column[attributeSource]{
	{name: "audit", kind: integerKind, value: func(s *attributeSource) any { return s.idx }},
	{name: "key", kind: textKind, value: func(s *attributeSource) any { return s.a.Key }},
	{name: "value", kind: textKind, value: func(s *attributeSource) any { return s.a.Value }},
}

// names lists columns for SQL.
func names[S any](columns []column[S]) string {
	list := make([]string, len(columns))
	for i := range columns {
		list[i] = columns[i].name
	}
	return strings.Join(list, ", ")
}

// appendValues appends the values of a row.
func appendValues[S any](row []any, columns []column[S], s *S) []any {
	for i := range columns {
		row = append(row, columns[i].value(s))
	}
	return row
}

// storedColumns returns, as a list for SELECT, what differences compares. alias is the table's name in the query.
func storedColumns[S any](columns []column[S], alias string) string {
	list := make([]string, len(columns))
	for i := range columns {
		list[i] = cmp.Or(columns[i].stored, alias+"."+columns[i].name)
	}
	return strings.Join(list, ", ")
}

// differences returns the names of the columns in which a stored row differs from s. The row is the result of a SELECT of
// storedColumns.
func differences[S any](columns []column[S], row []driver.Value, s *S) (found []string) {
	for i := range columns {
		c := &columns[i]
		expected := c.value
		if c.expected != nil {
			expected = c.expected
		}
		if name := cmp.Or(c.as, c.name); !c.hint && !same(row[i], expected(s)) && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	return found
}

// same compares a value that the driver has read with one that it would bind. Values of different kinds differ.
func same(stored driver.Value, expected any) bool {
	if b, ok := expected.([]byte); ok {
		s, ok := stored.([]byte)
		return ok && bytes.Equal(s, b)
	}
	if _, ok := stored.([]byte); ok {
		return false // not comparable with ==
	}
	return stored == expected
}

// optional, optionalNumber and optionalHash return nil, which is NULL, for nil.

func optional(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func optionalNumber(n *uint8) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}

func optionalHash(h *[32]byte) any {
	if h == nil {
		return nil
	}
	return h[:]
}

// hexText writes hashes in hex. The texts share a buffer, because an allocation for each of them would cost time.
type hexText struct{ b strings.Builder }

// hexTexts is how many hashes share a buffer.
const hexTexts = 64

// of returns a hash in hex, see hexOf.
func (t *hexText) of(h *[32]byte) string {
	if t.b.Cap()-t.b.Len() < hexLen {
		t.b.Reset() // the texts that were returned keep the old buffer
		t.b.Grow(hexTexts * hexLen)
	}
	var digits [hexLen]byte
	hex.Encode(digits[:], h[:])
	from := t.b.Len()
	t.b.Write(digits[:])
	return t.b.String()[from:]
}

func (t *hexText) optional(h *[32]byte) any {
	if h == nil {
		return nil
	}
	return t.of(h)
}
