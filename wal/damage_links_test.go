package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// A link under a name of the journal's could lead to any file of the machine, so none is followed. Every call fails
// with an error about the link, and the file that the link leads to keeps its bytes.
func TestNothingIsOpenedThroughALink(t *testing.T) {
	t.Parallel()
	h := newHistory(0, 20, []string{"{}", "mark"}, []string{"{}", `{"a":1}`})
	names := []string{"LOCK"}
	for name := range h.files {
		names = append(names, name)
	}
	calls := map[string]func(dir string) error{
		"open": func(dir string) error {
			j, _, err := wal.Open(dir, wal.Options{})
			if err == nil {
				j.Close()
			}
			return err
		},
		"hold":   func(dir string) error { _, _, err := wal.Holder(dir, wal.Options{}); return err },
		"list":   func(dir string) error { _, err := wal.Segments(dir, wal.Options{}); return err },
		"verify": func(dir string) error { _, err := wal.Verify(dir, wal.Options{}); return err },
		"copy": func(dir string) error {
			_, err := wal.Copy(context.Background(), dir, t.TempDir(), wal.Options{})
			return err
		},
		"repair": func(dir string) error { _, err := wal.Repair(dir, wal.RepairOptions{Apply: true}); return err },
	}
	writes := map[string]bool{"open": true, "repair": true}
	for _, name := range names {
		for call, do := range calls {
			if name == "LOCK" && !writes[call] && call != "hold" || name != "LOCK" && call == "hold" {
				continue // does not touch it
			}
			dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
			for other, b := range h.files {
				writeFile(t, filepath.Join(dir, other), b)
			}
			content := []byte("somebody else's")
			if name != "LOCK" {
				content = h.files[name]
			}
			writeFile(t, elsewhere, content)
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, filepath.Join(dir, name)); err != nil {
				t.Skip(err)
			}
			err := do(dir)
			if err == nil || !strings.Contains(err.Error(), name+" is a symbolic link to "+elsewhere) {
				t.Errorf("%s, %s: %v", name, call, err)
			}
			if got := readFile(t, elsewhere); !bytes.Equal(got, content) {
				t.Errorf("%s, %s: what the link leads to has %d bytes now, not %d", name, call, len(got), len(content))
			}
		}
	}
}

// A folder or a pipe in the place of a file is refused everywhere, before anything is changed, made or cut.
func TestRefusingWhatIsNoFileChangesNothing(t *testing.T) {
	h := newHistory(0, 20, []string{"{}"}, []string{"{}"}, []string{"{}", `{"a":1}`})
	for kind, make := range notFiles {
		for name := range h.files {
			for _, cursor := range h.bases {
				dir := t.TempDir()
				for other, b := range h.files {
					if other == walspec.Name(h.bases[2]) {
						b = append(b[:len(b):len(b)], "torn"...)
					}
					writeFile(t, filepath.Join(dir, other), b)
				}
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				if err := make(filepath.Join(dir, name)); err != nil {
					t.Skip(err)
				}
				before := listing(t, dir)
				j, _, err := wal.Open(dir, at(wal.Offset(cursor)))
				if err == nil {
					j.Close()
					// It lies below the cursor, where nothing is looked at.
					if name >= walspec.Name(cursor) {
						t.Errorf("%s as %s: opened at %d", kind, name, cursor)
					}
				} else if after := listing(t, dir); after != before {
					t.Errorf("%s as %s, opened at %d (%v): from\n%sto\n%s", kind, name, cursor, err, before, after)
				}
			}
		}
	}
}

// listing is what is in a folder, with the length of each file but the lock, which may be anything.
func listing(t *testing.T, dir string) (all string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() != "LOCK" {
			all += fmt.Sprintln(e.Name(), info.Mode(), info.Size())
		}
	}
	return all
}
