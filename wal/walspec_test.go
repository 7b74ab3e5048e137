package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// The tests in this file compare the journal with a second reading of its format's description, which
// shares no code with it: what one writes, the other must read, and both must come to the same judgement
// of files that are damaged.

// failer is a test, or one run of a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// layout is a journal as walspec writes it.
type layout struct {
	walspec.Options
	records int
	marks   bool
	fillers bool
}

// writeLayout makes the journal in dir and returns it as walspec reads it back.
func writeLayout(t failer, dir string, l layout) *walspec.Journal {
	t.Helper()
	w, err := walspec.NewWriter(dir, l.Options)
	if err != nil {
		t.Fatalf("write a journal: %v", err)
	}
	synced := w.End()
	for i := range l.records {
		if l.marks && i%5 == 4 {
			_, err = w.Mark(synced)
			synced = w.End()
		}
		if l.fillers && i%7 == 3 && err == nil {
			_, err = w.Fill(41 + i)
		}
		if err == nil {
			_, err = w.Append(fmt.Appendf(nil, `{"n":%d%*s}`, i, i*37%200, ""))
		}
		if err != nil {
			t.Fatalf("write record %d: %v", i, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("write a journal: %v", err)
	}
	return specRead(t, dir)
}

// specRead is what walspec reads, which must be without fault.
func specRead(t failer, dir string) *walspec.Journal {
	t.Helper()
	j, err := walspec.Read(dir)
	if err != nil {
		t.Fatalf("the second reading: %v", err)
	}
	return j
}

// payloadsFrom returns the records from an offset on that a reader should return.
func payloadsFrom(records []walspec.Record, from uint64) []walspec.Record {
	var rest []walspec.Record
	for _, r := range records {
		if r.Kind == walspec.Payload && r.Offset >= from {
			rest = append(rest, r)
		}
	}
	return rest
}

// wantRead reads from an offset on and checks that these records come, and then the error; nil is the end
// of the data.
func wantRead(t failer, dir string, from uint64, want []walspec.Record, ends func(error) bool) {
	t.Helper()
	r, err := wal.OpenReader(dir, wal.Offset(from), wal.Options{})
	if err != nil {
		t.Fatalf("read from %d: %v", from, err)
	}
	defer r.Close()
	for i := 0; ; i++ {
		rec, err := r.Next(context.Background())
		if err != nil {
			if i < len(want) || !ends(err) {
				t.Fatalf("read from %d: %v after %d of %d records", from, err, i, len(want))
			}
			return
		}
		if i >= len(want) {
			t.Fatalf("read from %d: a record at %d, after the %d that there are", from, rec.Offset, i)
		}
		w := want[i]
		if uint64(rec.Offset) != w.Offset || uint64(rec.Next) != w.Next() || !bytes.Equal(rec.Payload, w.Payload) ||
			rec.Hash != blake3.Sum256(w.Payload) {
			t.Fatalf("read from %d: record %d is %+v, want %+v", from, i, rec, w)
		}
	}
}

func atEOF(err error) bool { return errors.Is(err, io.EOF) }

// wantVerified checks that Verify counts what the second reading has, and finds nothing wrong.
func wantVerified(t failer, dir string, j *walspec.Journal) {
	t.Helper()
	var visited []wal.Offset
	got, err := wal.VerifyContext(context.Background(), dir, wal.Options{}, func(r wal.Record) error {
		visited = append(visited, r.Offset)
		return nil
	})
	want := wal.Report{Segments: len(j.Segments), First: wal.Offset(j.First), End: wal.Offset(j.End)}
	for _, r := range j.Records {
		size := int64(r.Next() - r.Offset)
		want.Bytes += size
		switch r.Kind {
		case walspec.Payload:
			if want.Records >= len(visited) || uint64(visited[want.Records]) != r.Offset {
				t.Fatalf("Verify visited %v, and not %d", visited, r.Offset)
			}
			want.Records++
		case walspec.Mark:
			want.Marks++
		case walspec.Identity:
			want.Identities++
		case walspec.Filler:
			want.Fillers++
			want.FillBytes += size
			if n := len(want.Gaps); n > 0 && uint64(want.Gaps[n-1].End) == r.Offset {
				want.Gaps[n-1].End = wal.Offset(r.Next())
			} else {
				want.Gaps = append(want.Gaps, wal.Gap{Offset: wal.Offset(r.Offset), End: wal.Offset(r.Next())})
			}
		}
	}
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || len(visited) != want.Records {
		t.Fatalf("Verify: %+v, %v, want %+v", got, err, want)
	}
}

// wantShape checks what rotation promises: a segment ends after the record that fills it.
func wantShape(t failer, j *walspec.Journal, segmentBytes int64) {
	t.Helper()
	for i, s := range j.Segments {
		last := s.Base
		for _, r := range j.Records {
			if r.Offset >= s.Base && r.Offset < s.Base+uint64(s.Data) {
				last = r.Offset
			}
		}
		if sealed := i < len(j.Segments)-1; sealed && s.Data < segmentBytes {
			t.Fatalf("%s was sealed with %d of %d bytes", s.Name, s.Data, segmentBytes)
		}
		if last-s.Base >= uint64(segmentBytes) {
			t.Fatalf("%s goes on with a record at %d, though it was full", s.Name, last)
		}
	}
}

func TestTheSecondReadingsJournalsAreRead(t *testing.T) {
	for _, l := range []layout{
		{records: 0},
		{records: 0, Options: walspec.Options{Zeros: 5000}},
		{records: 1},
		{records: 40},
		{records: 40, marks: true, Options: walspec.Options{Zeros: 1}},
		{records: 40, fillers: true, Options: walspec.Options{Zeros: 39}},
		{records: 20, marks: true, fillers: true, Options: walspec.Options{Zeros: 300 << 10}},
		{records: 15, marks: true, Options: walspec.Options{SegmentBytes: 1}},
		{records: 15, Options: walspec.Options{SegmentBytes: 1, Zeros: 40}},
		{records: 40, marks: true, fillers: true, Options: walspec.Options{SegmentBytes: 500, Zeros: 4096}},
		{records: 40, fillers: true, Options: walspec.Options{SegmentBytes: 2000}},
		// A journal whose beginning was trimmed.
		{records: 40, marks: true, Options: walspec.Options{SegmentBytes: 700, Base: 0x123456789a, Zeros: 41}},
	} {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			want := writeLayout(t, dir, l)
			wantVerified(t, dir, want)

			boundaries := []uint64{want.First}
			for _, r := range want.Records {
				boundaries = append(boundaries, r.Next())
			}
			for _, from := range boundaries {
				wantRead(t, dir, from, payloadsFrom(want.Records, from), atEOF)
			}
			if l.Base > 0 {
				_, err := wal.OpenReader(dir, 0, wal.Options{})
				var trimmed *wal.TrimmedError
				if !errors.As(err, &trimmed) || uint64(trimmed.First) != want.First {
					t.Errorf("a reader from 0: %v, want the first offset %d", err, want.First)
				}
			}
			for i, at := range []int{0, len(boundaries) / 2, len(boundaries) - 1} {
				dir := t.TempDir()
				writeLayout(t, dir, l)
				goOn(t, dir, want, boundaries[at], i*300)
			}
		})
	}
}

