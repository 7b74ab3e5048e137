package audit

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
)

// A Hash is 32 bytes that identify something: an assertion, a source, an epoch. Its text form is 64
// lower-case hex digits. Either case can be read.
type Hash [32]byte

// QueryID identifies a record. Zero means none.
type QueryID = Hash

// AgentID identifies an agent: its public key, or a hash of its name.
type AgentID = Hash

// hexLen is the length of a hash in text.
const hexLen = 2 * len(Hash{})

// hexValues has the value of each hex digit, and notHex for every other byte. Hashes are two thirds of a
// record. Reading one by this table takes 40 ns, and by encoding/hex 70.
var hexValues = func() (values [256]byte) {
	for i := range values {
		values[i] = notHex
	}
	for i := byte(0); i < 10; i++ {
		values['0'+i] = i
	}
	for i := byte(0); i < 6; i++ {
		values['a'+i], values['A'+i] = 10+i, 10+i
	}
	return values
}()

// notHex has a bit that no digit's value has, so one test at the end checks a whole hash.
const notHex = 0xf0

// ParseHash reads 64 hex digits of either case. Anything else is ErrInvalid.
func ParseHash(s string) (Hash, error) {
	var h Hash
	err := h.UnmarshalText([]byte(s))
	return h, err
}

// String returns the hash as 64 lower-case hex digits.
func (h Hash) String() string {
	return hex.EncodeToString(h[:])
}

// IsZero reports whether all bytes are zero. For a QueryID that means that there is none.
func (h Hash) IsZero() bool { return h == Hash{} }

// Compare orders hashes by their bytes, as bytes.Compare does.
func (h Hash) Compare(other Hash) int { return bytes.Compare(h[:], other[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return h.appendHex(nil), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It reads what ParseHash reads. After an error h is unchanged.
func (h *Hash) UnmarshalText(text []byte) error {
	var read Hash
	if err := read.setHex(text); err != nil {
		return err
	}
	*h = read
	return nil
}

func (h *Hash) appendHex(dst []byte) []byte { return hex.AppendEncode(dst, h[:]) }

// setHex reads 64 hex digits. After an error h is undefined.
func (h *Hash) setHex(digits []byte) *FieldError {
	if len(digits) != hexLen {
		return invalid("must be %d hex digits, not %d characters", hexLen, len(digits))
	}
	if !h.fromHex((*[hexLen]byte)(digits)) {
		return invalid("must be %d hex digits", hexLen)
	}
	return nil
}

// fromHex reads 64 hex digits and reports whether they are that. After false h is undefined.
func (h *Hash) fromHex(digits *[hexLen]byte) bool {
	var seen byte
	for i := range h {
		high, low := hexValues[digits[2*i]], hexValues[digits[2*i+1]]
		seen |= high | low
		h[i] = high<<4 | low
	}
	return seen&notHex == 0
}

// sortedHashes returns the hashes of a set in order.
func sortedHashes(set map[Hash]bool) []Hash {
	return slices.SortedFunc(maps.Keys(set), Hash.Compare)
}
