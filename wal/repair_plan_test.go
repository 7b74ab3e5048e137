package wal_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// Without Apply a writer may trim while Repair reads. A segment that it has removed is no damage; one that is missing
// from the middle is an error.
func TestRepairBesideAWriterThatTrims(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gone  int
		first wal.Offset
		err   error
	}{
		"the oldest":        {0, 1000, nil},
		"one in the middle": {1000, 0, fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := makeJournal(t)
			fsys := &faultFS{FS: wal.OS}
			fsys.set(func(op, name string) error {
				if op == "open" && name == m.segment(c.gone) {
					os.Remove(name)
				}
				return nil
			})
			o := m.options(1000)
			o.FS = fsys
			rep, err := wal.Repair(m.dir, o)
			if !errors.Is(err, c.err) || len(rep.Damage) > 0 {
				t.Fatalf("%+v, %v, want %v", rep, err, c.err)
			}
			if err == nil && (rep.First != c.first || rep.Segments != 2 || rep.Records != 20 || rep.End != 3000) {
				t.Errorf("%+v", rep)
			}
		})
	}
}

// Damage in the last segment that begins before the cursor ends at the next intact record only if what lies from the
// cursor on was acknowledged. Otherwise it ends at the cursor, and the rest is a torn tail.
//
// The records are 100 bytes long, those at 300 to 600 are damaged, and the cursor is 500.
func TestDamageAroundTheCursorInTheLastSegment(t *testing.T) {
	t.Parallel()
	const cursor = 500
	for name, c := range map[string]struct {
		mark uint64 // what the mark after the damage attests; 0 is no mark
		want string
		torn wal.Offset
	}{
		"attested beyond the cursor": {700, " [300,700) stored 400 cut 0, restored 2, fillers 1 of 200, refused 0", 0},
		"attested in the damage":     {600, " [300,700) stored 400 cut 0, restored 2, fillers 2 of 200, refused 0", 0},
		"attested up to the cursor":  {500, " [300,500) stored 200 cut 0, restored 2, fillers 0 of 0, refused 0", 500},
		"no mark":                    {0, " [300,500) stored 200 cut 0, restored 2, fillers 0 of 0, refused 0", 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := madeJournal{dir: t.TempDir(), payloads: payloads(10, 60)}
			var file []byte
			for i, p := range m.payloads {
				m.offs = append(m.offs, wal.Offset(100*i))
				file = append(file, walspec.Encode(uint64(100*i), []byte(p))...)
			}
			clear(file[300:700])
			if c.mark > 0 {
				file = append(file, walspec.Encode(1000, walspec.MarkPayload(c.mark))...)
			}
			writeFile(t, m.segment(0), file)
			o := m.options(cursor)
			o.Apply = true
			rep := mustRepair(t, m.dir, o)
			if got := ranges(rep); !slices.Equal(got, []string{c.want}) {
				t.Errorf("repaired %q, want %q", got, c.want)
			}
			if (rep.Torn != nil) != (c.torn > 0) || rep.Torn != nil && rep.Torn.Offset != c.torn {
				t.Errorf("a torn tail %+v, want one at %d", rep.Torn, c.torn)
			}
			j, recovered := open(t, m.dir, wal.Options{Cursor: o.Cursor})
			if (recovered.Torn != nil) != (c.torn > 0) {
				t.Errorf("opening then found %+v", recovered)
			}
			want := m.payloads[:5:5]
			if c.torn == 0 {
				want = append(want, m.payloads[7:]...)
			}
			closeJournal(t, j)
			if got := readAll(t, m.dir, 0, wal.Options{}); !slices.Equal(got, want) {
				t.Errorf("%d records are left, want %d", len(got), len(want))
			}
		})
	}
}

// Where no record fits between an offset and the mark that attests it, the bytes are not this log's, and no filler
// helps. Where an intact record follows, the mark is part of the damage.
func TestAMarkTooCloseToWhatItAttests(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]int{"nothing after it": 0, "a record after it": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := madeJournal{dir: t.TempDir()}
			file := slices.Concat(walspec.Encode(0, bytes.Repeat([]byte("x"), 60)), []byte("ten bytes."), walspec.Encode(110, walspec.MarkPayload(105)))
			for range after {
				file = append(file, walspec.Encode(uint64(len(file)), []byte("{}"))...)
			}
			writeFile(t, m.segment(0), file)
			before := everything(t, m.dir)
			rep, err := wal.Repair(m.dir, wal.RepairOptions{Apply: true})
			if after > 0 {
				want := []string{" [100,159) stored 59 cut 0, restored 0, fillers 1 of 59, refused 0"}
				if err != nil || !slices.Equal(ranges(rep), want) {
					t.Fatalf("%q, %v", ranges(rep), err)
				}
				return
			}
			corrupt := new(wal.CorruptError)
			if !errors.As(err, &corrupt) || corrupt.Offset != 100 || corrupt.Segment != filepath.Join(m.dir, firstSegment) {
				t.Fatalf("%+v, %v", rep, err)
			}
			if got := everything(t, m.dir); got != before {
				t.Errorf("refused, and the folder was changed from\n%sto\n%s", before, got)
			}
		})
	}
}
