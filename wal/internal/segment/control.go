package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// The first byte of a payload is its kind. From KindLimit up the payload is the caller's; below it the record is a
// control record.
const (
	KindMark     = 0x01 // and a u64 LE offset that an earlier sync is known to have covered
	KindFiller   = 0x02 // and zeros: a repair wrote it where records were lost
	KindIdentity = 0x03 // and 1 to MaxIdentity bytes of the caller's: the first record of a segment, or nowhere
	KindLimit    = 0x20

	markPayload = 9
	// MarkSize is the size of a mark's record.
	MarkSize = HeaderSize + markPayload
	// MaxIdentity is the longest identity, in bytes, that the format allows.
	MaxIdentity = 64
)

// Control is what a control record says.
type Control struct {
	Kind     byte
	Mark     uint64 // of a mark: everything before it has been synced
	Identity []byte // of an identity; part of the payload
}

// DecodeControl reads the control record rec, of the segment that begins at base. An unknown kind, or a content that
// cannot be true, is an error. Nobody may skip such a record: a later version may have meant something by it.
func DecodeControl(rec Record, base uint64) (Control, error) {
	c := Control{Kind: rec.Payload[0]}
	switch c.Kind {
	case KindMark:
		if len(rec.Payload) != markPayload {
			return c, fmt.Errorf("a mark of %d bytes", len(rec.Payload))
		}
		c.Mark = binary.LittleEndian.Uint64(rec.Payload[1:])
		if c.Mark > rec.Offset {
			return c, fmt.Errorf("a mark for offset %d, which lies after it", c.Mark)
		}
	case KindFiller:
	case KindIdentity:
		if n := len(rec.Payload) - 1; n < 1 || n > MaxIdentity {
			return c, fmt.Errorf("an identity of %d bytes", n)
		}
		if rec.Offset != base {
			return c, fmt.Errorf("an identity inside the segment that begins at %d", base)
		}
		c.Identity = rec.Payload[1:]
	default:
		return c, fmt.Errorf("a control record of the unknown kind 0x%02x", c.Kind)
	}
	return c, nil
}

// PutMark writes a mark into the MarkSize bytes at b, for the offset off: everything before synced has been synced.
func PutMark(b []byte, off, synced uint64) {
	var payload [markPayload]byte
	payload[0] = KindMark
	binary.LittleEndian.PutUint64(payload[1:], synced)
	hash := blake3.Sum256(payload[:])
	Seal(Append(b[:0], &hash, payload[:]), off)
}

// IdentitySize is the size of an identity's record.
func IdentitySize(identity []byte) int64 { return HeaderSize + 1 + int64(len(identity)) }

// IdentityRecord makes the record that a segment of that base begins with.
func IdentityRecord(identity []byte, base uint64) []byte {
	payload := append([]byte{KindIdentity}, identity...)
	hash := blake3.Sum256(payload)
	b := Append(make([]byte, 0, IdentitySize(identity)), &hash, payload)
	Seal(b, base)
	return b
}

// ReadIdentity returns the identity that a segment begins with, or nil when it begins with something else.
func ReadIdentity(src Source, base uint64) ([]byte, error) {
	b := make([]byte, HeaderSize+1+MaxIdentity)
	n, err := src.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	rec, reason := decode(b[:n], base)
	if reason != "" || rec.Payload[0] != KindIdentity {
		return nil, nil
	}
	c, err := DecodeControl(rec, base)
	if err != nil {
		return nil, nil // reading the record reports it
	}
	return c.Identity, nil
}

// maxFiller is the size of the longest filler.
const maxFiller = HeaderSize + MaxPayload

// Fillers returns how many filler records a gap of so many bytes needs.
func Fillers(gap int64) int { return int((gap + maxFiller - 1) / maxFiller) }

// FillerSize returns the size of the first filler of a gap, so that what is left is nothing or long enough for
// another one.
func FillerSize(gap int64) int64 {
	switch {
	case gap <= maxFiller:
		return gap
	case gap-maxFiller < MinRecord:
		return gap - MinRecord
	}
	return maxFiller
}

// Filler makes filler records.
type Filler struct {
	record []byte // the last one that was made
}

// Head returns the beginning of a filler of so many bytes at off: all of it that is not zero. It is valid until the
// next call.
func (f *Filler) Head(off uint64, size int64) []byte {
	if int64(len(f.record)) != size {
		if int64(cap(f.record)) < size {
			f.record = make([]byte, size)
		}
		f.record = f.record[:size]
		// After the head, a buffer that was used for another filler holds zeros and nothing else.
		f.record[HeaderSize] = KindFiller
		hash := blake3.Sum256(f.record[HeaderSize:])
		Append(f.record[:0], &hash, f.record[HeaderSize:])
	}
	Seal(f.record, off)
	return f.record[:HeaderSize+1]
}
