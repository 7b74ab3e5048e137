package wal_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

// countedFS counts the files that are open.
type countedFS struct {
	wal.FS
	open *atomic.Int32
}

type countedFile struct {
	wal.File
	open *atomic.Int32
}

func (c countedFS) Open(name string) (wal.File, error) {
	f, err := c.FS.Open(name)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return countedFile{f, c.open}, nil
}

func (f countedFile) Close() error {
	f.open.Add(-1)
	return f.File.Close()
}

// What a reader has returned is read again, in any order, also when the segments have been removed or have lost their names, until it
// is released.
func TestPayloadsInAnyOrder(t *testing.T) {
	for name, take := range map[string]func(string) error{
		"there":   func(string) error { return nil },
		"deleted": os.Remove,
		"replaced": func(name string) error {
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte("something else"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
			all := payloads(20, 300)
			offs := appendAll(t, j, all)
			closeJournal(t, j)
			files := new(atomic.Int32)
			r, err := wal.OpenReader(dir, 0, wal.Options{FS: countedFS{wal.OS, files}})
			if err != nil {
				t.Fatal(err)
			}
			next := func() {
				t.Helper()
				if _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			next() // the segment is open when the payloads are asked for
			p := r.Payloads()
			for range all[1:] {
				next()
			}
			if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if r.Entered() < 5 || int(files.Load()) != r.Entered() {
				t.Errorf("%d segments were entered, %d files are open", r.Entered(), files.Load())
			}
			segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range segments {
				if err := take(s); err != nil {
					t.Fatal(err)
				}
			}
			read := func(i int) {
				t.Helper()
				if got, err := p.Append([]byte("before "), offs[i], len(all[i])); err != nil || string(got) != "before "+all[i] {
					t.Fatalf("record %d: %d bytes, %v", i, len(got), err)
				}
			}
			for i := range offs {
				read(i * 7 % len(offs))
			}
			if _, err := p.Append(nil, offs[19], 1<<20); !errors.Is(err, io.EOF) {
				t.Errorf("more than the file has: %v", err)
			}
			if err := p.Release(offs[10]); err != nil {
				t.Fatal(err)
			}
			for i := 19; i >= 10; i-- {
				read(i)
			}
			if got := int(files.Load()); got == 0 || got > r.Entered()/2+1 {
				t.Errorf("%d of %d files are open after half was released", got, r.Entered())
			}
			if _, err := p.Append(nil, offs[0], len(all[0])); err == nil || !strings.Contains(err.Error(), "not open any more") {
				t.Errorf("a record that was released: %v", err)
			}
			if err := r.Close(); err != nil || files.Load() != 0 {
				t.Errorf("%v; %d files are open after the end", err, files.Load())
			}
		})
	}
}

// A reader at rest has no file open, and goes on where it was.
func TestAReaderRests(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
	all := payloads(8, 300)
	appendAll(t, j, all[:4])
	files := new(atomic.Int32)
	r, err := wal.OpenReader(dir, 0, wal.Options{FS: countedFS{wal.OS, files}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	read := func(want []string) {
		t.Helper()
		for _, payload := range want {
			if rec, err := r.Next(t.Context()); err != nil || string(rec.Payload) != payload {
				t.Fatalf("%d bytes, %v", len(rec.Payload), err)
			}
			if err := r.Rest(); err != nil || files.Load() != 0 {
				t.Fatalf("%v; %d files are open", err, files.Load())
			}
		}
		if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if err := r.Rest(); err != nil || files.Load() != 0 {
			t.Fatalf("%v; %d files are open", err, files.Load())
		}
	}
	read(all[:4])
	appendAll(t, j, all[4:])
	read(all[4:])
	closeJournal(t, j)
	read(nil)
}
