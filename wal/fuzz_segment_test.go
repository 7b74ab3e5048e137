package wal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// FuzzSegment puts any bytes into a segment, sealed or not, and looks at it with all that reads. Nothing may
// panic or go on for ever, and each record that is returned must be an intact one that lies at its offset.
//
// With fix, what would be records but for their sums, back to back from the beginning, is made so.
func FuzzSegment(f *testing.F) {
	for _, g := range golden {
		names, err := filepath.Glob(filepath.Join(goldenDir, g.name, "*.wal"))
		if err != nil || len(names) == 0 {
			f.Fatalf("no segments of %s: %v", g.name, err)
		}
		for _, name := range names {
			base, b := baseOf(f, name), readFile(f, name)
			f.Add(base, b, false, false)
			if len(b) > 60 {
				torn := bytes.Clone(b)
				torn[len(b)/2] ^= 1
				f.Add(base, torn, base%2 == 0, false)
				f.Add(uint64(1<<63-1000), b[:len(b)-5], true, true)
			}
		}
	}
	f.Add(uint64(1<<64-100), bytes.Repeat([]byte{3, 0, 0, 0, 'x'}, 60), false, true)
	f.Add(uint64(0), append(make([]byte, 600), 1), true, false)
	f.Fuzz(func(t *testing.T, base uint64, b []byte, sealed, fix bool) {
		if fix {
			b = fixRecords(base, b)
		}
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, walspec.Name(base)), b)
		if end := base + uint64(len(b)); sealed && end > base {
			writeFile(t, filepath.Join(dir, walspec.Name(end)), nil)
		}
		next := base // a record must not begin below the end of the one before it
		intact := func(r wal.Record) error {
			at := uint64(r.Offset) - base
			if at > uint64(len(b)) || uint64(r.Offset) < next && next != base {
				t.Fatalf("a record at %d, in %d bytes from %d, behind one that ends at %d", r.Offset, len(b), base, next)
			}
			payload, reason := walspec.Decode(uint64(r.Offset), b[at:])
			if reason != "" || !bytes.Equal(payload, r.Payload) || r.Hash != blake3.Sum256(payload) || payload[0] < 0x20 ||
				uint64(r.Next) != uint64(r.Offset)+40+uint64(len(payload)) {
				t.Fatalf("a record at %d: %+v, where there is: %s", r.Offset, r, reason)
			}
			next = uint64(r.Next)
			return nil
		}
		if _, err := wal.Verify(dir, wal.Options{}, intact); err != nil {
			t.Fatalf("Verify: %v", err)
		}
		next = base
		if r, err := wal.OpenReader(dir, wal.Offset(base), wal.Options{}); err == nil {
			for {
				rec, err := r.Next(context.Background())
				if err != nil {
					break
				}
				intact(rec)
			}
			r.Close()
		}
		if _, err := wal.Copy(dir, t.TempDir(), wal.Options{FS: unsyncedFS{wal.OS}}); err != nil {
			var corrupt *wal.CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("Copy: %v", err)
			}
		}
		goOnOrRefuse(t, dir, base)
	})
}

// goOnOrRefuse opens the journal in dir, which either refuses and changes nothing or takes another record.
func goOnOrRefuse(t *testing.T, dir string, base uint64) {
	t.Helper()
	before := folder(t, dir)
	o := at(wal.Offset(base))
	o.FS, o.Preallocate = unsyncedFS{wal.OS}, 300
	j, rec, err := wal.Open(dir, o)
	if err != nil {
		if after := folder(t, dir); after != before {
			t.Fatalf("Open refused (%v) and changed the folder from\n%sto\n%s", err, before, after)
		}
		return
	}
	defer j.Close()
	off, err := j.Append(context.Background(), []byte("{}"))
	if err != nil {
		if uint64(rec.End) < 1<<63-42-49 {
			t.Fatalf("Append: %v", err)
		}
		return
	}
	if off != rec.End && off != rec.End+49 { // behind a mark
		t.Fatalf("recovery ended at %d, and the next record is at %d", rec.End, off)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if rep, err := wal.Verify(dir, wal.Options{}, nil); err != nil || rep.Torn != nil || len(rep.Damage) > 0 || rep.Records != rec.Records+1 {
		t.Fatalf("after going on: %+v, %v, recovered %+v", rep, err, rec)
	}
}

// fixRecords gives what has the length of a record that fits its hash and its checksum.
func fixRecords(base uint64, b []byte) []byte {
	b = bytes.Clone(b)
	for at := 0; len(b)-at > 40; {
		b[at+2], b[at+3] = 0, 0 // short enough to fit now and then
		n := int(binary.LittleEndian.Uint32(b[at:]))
		if n == 0 || n > len(b)-at-40 {
			break
		}
		copy(b[at:], walspec.Encode(base+uint64(at), b[at+40:at+40+n]))
		at += 40 + n
	}
	return b
}

func baseOf(f *testing.F, name string) uint64 {
	f.Helper()
	base, err := strconv.ParseUint(filepath.Base(name)[:16], 16, 64)
	if err != nil {
		f.Fatal(err)
	}
	return base
}

// unsyncedFS is the file system without syncs, which would take most of the time.
type unsyncedFS struct{ wal.FS }

func (unsyncedFS) SyncDir(dir string) error {
	_, err := os.Stat(dir)
	return err
}

func (u unsyncedFS) OpenWrite(name string) (wal.File, error) {
	f, err := u.FS.OpenWrite(name)
	return unsyncedFile{f}, err
}

func (u unsyncedFS) Create(name string) (wal.File, error) {
	f, err := u.FS.Create(name)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ wal.File }

func (unsyncedFile) Sync() error { return nil }
