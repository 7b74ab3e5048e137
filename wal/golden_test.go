package wal_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

var update = flag.Bool("update", false, "write testdata/wal anew")

const goldenDir = "../testdata/wal"

// golden are the journals in testdata/wal, each in a folder of its own, with a list of its records beside it. Stores
// that are in use have such files on disk. The format promises that they can be read for ever, and that the same
// records are still written as the same bytes.
var golden = []struct {
	name string
	// write makes the journal's segments in a folder: with wal those that wal can write, with walspec the rest.
	write func(t *testing.T, dir string)
}{
	{"vectors", func(t *testing.T, dir string) {
		w := specWriter(t, dir, walspec.Options{})
		w.append("{}")
		w.append("{}")
		w.mark(42)
		w.close()
	}},
	{"plain", func(t *testing.T, dir string) {
		j, _ := open(t, dir, wal.Options{})
		appendAll(t, j, []string{`{"n":1}`, `{"n":2,"text":"Grüße, 世界"}`, " ", "\xff\x00 not JSON"})
		closeJournal(t, j)
	}},
	{"empty", func(t *testing.T, dir string) {
		j, _ := open(t, dir, wal.Options{})
		closeJournal(t, j)
	}},
	{"zeros", func(t *testing.T, dir string) {
		// As the death of the process leaves it.
		living := t.TempDir()
		j, _ := open(t, living, wal.Options{Preallocate: 200})
		appendAll(t, j, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`})
		copySegments(t, living, dir)
	}},
	{"rotated", func(t *testing.T, dir string) {
		j, _ := open(t, dir, wal.Options{SegmentBytes: 100})
		appendBatch(t, j, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4,"text":"longer than a segment ` + strings.Repeat(".", 100) + `"}`})
		appendOne(t, j, `{"n":5}`)
		closeJournal(t, j)
	}},
	{"trimmed", func(t *testing.T, dir string) {
		// The 64 KiB in front of the mark are gone.
		j, _ := open(t, dir, wal.Options{SegmentBytes: 100})
		appendOne(t, j, `{"n":1,"text":"`+strings.Repeat(".", markEvery)+`"}`)
		appendAll(t, j, []string{`{"n":2}`, `{"n":3}`})
		if err := j.RemoveBefore(j.Synced()); err != nil {
			t.Fatal(err)
		}
		closeJournal(t, j)
	}},
	{"marks", func(t *testing.T, dir string) {
		w := specWriter(t, dir, walspec.Options{Zeros: 50})
		first := w.append(`{"n":1}`)
		w.append(`{"n":2}`)
		w.mark(first + 47)
		w.append(`{"n":3}`)
		w.mark(w.End())
		w.append(`{"n":4}`)
		w.close()
	}},
	{"fillers", func(t *testing.T, dir string) {
		w := specWriter(t, dir, walspec.Options{SegmentBytes: 250})
		w.append(`{"n":1}`)
		w.fill(41)
		w.append(`{"n":2}`)
		w.fill(150)
		w.append(`{"n":3}`)
		w.close()
	}},
	{"identity", func(t *testing.T, dir string) {
		// The first segment is older than the identity, the second one is left by a process that died.
		living := t.TempDir()
		j, _ := open(t, living, wal.Options{SegmentBytes: 200})
		appendAll(t, j, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`})
		closeJournal(t, j)
		j, _ = open(t, living, wal.Options{SegmentBytes: 200, Preallocate: 100, Identity: goldenIdentity})
		appendAll(t, j, []string{`{"n":4}`, `{"n":5}`})
		appendBatch(t, j, []string{`{"n":6}`, `{"n":7}`, `{"n":8}`, `{"n":9}`})
		copySegments(t, living, dir)
	}},
	{"identities", func(t *testing.T, dir string) {
		w := specWriter(t, dir, walspec.Options{SegmentBytes: 250, Identity: goldenIdentity, Zeros: 50})
		w.append(`{"n":1}`)
		w.fill(60)
		w.append(`{"n":2}`)
		w.mark(w.End())
		w.mark(58) // where the first identity ends
		w.fill(41)
		w.append(`{"n":3}`)
		w.close()
	}},
}

var goldenIdentity = []byte("0123456789abcdef\x01")

// This test is the first one: with -update it makes the files that the others read.
func TestGoldenJournalsAreWrittenTheSame(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			written, dir := t.TempDir(), filepath.Join(goldenDir, g.name)
			g.write(t, written)
			if *update {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				copySegments(t, written, dir)
				if err := os.WriteFile(dir+".txt", []byte(list(specRead(t, dir))), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, want := segmentNames(t, written), segmentNames(t, dir)
			if !slices.Equal(got, want) {
				t.Fatalf("segments %v, want %v", got, want)
			}
			for _, name := range got {
				got, want := readFile(t, filepath.Join(written, name)), readFile(t, filepath.Join(dir, name))
				if !bytes.Equal(got, want) {
					t.Errorf("%s is\n%x\nwant\n%x", name, got, want)
				}
			}
		})
	}
}

func TestGoldenJournalsAreRead(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			dir := filepath.Join(goldenDir, g.name)
			j := specRead(t, dir)
			if got, want := list(j), string(readFile(t, dir+".txt")); got != want {
				t.Fatalf("the second reading finds\n%s\nwant\n%s", got, want)
			}
			wantVerified(t, dir, j)
			wantRead(t, dir, j.First, payloadsFrom(j.Records, 0), atEOF)

			// And written to further, in a copy.
			own := t.TempDir()
			copySegments(t, dir, own)
			w, rec := open(t, own, at(wal.Offset(j.First)))
			if uint64(rec.End) != j.End || rec.Torn != nil || rec.Records != len(payloadsFrom(j.Records, 0)) {
				t.Errorf("recovered %+v", rec)
			}
			appendOne(t, w, "{}")
			closeJournal(t, w)
			if after := specRead(t, own); len(after.Records) != len(j.Records)+1 {
				t.Errorf("%d records and one more are %d", len(j.Records), len(after.Records))
			}
		})
	}
}

// The vectors in the format's description are a golden journal too.
func TestTheGoldenVectorsAreTheDescriptions(t *testing.T) {
	if got := readFile(t, filepath.Join(goldenDir, "vectors", firstSegment)); !bytes.Equal(got, vectorBytes(t)) {
		t.Errorf("got %x", got)
	}
}

// list describes a journal, a line for each segment and each record.
func list(j *walspec.Journal) string {
	var b strings.Builder
	records := j.Records
	for _, s := range j.Segments {
		fmt.Fprintf(&b, "%s: %d bytes, then %d zeros\n", s.Name, s.Data, s.Size-s.Data)
		for len(records) > 0 && records[0].Offset < s.Base+uint64(s.Data) {
			r := records[0]
			records = records[1:]
			switch r.Kind {
			case walspec.Payload:
				fmt.Fprintf(&b, "%8d payload %q\n", r.Offset, r.Payload)
			case walspec.Mark:
				fmt.Fprintf(&b, "%8d mark    of %d\n", r.Offset, r.Covered())
			case walspec.Filler:
				fmt.Fprintf(&b, "%8d filler  of %d bytes\n", r.Offset, r.Next()-r.Offset)
			case walspec.Identity:
				fmt.Fprintf(&b, "%8d identity %x\n", r.Offset, r.Payload[1:])
			}
		}
	}
	return b.String()
}

func segmentNames(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments in %s: %v", dir, err)
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return names
}

func copySegments(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range segmentNames(t, from) {
		if err := os.WriteFile(filepath.Join(to, name), readFile(t, filepath.Join(from, name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func closeJournal(t testing.TB, j *wal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// mustWriter is a walspec.Writer that fails the test itself.
type mustWriter struct {
	*walspec.Writer
	t *testing.T
}

func specWriter(t *testing.T, dir string, o walspec.Options) mustWriter {
	t.Helper()
	w, err := walspec.NewWriter(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return mustWriter{w, t}
}

func (w mustWriter) done(off uint64, err error) uint64 {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return off
}

func (w mustWriter) append(payload string) uint64 { return w.done(w.Append([]byte(payload))) }
func (w mustWriter) mark(covered uint64)          { w.done(w.Mark(covered)) }
func (w mustWriter) fill(recordSize int)          { w.done(w.Fill(recordSize)) }
func (w mustWriter) close()                       { w.done(0, w.Close()) }
