package walspec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"pgregory.net/rapid"
)

// vectors are the three records that the format's description gives to the byte.
var vectors = []struct {
	offset  uint64
	payload []byte
	record  string
}{
	{0, []byte("{}"), "0200000081336eda6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c2797b7d"},
	{42, []byte("{}"), "0200000087987a7c6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c2797b7d"},
	{84, walspec.MarkPayload(42), "09000000cbb2290595ab5a85bf751637f85934a1a3ea708040f43b26e0c5965937320fe87e8d5dcd012a00000000000000"},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		got := walspec.Encode(v.offset, v.payload)
		if hex.EncodeToString(got) != v.record {
			t.Errorf("record at %d is %x, want %s", v.offset, got, v.record)
		}
		payload, reason := walspec.Decode(v.offset, got)
		if reason != "" || !bytes.Equal(payload, v.payload) {
			t.Errorf("record at %d reads as %q, %s", v.offset, payload, reason)
		}
		if _, reason := walspec.Decode(v.offset+1, got); reason != "crc32c differs" {
			t.Errorf("record of %d, read at %d: %q", v.offset, v.offset+1, reason)
		}
	}
}

func TestVectorsAsJournal(t *testing.T) {
	dir := t.TempDir()
	var file []byte
	for _, v := range vectors {
		b, err := hex.DecodeString(v.record)
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, b...)
	}
	write(t, filepath.Join(dir, "0000000000000000.wal"), file)
	j, err := walspec.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if j.End != 133 || len(j.Records) != 3 || j.Records[2].Kind != walspec.Mark || j.Records[2].Covered() != 42 {
		t.Errorf("the journal reads as %+v", j)
	}
	records, err := walspec.ReadDir(dir)
	if err != nil || len(records) != 2 || records[1].Offset != 42 || records[1].Next() != 84 {
		t.Errorf("its records read as %+v, %v", records, err)
	}
}

func TestNamesAndJoins(t *testing.T) {
	dir := t.TempDir()
	w, err := walspec.NewWriter(dir, walspec.Options{SegmentBytes: 100, Zeros: 500})
	if err != nil {
		t.Fatal(err)
	}
	// 40+20 bytes a record: the second reaches beyond 100, so the third begins a segment at 120.
	for i := range 5 {
		offset, err := w.Append(bytes.Repeat([]byte{'x'}, 20))
		if err != nil || offset != uint64(i*60) {
			t.Fatalf("record %d: offset %d, %v", i, offset, err)
		}
	}
	closeWriter(t, w)
	// What is not named like a segment is not one.
	for _, name := range []string{
		"LOCK", "0.wal", "000000000000000g.wal", "0000000000000FFF.wal", "00000000000000000.wal",
		"0000000000000078.wal.tmp", "x0000000000000078.wal", "0000000000000078.WAL", "0000000000000078.wal\n",
	} {
		write(t, filepath.Join(dir, name), []byte("no record"))
	}

	j, err := walspec.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []walspec.Segment{
		{Name: "0000000000000000.wal", Base: 0, Data: 120, Size: 120},
		{Name: "0000000000000078.wal", Base: 120, Data: 120, Size: 120},
		{Name: "00000000000000f0.wal", Base: 240, Data: 60, Size: 560},
	}
	if !slices.Equal(j.Segments, want) || j.End != 300 || j.First != 0 {
		t.Errorf("segments %+v, end %d, want %+v and 300", j.Segments, j.End, want)
	}
	for base, want := range map[uint64]string{
		0: "0000000000000000.wal", 1<<64 - 1: "ffffffffffffffff.wal", 0xabcdef: "0000000000abcdef.wal",
	} {
		if got := walspec.Name(base); got != want {
			t.Errorf("Name(%d) = %s, want %s", base, got, want)
		}
	}
}

