// Package walspec is a second reading of the journal's format, for tests only.
//
// It was written from the format's description, without reading package wal, and never imports it. Where both
// agree on a file, the description is likely to say what wal does, and others can write a program from it. So it
// must stay naive. It reads whole files, follows the description sentence by sentence, and knows no recovery, no sync
// and no lock. It is also stricter: what a reader may skip at the end of a live journal is an error here.
//
//	record   len u32 | crc32c u32 | blake3 of payload, 32 | payload, len bytes      (little endian)
//	crc32c   of: global offset u64 | len u32 | blake3 | payload
//	segment  {base:016x}.wal: records back to back; zeros may follow the data of the last one
//
// A [Writer] writes a journal as it is told; [Read] and [ReadDir] verify and return one.
package walspec

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/zeebo/blake3"
)

const (
	headerSize = 40
	maxPayload = 16 << 20
)

// Kind is the kind of a record, which its payload's first byte says.
type Kind byte

// The kinds that the format knows.
const (
	Payload  Kind = iota // of the journal's user: a first byte of 0x20 or above
	Mark                 // 0x01 and an offset that an earlier sync covered
	Filler               // 0x02 and zeros: where a repair had nothing to put back
	Identity             // 0x03 and 1 to 64 bytes: whose journal this is, as the first record of a segment
)

func (k Kind) String() string {
	switch k {
	case Payload:
		return "payload"
	case Mark:
		return "mark"
	case Filler:
		return "filler"
	case Identity:
		return "identity"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Record is one record of a journal.
type Record struct {
	Offset  uint64 // global
	Kind    Kind
	Payload []byte
}

// Next is the offset after the record.
func (r Record) Next() uint64 {
	return r.Offset + headerSize + uint64(len(r.Payload))
}

// Covered is the offset in a mark.
func (r Record) Covered() uint64 {
	return binary.LittleEndian.Uint64(r.Payload[1:])
}

// Encode returns the record of the payload at this global offset. It refuses nothing, so that tests can
// make records that the format forbids.
func Encode(offset uint64, payload []byte) []byte {
	hash := blake3.Sum256(payload)
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, checksum(offset, uint32(len(payload)), hash[:], payload))
	b = append(b, hash[:]...)
	return append(b, payload...)
}

// MarkPayload returns the payload of a mark of the offset.
func MarkPayload(covered uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{0x01}, covered)
}

// IdentityPayload returns the payload of an identity.
func IdentityPayload(identity []byte) []byte {
	return append([]byte{0x03}, identity...)
}

// FillerPayload returns the payload of a filler record of this many bytes, header included: 41 at least.
func FillerPayload(recordSize int) []byte {
	payload := make([]byte, recordSize-headerSize)
	payload[0] = 0x02
	return payload
}

func checksum(offset uint64, length uint32, hash, payload []byte) uint32 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	h.Write(binary.LittleEndian.AppendUint64(nil, offset))
	h.Write(binary.LittleEndian.AppendUint32(nil, length))
	h.Write(hash)
	h.Write(payload)
	return h.Sum32()
}

// Decode reads the record at the start of b, whose global offset is offset. b holds the rest of the file. The reason
// says what is wrong with the record; it is empty when the record is valid. The payload is part of b.
func Decode(offset uint64, b []byte) (payload []byte, reason string) {
	if len(b) < headerSize {
		return nil, fmt.Sprintf("%d bytes are left, less than a header", len(b))
	}
	length := binary.LittleEndian.Uint32(b)
	if length < 1 || length > maxPayload {
		return nil, fmt.Sprintf("length %d is out of range", length)
	}
	if uint64(length) > uint64(len(b)-headerSize) {
		return nil, fmt.Sprintf("length %d goes beyond the file, which has %d more bytes", length, len(b)-headerSize)
	}
	hash, payload := b[8:headerSize], b[headerSize:headerSize+int(length)]
	if want := checksum(offset, length, hash, payload); binary.LittleEndian.Uint32(b[4:]) != want {
		return nil, "crc32c differs"
	}
	if blake3.Sum256(payload) != [32]byte(hash) {
		return nil, "blake3 differs"
	}
	return payload, ""
}

// kindOf returns the kind of a valid record's payload, or what is wrong with it.
func kindOf(payload []byte) (k Kind, reason string) {
	switch first := payload[0]; {
	case first >= 0x20:
		return Payload, ""
	case first == 0x01:
		if len(payload) != 9 {
			return Mark, fmt.Sprintf("a mark of %d bytes", len(payload))
		}
		return Mark, ""
	case first == 0x02:
		for i, b := range payload[1:] {
			if b != 0 {
				return Filler, fmt.Sprintf("a filler with %#02x at byte %d", b, i+1)
			}
		}
		return Filler, ""
	case first == 0x03:
		if n := len(payload) - 1; n < 1 || n > 64 {
			return Identity, fmt.Sprintf("an identity of %d bytes", n)
		}
		return Identity, ""
	default:
		return 0, fmt.Sprintf("unknown kind %#02x", first)
	}
}
