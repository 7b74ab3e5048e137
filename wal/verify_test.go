package wal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// The writer in this process knows what it has synced. If some of that is gone, it is damage, whatever the end of the
// files looks like.
func TestSyncedRecordsThatAreGoneAreTold(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(segs []wal.Segment, off wal.Offset) error
	}{
		{"zeroed", func(segs []wal.Segment, off wal.Offset) error {
			return overwrite(segs[2].Path, int64(off-segs[2].Base), make([]byte, segs[2].Base+wal.Offset(segs[2].Size)-off))
		}},
		{"cut", func(segs []wal.Segment, off wal.Offset) error {
			return os.Truncate(segs[2].Path, int64(off-segs[2].Base))
		}},
		{"damaged", func(segs []wal.Segment, off wal.Offset) error {
			return overwrite(segs[2].Path, int64(off-segs[2].Base)+50, []byte{0})
		}},
		{"the active segment deleted", func(segs []wal.Segment, _ wal.Offset) error { return os.Remove(segs[2].Path) }},
		{"all deleted", func(segs []wal.Segment, _ wal.Offset) error {
			var err error
			for _, seg := range segs {
				err = errors.Join(err, os.Remove(seg.Path))
			}
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
			offs := appendAll(t, j, payloads(27, 60))
			segs := j.Segments()
			if len(segs) != 3 {
				t.Fatalf("segments: %+v", segs)
			}
			if err := tc.do(segs, offs[24]); err != nil {
				t.Fatal(err)
			}
			want := map[string]wal.Offset{"all deleted": 0, "the active segment deleted": segs[2].Base}
			off, gone := want[tc.name]
			if !gone {
				off = offs[24]
			}
			rep, err := wal.Verify(dir, wal.Options{})
			if err != nil || len(rep.Damage) != 1 || rep.Damage[0].Offset != off || rep.Torn != nil {
				t.Errorf("Verify: %+v, %v, want damage at %d", rep, err, off)
			} else if got := rep.Damage[0].Segment; !gone && got != segs[2].Path {
				t.Errorf("Verify: damage in %s, want %s", got, segs[2].Path)
			}
			var corrupt *wal.CorruptError
			if c, err := wal.Copy(context.Background(), dir, t.TempDir(), wal.Options{}); !errors.As(err, &corrupt) || corrupt.Offset != off {
				t.Errorf("Copy: %+v, %v, want damage at %d", c, err, off)
			}
			r, err := wal.OpenReader(dir, off, wal.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if rec, err := r.Next(t.Context()); !errors.As(err, &corrupt) || corrupt.Offset != off {
				t.Errorf("Next: %+v, %v, want damage at %d", rec, err, off)
			}
		})
	}
}

// Damage in the middle does not hide that the end is gone.
func TestASyncedEndThatIsGoneIsToldBesideOtherDamage(t *testing.T) {
	for name, do := range map[string]func(path string, at int64) error{
		"cut":     os.Truncate,
		"emptied": func(path string, _ int64) error { return os.Truncate(path, 0) },
		"deleted": func(path string, _ int64) error { return os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
			offs := appendAll(t, j, payloads(27, 60))
			segs := j.Segments()
			end := segs[2].Base
			if name == "cut" {
				end = offs[24]
			}
			err := errors.Join(overwrite(segs[0].Path, int64(offs[3])+50, []byte{0}), do(segs[2].Path, int64(offs[24]-segs[2].Base)))
			if err != nil {
				t.Fatal(err)
			}
			rep, err := wal.Verify(dir, wal.Options{})
			if err != nil || len(rep.Damage) != 2 || rep.Damage[0].Offset != offs[3] || rep.Damage[1].Offset != end {
				t.Errorf("%+v, %v, want damage at %d and %d", rep, err, offs[3], end)
			}
		})
	}
}

// A file that came between the writer's segments hides what lies after its base from readers.
func TestASegmentTooManyBelowWhatIsSyncedIsTold(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	offs := appendAll(t, j, payloads(3, 60))
	stray := filepath.Join(dir, walspec.Name(uint64(offs[1])))
	writeFile(t, stray, []byte("stray"))
	// One that begins where the synced data ends may be the writer's next.
	writeFile(t, filepath.Join(dir, walspec.Name(uint64(j.Synced()))), nil)
	rep, err := wal.Verify(dir, wal.Options{})
	if err != nil || rep.Records != 3 || len(rep.Damage) == 0 || rep.Damage[0].Segment != stray {
		t.Fatalf("%+v, %v", rep, err)
	}
	if err := os.Remove(stray); err != nil {
		t.Fatal(err)
	}
	if rep, err := wal.Verify(dir, wal.Options{}); err != nil || rep.Records != 3 || len(rep.Damage) > 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
}