func TestIdentitiesBeginSegments(t *testing.T) {
	dir := t.TempDir()
	w, err := walspec.NewWriter(dir, walspec.Options{SegmentBytes: 100, Identity: []byte("mine")})
	if err != nil {
		t.Fatal(err)
	}
	// 45 bytes of identity and 60 a record: one to a segment.
	for i := range 3 {
		offset, err := w.Append(bytes.Repeat([]byte{'x'}, 20))
		if err != nil || offset != uint64(i*105+45) {
			t.Fatalf("record %d: offset %d, %v", i, offset, err)
		}
	}
	closeWriter(t, w)
	j, err := walspec.Read(dir)
	if err != nil || len(j.Segments) != 3 || len(j.Records) != 6 || string(j.Identity) != "mine" {
		t.Fatalf("the journal reads as %+v, %v", j, err)
	}
	for i, r := range j.Records {
		if (r.Kind == walspec.Identity) != (i%2 == 0) {
			t.Errorf("record %d is a %v", i, r.Kind)
		}
	}
	if records, err := walspec.ReadDir(dir); err != nil || len(records) != 3 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

func TestEmptyJournals(t *testing.T) {
	dir := t.TempDir()
	j, err := walspec.Read(dir)
	if err != nil || len(j.Segments) != 0 || len(j.Records) != 0 || j.End != 0 {
		t.Errorf("an empty folder reads as %+v, %v", j, err)
	}
	for _, zeros := range []int64{0, 1, 39, 40, 41, 4096} {
		dir := filepath.Join(dir, fmt.Sprint(zeros))
		w, err := walspec.NewWriter(dir, walspec.Options{Base: 77, Zeros: zeros})
		if err != nil {
			t.Fatal(err)
		}
		closeWriter(t, w)
		j, err := walspec.Read(dir)
		if err != nil || len(j.Segments) != 1 || len(j.Records) != 0 || j.First != 77 || j.End != 77 {
			t.Errorf("a segment of %d zeros reads as %+v, %v", zeros, j, err)
		}
	}
	if _, err := walspec.Read(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent folder: %v", err)
	}
}

// TestRoundTrip lays out journals of any shape and reads them back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		w, err := walspec.NewWriter(dir, walspec.Options{
			SegmentBytes: rapid.Int64Range(1, 500).Draw(rt, "segment bytes"),
			Base:         rapid.Uint64Range(0, 1<<40).Draw(rt, "base"),
			Zeros:        rapid.Int64Range(0, 100).Draw(rt, "zeros"),
		})
		if err != nil {
			rt.Fatal(err)
		}
		first := w.End()
		var want []walspec.Record
		boundaries := []uint64{first}
		for range rapid.IntRange(0, 30).Draw(rt, "records") {
			r := walspec.Record{Kind: rapid.SampledFrom([]walspec.Kind{walspec.Payload, walspec.Payload, walspec.Mark, walspec.Filler}).Draw(rt, "kind")}
			switch r.Kind {
			case walspec.Payload:
				first := rapid.ByteRange(0x20, 0xff).Draw(rt, "first byte")
				r.Payload = append([]byte{first}, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(rt, "payload")...)
				r.Offset, err = w.Append(r.Payload)
			case walspec.Mark:
				covered := rapid.SampledFrom(boundaries).Draw(rt, "covered")
				r.Payload = walspec.MarkPayload(covered)
				r.Offset, err = w.Mark(covered)
			case walspec.Filler:
				size := rapid.IntRange(41, 100).Draw(rt, "size")
				r.Payload = walspec.FillerPayload(size)
				r.Offset, err = w.Fill(size)
			}
			if err != nil {
				rt.Fatal(err)
			}
			want = append(want, r)
			boundaries = append(boundaries, w.End())
		}
		if err := w.Close(); err != nil {
			rt.Fatal(err)
		}

		j, err := walspec.Read(dir)
		if err != nil {
			rt.Fatal(err)
		}
		same := func(a, b walspec.Record) bool {
			return a.Offset == b.Offset && a.Kind == b.Kind && bytes.Equal(a.Payload, b.Payload)
		}
		if !slices.EqualFunc(j.Records, want, same) || j.End != w.End() || j.First != first {
			rt.Errorf("read %+v to %d, want %+v to %d", j.Records, j.End, want, w.End())
		}
		records, err := walspec.ReadDir(dir)
		onlyPayloads := slices.DeleteFunc(want, func(r walspec.Record) bool { return r.Kind != walspec.Payload })
		if err != nil || !slices.EqualFunc(records, onlyPayloads, same) {
			rt.Errorf("ReadDir: %+v, %v, want %+v", records, err, onlyPayloads)
		}
	})
}