// goOn opens a journal at a cursor and appends to it, and checks both against the second reading.
func goOn(t *testing.T, dir string, before *walspec.Journal, cursor uint64, segmentBytes int) {
	t.Helper()
	j, rec, err := wal.Open(dir, wal.Options{
		Cursor:       func() (wal.Offset, error) { return wal.Offset(cursor), nil },
		SegmentBytes: int64(segmentBytes),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	want := wal.Recovery{Cursor: wal.Offset(cursor), End: wal.Offset(before.End), Records: len(payloadsFrom(before.Records, cursor))}
	if !reflect.DeepEqual(rec, want) {
		t.Errorf("recovered %+v, want %+v", rec, want)
	}
	wantRead(t, dir, cursor, payloadsFrom(before.Records, cursor), atEOF)

	added := [][]byte{[]byte("{}"), bytes.Repeat([]byte("x"), 400), []byte(" ")}
	offs, err := j.AppendBatch(t.Context(), added)
	if err != nil {
		t.Fatal(err)
	}
	if uint64(offs[0]) != before.End {
		t.Errorf("the first new record stands at %d, want %d", offs[0], before.End)
	}
	records := slices.Clone(before.Records)
	for i, p := range added {
		records = append(records, walspec.Record{Offset: uint64(offs[i]), Payload: p})
	}
	after := specRead(t, dir) // beside the writer, with zeros after the data
	wantRead(t, dir, before.First, payloadsFrom(records, 0), atEOF)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	closed := specRead(t, dir)
	for _, got := range []*walspec.Journal{after, closed} {
		if !slices.EqualFunc(got.Records, records, sameRecord) {
			t.Errorf("after appending the journal reads as %+v, want %+v", got.Records, records)
		}
	}
	if last := closed.Segments[len(closed.Segments)-1]; last.Size != last.Data {
		t.Errorf("%s has %d bytes after a clean close, of which %d are data", last.Name, last.Size, last.Data)
	}
	wantVerified(t, dir, closed)
}

func sameRecord(a, b walspec.Record) bool {
	return a.Offset == b.Offset && a.Kind == b.Kind && bytes.Equal(a.Payload, b.Payload)
}

func TestAFolderWithoutSegmentsIsANewJournal(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"0.wal", "00000000000000FF.wal", "0000000000000010.wal.part", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("no segment"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantVerified(t, dir, &walspec.Journal{})
	wantRead(t, dir, 0, nil, atEOF)

	j, rec := open(t, dir, wal.Options{})
	if !reflect.DeepEqual(rec, wal.Recovery{Created: true}) {
		t.Errorf("recovered %+v", rec)
	}
	first := specRead(t, dir)
	if len(first.Segments) != 1 || first.Segments[0].Name != "0000000000000000.wal" {
		t.Errorf("segments: %+v", first.Segments)
	}
	if off := appendOne(t, j, "{}"); off != 0 {
		t.Errorf("the first record stands at %d", off)
	}
	if got := specRead(t, dir).Records; len(got) != 1 || string(got[0].Payload) != "{}" {
		t.Errorf("it reads as %+v", got)
	}
}

// TestADeathInTheMiddleOfRotationIsNoLoss leaves a last segment without a record: it was made, and the
// process died.
func TestADeathInTheMiddleOfRotationIsNoLoss(t *testing.T) {
	for _, zeros := range []int{0, 10, 5000} {
		t.Run(fmt.Sprint(zeros), func(t *testing.T) {
			dir := t.TempDir()
			before := writeLayout(t, dir, layout{records: 20, Options: walspec.Options{SegmentBytes: 400}})
			empty := filepath.Join(dir, walspec.Name(before.End))
			if err := os.WriteFile(empty, make([]byte, zeros), 0o600); err != nil {
				t.Fatal(err)
			}
			before = specRead(t, dir)
			wantVerified(t, dir, before)
			wantRead(t, dir, 0, payloadsFrom(before.Records, 0), atEOF)
			wantRead(t, dir, before.End, nil, atEOF)
			goOn(t, dir, before, before.Records[11].Offset, 400)
		})
	}
}

func TestTheSecondReadingReadsEveryKindOfJournal(t *testing.T) {
	sequential.Test(t)
	for _, level := range []struct {
		name       string
		durability wal.Durability
	}{
		{"SyncGroup", wal.SyncGroup},
		{"SyncEach", wal.SyncEach},
		{"SyncInterval", wal.SyncInterval(time.Millisecond)},
	} {
		for _, segmentBytes := range []int64{1, 1000, 50_000, 64 << 20} {
			for _, ahead := range []int64{-1, 5000} {
				t.Run(fmt.Sprintf("%s, segments of %d, %d ahead", level.name, segmentBytes, ahead), func(t *testing.T) {
					t.Parallel() // they wait for the disk
					testWritten(t, wal.Options{Durability: level.durability, SegmentBytes: segmentBytes, Preallocate: ahead})
				})
			}
		}
	}
}

// testWritten has goroutines append, alone and in batches, and checks what lies in the files then, while
// the journal is open and after it was closed.
func testWritten(t *testing.T, o wal.Options) {
	dir := t.TempDir()
	j, _ := open(t, dir, o)
	var mu sync.Mutex
	var want []walspec.Record
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 6 {
				var batch [][]byte
				for n := range 1 + (i+w)%4 {
					batch = append(batch, fmt.Appendf(nil, `{"w":%d,"i":%d,"n":%d,"x":"%s"}`, w, i, n, strings.Repeat("x", (w+i*n)*997%5000)))
				}
				offs, err := j.AppendBatch(context.Background(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for n := range batch {
					want = append(want, walspec.Record{Offset: uint64(offs[n]), Payload: batch[n]})
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(want, func(a, b walspec.Record) int { return int(int64(a.Offset) - int64(b.Offset)) })

	// Every append has returned, so every level has written its records into the files.
	live := specRead(t, dir)
	if got := payloadsFrom(live.Records, 0); !slices.EqualFunc(got, want, sameRecord) {
		t.Errorf("beside the writer: %d records, want %d", len(got), len(want))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	closed := specRead(t, dir)
	if !slices.EqualFunc(closed.Records, live.Records, sameRecord) || closed.End != live.End {
		t.Errorf("closing changed the records: %d up to %d, then %d up to %d", len(live.Records), live.End, len(closed.Records), closed.End)
	}
	if last := closed.Segments[len(closed.Segments)-1]; last.Size != last.Data {
		t.Errorf("%s has %d bytes after a clean close, of which %d are data", last.Name, last.Size, last.Data)
	}
	wantShape(t, closed, o.SegmentBytes)
	wantMarksApart(t, closed)
	wantVerified(t, dir, closed)
	wantRead(t, dir, 0, want, atEOF)
}

// markEvery is how much becomes durable between two marks.
const markEvery = 64 << 10

func wantMarksApart(t *testing.T, j *walspec.Journal) {
	t.Helper()
	before := uint64(0)
	for _, r := range j.Records {
		if r.Kind != walspec.Mark {
			continue
		}
		if r.Covered() < before+markEvery {
			t.Errorf("a mark of %d follows one of %d, less than 64 KiB apart", r.Covered(), before)
		}
		before = r.Covered()
	}
}

// TestMarksStandWhereTheyAreDue appends one record after another, so that it is known what was durable
// in front of each.
func TestMarksStandWhereTheyAreDue(t *testing.T) {
	t.Parallel()
	for _, o := range []wal.Options{
		{},
		{Durability: wal.SyncEach, SegmentBytes: 100_000},
		{SegmentBytes: 30_000},
	} {
		dir := t.TempDir()
		j, _ := open(t, dir, o)
		for range 60 {
			appendOne(t, j, strings.Repeat("x", 9000))
		}
		got := specRead(t, dir)
		wantMarksApart(t, got)
		marked := uint64(0) // after the last mark
		marks := 0
		for i, r := range got.Records {
			switch {
			case r.Kind == walspec.Mark:
				if r.Covered() != r.Offset {
					t.Errorf("%+v: a mark at %d says %d, though all in front of it was synced", o, r.Offset, r.Covered())
				}
				marked = r.Next()
				marks++
			case r.Offset-marked >= markEvery && (i == 0 || got.Records[i-1].Kind != walspec.Mark):
				t.Errorf("%+v: the record at %d has no mark in front of it, the last one ends at %d", o, r.Offset, marked)
			}
		}
		if marks < 6 {
			t.Errorf("%+v: %d marks in %d bytes", o, marks, got.End)
		}
	}
}

func TestPayloadsAtTheLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	largest := bytes.Repeat([]byte{0x20}, 16<<20)
	for _, p := range [][]byte{{}, nil, append(largest, 0x20), {0x00}, {0x01, 0, 0, 0, 0, 0, 0, 0, 0}, {0x02, 0}, {0x1f, 'x'}} {
		if _, err := j.Append(t.Context(), p); !errors.Is(err, wal.ErrPayload) {
			t.Errorf("Append of %d bytes, beginning with %x: %v", len(p), p[:min(1, len(p))], err)
		}
	}
	want := [][]byte{{0x20}, {0xff}, []byte("{\x00\x01"), largest}
	if _, err := j.AppendBatch(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got := specRead(t, dir)
	if !slices.EqualFunc(got.Records, want, func(r walspec.Record, p []byte) bool { return bytes.Equal(r.Payload, p) }) {
		t.Errorf("%d records, want %d", len(got.Records), len(want))
	}
	wantRead(t, dir, 0, got.Records, atEOF)
}

// TestBothReadingsJudgeFaultsAlike flips a byte of a journal, cuts a file short or takes one away, and
// holds the reader, Verify and Open against what the format's description says of that.
func TestBothReadingsJudgeFaultsAlike(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		j := writeLayout(rt, dir, layout{
			records: rapid.IntRange(1, 30).Draw(rt, "records"),
			marks:   rapid.Bool().Draw(rt, "marks"),
			fillers: rapid.Bool().Draw(rt, "fillers"),
			Options: walspec.Options{
				SegmentBytes: rapid.SampledFrom([]int64{1, 300, 1000, 1 << 20}).Draw(rt, "segment bytes"),
				Zeros:        rapid.SampledFrom([]int64{0, 0, 1, 60}).Draw(rt, "zeros"),
				Base:         rapid.SampledFrom([]uint64{0, 0, 777}).Draw(rt, "base"),
			},
		})
		boundaries := []uint64{j.First, j.End}
		for _, r := range j.Records {
			boundaries = append(boundaries, r.Offset)
		}
		f := fault{
			j: j, dir: dir,
			segment: rapid.IntRange(0, len(j.Segments)-1).Draw(rt, "segment"),
			cursor:  rapid.SampledFrom(boundaries).Draw(rt, "cursor"),
		}
		switch s := j.Segments[f.segment]; rapid.SampledFrom([]string{"flip", "flip", "flip", "cut", "grow", "remove"}).Draw(rt, "fault") {
		case "flip":
			f.flip(rt, rapid.Int64Range(0, s.Size-1).Draw(rt, "byte"), rapid.ByteRange(1, 255).Draw(rt, "bits"))
		case "cut":
			f.cut(rt, rapid.Int64Range(0, s.Size-1).Draw(rt, "size"))
		case "grow":
			f.grow(rt, rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0, 0, 0xff}), 1, 100).Draw(rt, "bytes"))
		case "remove":
			f.remove(rt)
		}
	})
}

// TestEveryRecordOfASegmentIsAttestedOrNot damages each record of a segment with marks in it, under every
// cursor: the last mark says which of them had been synced, to the byte.
func TestEveryRecordOfASegmentIsAttestedOrNot(t *testing.T) {
	t.Parallel()
	l := layout{records: 11, marks: true, Options: walspec.Options{Zeros: 50}}
	intact := writeLayout(t, t.TempDir(), l)
	for _, damaged := range intact.Records {
		for _, at := range intact.Records {
			dir := t.TempDir()
			f := fault{j: writeLayout(t, dir, l), dir: dir, cursor: at.Offset}
			f.flip(t, int64(damaged.Offset)+20, 1)
		}
	}
}

// TestACursorBelongsBetweenRecords opens a journal, which has zeros after its data, at every kind of
// offset that it cannot have given.
func TestACursorBelongsBetweenRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := writeLayout(t, dir, layout{records: 12, marks: true, Options: walspec.Options{SegmentBytes: 300, Zeros: 50}})
	isCorrupt := func(err error) bool {
		var corrupt *wal.CorruptError
		return errors.As(err, &corrupt)
	}
	isAhead := func(err error) bool { return errors.Is(err, wal.ErrAhead) }
	for _, r := range j.Records {
		for _, inside := range []uint64{r.Offset + 1, r.Offset + 40, r.Next() - 1} {
			f := fault{j: j, dir: dir, cursor: inside}
			f.wantRefused(t, isCorrupt)
		}
	}
	for _, beyond := range []uint64{1, 40, 49, 50, 51, 1000, 1 << 40} {
		f := fault{j: j, dir: dir, cursor: j.End + beyond}
		f.wantRefused(t, isAhead)
	}
}

// TestTheSameRecordsMakeTheSameFiles compares whole folders, byte for byte: where no mark is due, nothing
// is left to choose.
func TestTheSameRecordsMakeTheSameFiles(t *testing.T) {
	t.Parallel()
	// Records of 100 bytes, so that segments get full to the byte, and just not.
	for _, segmentBytes := range []int64{1, 99, 100, 101, 199, 200, 201, 1000, 1 << 20} {
		for _, atOnce := range []int{1, 3, 20} {
			spec, real := t.TempDir(), t.TempDir()
			w, err := walspec.NewWriter(spec, walspec.Options{SegmentBytes: segmentBytes})
			if err != nil {
				t.Fatal(err)
			}
			j, _ := open(t, real, wal.Options{SegmentBytes: segmentBytes})
			var batch [][]byte
			for i := range 20 {
				p := fmt.Appendf(nil, "%060d", i)
				if _, err := w.Append(p); err != nil {
					t.Fatal(err)
				}
				if batch = append(batch, p); len(batch) == atOnce || i == 19 {
					if _, err := j.AppendBatch(t.Context(), batch); err != nil {
						t.Fatal(err)
					}
					batch = nil
				}
			}
			if err := errors.Join(w.Close(), j.Close()); err != nil {
				t.Fatal(err)
			}
			if got, want := folder(t, real), folder(t, spec); got != want {
				t.Errorf("segments of %d, %d records at once: the folder is\n%swant\n%s", segmentBytes, atOnce, got, want)
			}
		}
	}
}

// fault is something that happens to one segment of a journal.
type fault struct {
	j       *walspec.Journal
	dir     string
	segment int
	cursor  uint64 // at which the journal is opened then
}

func (f *fault) path() string { return filepath.Join(f.dir, f.j.Segments[f.segment].Name) }
func (f *fault) sealed() bool { return f.segment < len(f.j.Segments)-1 }

// cursorSegment is the segment in which recovery begins.
func (f *fault) cursorSegment() int {
	at := 0
	for i, s := range f.j.Segments {
		if s.Base <= f.cursor {
			at = i
		}
	}
	return at
}

// records returns those in front of an offset.
func (f *fault) before(offset uint64) []walspec.Record {
	n := 0
	for n < len(f.j.Records) && f.j.Records[n].Offset < offset {
		n++
	}
	return f.j.Records[:n]
}

// recordAt returns where the record begins that holds the byte at this offset, or the end of the data.
func (f *fault) recordAt(at uint64) uint64 {
	for _, r := range f.j.Records {
		if r.Offset <= at && at < r.Next() {
			return r.Offset
		}
	}
	return f.j.End
}

func (f *fault) flip(t failer, pos int64, bits byte) {
	file := readFile(t, f.path())
	file[pos] ^= bits
	writeFile(t, f.path(), file)

	s := f.j.Segments[f.segment]
	invalid := f.recordAt(s.Base + uint64(pos))
	damage := f.sealed()
	for _, r := range f.j.Records {
		if r.Kind == walspec.Mark && r.Offset > invalid && r.Covered() > invalid {
			damage = true // an intact mark after it says that it had been synced
		}
	}
	isDamage := func(err error) bool {
		var corrupt *wal.CorruptError
		return errors.As(err, &corrupt) && corrupt.Segment == f.path() && uint64(corrupt.Offset) == invalid
	}
	report, err := wal.Verify(f.dir, wal.Options{})
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	switch {
	case damage:
		wantRead(t, f.dir, f.j.First, payloadsFrom(f.before(invalid), 0), isDamage)
		if len(report.Damage) == 0 || !isDamage(report.Damage[0]) {
			t.Fatalf("Verify found %v, want damage at %d", report.Damage, invalid)
		}
		if invalid >= f.cursor {
			f.wantRefused(t, isDamage)
			return
		}
	case invalid >= f.cursor:
		// A torn tail. It ends the log, also when the cursor lies right there.
		wantRead(t, f.dir, f.j.First, payloadsFrom(f.before(invalid), 0), atEOF)
		if report.Torn == nil || uint64(report.Torn.Offset) != invalid || len(report.Damage) > 0 {
			t.Fatalf("Verify found %+v, want a torn tail at %d", report, invalid)
		}
		f.wantTorn(t, invalid, bytes.TrimRight(file[invalid-s.Base:], "\x00"))
		return
	}
	// What lies below the cursor does not stop the writer.
	f.wantOpened(t, f.j.End, payloadsFrom(f.j.Records, f.cursor))
}

func (f *fault) cut(t failer, size int64) {
	s := f.j.Segments[f.segment]
	torn := f.recordAt(s.Base + uint64(size)) // the first record that is no longer whole
	file := readFile(t, f.path())[:size]
	writeFile(t, f.path(), file)
	switch {
	case f.sealed() && f.cursorSegment() > f.segment:
		f.wantOpened(t, f.j.End, payloadsFrom(f.j.Records, f.cursor))
	case f.sealed():
		f.wantRefused(t, isGapOrDamage)
	case f.cursor > torn:
		f.wantRefused(t, func(err error) bool { return errors.Is(err, wal.ErrAhead) })
	case torn-s.Base >= uint64(size) || len(bytes.Trim(file[torn-s.Base:], "\x00")) == 0:
		// Cut between two records, or in the zeros after the last one.
		wantRead(t, f.dir, f.j.First, payloadsFrom(f.before(torn), 0), atEOF)
		f.wantOpened(t, torn, payloadsFrom(f.before(torn), f.cursor))
	default:
		wantRead(t, f.dir, f.j.First, payloadsFrom(f.before(torn), 0), atEOF)
		f.wantTorn(t, torn, bytes.TrimRight(file[torn-s.Base:], "\x00"))
	}
}

func (f *fault) grow(t failer, more []byte) {
	file := append(readFile(t, f.path()), more...)
	writeFile(t, f.path(), file)
	rest := bytes.TrimRight(file[f.j.Segments[f.segment].Data:], "\x00")
	switch {
	case f.sealed() && f.cursorSegment() > f.segment:
		f.wantOpened(t, f.j.End, payloadsFrom(f.j.Records, f.cursor))
	case f.sealed():
		f.wantRefused(t, isGapOrDamage) // zeros too: a sealed segment holds records and nothing else
	case len(rest) == 0:
		wantVerified(t, f.dir, specRead(t, f.dir))
		f.wantOpened(t, f.j.End, payloadsFrom(f.j.Records, f.cursor))
	default:
		wantRead(t, f.dir, f.j.First, payloadsFrom(f.j.Records, 0), atEOF)
		f.wantTorn(t, f.j.End, rest)
	}
}

func (f *fault) remove(t failer) {
	if err := os.Remove(f.path()); err != nil {
		t.Fatalf("%v", err)
	}
	s := f.j.Segments[f.segment]
	switch {
	case len(f.j.Segments) == 1 && f.cursor == 0:
		f.wantOpened(t, 0, nil)
	case f.sealed() && f.cursorSegment() > f.segment:
		f.wantOpened(t, f.j.End, payloadsFrom(f.j.Records, f.cursor))
	case f.sealed():
		f.wantRefused(t, isGapOrDamage)
	case f.cursor > s.Base || len(f.j.Segments) == 1:
		f.wantRefused(t, func(err error) bool { return errors.Is(err, wal.ErrAhead) })
	default:
		f.wantOpened(t, s.Base, payloadsFrom(f.before(s.Base), f.cursor))
	}
}

// isGapOrDamage leaves open which of the two it is, as the description does.
func isGapOrDamage(err error) bool {
	var corrupt *wal.CorruptError
	return errors.Is(err, wal.ErrGap) || errors.As(err, &corrupt)
}

func (f *fault) open() (*wal.Journal, wal.Recovery, error) {
	return wal.Open(f.dir, wal.Options{Cursor: func() (wal.Offset, error) { return wal.Offset(f.cursor), nil }})
}

// wantRefused checks that Open fails in this way and leaves every file as it was.
func (f *fault) wantRefused(t failer, why func(error) bool) {
	t.Helper()
	before := folder(t, f.dir)
	j, _, err := f.open()
	if err == nil {
		j.Close()
	}
	if err == nil || !why(err) {
		t.Fatalf("Open at %d: %v", f.cursor, err)
	}
	if after := folder(t, f.dir); after != before {
		t.Fatalf("Open refused and changed the folder from\n%sto\n%s", before, after)
	}
}

// wantOpened checks that Open finds these records up to end, cuts nothing, and goes on there.
func (f *fault) wantOpened(t failer, end uint64, want []walspec.Record) {
	t.Helper()
	j, rec, err := f.open()
	if err != nil {
		t.Fatalf("Open at %d: %v", f.cursor, err)
	}
	defer j.Close()
	if rec.Torn != nil || uint64(rec.End) != end || rec.Records != len(want) {
		t.Fatalf("Open at %d recovered %+v, want %d records up to %d", f.cursor, rec, len(want), end)
	}
	f.wantGoingOn(t, j, end, want)
}

// wantTorn checks that Open ends the log at an offset, and keeps a copy of what it cut.
func (f *fault) wantTorn(t failer, end uint64, cut []byte) {
	t.Helper()
	j, rec, err := f.open()
	if err != nil {
		t.Fatalf("Open at %d: %v", f.cursor, err)
	}
	defer j.Close()
	want := payloadsFrom(f.before(end), f.cursor)
	if rec.Torn == nil || uint64(rec.Torn.Offset) != end || rec.Torn.Bytes != int64(len(cut)) ||
		uint64(rec.End) != end || rec.Records != len(want) {
		t.Fatalf("Open at %d recovered %+v, torn %+v, want %d records up to %d", f.cursor, rec, rec.Torn, len(want), end)
	}
	name := filepath.Base(rec.Torn.Quarantine)
	if filepath.Dir(rec.Torn.Quarantine) != filepath.Join(f.dir, "quarantine") ||
		!strings.HasPrefix(name, fmt.Sprintf("%016x-", end)) || !strings.HasSuffix(name, ".bin") {
		t.Fatalf("quarantined to %s", rec.Torn.Quarantine)
	}
	if got := readFile(t, rec.Torn.Quarantine); !bytes.Equal(got, cut) {
		t.Fatalf("quarantined %x, want %x", got, cut)
	}
	if got := specRead(t, f.dir); got.End != end {
		t.Fatalf("after the cut the log ends at %d, want %d", got.End, end)
	}
	f.wantGoingOn(t, j, end, want)
}

// wantGoingOn appends a record and reads from the cursor on.
func (f *fault) wantGoingOn(t failer, j *wal.Journal, end uint64, want []walspec.Record) {
	t.Helper()
	off, err := j.Append(context.Background(), []byte("{}"))
	if err != nil || uint64(off) != end {
		t.Fatalf("Append: %d, %v, want %d", off, err, end)
	}
	want = append(slices.Clone(want), walspec.Record{Offset: end, Payload: []byte("{}")})
	wantRead(t, f.dir, max(f.cursor, f.j.First), want, atEOF)
	if err := j.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	wantRead(t, f.dir, max(f.cursor, f.j.First), want, atEOF)
}

// folder describes the journal's files and folders, but for the lock.
func folder(t failer, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var b strings.Builder
	for _, e := range entries {
		switch {
		case e.Name() == "LOCK":
		case e.IsDir():
			fmt.Fprintf(&b, "%s/\n", e.Name())
		default:
			fmt.Fprintf(&b, "%s %x\n", e.Name(), blake3.Sum256(readFile(t, filepath.Join(dir, e.Name()))))
		}
	}
	return b.String()
}

func readFile(t failer, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return b
}

func writeFile(t failer, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatalf("%v", err)
	}
}
