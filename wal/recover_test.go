package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

const firstSegment = "0000000000000000.wal"

// crash leaves a folder as the death of the process does: the files of j are copied while it is open, with
// the zeros that are written ahead.
func crash(t testing.TB, dir string) string {
	t.Helper()
	left := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

func payloads(n, size int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("{%06d%s}", i, strings.Repeat("x", max(0, size-8)))
	}
	return all
}

func appendAll(t testing.TB, j *wal.Journal, all []string) []wal.Offset {
	t.Helper()
	offs := make([]wal.Offset, len(all))
	for i, p := range all {
		offs[i] = appendOne(t, j, p)
	}
	return offs
}

func edit(t testing.TB, name string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}

func at(cursor wal.Offset) wal.Options {
	return wal.Options{Cursor: func() (wal.Offset, error) { return cursor, nil }}
}

func TestWhatWasAppendedIsReadAfterEveryKindOfEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 300, 4096} {
		t.Run(fmt.Sprint("segments of ", size), func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: size})
			want := payloads(200, 60)
			offs := appendAll(t, j, want)
			if !slices.IsSorted(offs) {
				t.Fatal("offsets do not rise")
			}
			killed := crash(t, dir)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			for name, dir := range map[string]string{"closed": dir, "killed": killed} {
				j, rec := open(t, dir, at(offs[50]))
				if rec.Records != 150 || rec.Torn != nil {
					t.Errorf("%s: recovery: %+v", name, rec)
				}
				for _, from := range []int{0, 1, 50, 199} {
					if got := readAll(t, dir, offs[from], wal.Options{}); !slices.Equal(got, want[from:]) {
						t.Errorf("%s: from record %d: got %d records", name, from, len(got))
					}
				}
				if next := appendOne(t, j, "{}"); next != rec.End {
					t.Errorf("%s: the next record is at %d, the log ended at %d", name, next, rec.End)
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestACleanCloseLeavesNothingBehindTheData(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendOne(t, j, "{}")
	end := j.End()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, firstSegment))
	if err != nil || st.Size() != int64(end) {
		t.Fatalf("size %v, want %d (%v)", st.Size(), end, err)
	}
}

func TestTornTailIsQuarantinedAndCut(t *testing.T) {
	for _, tear := range []struct {
		name string
		do   func(b []byte, end int) []byte
	}{
		{"header cut", func(b []byte, end int) []byte { return append(b[:end:end], 5, 0, 0) }},
		{"payload cut", func(b []byte, end int) []byte { return append(b[:end:end], b[:41]...) }},
		{"length beyond the file", func(b []byte, end int) []byte {
			return append(append(b[:end:end], 0, 0, 1, 0), bytes.Repeat([]byte{7}, 60)...)
		}},
		{"length beyond the format", func(b []byte, end int) []byte {
			return append(b[:end:end], bytes.Repeat([]byte{0xff}, 60)...)
		}},
		{"a record of another place", func(b []byte, end int) []byte { return append(b[:end:end], b[:42]...) }},
		{"zeros and then data", func(b []byte, end int) []byte {
			return append(append(b[:end:end], make([]byte, 512)...), "left over"...)
		}},
	} {
		t.Run(tear.name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{Preallocate: -1})
			appendAll(t, j, []string{"{}", "{}"})
			end := int(j.End())
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			var torn []byte
			edit(t, filepath.Join(dir, firstSegment), func(b []byte) []byte {
				b = tear.do(b, end)
				torn = bytes.TrimRight(b[end:], "\x00")
				return b
			})
			rep, err := wal.Verify(dir, wal.Options{})
			if err != nil || rep.Torn == nil || len(rep.Damage) > 0 {
				t.Fatalf("verify before: %+v, %v", rep, err)
			}
			j, rec := open(t, dir, wal.Options{Now: func() time.Time { return time.Unix(0, 77) }})
			if rec.Torn == nil || rec.Torn.Offset != wal.Offset(end) || rec.Torn.Bytes != int64(len(torn)) || rec.Records != 2 {
				t.Fatalf("recovery: %+v %+v", rec, rec.Torn)
			}
			kept, err := os.ReadFile(filepath.Join(dir, "quarantine", fmt.Sprintf("%016x-77.bin", end)))
			if err != nil || !bytes.Equal(kept, torn) {
				t.Fatalf("quarantine: %q, want %q (%v)", kept, torn, err)
			}
			if next := appendOne(t, j, "{next}"); next != wal.Offset(end) {
				t.Fatalf("next record at %d", next)
			}
			if got := readAll(t, dir, 0, wal.Options{}); !slices.Equal(got, []string{"{}", "{}", "{next}"}) {
				t.Fatalf("got %q", got)
			}
		})
	}
}

