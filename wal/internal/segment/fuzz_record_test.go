package segment

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/internal/walspec"
)

// FuzzRecord holds the record decoder against the second reading of the format: on any bytes, at any
// offset, both find the same record, or that the same check fails first.
//
// Arbitrary bytes have a fitting checksum once in four billion times, so with fix the record's hash and
// checksum are made to fit; hurt is then a byte to spoil, if it lies inside, and with fix above 1 the checksum is
// made to fit once more.
func FuzzRecord(f *testing.F) {
	mark := binary.LittleEndian.AppendUint64([]byte{KindMark}, 42)
	for _, payload := range [][]byte{[]byte("{}"), {0x20}, mark, {KindFiller, 0, 0}, {KindIdentity, 7, 8, 9}, {KindIdentity}, {0x07, 1}, {0}} {
		f.Add(uint64(84), walspec.Encode(84, payload), uint8(0), uint(1<<20))
		f.Add(uint64(1<<63-1), walspec.Encode(0, append(payload, "after it"...)), uint8(1), uint(45))
		f.Add(uint64(42), walspec.Encode(42, payload), uint8(2), uint(8))
		f.Add(uint64(42), walspec.Encode(42, payload)[:len(payload)+39], uint8(0), uint(0))
	}
	f.Add(uint64(0), []byte{2, 0, 0, 0}, uint8(0), uint(0))
	f.Add(uint64(0), bytes.Repeat([]byte{0xff}, 60), uint8(1), uint(0))
	f.Fuzz(func(t *testing.T, at uint64, b []byte, fix uint8, hurt uint) {
		b = bytes.Clone(b)
		if h, ok := decodeHeader(b); fix > 0 && ok && int(h.length) <= len(b)-HeaderSize {
			size := HeaderSize + int(h.length)
			hash := blake3.Sum256(b[HeaderSize:size])
			copy(b[8:], hash[:])
			Seal(b[:size], at)
			if hurt < uint(len(b)) {
				b[hurt] ^= 0x10
			}
			if fix > 1 && hurt >= 8 {
				Seal(b[:size], at)
			}
		}
		size, reason := verify(b, at)
		payload, want := walspec.Decode(at, b)
		if (reason == "") != (want == "") || failed(reason) != failed(want) {
			t.Fatalf("found %q, the second reading %q", reason, want)
		}
		if reason != "" {
			return
		}
		if size != HeaderSize+len(payload) {
			t.Fatalf("a record of %d bytes, the second reading has a payload of %d", size, len(payload))
		}
		if payload[0] < KindLimit {
			for _, base := range []uint64{0, at} {
				c, err := DecodeControl(Record{Offset: at, Payload: payload}, base)
				if err == nil && c.Kind == KindMark && (len(payload) != markPayload || c.Mark > at) {
					t.Fatalf("%x at %d is a mark of %d", payload, at, c.Mark)
				}
				if err == nil && c.Kind == KindIdentity && (len(c.Identity) < 1 || len(c.Identity) > MaxIdentity || base != at) {
					t.Fatalf("%x at %d, in a segment from %d, is the identity %x", payload, at, base, c.Identity)
				}
			}
		}
		// Encoding it again gives the same bytes.
		hash := blake3.Sum256(payload)
		again := Append(nil, &hash, payload)
		Seal(again, at)
		if !bytes.Equal(again, b[:size]) {
			t.Fatalf("%x is written again as %x", b[:size], again)
		}
	})
}

// failed returns the number of the check that a reason is of, in the order of the format, or 0.
func failed(reason string) int {
	for i, check := range []string{"header", "length is |out of range", "inside a record of|beyond the file", "CRC|crc", "BLAKE3|blake3"} {
		for word := range strings.SplitSeq(check, "|") {
			if strings.Contains(reason, word) {
				return i + 1
			}
		}
	}
	return 0
}
