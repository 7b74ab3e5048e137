package wal_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// A mark tells damage from a torn tail. A journal whose writer always stops before the next mark is due
// would have none, and a flipped bit at its beginning would cut off all that was ever acknowledged.
func TestMarksSurviveRestarts(t *testing.T) {
	t.Parallel()
	for name, cursor := range map[string]func(wal.Offset) wal.Offset{
		"nothing applied":    func(wal.Offset) wal.Offset { return 0 },
		"everything applied": func(end wal.Offset) wal.Offset { return end },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var offs []wal.Offset
			end := wal.Offset(0)
			for range 20 {
				j, _ := open(t, dir, at(cursor(end)))
				offs = append(offs, appendBatch(t, j, payloads(30, 2000))...)
				end = j.End()
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
			got := specRead(t, dir)
			wantMarksApart(t, got)
			last := uint64(0)
			for _, r := range got.Records {
				if r.Kind == walspec.Mark {
					last = r.Covered()
				}
			}
			if unmarked := got.End - last; unmarked > 2*markEvery {
				t.Errorf("the last mark attests %d of %d bytes", last, got.End)
			}
			edit(t, filepath.Join(dir, firstSegment), flip(int(offs[1])+100))
			var corrupt *wal.CorruptError
			if j, rec, err := wal.Open(dir, wal.Options{}); !errors.As(err, &corrupt) || corrupt.Offset != offs[1] {
				if err == nil {
					j.Close()
				}
				t.Fatalf("%+v, %v: want damage at %d", rec, err, offs[1])
			}
		})
	}
}

// Opening a journal again and again does not add marks.
func TestRestartsMakeNoMoreMarks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const restarts, size = 60, 4000
	for i := range restarts {
		cursor := wal.Offset(0)
		if i%2 == 0 && i > 0 {
			cursor = wal.Offset(specRead(t, dir).End)
		}
		j, _ := open(t, dir, at(cursor))
		appendBatch(t, j, payloads(1, size))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got := specRead(t, dir)
	wantMarksApart(t, got)
	marks := 0
	for _, r := range got.Records {
		if r.Kind == walspec.Mark {
			marks++
		}
	}
	if marks < 2 || marks > restarts*(size+50)/markEvery {
		t.Errorf("%d marks in %d bytes", marks, got.End)
	}
}