// A mark says that what lies before its offset was synced: damage there is no torn tail.
func TestDamageBelowAMarkIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	offs := appendAll(t, j, payloads(100, 2000)) // marks after every 64 KiB
	dir = crash(t, dir)
	segment := filepath.Join(dir, firstSegment)
	rep, err := wal.Verify(dir, wal.Options{})
	if err != nil || rep.Marks != 3 {
		t.Fatalf("%+v, %v", rep, err)
	}
	damaged := int(offs[10]) + 100
	edit(t, segment, flip(damaged))
	before, _ := os.ReadFile(segment)
	_, _, err = wal.Open(dir, wal.Options{})
	var corrupt *wal.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Offset != offs[10] || corrupt.Segment != segment {
		t.Fatalf("got %v", err)
	}
	if after, _ := os.ReadFile(segment); !bytes.Equal(before, after) {
		t.Fatal("refusing changed the segment")
	}
	if _, err := os.Stat(filepath.Join(dir, "quarantine")); err == nil {
		t.Fatal("refusing made a quarantine")
	}
	// SQLite has it: then it stops nobody, and verify tells.
	j, _ = open(t, dir, at(offs[11]))
	appendOne(t, j, "{}")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err = wal.Verify(dir, wal.Options{})
	if err != nil || len(rep.Damage) != 1 || rep.Damage[0].Offset != offs[10] || rep.Records != 100 {
		t.Fatalf("%+v, %v", rep, err)
	}
	// After the last mark the same damage is taken for a torn tail: nothing tells the two apart.
	other := crash(t, dir)
	edit(t, filepath.Join(other, firstSegment), func(b []byte) []byte { b[damaged] ^= 1; b[offs[99]+50] ^= 1; return b })
	j, rec := open(t, other, wal.Options{})
	if rec.Torn == nil || rec.Torn.Offset != offs[99] || rec.Records != 99 {
		t.Fatalf("%+v", rec)
	}
	j.Close()
}

func TestDamageInASealedSegmentIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
	offs := appendAll(t, j, payloads(60, 60))
	segs := j.Segments()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(segs) < 4 {
		t.Fatalf("%d segments", len(segs))
	}
	second, third := segs[1], segs[2]
	for _, tc := range []struct {
		name   string
		do     func(dir string)
		cursor wal.Offset
		want   error // nil: *CorruptError
		at     wal.Offset
	}{
		{name: "a bit", do: func(dir string) { edit(t, filepath.Join(dir, filepath.Base(second.Path)), flip(30)) }, at: second.Base},
		{name: "cut inside a record", do: func(dir string) {
			edit(t, filepath.Join(dir, filepath.Base(second.Path)), func(b []byte) []byte { return b[:len(b)-5] })
		}, at: third.Base - 100},
		{name: "cut between records", do: func(dir string) {
			edit(t, filepath.Join(dir, filepath.Base(second.Path)), func(b []byte) []byte { return b[:len(b)-100] })
		}, want: wal.ErrGap},
		{name: "grown", do: func(dir string) {
			edit(t, filepath.Join(dir, filepath.Base(second.Path)), func(b []byte) []byte { return append(b, "more"...) })
		}, at: third.Base},
		{name: "grown by zeros", do: func(dir string) {
			edit(t, filepath.Join(dir, filepath.Base(second.Path)), func(b []byte) []byte { return append(b, 0, 0) })
		}, at: third.Base},
		{name: "zeros inside", do: func(dir string) {
			edit(t, filepath.Join(dir, filepath.Base(second.Path)), func(b []byte) []byte { clear(b[100:]); return b })
		}, at: second.Base + 100},
		{name: "missing", do: func(dir string) { os.Remove(filepath.Join(dir, filepath.Base(second.Path))) }, want: wal.ErrGap},
		{name: "empty", do: func(dir string) {
			edit(t, filepath.Join(dir, filepath.Base(second.Path)), func([]byte) []byte { return nil })
		}, want: wal.ErrGap},
		{name: "another's content", do: func(dir string) {
			edit(t, filepath.Join(dir, filepath.Base(second.Path)), func([]byte) []byte { b, _ := os.ReadFile(third.Path); return b })
		}, at: second.Base},
		{name: "the first missing", do: func(dir string) { os.Remove(filepath.Join(dir, firstSegment)) }, want: wal.ErrGap},
		{name: "missing below the cursor", do: func(dir string) { os.Remove(filepath.Join(dir, filepath.Base(second.Path))) }, cursor: offs[55], want: errNone},
		{name: "damaged below the cursor", do: func(dir string) { edit(t, filepath.Join(dir, filepath.Base(second.Path)), flip(30)) }, cursor: offs[55], want: errNone},
		{name: "cursor inside a record", do: func(string) {}, cursor: offs[30] + 1},
		{name: "cursor inside a record of the last segment", do: func(string) {}, cursor: offs[59] + 41, at: offs[59] + 41},
		{name: "cursor after the end", do: func(string) {}, cursor: 1 << 40, want: wal.ErrAhead},
		{name: "cursor and no segment", do: func(dir string) {
			os.RemoveAll(dir)
			os.Mkdir(dir, 0o700)
		}, cursor: 84, want: wal.ErrAhead},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := crash(t, dir)
			tc.do(dir)
			before := snapshot(t, dir)
			j, _, err := wal.Open(dir, at(tc.cursor))
			if err == nil {
				j.Close()
			}
			if tc.want == errNone {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var corrupt *wal.CorruptError
			switch {
			case tc.want != nil && !errors.Is(err, tc.want):
				t.Fatalf("got %v, want %v", err, tc.want)
			case tc.want == nil && !errors.As(err, &corrupt):
				t.Fatalf("got %v, want damage", err)
			case tc.want == nil && tc.at != 0 && corrupt.Offset != tc.at:
				t.Fatalf("got %v, want offset %d", err, tc.at)
			}
			if after := snapshot(t, dir); !slices.Equal(before, after) {
				t.Fatalf("refusing changed the folder:\n%q\n%q", before, after)
			}
		})
	}
}

var errNone = errors.New("no error")

// snapshot is the folder's files with their contents, without the lock.
func snapshot(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "LOCK" {
			b, _ := os.ReadFile(filepath.Join(dir, e.Name()))
			all = append(all, e.Name()+": "+string(b))
		}
	}
	return all
}

func TestACursorBehindTheDataButInsideTheFileIsAhead(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendAll(t, j, payloads(3, 60))
	end := j.End()
	dir = crash(t, dir) // with zeros after the data
	for _, cursor := range []wal.Offset{end + 1, end + 100, 1 << 20} {
		if _, _, err := wal.Open(dir, at(cursor)); !errors.Is(err, wal.ErrAhead) {
			t.Errorf("cursor %d: got %v", cursor, err)
		}
	}
	j, _ = open(t, dir, at(end))
	j.Close()
}

func TestRecoveryWritesOnceMoreWhatMayNotBeOnDisk(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendAll(t, j, payloads(100, 2000))
	dir = crash(t, dir)
	var writes []string
	j, rec := open(t, dir, wal.Options{FS: &faultFS{FS: wal.OS, before: func(op, name string) error {
		writes = append(writes, op+" "+filepath.Base(name))
		return nil
	}}})
	defer j.Close()
	if rec.Records != 100 {
		t.Fatalf("%+v", rec)
	}
	text := strings.Join(writes, ", ")
	if !strings.Contains(text, "write "+firstSegment+", sync "+firstSegment+", syncdir "+filepath.Base(dir)) {
		t.Fatalf("recovery did: %s", text)
	}
}