// Without the writer only marks say what was synced.
func TestACopyDoesNotEndBelowAMark(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	offs := appendBatch(t, j, payloads(100, 2000))
	appendOne(t, j, "{with a mark in front of it}")
	for i, damaged := range []wal.Offset{offs[10], j.Synced() - 1} {
		left := crash(t, dir)
		edit(t, filepath.Join(left, firstSegment), flip(int(damaged)+60-60*i))
		c, err := wal.Copy(context.Background(), left, t.TempDir(), wal.Options{})
		var corrupt *wal.CorruptError
		if below := errors.As(err, &corrupt); below != (i == 0) || below && corrupt.Offset != offs[10] {
			t.Errorf("damaged at %d: %+v, %v", damaged, c, err)
		}
	}
}

func overwrite(name string, at int64, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// Segments that a writer removes while Verify reads are no damage.
func TestVerifyBesideAWriterThatTrims(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]wal.Options{"same process": {}, "other process": other(false)} {
		for _, upTo := range []int{1, 3, -1} {
			t.Run(fmt.Sprint(name, " ", upTo), func(t *testing.T) {
				dir := t.TempDir()
				j, _ := open(t, dir, wal.Options{SegmentBytes: 500})
				appendAll(t, j, payloads(40, 60))
				segs := j.Segments()
				if upTo < 0 {
					upTo = len(segs) - 1
				}
				n := 0
				var told []wal.Gap
				o.OnTrimmed = func(g wal.Gap) error { told = append(told, g); return nil }
				rep, err := wal.VerifyContext(context.Background(), dir, o, func(wal.Record) error {
					if n++; n == 2 {
						return j.RemoveBefore(segs[upTo].Base)
					}
					return nil
				})
				if err != nil || len(rep.Damage) > 0 || rep.Torn != nil || rep.End != j.End() || rep.Records != n {
					t.Fatalf("%+v, %v; the log ends at %d", rep, err, j.End())
				}
				var want []wal.Gap // the first segment is read to its end
				if upTo > 1 {
					want = []wal.Gap{{Offset: segs[1].Base, End: segs[upTo].Base}}
				}
				if !slices.Equal(rep.Trimmed, want) || !slices.Equal(told, want) {
					t.Fatalf("trimmed %v, told %v, want %v", rep.Trimmed, told, want)
				}
			})
		}
	}
}

// A writer that appends and trims as fast as Verify reads: each offset is either visited or told as trimmed, in order,
// and the end is the one of the newest segment when it began.
func TestVerifyBesideAWriterThatTrimsAndAppends(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]wal.Options{"same process": {}, "other process": other(false)} {
		for _, every := range []int{1, 2, 7} {
			t.Run(fmt.Sprint(name, " ", every), func(t *testing.T) {
				dir := t.TempDir()
				j, _ := open(t, dir, wal.Options{SegmentBytes: 500, FS: unsyncedFS{wal.OS}})
				if o.FS == nil {
					o.FS = unsyncedFS{wal.OS}
				}
				appendAll(t, j, payloads(50, 60))
				newest := j.Segments()[len(j.Segments())-1]
				next, n, gone := wal.Offset(0), 0, 0
				reached := func(from, to wal.Offset) error {
					if from != next {
						return fmt.Errorf("after %d comes %d", next, from)
					}
					next = to
					return nil
				}
				o.OnTrimmed = func(g wal.Gap) error {
					gone++
					return reached(g.Offset, g.End)
				}
				rep, err := wal.VerifyContext(context.Background(), dir, o, func(r wal.Record) error {
					if n++; n%every == 0 {
						appendAll(t, j, payloads(12, 60))
						if err := j.RemoveBefore(j.Synced()); err != nil {
							return err
						}
					}
					return reached(r.Offset, r.Next)
				})
				if err != nil || len(rep.Damage) > 0 || rep.Torn != nil || rep.Records != n || len(rep.Trimmed) != gone || gone == 0 {
					t.Fatalf("%+v, %v", rep, err)
				}
				if rep.End != next || n > 50 {
					t.Fatalf("%d records, the end at %d, want %d", n, rep.End, next)
				}
				if rep.End < newest.Base {
					t.Fatalf("it ends at %d, and the newest segment began at %d", rep.End, newest.Base)
				}
			})
		}
	}
}

