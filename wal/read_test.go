package wal_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/wal"
)

func TestReadBackByOffset(t *testing.T) {
	var all []string
	for i, size := range []int{1, 2, 300, 4055, 4056, 4057, 5000, 100_000, 7} {
		all = append(all, strings.Repeat(string(rune('a'+i)), size))
	}
	for name, d := range map[string]wal.Durability{"synced": wal.SyncGroup, "written and not synced": wal.SyncInterval(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			j, _ := open(t, t.TempDir(), wal.Options{SegmentBytes: 9000, Durability: d})
			offs := appendAll(t, j, all)
			for i, off := range offs {
				rec, err := j.Read(off)
				if err != nil {
					t.Fatal(err)
				}
				if string(rec.Payload) != all[i] || rec.Offset != off || i+1 < len(offs) && rec.Next > offs[i+1] {
					t.Fatalf("record %d at %d: %d bytes, next %d", i, off, len(rec.Payload), rec.Next)
				}
			}
			for _, off := range []wal.Offset{1, offs[3] + 1} {
				if _, err := j.Read(off); !errors.As(err, new(*wal.CorruptError)) {
					t.Fatalf("at %d, where no record begins: %v", off, err)
				}
			}
			for _, off := range []wal.Offset{j.End(), j.End() + 1, math.MaxUint64} {
				if _, err := j.Read(off); err == nil || errors.As(err, new(*wal.CorruptError)) {
					t.Fatalf("at %d, after the end: %v", off, err)
				}
			}
			closeJournal(t, j)
		})
	}
}

func TestReadBackWhatWasTrimmedOrHurt(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
	offs := appendAll(t, j, payloads(20, 300))
	if err := j.RemoveBefore(offs[10]); err != nil {
		t.Fatal(err)
	}
	var trimmed *wal.TrimmedError
	if _, err := j.Read(offs[0]); !errors.As(err, &trimmed) || trimmed.First != j.Segments()[0].Base {
		t.Fatal(err)
	}
	active := j.Segments()[len(j.Segments())-1]
	edit(t, active.Path, flip(int(offs[19]-active.Base)+100))
	var damaged *wal.CorruptError
	if _, err := j.Read(offs[19]); !errors.As(err, &damaged) || damaged.Offset != offs[19] || damaged.Segment != active.Path {
		t.Fatal(err)
	}
	closeJournal(t, j)
}

func TestReadBackFromAJournalThatHasFailed(t *testing.T) {
	dir := t.TempDir()
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, dir, wal.Options{FS: fsys})
	off := appendOne(t, j, "acknowledged")
	fsys.set(func(op, name string) error {
		if op == "sync" {
			return errors.New("the disk is gone")
		}
		return nil
	})
	if _, err := j.Append(context.Background(), []byte("never")); !errors.Is(err, wal.ErrFailed) {
		t.Fatal(err)
	}
	if rec, err := j.Read(off); err != nil || string(rec.Payload) != "acknowledged" {
		t.Fatal(rec, err)
	}
	j.Close()
}