// A sync that the caller's context does not wait for still happens.
func TestAppendWhoseContextEndsIsOpen(t *testing.T) {
	dir := t.TempDir()
	enter, leave := make(chan bool), make(chan bool)
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, dir, wal.Options{FS: fsys})
	fsys.set(func(op, name string) error {
		if op == "sync" {
			enter <- true
			<-leave
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() {
		_, err := j.Append(ctx, []byte("{}"))
		result <- err
	}()
	<-enter
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	fsys.set(nil)
	leave <- true
	if err := j.Wait(context.Background(), 42); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, dir, 0, wal.Options{FS: fsys}); len(got) != 1 {
		t.Fatalf("got %q", got)
	}
}

// Segments that SQLite has are not needed: opening works though the disk cannot even open their files.
func TestFilesBelowTheCursorAreNotTouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
	offs := appendAll(t, j, payloads(60, 60))
	segs := j.Segments()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o := at(offs[55])
	o.FS = &faultFS{FS: wal.OS, before: func(op, name string) error {
		for _, seg := range segs {
			if name == seg.Path && seg.Base+wal.Offset(seg.Size) <= offs[55] {
				return fmt.Errorf("%s %s: %w", op, name, errDisk)
			}
		}
		return nil
	}}
	j, rec := open(t, dir, o)
	if rec.Records != 5 || rec.End != segs[len(segs)-1].Base+wal.Offset(segs[len(segs)-1].Size) {
		t.Fatalf("%+v", rec)
	}
	if got := j.Segments(); !slices.Equal(got, segs) {
		t.Fatalf("segments: %+v, want %+v", got, segs)
	}
	appendOne(t, j, "{}")
}

// calls returns what opening does to the files, in order.
func calls(t *testing.T, dir string, o wal.Options) (all []string) {
	t.Helper()
	o.FS = &faultFS{FS: wal.OS, before: func(op, name string) error {
		if op != "open" && op != "list" {
			all = append(all, op+" "+filepath.Base(name))
		}
		return nil
	}}
	j, _ := open(t, dir, o)
	end := len(all)
	j.Close()
	return all[:end]
}

// A failed sync may have forgotten the name of the segment that was made last, and the next sync of the
// folder may find nothing to write: only changing the folder anew makes it.
func TestAnEmptyLastSegmentIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, dir, wal.Options{FS: fsys, SegmentBytes: 100})
	appendAll(t, j, payloads(1, 200))
	fsys.set(func(op, _ string) error {
		if op == "syncdir" {
			return errDisk
		}
		return nil
	})
	if _, err := j.Append(t.Context(), []byte("{}")); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	last := walspec.Name(uint64(j.Synced()))
	j.Close()
	// A process that died in the middle of this has left its file.
	writeFile(t, filepath.Join(dir, last+".part"), []byte("half"))
	got := strings.Join(calls(t, dir, wal.Options{}), ", ")
	part := last + ".part"
	if want := fmt.Sprintf("remove %s, create %s, sync %s, rename %s, syncdir %s", part, part, part, part, filepath.Base(dir)); !strings.HasPrefix(got, want) {
		t.Fatalf("opening did: %s\nwant first: %s", got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, part)); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if got := specRead(t, dir); len(got.Segments) != 2 || got.Segments[1].Size != 0 {
		t.Fatalf("segments: %+v", got.Segments)
	}
}

