package segment_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal/internal/segment"
)

// source is a file in memory, to which somebody writes while it is read.
type source struct {
	b     []byte
	reads int
	// then, if not nil, is what the file holds after so many reads.
	then  []byte
	after int
}

func (s *source) now() []byte {
	if s.then != nil && s.reads >= s.after {
		return s.then
	}
	return s.b
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	defer func() { s.reads++ }()
	return bytes.NewReader(s.now()).ReadAt(p, off)
}

func (s *source) Size() (int64, error) { return int64(len(s.now())), nil }

// record is a record at off with a payload of n bytes.
func record(off uint64, n int) []byte { return walspec.Encode(off, bytes.Repeat([]byte{'x'}, n)) }

func mark(off, covered uint64) []byte { return walspec.Encode(off, walspec.MarkPayload(covered)) }

func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// At base 1000 lies one record of 100 bytes; the rows say what follows at 1100, and what is known of the segment.
func TestJudge(t *testing.T) {
	t.Parallel()
	const base, at = 1000, 1100
	whole, torn := record(at, 60), flipped(record(at, 60), 70)
	zeros := make([]byte, 500)
	otherHash := flipped(whole, 70)
	segment.Seal(otherHash, at) // so that only the content hash does not match
	for _, c := range []struct {
		name    string
		rest    [][]byte
		span    segment.Span
		verdict segment.Verdict
		found   segment.Found
		text    string
	}{
		{"a record", [][]byte{whole, torn}, segment.Span{}, segment.Intact, segment.FoundRecord, ""},
		{"nothing", nil, segment.Span{}, segment.End, segment.FoundEnd, ""},
		{"zeros", [][]byte{zeros}, segment.Span{}, segment.End, segment.FoundEnd, ""},
		{"a flipped bit", [][]byte{torn}, segment.Span{}, segment.Torn, segment.FoundInvalid, "the checksum (CRC-32C) does not match"},
		{"another content hash", [][]byte{otherHash}, segment.Span{}, segment.Torn, segment.FoundInvalid, "the content hash (BLAKE3) does not match"},
		{"half a record", [][]byte{whole[:50]}, segment.Span{}, segment.Torn, segment.FoundInvalid, "the file ends inside a record of 60 bytes"},
		{"zeros and data", [][]byte{zeros, []byte("x")}, segment.Span{}, segment.Torn, segment.FoundInvalid, "zeros, and data after them"},
		{"an intact record after a flipped bit", [][]byte{torn, record(at+100, 9)}, segment.Span{}, segment.Torn, segment.FoundInvalid, "the checksum (CRC-32C) does not match"},
		{"a mark of what lies before", [][]byte{torn, mark(at+100, at)}, segment.Span{}, segment.Torn, segment.FoundInvalid, "the checksum (CRC-32C) does not match"},
		{"a mark", [][]byte{torn, mark(at+100, at+1)}, segment.Span{}, segment.Damaged, segment.FoundInvalid, "the checksum (CRC-32C) does not match, and a later mark says that it was synced"},
		{"a mark after zeros", [][]byte{zeros, mark(at+500, at+100)}, segment.Span{}, segment.Damaged, segment.FoundInvalid, "zeros, and data after them, and a later mark says that it was synced"},
		{"a mark that is damaged", [][]byte{torn, flipped(mark(at+100, at+1), 45)}, segment.Span{}, segment.Torn, segment.FoundInvalid, "the checksum (CRC-32C) does not match"},

		{"synced", [][]byte{torn}, segment.Span{Synced: at + 1}, segment.Damaged, segment.FoundInvalid, "the checksum (CRC-32C) does not match, and the log is known to have been synced up to 1101"},
		{"synced, and the data ends", [][]byte{zeros}, segment.Span{Synced: at + 1}, segment.Damaged, segment.FoundEnd, "the data ends here, and the log is known to have been synced up to 1101"},
		{"synced up to here", [][]byte{torn}, segment.Span{Synced: at}, segment.Torn, segment.FoundInvalid, "the checksum (CRC-32C) does not match"},
		{"synced up to here, and the data ends", nil, segment.Span{Synced: at}, segment.End, segment.FoundEnd, ""},

		{"sealed, a record", [][]byte{whole}, segment.Span{Next: at + 100}, segment.Intact, segment.FoundRecord, ""},
		{"sealed, the end", nil, segment.Span{Next: at}, segment.End, segment.FoundEnd, ""},
		{"sealed, the end too early", nil, segment.Span{Next: at + 100}, segment.End, segment.FoundEnd, ""},
		{"sealed, zeros", [][]byte{zeros}, segment.Span{Next: at + 500}, segment.Damaged, segment.FoundEnd, "zeros in a sealed segment"},
		{"sealed, a flipped bit", [][]byte{torn}, segment.Span{Next: at + 100}, segment.Damaged, segment.FoundInvalid, "the checksum (CRC-32C) does not match"},
		{"sealed, a record too long", [][]byte{whole}, segment.Span{Next: at + 99}, segment.Damaged, segment.FoundRecord, "a record reaches past 1199, where the next segment begins"},
		{"sealed, bytes after the end", [][]byte{torn}, segment.Span{Next: at}, segment.Damaged, segment.FoundInvalid, "100 bytes after the place where the next segment begins"},
		{"sealed somewhere, a record", [][]byte{whole}, segment.Span{Next: segment.Somewhere}, segment.Intact, segment.FoundRecord, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := append(record(base, 60), slices.Concat(c.rest...)...)
			s, err := segment.NewScanner(&source{b: file}, base, base)
			if err != nil {
				t.Fatal(err)
			}
			j, err := s.Judge(t.Context(), c.span)
			if err != nil || j.Verdict != segment.Intact || j.Record.Next != at {
				t.Fatalf("the record before: %+v, %v", j, err)
			}
			s.Skip(j.Record)
			if j, err = s.Judge(t.Context(), c.span); err != nil {
				t.Fatal(err)
			}
			if j.Verdict != c.verdict || j.Found != c.found || j.Text() != c.text {
				t.Errorf("verdict %d, found %d, %q", j.Verdict, j.Found, j.Text())
			}
		})
	}
}

