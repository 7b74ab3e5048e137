package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// wantCut checks that an error says that a segment was cut, and that the journal takes no more.
func wantCut(t *testing.T, j *wal.Journal, path string, err error) {
	t.Helper()
	if !errors.Is(err, wal.ErrFailed) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "cut or overwritten by somebody") {
		t.Fatalf("got %v", err)
	}
	if _, err := j.Append(context.Background(), []byte("{again}")); !errors.Is(err, wal.ErrFailed) {
		t.Fatalf("an append after that: %v", err)
	}
}

var cutLevels = map[string]wal.Durability{"group": wal.SyncGroup, "each": wal.SyncEach, "interval": wal.SyncInterval(time.Hour)}

// A rotation of log files by copy-and-truncate cuts the segment that is being written to. The next write would
// leave a hole before it, in a file that is as long as before.
func TestASegmentThatIsCutUnderTheWriterIsNoticed(t *testing.T) {
	t.Parallel()
	for level, durability := range cutLevels {
		for _, ahead := range []int64{-1, 50, 4096} {
			for _, left := range []int64{0, 1, 130, 299} {
				t.Run(fmt.Sprintf("%s, %d written ahead, cut to %d", level, ahead, left), func(t *testing.T) {
					dir := t.TempDir()
					j, _ := open(t, dir, wal.Options{Durability: durability, Preallocate: ahead})
					appendAll(t, j, payloads(3, 60))
					path := filepath.Join(dir, firstSegment)
					if err := os.Truncate(path, left); err != nil {
						t.Fatal(err)
					}
					_, err := j.Append(t.Context(), []byte(payloads(1, 500)[0]))
					wantCut(t, j, path, err)
					if err := j.Close(); !errors.Is(err, wal.ErrFailed) {
						t.Errorf("Close: %v", err)
					}
				})
			}
		}
	}
}

// A journal that was opened again knows what is in its last segment.
func TestASegmentThatIsCutAfterOpeningIsNoticed(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{"{}", "x" + strings.Repeat("\x00", 9000)} {
		dir := t.TempDir()
		j, _ := open(t, dir, wal.Options{})
		appendAll(t, j, []string{"{}", payload})
		closeJournal(t, j)
		j, _ = open(t, dir, wal.Options{})
		path := filepath.Join(dir, firstSegment)
		if err := os.Truncate(path, 60); err != nil {
			t.Fatal(err)
		}
		_, err := j.Append(t.Context(), []byte("{after}"))
		wantCut(t, j, path, err)
	}
}

// The cut comes while a group is being written: before one of its writes, before its sync, or after it.
func TestASegmentThatIsCutInTheMiddleOfAGroupIsNoticed(t *testing.T) {
	t.Parallel()
	for level, durability := range cutLevels {
		for _, op := range []string{"write", "sync", "synced"} {
			for _, nth := range []int{1, 2, 3} {
				for _, identity := range [][]byte{nil, mine} {
					t.Run(fmt.Sprintf("%s, %s %d, %s", level, op, nth, identity), func(t *testing.T) {
						dir := t.TempDir()
						fsys := &cuttingFS{FS: wal.OS, op: op}
						o := wal.Options{Durability: durability, Preallocate: 700, SegmentBytes: 600, FS: fsys, Identity: identity}
						j, _ := open(t, dir, o)
						fsys.nth.Store(int64(nth))
						var err error
						for i := 0; err == nil && i < 20; i++ {
							_, err = j.Append(t.Context(), []byte(payloads(1, 60)[0]))
							if durability == cutLevels["interval"] && err == nil && fsys.path.Load() == nil {
								err = j.Sync(t.Context())
							}
							if fsys.path.Load() != nil && err == nil {
								t.Fatal("what was cut was acknowledged")
							}
						}
						path := fsys.path.Load()
						if path == nil {
							t.Fatal("nothing was cut")
						}
						wantCut(t, j, *path, err)
					})
				}
			}
		}
	}
}

// cuttingFS cuts a segment to nothing before the nth call of a kind on it.
type cuttingFS struct {
	wal.FS
	op   string
	nth  atomic.Int64 // 0: not yet
	path atomic.Pointer[string]
}

func (c *cuttingFS) Create(name string) (wal.File, error) {
	f, err := c.FS.Create(name)
	return &cuttingFile{f, c, name}, err
}

type cuttingFile struct {
	wal.File
	fs   *cuttingFS
	name string
}

func (f *cuttingFile) count(op string) error {
	if op != f.fs.op || f.fs.nth.Load() == 0 {
		return nil
	}
	b, err := os.ReadFile(f.name)
	if err != nil || len(bytes.Trim(b, "\x00")) == 0 || f.fs.nth.Add(-1) > 0 { // to cut zeros takes nothing away
		return err
	}
	f.fs.path.Store(&f.name)
	return os.Truncate(f.name, 0)
}

func (f *cuttingFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.count("write"); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *cuttingFile) Sync() error {
	if err := f.count("sync"); err != nil {
		return err
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	return f.count("synced")
}

func TestASegmentThatIsCutBeforeItIsSealedIsNoticed(t *testing.T) {
	t.Parallel()
	for _, left := range []int64{0, 130, 599} {
		t.Run(fmt.Sprint("cut to ", left), func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: 600, Preallocate: 100})
			appendAll(t, j, payloads(6, 60)) // it is full
			path := filepath.Join(dir, firstSegment)
			if err := os.Truncate(path, left); err != nil {
				t.Fatal(err)
			}
			_, err := j.Append(t.Context(), []byte("{after}"))
			wantCut(t, j, path, err)
			if n := len(j.Segments()); n != 1 {
				t.Errorf("%d segments", n)
			}
		})
	}
}

// Closing would give a file that was cut the right length again.
func TestASegmentThatIsCutBeforeClosingIsNoticed(t *testing.T) {
	t.Parallel()
	zeros := "x" + strings.Repeat("\x00", 100)
	for level, durability := range cutLevels {
		for _, ahead := range []int64{-1, 4096} {
			for _, last := range []string{"{}", zeros} {
				dir := t.TempDir()
				j, _ := open(t, dir, wal.Options{Durability: durability, Preallocate: ahead})
				appendAll(t, j, []string{"{}", last})
				path := filepath.Join(dir, firstSegment)
				if err := os.Truncate(path, int64(j.End())-1); err != nil {
					t.Fatal(err)
				}
				if err := j.Close(); !errors.Is(err, wal.ErrFailed) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s, %d ahead, %d bytes: %v", level, ahead, len(last), err)
				}
			}
		}
	}
}

// What was acknowledged before the cut, and lies before it, is still there.
func TestWhatWasBeforeACutStays(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	want := payloads(3, 60)
	appendAll(t, j, want)
	if err := os.Truncate(filepath.Join(dir, firstSegment), 250); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), []byte("{after}")); err == nil {
		t.Fatal("acknowledged")
	}
	j.Close()
	j, rec := open(t, dir, wal.Options{})
	if rec.Records != 2 || rec.Torn == nil {
		t.Errorf("recovered %+v", rec)
	}
	appendOne(t, j, "{later}")
	if got := readAll(t, dir, 0, wal.Options{}); !slices.Equal(got, append(want[:2:2], "{later}")) {
		t.Errorf("read %q", got)
	}
}
