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
	KindMark     = 0x01 // followed by an offset as u64 LE, before which everything has been synced
	KindFiller   = 0x02 // followed by zeros: a repair wrote it where records were lost
	KindIdentity = 0x03 // followed by 1 to MaxIdentity bytes of the caller: only the first record of a segment
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
// cannot be true, is an error. No caller may skip such a record: a later version may have written it for a reason.
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

// PutMark writes a mark into the MarkSize bytes at b. The mark will lie at the offset off, and says that everything
// before synced has been synced.
func PutMark(b []byte, off, synced uint64) {
	var payload [markPayload]byte
	payload[0] = KindMark
	binary.LittleEndian.PutUint64(payload[1:], synced)
	hash := blake3.Sum256(payload[:])
	Seal(Append(b[:0], &hash, payload[:]), off)
}

// IdentitySize is the size of an identity's record.
func IdentitySize(identity []byte) int64 { return HeaderSize + 1 + int64(len(identity)) }

// IdentityRecord makes the identity record with which the segment of this base begins.
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
		return nil, nil // whoever reads the records in order reports this one
	}
	return c.Identity, nil
}

// maxFiller is the size of the longest filler.
const maxFiller = HeaderSize + MaxPayload

// Fillers returns the number of filler records that fill a gap of gap bytes.
func Fillers(gap int64) int { return int((gap + maxFiller - 1) / maxFiller) }

// FillerSize returns the size of the first filler in a gap of gap bytes. It leaves either nothing or enough room for
// another filler.
func FillerSize(gap int64) int64 {
	switch {
	case gap <= maxFiller:
		return gap
	case gap-maxFiller < MinRecord:
		return gap - MinRecord
	}
	return maxFiller
}

// Filler makes filler records. It keeps the last one, because fillers of one size differ only in their checksums.
type Filler struct {
	record []byte // the last one that was made
}

// Head returns the beginning of a filler of size bytes at off. The rest of the filler is zeros. The returned bytes are
// valid until the next call.
func (f *Filler) Head(off uint64, size int64) []byte {
	if int64(len(f.record)) != size {
		if int64(cap(f.record)) < size {
			f.record = make([]byte, size)
		}
		f.record = f.record[:size]
		// A buffer that has held another filler needs no clearing: only the head of a filler is not zero.
		f.record[HeaderSize] = KindFiller
		hash := blake3.Sum256(f.record[HeaderSize:])
		Append(f.record[:0], &hash, f.record[HeaderSize:])
	}
	Seal(f.record, off)
	return f.record[:HeaderSize+1]
}
