package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/zeebo/blake3"
)

// Offset is a record's address: the number of bytes of log before it, over all segments.
type Offset uint64

// Record is one record of the log.
type Record struct {
	Offset Offset   // where it begins
	Next   Offset   // where the next one begins: the cursor of whoever has taken this one
	Hash   [32]byte // BLAKE3-256 of Payload
	// Payload belongs to whoever got the record.
	Payload []byte
}

// A record on disk:
//
//	0      4      8                  40
//	+------+------+------------------+---------------+
//	| len  | crc  | blake3(payload)  | payload       |
//	+------+------+------------------+---------------+
//	  u32LE  u32LE                     len bytes
//
// crc is CRC-32C of: the record's global offset as u64 LE (which is not stored), len as u32 LE, the
// hash, the payload. The offset makes a record that is whole but in the wrong place, or left over
// from an earlier life of the block, fail.
const (
	headerSize = 40
	// MaxPayload is the longest payload, in bytes, that the format allows.
	MaxPayload = 16 << 20
)

// The first byte of a payload tells whose it is: from 0x20 up the caller's, below it a control record.
const (
	kindMark     = 0x01 // and a u64 LE offset that an earlier sync is known to have covered
	kindFiller   = 0x02 // and zeros: a repair put it where records were lost
	kindIdentity = 0x03 // and 1 to MaxIdentity bytes of the caller's: the first record of a segment, or nowhere
	kindLimit    = 0x20

	markPayload = 9
	markSize    = headerSize + markPayload
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	length uint32
	crc    uint32
	hash   [32]byte
}

// decodeHeader reads the 40-byte header at the start of b.
//
// It checks nothing against the disk: a caller must hold the length against what is left of the
// segment before it allocates, since a torn header can claim any length.
func decodeHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize {
		return header{}, false
	}
	h.length = binary.LittleEndian.Uint32(b)
	h.crc = binary.LittleEndian.Uint32(b[4:])
	copy(h.hash[:], b[8:])
	return h, h.length >= 1 && h.length <= MaxPayload
}

// checksum is the CRC of a record at off; rest is its hash and its payload.
func checksum(off Offset, length uint32, rest []byte) uint32 {
	var seed [12]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(off))
	binary.LittleEndian.PutUint32(seed[8:], length)
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, rest)
}

// appendRecord appends a record without its checksum, which sealRecord fills in when the offset is
// known.
func appendRecord(dst []byte, hash *[32]byte, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, hash[:]...)
	return append(dst, payload...)
}

// sealRecord writes the checksum of the record that fills b, for the offset it will lie at.
func sealRecord(b []byte, off Offset) {
	binary.LittleEndian.PutUint32(b[4:], checksum(off, binary.LittleEndian.Uint32(b), b[8:]))
}

// putMark writes a mark into the markSize bytes at b: everything below durable has been synced.
func putMark(b []byte, off, durable Offset) {
	var payload [markPayload]byte
	payload[0] = kindMark
	binary.LittleEndian.PutUint64(payload[1:], uint64(durable))
	hash := blake3.Sum256(payload[:])
	sealRecord(appendRecord(b[:0], &hash, payload[:]), off)
}

// verifyRecord checks the record that b begins with, as one that lies at off, and returns its size
// in bytes. b may be longer than the record. The order of the checks is the format's: length, room,
// CRC, hash.
func verifyRecord(b []byte, off Offset) (size int, reason string) {
	h, ok := decodeHeader(b)
	switch {
	case len(b) < headerSize:
		return 0, "the file ends inside a record's header"
	case !ok:
		return 0, fmt.Sprintf("a record's length is %d", h.length)
	case uint64(len(b)) < headerSize+uint64(h.length):
		return 0, fmt.Sprintf("the file ends inside a record of %d bytes", h.length)
	}
	size = headerSize + int(h.length)
	if h.crc != checksum(off, h.length, b[8:size]) {
		return 0, "the checksum (CRC-32C) does not match"
	}
	if blake3.Sum256(b[headerSize:size]) != h.hash {
		return 0, "the content hash (BLAKE3) does not match"
	}
	return size, ""
}

// control is what a control record says.
type control struct {
	kind     byte
	mark     Offset // of a mark: everything before it has been synced
	identity []byte // of an identity; part of the payload
}

// decodeControl reads the payload of a control record at off, in a segment that begins at base. A kind that is
// not known, or a content that cannot be true, stops whoever meets it: a later version may have meant something
// by it.
func decodeControl(payload []byte, off, base Offset) (control, error) {
	c := control{kind: payload[0]}
	switch c.kind {
	case kindMark:
		if len(payload) != markPayload {
			return c, fmt.Errorf("a mark of %d bytes", len(payload))
		}
		c.mark = Offset(binary.LittleEndian.Uint64(payload[1:]))
		if c.mark > off {
			return c, fmt.Errorf("a mark for offset %d, which lies after it", c.mark)
		}
	case kindFiller:
	case kindIdentity:
		if n := len(payload) - 1; n < 1 || n > MaxIdentity {
			return c, fmt.Errorf("an identity of %d bytes", n)
		}
		if off != base {
			return c, fmt.Errorf("an identity inside the segment that begins at %d", base)
		}
		c.identity = payload[1:]
	default:
		return c, fmt.Errorf("a control record of the unknown kind 0x%02x", c.kind)
	}
	return c, nil
}

// maxOffset bounds offsets: whoever keeps them may have signed integers only.
const maxOffset = Offset(1)<<63 - 1

// checkPayload says whether a caller's payload may be appended.
func checkPayload(p []byte, limit int) error {
	switch {
	case len(p) == 0:
		return fmt.Errorf("%w: it is empty", ErrPayload)
	case len(p) > limit:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrPayload, len(p), limit)
	case p[0] < kindLimit:
		return fmt.Errorf("%w: it begins with 0x%02x, and first bytes below 0x20 are for control records", ErrPayload, p[0])
	}
	return nil
}
