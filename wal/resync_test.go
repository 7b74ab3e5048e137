package wal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// After damage the log goes on at the first intact record, wherever that lies: not at bytes that only look
// like a record, and not at a later one. Decoding at every byte finds the same one, slowly.
func TestAfterDamageTheFirstIntactRecordIsFound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var file []byte
		for range rapid.IntRange(1, 12).Draw(rt, "pieces") {
			payload := bytes.Repeat([]byte{'x'}, rapid.SampledFrom([]int{1, 2, 40, 255, 1000, 5000}).Draw(rt, "length"))
			rec := walspec.Encode(uint64(len(file)), payload)
			switch rapid.SampledFrom([]string{"record", "misplaced", "hash", "flip", "inside", "own", "kind", "cut", "random", "zeros", "numbers"}).Draw(rt, "piece") {
			case "record":
			case "misplaced":
				rec = walspec.Encode(uint64(len(file)+1), payload)
			case "hash": // the checksum fits, the content hash does not
				rec = forgeHash(wal.Offset(len(file)), [32]byte{1}, payload)
			case "flip":
				rec[rapid.IntRange(0, len(rec)-1).Draw(rt, "at")] ^= 1
			case "inside": // an intact record inside the payload of a damaged one
				inner := walspec.Encode(uint64(len(file)+43), payload)
				rec = walspec.Encode(uint64(len(file)), slices.Concat([]byte("{: "), inner, payload))
				rec[4] ^= 1
			case "own":
				rec = walspec.Encode(uint64(len(file)), walspec.FillerPayload(40+len(payload)))
			case "kind": // intact, though nobody knows what it means
				payload[0] = 0x07
				rec = walspec.Encode(uint64(len(file)), payload)
			case "cut":
				rec = rec[:rapid.IntRange(1, len(rec)).Draw(rt, "size")]
			case "random":
				rec = rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(rt, "bytes")
			case "zeros":
				rec = make([]byte, len(rec))
			case "numbers": // lengths that fit everywhere
				rec = bytes.Repeat([]byte{byte(len(payload)), 2, 0, 0}, 500)
			}
			file = append(file, rec...)
		}
		dir := t.TempDir()
		writeFile(rt, filepath.Join(dir, firstSegment), file)
		writeFile(rt, filepath.Join(dir, walspec.Name(uint64(len(file)))), nil) // so that the first one is sealed

		var want []uint64
		for at := 0; at < len(file); {
			// Most bytes are told by the length, and saying why costs more than the rest.
			if rest := file[at:]; len(rest) > 40 && int(binary.LittleEndian.Uint32(rest)) > len(rest)-40 {
				at++
				continue
			}
			payload, reason := walspec.Decode(uint64(at), file[at:])
			if reason != "" {
				at++
				continue
			}
			if payload[0] >= 0x20 {
				want = append(want, uint64(at))
			}
			at += 40 + len(payload)
		}
		var got []uint64
		rep, err := wal.VerifyContext(context.Background(), dir, wal.Options{}, func(r wal.Record) error {
			got = append(got, uint64(r.Offset))
			return nil
		})
		if err != nil || !slices.Equal(got, want) || rep.Records != len(want) {
			rt.Fatalf("records at %v, want %v (%v)", got, want, err)
		}
		os.RemoveAll(dir)
	})
}