// Beside a writer the bytes may change between two reads. A record that is completed between the look at it and the
// look for the mark that attests it is no damage, nor are bytes that were read before the segment was sealed.
func TestASecondLook(t *testing.T) {
	t.Parallel()
	const long = 600 << 10 // longer than what is read at once, so that the mark is read later than the record
	first := record(0, long)
	complete := slices.Concat(first, mark(uint64(len(first)), uint64(len(first))), record(uint64(len(first))+49, 10))
	half := slices.Concat(first[:long/2], make([]byte, len(complete)-long/2-1), []byte{1})
	for _, c := range []struct {
		name    string
		span    segment.Span
		then    []byte
		after   int
		verdict segment.Verdict
	}{
		{"completed before the mark is read", segment.Span{}, complete, 2, segment.Intact},
		{"sealed since it was read", segment.Span{Next: uint64(len(complete))}, complete, 2, segment.Intact},
		{"not completed", segment.Span{}, nil, 0, segment.Torn},
		{"not completed, though sealed", segment.Span{Next: long}, nil, 0, segment.Damaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := segment.NewScanner(&source{b: half, then: c.then, after: c.after}, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			j, err := s.Judge(t.Context(), c.span)
			if err != nil || j.Verdict != c.verdict {
				t.Errorf("verdict %d, %q, %v", j.Verdict, j.Text(), err)
			}
		})
	}
}

// A sealed segment is read once, however much of it is damaged.
func TestDamageInASealedSegmentIsReadOnce(t *testing.T) {
	t.Parallel()
	var file []byte
	for range 2000 {
		rec := record(uint64(len(file)), 1000)
		if len(file)%3 == 0 {
			rec[500] ^= 1
		}
		file = append(file, rec...)
	}
	src := &source{b: file}
	s, err := segment.NewScanner(src, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for s.Pos() < s.Size() {
		j, err := s.Judge(t.Context(), segment.Span{Next: uint64(len(file))})
		if err != nil {
			t.Fatal(err)
		}
		if j.Verdict == segment.Intact {
			s.Skip(j.Record)
			continue
		}
		damaged++
		next, ok, err := s.Resync(t.Context(), s.Offset()+1, segment.Somewhere)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		s.Seek(next)
	}
	// The search for the next record reads a few KiB for each damaged one; the rest is read in long pieces.
	if most := 8 * damaged; damaged < 500 || src.reads > most {
		t.Errorf("%d reads for %d damaged records, want at most %d", src.reads, damaged, most)
	}
}

// A context is asked before each read of the file.
func TestACancelledScannerReadsNoMore(t *testing.T) {
	t.Parallel()
	src := &source{b: slices.Concat(record(0, 10), bytes.Repeat([]byte{1, 2, 0, 0}, 1<<20))}
	s, err := segment.NewScanner(src, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Judge(ctx, segment.Span{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	reads := src.reads
	for name, look := range map[string]func() error{
		"resync": func() error { _, _, err := s.Resync(ctx, 50, segment.Somewhere); return err },
		"marks":  func() error { _, err := s.Attested(ctx, 50); return err },
		"end":    func() error { _, err := s.DataEnd(ctx); return err },
	} {
		if err := look(); err == nil || !strings.Contains(err.Error(), "canceled") || src.reads != reads {
			t.Errorf("%s: %v, after %d reads", name, err, src.reads-reads)
		}
	}
}
