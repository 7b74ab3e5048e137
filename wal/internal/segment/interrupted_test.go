package segment_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// A segment of base 0 has a record of `at` bytes, and after it what the rows say: the bytes from `at` to end, before which nothing else is
// wrong, and after which there are more bytes or zeros.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	const sector = 512
	zeroed := func(b []byte, from, to int) []byte {
		b = slices.Clone(b)
		clear(b[from:to])
		return b
	}
	longer := func(b []byte, length byte) []byte { // of a record whose length has changed
		b = slices.Clone(b)
		b[1] = length
		return b
	}
	for _, c := range []struct {
		name  string
		at    int
		bytes []byte
		after int // how many bytes of the next, intact record follow; 0: the data ends
		want  bool
	}{
		{"a whole record with a changed byte", 100, flipped(record(100, 2000), 1000), 0, false},
		{"the same before an intact record", 100, flipped(record(100, 2000), 1000), 200, false},
		{"a changed header", 100, flipped(record(100, 2000), 20), 0, false},
		{"a length that is too long for the format", 100, flipped(longer(record(100, 2000), 7), 3), 0, false},
		{"a sector that is missing in the middle", 100, zeroed(record(100, 2000), sector-100, 2*sector-100), 0, true},
		{"the same before an intact record", 100, zeroed(record(100, 2000), sector-100, 2*sector-100), 200, true},
		{"the first sector is missing", 100, zeroed(record(100, 2000), 0, sector-100), 0, true},
		{"the first sector is missing, which has 4 bytes of the record", sector - 4, zeroed(record(sector-4, 2000), 0, 4), 0, true},
		{"the first sector is missing, which has 3 bytes of the record", sector - 3, zeroed(record(sector-3, 2000), 0, 3), 0, false},
		{"the last sector is missing", 100, record(100, 2000)[:4*sector-100], 0, true},
		{"a header whose zeros end a sector, and a changed byte", sector - 4, flipped(record(sector-4, 2000), 1000), 0, false},
		{"the write ended at a sector", 100, record(100, 2000)[:sector-100], 0, true},
		{"the write ended inside of a sector", 100, record(100, 2000)[:sector-90], 0, true},
		{"a changed mark", 100, flipped(mark(100, 100), 30), 0, false},
		{"a mark with a changed length", 100, flipped(mark(100, 100), 0), 0, false},
		{"the write ended in a header", 100, record(100, 2000)[:30], 0, true},
		{"a whole record with a longer length", 100, longer(record(100, 2000), 200), 0, false},
		{"a whole record that ends at a sector, with a changed byte", 100, flipped(record(100, 2*sector-140), 200), 0, false},
		{"a whole record that ends at a sector, with a longer length", 100, longer(record(100, 2*sector-140), 200), 0, false},
		{"a whole record that ends at a sector, with a longer length, before an intact record", 100, longer(record(100, sector-140), 200), sector, false},
	} {
		end := int64(c.at + len(bytes.TrimRight(c.bytes, "\x00")))
		file := record(0, c.at-segment.HeaderSize)
		file = append(file, c.bytes[:end-int64(c.at)]...)
		if c.after > 0 {
			file = append(file, record(uint64(end), c.after-segment.HeaderSize)...)
		}
		file = append(file, make([]byte, 3000)...)
		s, err := segment.NewScanner(&source{b: file}, 0, uint64(c.at))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Interrupted(context.Background(), end); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}