// A file that reads as cut need not be cut on disk: the process may have died before the sync, or the sync has failed.
func TestATruncationThatMayBeLostIsRepeated(t *testing.T) {
	dir := t.TempDir()
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, dir, wal.Options{FS: fsys})
	appendOne(t, j, "{}")
	fsys.set(func(op, _ string) error {
		if op == "sync" {
			return errDisk
		}
		return nil
	})
	if err := j.Close(); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	got := strings.Join(calls(t, dir, at(42)), ", ")
	if want := fmt.Sprintf("truncate %s, truncate %[1]s, sync %[1]s", firstSegment); !strings.Contains(got, want) {
		t.Fatalf("opening did: %s\nwant in it: %s", got, want)
	}
	if st, err := os.Stat(filepath.Join(dir, firstSegment)); err != nil || st.Size() != 42 {
		t.Fatalf("%d bytes, %v", st.Size(), err)
	}
}

// The folders may have been made by a process that died before it synced their names.
func TestAFolderAboveThatCannotBeSyncedIsNoPlaceForAJournal(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a", "b", "wal")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		err    error
		refuse bool
	}{
		{errDisk, true},
		{fs.ErrPermission, false}, // not one that we have made
	} {
		o := wal.Options{FS: &faultFS{FS: wal.OS, before: func(op, name string) error {
			if op == "syncdir" && name == top {
				return tc.err
			}
			return nil
		}}}
		j, _, err := wal.Open(dir, o)
		if err == nil {
			j.Close()
		}
		if refused := errors.Is(err, tc.err); refused != tc.refuse || !refused && err != nil {
			t.Errorf("%v from the folder above: %v", tc.err, err)
		}
	}
}

func TestACursorInAHoleOfTheLogIsAGap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
	offs := appendAll(t, j, payloads(60, 60))
	segs := j.Segments()
	j.Close()
	if err := os.Truncate(segs[1].Path, 300); err != nil {
		t.Fatal(err)
	}
	for _, off := range offs {
		if off > segs[1].Base+300 && off < segs[2].Base {
			if j, _, err := wal.Open(dir, at(off)); !errors.Is(err, wal.ErrGap) {
				if err == nil {
					j.Close()
				}
				t.Errorf("cursor %d, the segment's data ends at %d: %v", off, segs[1].Base+300, err)
			}
		}
	}
}

var errOpened = errors.New("opened")

// A caller that has lost everything may still know how far the log once was on disk.
func TestWhatIsKnownToHaveBeenReachedIsNotCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name            string
		damage          func([]byte) []byte
		cursor, reached wal.Offset
		want            error // nil is a *CorruptError at 300; errOpened is none
	}{
		{"a bit below it", flip(350), 0, 600, nil},
		{"a bit right below it", flip(350), 0, 400, nil},
		{"a bit in the record that begins there", flip(350), 0, 300, errOpened},
		{"a bit above it", flip(350), 0, 200, errOpened},
		{"a bit below it and above the cursor", flip(350), 200, 600, nil},
		{"a bit below the cursor", flip(350), 600, 600, errOpened},
		{"zeros below it to the end", func(b []byte) []byte { clear(b[300:]); return b }, 0, 600, wal.ErrAhead},
		{"cut below it", func(b []byte) []byte { return b[:300] }, 0, 600, wal.ErrAhead},
		{"cut at it", func(b []byte) []byte { return b[:300] }, 0, 300, errOpened},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := madeJournal{dir: t.TempDir()}
			j, _ := open(t, m.dir, wal.Options{FS: unsyncedFS{wal.OS}})
			appendBatch(t, j, payloads(10, 60))
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			edit(t, m.segment(0), tc.damage)
			before := everything(t, m.dir)
			o := at(tc.cursor)
			o.Reached = func() wal.Offset { return tc.reached }
			j, _, err := wal.Open(m.dir, o)
			if err == nil {
				j.Close()
			}
			var corrupt *wal.CorruptError
			switch {
			case tc.want == errOpened:
				if err != nil {
					t.Fatal(err)
				}
				return
			case tc.want == nil && (!errors.As(err, &corrupt) || corrupt.Offset != 300), tc.want != nil && !errors.Is(err, tc.want):
				t.Fatalf("got %v", err)
			}
			if everything(t, m.dir) != before {
				t.Fatal("what was refused was changed")
			}
		})
	}
}
