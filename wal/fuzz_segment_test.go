package wal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// FuzzSegment writes any bytes to a journal of one segment or two, and reads, verifies, copies and opens it. Each must
// come to the judgement of the format's description, return only what is intact and lies at its offset, and go on or
// change nothing.
//
// The bytes begin at base. From split on they are in a second segment. With fix, bytes at the beginning that would be
// records if their hashes and checksums were right get the right ones. The cursor is that many bytes after base.
func FuzzSegment(f *testing.F) {
	for _, g := range golden {
		names, err := filepath.Glob(filepath.Join(goldenDir, g.name, "*.wal"))
		if err != nil || len(names) == 0 {
			f.Fatalf("no segments of %s: %v", g.name, err)
		}
		for _, name := range names {
			base, b := baseOf(f, name), readFile(f, name)
			f.Add(base, b, uint16(0), uint16(0), false)
			if len(b) > 60 {
				torn := bytes.Clone(b)
				torn[len(b)/2] ^= 1
				f.Add(base, torn, uint16(len(b)), uint16(42), false)
				f.Add(uint64(1<<63-1000), b[:len(b)-5], uint16(42), uint16(43), true)
			}
		}
	}
	h := newHistory(0, 30, []string{"{}", "mark", "{}", "older mark", "filler", `{"a":1}`})
	f.Add(uint64(0), h.files[walspec.Name(0)], uint16(91), uint16(91), false)
	for _, at := range []int{50, 100, 150, 200, len(h.files[walspec.Name(0)]) - 40} { // below marks, and after the last
		b := bytes.Clone(h.files[walspec.Name(0)])
		b[at] ^= 1
		f.Add(uint64(0), b, uint16(0), uint16(42), false)
		f.Add(uint64(0), b, uint16(91), uint16(0), false)
	}
	f.Add(uint64(1<<64-100), bytes.Repeat([]byte{3, 0, 0, 0, 'x'}, 60), uint16(0), uint16(0), true)
	f.Add(uint64(0), append(make([]byte, 600), 1), uint16(601), uint16(9), false)
	f.Fuzz(func(t *testing.T, base uint64, b []byte, split, cursor uint16, fix bool) {
		if fix {
			b = fixRecords(base, b)
		}
		files := map[string][]byte{walspec.Name(base): b}
		if next := base + uint64(split); split > 0 && int(split) <= len(b) && next > base {
			files = map[string][]byte{walspec.Name(base): b[:split], walspec.Name(next): b[split:]}
		}
		c := damaged{t: t, defect: defect{name: "fuzzed", files: files}, all: piecesOf(files)}
		m := newMemoryFS(files)
		if base > 1<<63-1<<20 {
			// Nobody ever gets here, and the judge's sums would run over: it is enough to survive it.
			wal.Verify(memoryDir, wal.Options{FS: m})
			records(m, base, false)
			if j, _, err := wal.Open(memoryDir, wal.Options{FS: m, Preallocate: 300, Cursor: func() (wal.Offset, error) { return wal.Offset(base), nil }}); err == nil {
				j.Append(t.Context(), []byte("{}"))
				j.Close()
			}
			return
		}
		c.verify(m)
		c.copy(m)
		for _, from := range []uint64{base, base + uint64(cursor)} {
			c.read(m, from, false)
			c.open(from)
		}
	})
}

// copy checks wal.Copy: a copy ends where the journal's intact beginning ends, or reports damage.
func (c *damaged) copy(m *memoryFS) {
	const dest = "/copy"
	if err := m.Mkdir(dest); err != nil {
		c.fatalf("%v", err)
	}
	copied, err := wal.Copy(context.Background(), memoryDir, dest, wal.Options{FS: m})
	var corrupt *wal.CorruptError
	switch {
	case errors.As(err, &corrupt):
	case err != nil:
		c.fatalf("Copy: %v", err)
	default:
		last := c.all[len(c.all)-1]
		_, e := pieces{last}.walk(last.base)
		if payload, ok := last.record(e.at); ok && strange(last.base, e.at, payload) != "" {
			return // intact, and whoever reads it may know what it means
		}
		want := slices.Clone(c.all)
		want[len(want)-1].b = last.b[:e.at-last.base]
		for _, p := range want {
			f, err := m.Open(filepath.Join(dest, walspec.Name(p.base)))
			if err != nil {
				c.fatalf("Copy: %+v: %v", copied, err)
			}
			if got := f.(*memoryHandle).f.b; !bytes.Equal(got, p.b) {
				c.fatalf("Copy: %s has %d bytes, want %d", walspec.Name(p.base), len(got), len(p.b))
			}
		}
	}
}

// fixRecords gives what has the length of a record that fits its hash and its checksum.
func fixRecords(base uint64, b []byte) []byte {
	b = bytes.Clone(b)
	for at := 0; len(b)-at > 40; {
		b[at+2], b[at+3] = 0, 0 // short enough to fit now and then
		n := int(binary.LittleEndian.Uint32(b[at:]))
		if n == 0 || n > len(b)-at-40 {
			break
		}
		copy(b[at:], walspec.Encode(base+uint64(at), b[at+40:at+40+n]))
		at += 40 + n
	}
	return b
}

func baseOf(f *testing.F, name string) uint64 {
	f.Helper()
	base, err := strconv.ParseUint(filepath.Base(name)[:16], 16, 64)
	if err != nil {
		f.Fatal(err)
	}
	return base
}
