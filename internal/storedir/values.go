package storedir

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/wal"
)

// Unit is what the timestamps of a store count: s, ms, us or ns.
type Unit string

// DefaultUnit is the unit of a store that was not given one.
const DefaultUnit Unit = "ms"

// units are the units in the order of their byte in an identity.
var units = []Unit{"s", "ms", "us", "ns"}

// UnmarshalText accepts s, ms, us and ns.
func (u *Unit) UnmarshalText(text []byte) error {
	if !slices.Contains(units, Unit(text)) {
		return fmt.Errorf("unknown time unit %s: want s, ms, us or ns", quoted(string(text)))
	}
	*u = Unit(text)
	return nil
}

// quoted quotes the beginning of a text in ASCII, because errors go to terminals and logs, where other characters can do
// harm.
func quoted(text string) string {
	const most = 64
	if len(text) > most {
		return strconv.QuoteToASCII(strings.ToValidUTF8(text[:most], "")) + "…"
	}
	return strconv.QuoteToASCII(text)
}

// Retention is how many of the journal's newest bytes are kept although SQLite has them on disk. A negative one keeps all.
type Retention int64

// The retentions with names.
const (
	RetainAll     Retention = -1
	RetainDefault Retention = 1 << 30
)

// ParseRetention accepts all, none, or a size such as 512MiB.
func ParseRetention(s string) (Retention, error) {
	switch strings.ToLower(s) {
	case "all":
		return RetainAll, nil
	case "none":
		return 0, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 {
		return 0, fmt.Errorf("retention %s: want all, none or a size such as 512MiB", quoted(s))
	}
	return Retention(n), nil
}

// String is what ParseRetention reads.
func (r Retention) String() string {
	switch {
	case r < 0:
		return "all"
	case r == 0:
		return "none"
	}
	return strconv.FormatInt(int64(r), 10)
}

// MarshalText is String.
func (r Retention) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRetention.
func (r *Retention) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRetention(string(text))
	return err
}

// ID is the id of a record, as 64 hex digits in JSON.
type ID [32]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what String returns.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(id)) {
		return fmt.Errorf("an id has %d hex digits, not %d characters", hex.EncodedLen(len(id)), len(text))
	}
	_, err := hex.Decode(id[:], text)
	return err
}

// identityLen is the length of an identity. The segments of a journal begin with that of its store: the 16 bytes of the
// store's id, and its time unit as one byte. So a journal of which everything else is lost still says whose it is and
// what its timestamps count.
const identityLen = 17

// Identity returns what the segments of the store's journal begin with.
func (f File) Identity() []byte {
	identity, err := hex.DecodeString(f.StoreID)
	if err != nil {
		return nil // parse has refused it
	}
	return append(identity, byte(slices.Index(units, f.TimeUnit)))
}

// ParseIdentity reads an identity.
func ParseIdentity(identity []byte) (storeID string, unit Unit, ok bool) {
	if len(identity) != identityLen || int(identity[identityLen-1]) >= len(units) {
		return "", "", false
	}
	return hex.EncodeToString(identity[:identityLen-1]), units[identity[identityLen-1]], true
}

// JournalIdentity returns the identity that the segments of a store's journal have, or nil when there is none, or it
// cannot be read.
func JournalIdentity(dir string, f File) []byte {
	identity, _, err := wal.Identity(f.JournalPath(dir), wal.Options{})
	if err != nil {
		return nil
	}
	return identity
}
