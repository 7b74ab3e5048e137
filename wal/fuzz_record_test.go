package wal

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/internal/walspec"
)

// FuzzRecord holds the record decoder against the second reading of the format: on any bytes, at any
// offset, both find the same record or none.
//
// Arbitrary bytes have a fitting checksum once in four billion times, so with fix the record's hash and
// checksum are made to fit; hurt is then a byte to spoil, if it lies inside.
func FuzzRecord(f *testing.F) {
	mark := binary.LittleEndian.AppendUint64([]byte{kindMark}, 42)
	for _, payload := range [][]byte{[]byte("{}"), {0x20}, mark, {kindFiller, 0, 0}, {0x07, 1}, {0}} {
		f.Add(uint64(84), walspec.Encode(84, payload), false, uint(1<<20))
		f.Add(uint64(1<<63-1), walspec.Encode(0, append(payload, "behind it"...)), true, uint(45))
	}
	f.Add(uint64(0), []byte{2, 0, 0, 0}, false, uint(0))
	f.Add(uint64(0), bytes.Repeat([]byte{0xff}, 60), true, uint(0))
	f.Fuzz(func(t *testing.T, at uint64, b []byte, fix bool, hurt uint) {
		b = bytes.Clone(b)
		if h, ok := decodeHeader(b); fix && ok && int(h.length) <= len(b)-headerSize {
			size := headerSize + int(h.length)
			hash := blake3.Sum256(b[headerSize:size])
			copy(b[8:], hash[:])
			sealRecord(b[:size], Offset(at))
			if hurt < uint(len(b)) {
				b[hurt] ^= 0x10
			}
		}
		size, reason := verifyRecord(b, Offset(at))
		payload, want := walspec.Decode(at, b)
		if (reason == "") != (want == "") {
			t.Fatalf("found %q, the second reading %q", reason, want)
		}
		if reason != "" {
			return
		}
		if size != headerSize+len(payload) {
			t.Fatalf("a record of %d bytes, the second reading has a payload of %d", size, len(payload))
		}
		mark, isMark, err := own(payload, Offset(at))
		if payload[0] < kindLimit && err == nil && isMark && (len(payload) != markPayload || uint64(mark) > at) {
			t.Fatalf("%x at %d is a mark of %d", payload, at, mark)
		}
		// Encoding it again gives the same bytes.
		hash := blake3.Sum256(payload)
		again := appendRecord(nil, &hash, payload)
		sealRecord(again, Offset(at))
		if !bytes.Equal(again, b[:size]) {
			t.Fatalf("%x is written again as %x", b[:size], again)
		}
	})
}
