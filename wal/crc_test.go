package wal

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"
)

// The tests of this file are inside the package: what they test is arithmetic, and shows outside only as
// speed.

func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func TestExchangingTheFrontOfAChecksum(t *testing.T) {
	b := randomBytes(1, 1<<24+100)
	for _, n := range []int{0, 1, 7, 8, 255, 256, 257, 65535, 65536, 1 << 20, 1<<24 - 1, 1 << 24, 1<<24 + 32} {
		for _, front := range [][]byte{nil, {0}, []byte("front"), b[:5000]} {
			for _, other := range [][]byte{nil, {0}, []byte("something else"), b[7:400]} {
				tail := b[len(b)-n:]
				sum := func(first []byte) uint32 {
					return crc32.Update(crc32.Checksum(first, castagnoli), castagnoli, tail)
				}
				got := exchangeCRC(sum(front), crc32.Checksum(front, castagnoli), crc32.Checksum(other, castagnoli), uint32(n))
				if want := sum(other); got != want {
					t.Fatalf("%d bytes behind %d instead of %d: %08x, want %08x", n, len(other), len(front), got, want)
				}
			}
		}
	}
}

func TestMultiplyingByOneAndByX(t *testing.T) {
	const one, x = 1 << 31, 1 << 30
	for _, a := range []uint32{0, 1, one, x, 0xffffffff, 0x12345678} {
		if got := mulMod(a, one); got != a {
			t.Errorf("%08x·1 = %08x", a, got)
		}
		if mulMod(a, x) != mulMod(x, a) {
			t.Errorf("%08x·x is not x·%08x", a, a)
		}
	}
	// x^31·x is what is left of x^32: the polynomial itself.
	if got := mulMod(1, x); got != crc32.Castagnoli {
		t.Errorf("x^32 = %08x", got)
	}
}

// memFile is a File in memory, for reading.
type memFile struct {
	*bytes.Reader
	bytes int
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.Reader.ReadAt(p, off)
	f.bytes += n
	return n, err
}
func (f *memFile) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (f *memFile) Truncate(int64) error               { return errors.ErrUnsupported }
func (f *memFile) Sync() error                        { return nil }
func (f *memFile) Size() (int64, error)               { return f.Reader.Size(), nil }
func (f *memFile) Current() (bool, error)             { return true, nil }
func (f *memFile) Close() error                       { return nil }

func TestPrefixesAreTheChecksumsOfBeginnings(t *testing.T) {
	b := randomBytes(2, 600_000)
	for _, from := range []int64{0, 1, 1023, 5000} {
		p := newPrefixes(&memFile{Reader: bytes.NewReader(b)}, from)
		var last prefixEnd
		for _, pos := range []int64{from, from + 1, 599_999, from + 1024, 600_000, 300_000, 300_001, 299_999, from + 1023} {
			got, err := p.at(t.Context(), pos, &last)
			if want := crc32.Checksum(b[from:pos], castagnoli); err != nil || got != want {
				t.Errorf("from %d to %d: %08x, %v, want %08x", from, pos, got, err, want)
			}
		}
		for _, pos := range []int64{600_001, 700_000} {
			if _, err := p.at(t.Context(), pos, &last); err != io.EOF {
				t.Errorf("from %d to %d, behind the end: %v", from, pos, err)
			}
		}
	}
}

// The search behind damage reads what it looks at a few times, and not once for every length that the
// garbage seems to claim: here, thousands of up to 4 MiB each.
func TestLookingForARecordInGarbageReadsLittle(t *testing.T) {
	b := randomBytes(3, 4<<20)
	f := &memFile{Reader: bytes.NewReader(b)}
	s, err := newScanner(f, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok, err := s.resync(t.Context(), 0, s.size); ok || err != nil {
		t.Fatalf("a record at %d of random bytes, %v", at, err)
	}
	if most := 8 * len(b); f.bytes > most {
		t.Errorf("%d bytes read to search %d", f.bytes, len(b))
	}
	if len(s.sums.sums) > len(b)/prefixBlock+1 || cap(s.buf) > readAhead {
		t.Errorf("%d checksums kept, %d bytes buffered", len(s.sums.sums), cap(s.buf))
	}
}