// A writer that trims each time before a segment can be opened, and more often than anybody would try.
func TestLookingBesideAWriterThatIsAlwaysFaster(t *testing.T) {
	t.Parallel()
	for name, look := range map[string]func(dir string, o wal.Options) error{
		"Segments": func(dir string, o wal.Options) error {
			segs, err := wal.Segments(dir, o)
			if err == nil && len(segs) == 0 {
				err = errors.New("none")
			}
			return err
		},
		"Verify": func(dir string, o wal.Options) error {
			rep, err := wal.Verify(dir, o)
			if err == nil && (len(rep.Damage) > 0 || rep.Torn != nil) {
				err = fmt.Errorf("%+v", rep)
			}
			return err
		},
		"Repair, without applying it": func(dir string, o wal.Options) error {
			rep, err := wal.Repair(dir, wal.RepairOptions{FS: o.FS, Cursor: func() (wal.Offset, error) { return 1 << 40, nil }})
			if errors.Is(err, wal.ErrGap) || len(rep.Damage) > 0 { // the cursor is not this journal's
				err = nil
			}
			return err
		},
		"Copy": func(dir string, o wal.Options) error {
			_, err := wal.Copy(context.Background(), dir, t.TempDir(), o)
			return err
		},
		"Identity": func(dir string, o wal.Options) error {
			_, _, err := wal.Identity(dir, o)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: 500, FS: unsyncedFS{wal.OS}})
			appendAll(t, j, payloads(50, 60))
			left := 40
			fsys := &faultFS{FS: wal.OS}
			fsys.set(func(op, name string) error {
				if op != "open" || filepath.Ext(name) != ".wal" || left == 0 {
					return nil
				}
				left--
				appendAll(t, j, payloads(6, 60))
				return j.RemoveBefore(j.Synced())
			})
			if err := look(dir, wal.Options{FS: fsys}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Segments that are gone from the end have not been trimmed.
func TestVerifyTellsThatTheNewestSegmentIsGone(t *testing.T) {
	for _, all := range []bool{false, true} {
		dir := t.TempDir()
		j, _ := open(t, dir, wal.Options{SegmentBytes: 500})
		appendAll(t, j, payloads(12, 60))
		segs := j.Segments()
		closeJournal(t, j)
		n := 0
		rep, err := wal.VerifyContext(context.Background(), dir, wal.Options{}, func(wal.Record) error {
			if n++; n != 2 {
				return nil
			}
			for i, s := range segs {
				if i > 0 || all {
					if err := os.Remove(s.Path); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil || len(rep.Damage) != 1 || rep.Damage[0].Offset != segs[1].Base {
			t.Errorf("all gone: %v: %+v, %v", all, rep, err)
		}
	}
}

// A folder or a broken link in a segment's place is an error, the same one at each try. It is not the end of the log,
// and nobody tries for ever.
func TestWhatIsNoFileIsAnError(t *testing.T) {
	for name, make := range notFiles {
		t.Run(name, func(t *testing.T) {
			for _, where := range []string{firstSegment, "000000000000002a.wal"} {
				dir := t.TempDir()
				if where != firstSegment {
					j, _ := open(t, dir, wal.Options{})
					appendOne(t, j, "{}")
					j.Close()
				}
				if err := make(filepath.Join(dir, where)); err != nil {
					t.Skip(err)
				}
				j, _, err := wal.Open(dir, wal.Options{})
				if err == nil {
					j.Close()
					t.Errorf("%s: opened", where)
				}
				if _, err := wal.Verify(dir, wal.Options{}); err == nil {
					t.Errorf("%s: Verify is content", where)
				}
				if _, err := wal.Copy(context.Background(), dir, t.TempDir(), wal.Options{}); err == nil {
					t.Errorf("%s: Copy is content", where)
				}
				r, err := wal.OpenReader(dir, 0, wal.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if where != firstSegment {
					if _, err := r.Next(t.Context()); err != nil {
						t.Error(err)
					}
				}
				_, first := r.Next(t.Context())
				_, second := r.Next(t.Context())
				if first == nil || second == nil || first.Error() != second.Error() {
					t.Errorf("%s: a reader gets %v, then %v", where, first, second)
				}
				r.Close()
			}
		})
	}
}

var notFiles = map[string]func(name string) error{
	"a folder":      func(name string) error { return os.Mkdir(name, 0o700) },
	"a broken link": func(name string) error { return os.Symlink("nowhere", name) },
}
