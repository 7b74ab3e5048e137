package audit

import (
	"cmp"
	"strconv"
	"strings"
)

// A Cursor is a place in a list of records, that of one record: a reader who has seen the list up to this record asks for the
// rest with Filter.After.
type Cursor struct {
	Timestamp uint64
	ID        QueryID
}

// CursorOf returns the place of a record.
func CursorOf(q *QueryAudit) Cursor { return Cursor{q.Timestamp, q.QueryID} }

// compare orders places by (timestamp, query id).
func (c Cursor) compare(o Cursor) int {
	return cmp.Or(cmp.Compare(c.Timestamp, o.Timestamp), c.ID.Compare(o.ID))
}

// String writes the cursor as ParseCursor reads it: the timestamp, a full stop, and the 64 hex digits of the id. A URL takes it
// as it is.
func (c Cursor) String() string { return strconv.FormatUint(c.Timestamp, 10) + "." + c.ID.String() }

// ParseCursor reads what String writes. Anything else is ErrInvalid.
func ParseCursor(s string) (Cursor, error) {
	number, digits, found := strings.Cut(s, ".")
	timestamp, err := strconv.ParseUint(number, 10, 64)
	// ParseUint also takes digits that String does not write, such as leading zeros.
	if !found || err != nil || strconv.FormatUint(timestamp, 10) != number || timestamp > MaxTimestamp {
		return Cursor{}, invalid("%s is no cursor: want TIMESTAMP.ID", excerpt(s))
	}
	id, err := ParseHash(digits)
	if err != nil || id.String() != digits {
		return Cursor{}, invalid("%s is no cursor: want 64 hex digits after the full stop", excerpt(s))
	}
	return Cursor{timestamp, id}, nil
}

// MarshalText is String.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseCursor.
func (c *Cursor) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCursor(string(text))
	return err
}
