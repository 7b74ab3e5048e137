package wal_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

// otherFS is the operating system as another process has it: readers opened with it do not find the
// writer of this one.
type otherFS struct{ wal.FS }

func other(follow bool) wal.Options { return wal.Options{FS: otherFS{wal.OS}, Follow: follow} }

func TestReadersFollowRotation(t *testing.T) {
	for name, o := range map[string]wal.Options{"same process": {Follow: true}, "other process": other(true)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: 500, Preallocate: 256})
			r, err := wal.OpenReader(dir, 0, o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			want := payloads(300, 70)
			go func() {
				for _, p := range want {
					if _, err := j.Append(context.Background(), []byte(p)); err != nil {
						t.Error(err)
					}
				}
			}()
			for i, p := range want {
				rec, err := r.Next(context.Background())
				if err != nil || string(rec.Payload) != p {
					t.Fatalf("record %d: %q, %v", i, rec.Payload, err)
				}
				if r.Offset() != rec.Next {
					t.Fatalf("offset %d, next %d", r.Offset(), rec.Next)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestAFollowerIsToldWhenTheJournalIsClosed(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendOne(t, j, "{}")
	r, err := wal.OpenReader(dir, 0, wal.Options{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, err := r.Next(ctx)
		ended <- err
	}()
	j.Close()
	cancel() // a follower that looked only after the close waits for the next writer
	if err := <-ended; !errors.Is(err, wal.ErrClosed) && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestAReaderOfNothingYetWaits(t *testing.T) {
	dir := t.TempDir()
	r, err := wal.OpenReader(dir, 0, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(context.Background()); err != io.EOF {
		t.Fatalf("got %v", err)
	}
	j, _ := open(t, dir, wal.Options{})
	appendOne(t, j, "{}")
	if rec, err := r.Next(context.Background()); err != nil || string(rec.Payload) != "{}" {
		t.Fatalf("%q, %v", rec.Payload, err)
	}
	if _, err := wal.OpenReader(filepath.Join(dir, "nowhere"), 0, wal.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestAReaderTellsDamageFromNotYet(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	offs := appendAll(t, j, payloads(100, 2000))
	marked := crash(t, dir)
	edit(t, filepath.Join(marked, firstSegment), flip(int(offs[20])+60))
	next := func(dir string, from wal.Offset) error {
		r, err := wal.OpenReader(dir, from, wal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, err = r.Next(context.Background())
		return err
	}
	var corrupt *wal.CorruptError
	if err := next(marked, offs[20]); !errors.As(err, &corrupt) || corrupt.Offset != offs[20] {
		t.Fatalf("below a mark: %v", err)
	}
	open := crash(t, dir)
	edit(t, filepath.Join(open, firstSegment), flip(int(offs[99])+60))
	if err := next(open, offs[99]); err != io.EOF {
		t.Fatalf("above the last mark: %v", err)
	}
	if err := next(dir, offs[99]+7); !errors.As(err, &corrupt) {
		t.Fatalf("no record begins here, and the writer in this process has synced it: %v", err)
	}
}

func TestAReaderBehindTheEndIsRewound(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendAll(t, j, payloads(5, 50))
	end := j.End()
	killed := crash(t, dir)
	j.Close()
	for name, dir := range map[string]string{"closed": dir, "killed": killed} {
		for _, from := range []wal.Offset{end + 1, end + 5000, 1 << 40} {
			r, err := wal.OpenReader(dir, from, wal.Options{Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Next(context.Background()); !errors.Is(err, wal.ErrRewound) {
				t.Errorf("%s: from %d of %d: %v", name, from, end, err)
			}
			r.Close()
		}
	}
	// Read from a file that was cut since.
	r, err := wal.OpenReader(killed, end-90, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(killed, firstSegment), int64(end-90)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(context.Background()); !errors.Is(err, wal.ErrRewound) {
		t.Fatalf("after a cut: %v", err)
	}
}

func TestTrimmingLeavesALogWithoutAHole(t *testing.T) {
	for _, archived := range []bool{false, true} {
		dir := t.TempDir()
		o := wal.Options{SegmentBytes: 500}
		if archived {
			o.Archive = filepath.Join(t.TempDir(), "deep", "archive")
		}
		j, _ := open(t, dir, o)
		want := payloads(40, 60)
		offs := appendAll(t, j, want)
		segs := j.Segments()
		slow, err := wal.OpenReader(dir, 0, other(false))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		if _, err := slow.Next(context.Background()); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(segs[1].Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.RemoveBefore(segs[3].Base + 1); err != nil {
			t.Fatal(err)
		}
		if left := j.Segments(); left[0].Base != segs[3].Base || len(left) != len(segs)-3 {
			t.Fatalf("left: %+v", left)
		}
		if archived {
			kept, err := os.ReadFile(filepath.Join(o.Archive, filepath.Base(segs[1].Path)))
			if err != nil || string(kept) != string(before) {
				t.Fatalf("archive: %v", err)
			}
		}
		// A reader that is behind reads what it has open, and is then told.
		for err == nil {
			_, err = slow.Next(context.Background())
		}
		var trimmed *wal.TrimmedError
		if !errors.As(err, &trimmed) || trimmed.First != segs[3].Base || !errors.Is(err, wal.ErrTrimmed) {
			t.Fatalf("got %v", err)
		}
		if _, err := wal.OpenReader(dir, 0, wal.Options{}); !errors.Is(err, wal.ErrTrimmed) {
			t.Fatalf("got %v", err)
		}
		if err := j.RemoveBefore(1 << 50); err != nil {
			t.Fatal(err)
		}
		if left := j.Segments(); len(left) != 1 {
			t.Fatalf("the active one goes too: %+v", left)
		}
		appendOne(t, j, "{}")
		j.Close()
		if _, _, err := wal.Open(dir, at(offs[3])); !errors.Is(err, wal.ErrGap) {
			t.Fatalf("a cursor below the beginning: %v", err)
		}
		j, _ = open(t, dir, at(j.Synced()))
		j.Close()
	}
}

func TestCopyIsAJournal(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 3000})
	want := payloads(100, 90)
	appendAll(t, j, want)
	dest := t.TempDir()
	c, err := wal.Copy(dir, dest, other(false))
	if err != nil || c.End != j.End() || c.Segments != len(j.Segments()) {
		t.Fatalf("%+v, %v", c, err)
	}
	if got := readAll(t, dest, 0, wal.Options{}); !slices.Equal(got, want) {
		t.Fatalf("%d records", len(got))
	}
}

func TestVerifyBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 2000, Preallocate: 500})
	stop := make(chan bool)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				j.Append(context.Background(), []byte("{"+strings.Repeat("z", 100)+"}"))
			}
		}
	}()
	for range 30 {
		for _, o := range []wal.Options{{}, other(false)} {
			rep, err := wal.Verify(dir, o, nil)
			if err != nil || len(rep.Damage) > 0 {
				t.Errorf("%+v, %v", rep, err)
			}
		}
	}
	close(stop)
	<-ended
}

func TestAnUnknownKindStops(t *testing.T) {
	dir := t.TempDir()
	// A record of kind 0x05 at offset 0, made by changing nothing but what the format says.
	rec := forge(t, 0, []byte{5, 1, 2, 3})
	if err := os.WriteFile(filepath.Join(dir, firstSegment), rec, 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *wal.CorruptError
	if _, _, err := wal.Open(dir, wal.Options{}); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "0x05") {
		t.Fatalf("open: %v", err)
	}
	r, err := wal.OpenReader(dir, 0, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(context.Background()); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "0x05") {
		t.Fatalf("next: %v", err)
	}
	// Fillers are stepped over, and counted.
	rec = forge(t, 0, []byte{2, 0, 0, 0, 0})
	rec = append(rec, forge(t, wal.Offset(len(rec)), []byte("{}"))...)
	if err := os.WriteFile(filepath.Join(dir, firstSegment), rec, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, dir, 0, wal.Options{}); !slices.Equal(got, []string{"{}"}) {
		t.Fatalf("got %q", got)
	}
	if rep, err := wal.Verify(dir, wal.Options{}, nil); err != nil || rep.Fillers != 1 || rep.FillBytes != 45 || len(rep.Damage) > 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
}