// TestEveryFlippedBitIsFound flips each bit of a journal of three segments in turn. In the zeros after
// the data as well: zeros with anything after them are no end.
func TestEveryFlippedBitIsFound(t *testing.T) {
	dir := t.TempDir()
	w, err := walspec.NewWriter(dir, walspec.Options{SegmentBytes: 60, Zeros: 50})
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"{}", `{"a":1}`, "\x02\x00", "x", "last"} {
		if _, err := w.Append([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	closeWriter(t, w)
	intact, err := walspec.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(intact.Segments) != 3 {
		t.Fatalf("%d segments", len(intact.Segments))
	}
	for _, s := range intact.Segments {
		path := filepath.Join(dir, s.Name)
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range file {
			at := s.Base + uint64(i)
			for bit := range 8 {
				file[i] ^= 1 << bit
				write(t, path, file)
				file[i] ^= 1 << bit

				j, err := walspec.Read(dir)
				var invalid *walspec.InvalidError
				if !errors.As(err, &invalid) || invalid.Segment != s.Name {
					t.Fatalf("bit %d of byte %d of %s: %v", bit, i, s.Name, err)
				}
				// It is found in the record that holds it, and the records in front of it stand.
				if invalid.Offset > at || j.End != invalid.Offset {
					t.Fatalf("bit %d at %d was found at %d, and the data ends at %d", bit, at, invalid.Offset, j.End)
				}
				for _, r := range intact.Records {
					if r.Offset <= at && at < r.Next() && invalid.Offset != r.Offset {
						t.Fatalf("bit %d at %d was found at %d, want %d", bit, at, invalid.Offset, r.Offset)
					}
				}
			}
		}
		write(t, path, file)
	}
}

func TestInvalid(t *testing.T) {
	// record n is the n-th of 50 bytes: four of them, two to a segment, with nothing after.
	const size = 50
	segment := func(n int) string { return walspec.Name(uint64(n) * 2 * size) }
	for _, c := range []struct {
		name   string
		spoil  func(t *testing.T, dir string)
		offset uint64
		reason string
	}{
		{"cut in the last payload", truncate(segment(1), 2*size-1), 3 * size, "goes beyond the file"},
		{"cut in the last header", truncate(segment(1), size+39), 3 * size, "less than a header"},
		{"one byte of a record", truncate(segment(1), size+1), 3 * size, "less than a header"},
		{"a sealed segment cut", truncate(segment(0), 2*size-1), size, "goes beyond the file"},
		{"a sealed segment cut at a record", truncate(segment(0), size), 2 * size, "ends at 50"},
		{"zeros in a sealed segment", truncate(segment(0), 2*size+100), 2 * size, "length 0"},
		{"an empty sealed segment", truncate(segment(0), 0), 2 * size, "ends at 0"},
		{"a record too much in a sealed segment", add(segment(0), walspec.Encode(2*size, []byte("x"))), 2 * size, "ends at 141"},
		{"bytes after the zeros", add(segment(1), append(make([]byte, 4096), 1)), 4 * size, "length 0"},
		{"a length of more than 16 MiB", add(segment(1), append([]byte{1, 0, 0, 1}, make([]byte, 100)...)), 4 * size, "out of range"},
		{"an unknown kind", add(segment(1), walspec.Encode(4*size, []byte{0x04})), 4 * size, "unknown kind 0x04"},
		{"a zero kind", add(segment(1), walspec.Encode(4*size, []byte{0x00})), 4 * size, "unknown kind 0x00"},
		{"the highest unknown kind", add(segment(1), walspec.Encode(4*size, []byte{0x1f})), 4 * size, "unknown kind 0x1f"},
		{"a mark of 8 bytes", add(segment(1), walspec.Encode(4*size, walspec.MarkPayload(0)[:8])), 4 * size, "a mark of 8"},
		{"a mark beyond itself", add(segment(1), walspec.Encode(4*size, walspec.MarkPayload(4*size+1))), 4 * size, "which lies after it"},
		{"a mark inside a record", add(segment(1), walspec.Encode(4*size, walspec.MarkPayload(size+1))), 4 * size, "middle of a record"},
		{"a filler with something in it", add(segment(1), walspec.Encode(4*size, []byte{0x02, 0, 1})), 4 * size, "a filler with"},
		{"another offset's record", add(segment(1), walspec.Encode(4*size+1, []byte("x"))), 4 * size, "crc32c differs"},
		{"an identity of no bytes", add(segment(1), walspec.Encode(4*size, walspec.IdentityPayload(nil))), 4 * size, "identity of 0 bytes"},
		{"an identity of 65 bytes", add(segment(1), walspec.Encode(4*size, walspec.IdentityPayload(make([]byte, 65)))), 4 * size, "identity of 65 bytes"},
		{"an identity in the middle", add(segment(1), walspec.Encode(4*size, walspec.IdentityPayload([]byte("x")))), 4 * size, "not the first record"},
		{"two identities", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, walspec.Name(4*size)), walspec.Encode(4*size, walspec.IdentityPayload([]byte("x"))))
			write(t, filepath.Join(dir, walspec.Name(4*size+42)), walspec.Encode(4*size+42, walspec.IdentityPayload([]byte("y"))))
		}, 4*size + 42, "that of a segment before is 78"},
		{"a missing segment", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, segment(1)), filepath.Join(dir, walspec.Name(2*size+1))); err != nil {
				t.Fatal(err)
			}
		}, 2*size + 1, "ends at 100"},
		{"overlapping segments", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, walspec.Name(size)), walspec.Encode(size, []byte("x")))
		}, size, "ends at 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			w, err := walspec.NewWriter(dir, walspec.Options{SegmentBytes: 2 * size})
			if err != nil {
				t.Fatal(err)
			}
			for range 4 {
				if _, err := w.Append(bytes.Repeat([]byte{'x'}, size-40)); err != nil {
					t.Fatal(err)
				}
			}
			closeWriter(t, w)
			c.spoil(t, dir)
			_, err = walspec.Read(dir)
			var invalid *walspec.InvalidError
			if !errors.As(err, &invalid) || invalid.Offset != c.offset || !strings.Contains(invalid.Reason, c.reason) {
				t.Errorf("Read: %v, want offset %d and %q", err, c.offset, c.reason)
			}
		})
	}
}

// TestBlake3IsChecked makes a record whose checksum is right and whose content hash is not.
func TestBlake3IsChecked(t *testing.T) {
	a, b := walspec.Encode(0, []byte("a")), walspec.Encode(0, []byte("b"))
	mixed := slices.Concat(b[:8], a[8:40], b[40:])
	if _, reason := walspec.Decode(0, mixed); reason != "crc32c differs" {
		t.Errorf("another record's hash: %q", reason)
	}
	covered := slices.Concat(make([]byte, 8), mixed[:4], mixed[8:])
	binary.LittleEndian.PutUint32(mixed[4:], crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli)))
	if _, reason := walspec.Decode(0, mixed); reason != "blake3 differs" {
		t.Errorf("with a checksum made to fit: %q", reason)
	}
}

func truncate(name string, size int64) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
			t.Fatal(err)
		}
	}
}

func add(name string, bytes []byte) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, append(file, bytes...))
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func closeWriter(t *testing.T, w *walspec.Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
