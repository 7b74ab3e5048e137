package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/zeebo/blake3"
)

// A record on disk:
//
//	0      4      8                  40
//	+------+------+------------------+---------------+
//	| len  | crc  | blake3(payload)  | payload       |
//	+------+------+------------------+---------------+
//	  u32LE  u32LE                     len bytes
//
// crc is CRC-32C of: the record's global offset as u64 LE (which is not stored), len as u32 LE, the
// hash, the payload. The offset is in it so that the check fails for a record in the wrong place, and for one that is
// left over from an earlier use of the disk block.
const (
	HeaderSize = 40
	// MaxPayload is the longest payload, in bytes, that the format allows.
	MaxPayload = 16 << 20
	// MinRecord is the size of the shortest record. A gap between two records that is shorter cannot be filled.
	MinRecord = HeaderSize + 1
	// MaxOffset is the largest offset: a caller may store offsets as signed integers.
	MaxOffset = uint64(1)<<63 - 1
)

// Source is an open segment file. Both methods may be called by several goroutines.
type Source interface {
	// ReadAt is io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// Size returns the file's length in bytes.
	Size() (int64, error)
}

// Record is one record of the log.
type Record struct {
	Offset  uint64 // global offset of its first byte
	Next    uint64 // global offset of the byte after its last one
	Hash    [32]byte
	Payload []byte // at least one byte
}

// IsControl reports whether the record belongs to the journal itself: a mark, a filler or an identity.
func (r Record) IsControl() bool { return r.Payload[0] < KindLimit }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	length uint32
	crc    uint32
	hash   [32]byte
}

// decodeHeader reads the 40-byte header at the start of b.
//
// It does not know how long the file is. A torn header can claim any length, so the caller must compare the length with
// the rest of the segment before it allocates memory.
func decodeHeader(b []byte) (h header, ok bool) {
	if len(b) < HeaderSize {
		return header{}, false
	}
	h.length = binary.LittleEndian.Uint32(b)
	h.crc = binary.LittleEndian.Uint32(b[4:])
	copy(h.hash[:], b[8:])
	return h, h.length >= 1 && h.length <= MaxPayload
}

// checksum is the CRC of a record at off; rest is its hash and its payload.
func checksum(off uint64, length uint32, rest []byte) uint32 {
	var seed [12]byte
	binary.LittleEndian.PutUint64(seed[:], off)
	binary.LittleEndian.PutUint32(seed[8:], length)
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, rest)
}

// Append appends a record to dst, without its checksum. Seal writes the checksum when the offset is known.
func Append(dst []byte, hash *[32]byte, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, hash[:]...)
	return append(dst, payload...)
}

// Seal writes the checksum into the record that fills b. off is the offset at which the record will be written.
func Seal(b []byte, off uint64) {
	binary.LittleEndian.PutUint32(b[4:], checksum(off, binary.LittleEndian.Uint32(b), b[8:]))
}

// verify checks the record at the beginning of b, which lies at off in the log, and returns its size in bytes. b may be
// longer than the record. The format fixes the order of the checks: length, room in the file, CRC, hash.
func verify(b []byte, off uint64) (size int, reason string) {
	h, ok := decodeHeader(b)
	switch {
	case len(b) < HeaderSize:
		return 0, "the file ends inside a record's header"
	case !ok:
		return 0, fmt.Sprintf("a record's length is %d", h.length)
	case uint64(len(b)) < HeaderSize+uint64(h.length):
		return 0, fmt.Sprintf("the file ends inside a record of %d bytes", h.length)
	}
	size = HeaderSize + int(h.length)
	if h.crc != checksum(off, h.length, b[8:size]) {
		return 0, "the checksum (CRC-32C) does not match"
	}
	if blake3.Sum256(b[HeaderSize:size]) != h.hash {
		return 0, "the content hash (BLAKE3) does not match"
	}
	return size, ""
}

// decode is like verify, and returns the record. The payload is a part of b.
func decode(b []byte, off uint64) (rec Record, reason string) {
	size, reason := verify(b, off)
	if reason != "" {
		return rec, reason
	}
	rec = Record{Offset: off, Next: off + uint64(size), Payload: b[HeaderSize:size:size]}
	copy(rec.Hash[:], b[8:])
	return rec, ""
}

// readAtOnce is the size of ReadRecord's first read, in bytes. Most records fit into it.
const readAtOnce = 4 << 10

// ReadRecord reads the record at off, in the file that begins at base. The caller owns the payload. If there is no intact
// record, reason says why; otherwise it is empty.
func ReadRecord(src Source, base, off uint64) (rec Record, reason string, err error) {
	pos := int64(off - base)
	b := make([]byte, readAtOnce)
	n, err := src.ReadAt(b, pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return rec, "", err
	}
	b = b[:n]
	if h, ok := decodeHeader(b); ok && n < HeaderSize+int(h.length) {
		// Do not allocate memory for a length that is larger than the file.
		size, err := src.Size()
		if err != nil {
			return rec, "", err
		}
		if whole := HeaderSize + int64(h.length); whole <= size-pos {
			b = append(b, make([]byte, whole-int64(n))...)
			if _, err := src.ReadAt(b[n:], pos+int64(n)); err != nil && !errors.Is(err, io.EOF) {
				return rec, "", err
			}
		}
	}
	rec, reason = decode(b, off)
	return rec, reason, nil
}

// ReadHash returns the content hash in the header at off, in the file that begins at base, and whether a header is
// there. It does not verify the record.
func ReadHash(src Source, base, off uint64) (hash [32]byte, ok bool, err error) {
	b := make([]byte, HeaderSize)
	n, err := src.ReadAt(b, int64(off-base))
	if err != nil && !errors.Is(err, io.EOF) {
		return hash, false, err
	}
	h, ok := decodeHeader(b[:n])
	return h.hash, ok, nil
}
