package audit

import (
	"strconv"

	"github.com/auditsql/auditsql/sqlstore"
)

// toRow returns the columns that SQLite has of a record, without its payload. The row shares memory with q: q must not change
// while the row is in use.
func toRow(q *QueryAudit) sqlstore.Record {
	row := sqlstore.Record{
		QueryID: q.QueryID, AgentID: (*[32]byte)(q.AgentID), Timestamp: int64(q.Timestamp),
		Subject: q.Params.Subject, Predicate: q.Params.Predicate, Lens: q.Params.Lens,
		Lifecycle: (*uint8)(q.Params.Lifecycle),
		Epoch:     (*[32]byte)(q.Params.Epoch), ResultHash: (*[32]byte)(q.ResultHash),
		ResultConfidence: shortest(q.ResultConfidence),
	}
	if n := len(q.ContributingAssertions); n > 0 {
		row.Contributions = make([]sqlstore.Contribution, n)
		for i, c := range q.ContributingAssertions {
			row.Contributions[i] = sqlstore.Contribution{
				AssertionHash: c.AssertionHash, Weight: shortest(c.Weight),
				SourceHash: c.SourceHash, Lifecycle: uint8(c.Lifecycle),
			}
		}
	}
	if n := len(q.Attributes); n > 0 {
		row.Attributes = make([]sqlstore.Attribute, 0, n)
	}
	for key, value := range q.Attributes {
		row.Attributes = append(row.Attributes, sqlstore.Attribute{Key: key, Value: attributeText(value)})
	}
	return row
}

// rowOf is toRow for a payload, which must be canonical. The row shares no memory with the payload.
func rowOf(payload []byte) (sqlstore.Record, error) {
	q, err := ParseCanonical(payload)
	if err != nil {
		return sqlstore.Record{}, err
	}
	return toRow(&q), nil
}

// rowOfOwn is rowOf for a payload that is known to be canonical.
func rowOfOwn(payload []byte) (sqlstore.Record, error) {
	q, err := ParseAudit(payload)
	if err != nil {
		return sqlstore.Record{}, err
	}
	return toRow(&q), nil
}

// shortest returns the float64 that the canonical decimal form of f reads as. So a comparison in SQL with the number
// that a person reads in a record, 0.95, finds it.
func shortest(f float32) float64 {
	if f == float32(int16(f)) {
		return float64(f) + 0 // a whole number is its own decimal form; a negative zero becomes zero
	}
	d, err := strconv.ParseFloat(string(appendFloat32(nil, f)), 64)
	if err != nil {
		return float64(f)
	}
	return d
}

func bytesOf(h *Hash) *[32]byte {
	if h == nil {
		return nil
	}
	b := [32]byte(*h)
	return &b
}

// attributeText returns an attribute's value as text: a string unchanged, anything else as canonical JSON.
func attributeText(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	text, err := appendAttribute(nil, value)
	if err != nil {
		return "" // such a record cannot be encoded
	}
	return string(text)
}
