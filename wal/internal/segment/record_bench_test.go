package segment

import (
	"fmt"
	"testing"

	"github.com/zeebo/blake3"
)

// The benchmarks of this file are inside the package: what they measure is the share that one step has of an
// append or of a read, which outside shows only in the sum.

func benchmarkPayloads(b *testing.B, run func(b *testing.B, payload []byte)) {
	for _, size := range []int{300, 1100, 16 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			payload := randomBytes(9, size)
			payload[0] = '{'
			b.SetBytes(int64(size))
			b.ReportAllocs()
			run(b, payload)
		})
	}
}

// BenchmarkContentHash is the BLAKE3 of a payload, computed by each caller of Append for itself.
func BenchmarkContentHash(b *testing.B) {
	benchmarkPayloads(b, func(b *testing.B, payload []byte) {
		for b.Loop() {
			blake3.Sum256(payload)
		}
	})
}

// BenchmarkEncodeRecord is what is left of an append without the hash and the disk.
func BenchmarkEncodeRecord(b *testing.B) {
	benchmarkPayloads(b, func(b *testing.B, payload []byte) {
		hash := blake3.Sum256(payload)
		buf := make([]byte, 0, HeaderSize+len(payload))
		for b.Loop() {
			buf = Append(buf[:0], &hash, payload)
			Seal(buf, 42)
		}
	})
}

// BenchmarkVerifyRecord is both checksums of a record that is read.
func BenchmarkVerifyRecord(b *testing.B) {
	benchmarkPayloads(b, func(b *testing.B, payload []byte) {
		hash := blake3.Sum256(payload)
		record := Append(nil, &hash, payload)
		Seal(record, 42)
		for b.Loop() {
			if _, reason := verify(record, 42); reason != "" {
				b.Fatal(reason)
			}
		}
	})
}
