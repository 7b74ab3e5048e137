package wal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// A segment that somebody has put on another disk, with a link in its place, is read, cut and written to as if
// it were there.
func TestALinkToASegmentIsTheSegment(t *testing.T) {
	h := layHistory(0, 20, []string{"{}", "mark"}, []string{"{}", `{"a":1}`})
	for _, hurtTheOther := range []bool{false, true} {
		for name := range h.files {
			dir, elsewhere := t.TempDir(), t.TempDir()
			for other, b := range h.files {
				if hurtTheOther && other != name {
					b = append(b[:len(b):len(b)], "torn"...)
				}
				writeFile(t, filepath.Join(dir, other), b)
			}
			if err := os.Rename(filepath.Join(dir, name), filepath.Join(elsewhere, "moved")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(elsewhere, "moved"), filepath.Join(dir, name)); err != nil {
				t.Skip(err)
			}
			content := map[string][]byte{}
			for other := range h.files {
				content[other] = readFile(t, filepath.Join(dir, other))
			}
			found, endings := piecesOf(content).open(0)
			before := folder(t, dir)
			j, rec, err := wal.Open(dir, wal.Options{})
			if endings[0].kind == "corrupt" {
				if !endings[0].fits(err) || folder(t, dir) != before {
					t.Errorf("%s: %v, want %+v and the folder as it was:\n%sthan\n%s", name, err, endings, folder(t, dir), before)
				}
				continue
			}
			if err != nil || uint64(rec.End) != endings[0].at || rec.Records != len(payloadsFrom(found, 0)) {
				t.Fatalf("%s: %+v, %v, want %+v", name, rec, err, endings)
			}
			appendOne(t, j, "{after}")
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if got := specRead(t, dir); len(got.Records) != len(found)+1 {
				t.Errorf("%s: %d records after going on, want %d", name, len(got.Records), len(found)+1)
			}
		}
	}
}

// What is no file is refused wherever it stands, and nothing is changed, made or cut before that is found out.
func TestRefusingWhatIsNoFileChangesNothing(t *testing.T) {
	h := layHistory(0, 20, []string{"{}"}, []string{"{}"}, []string{"{}", `{"a":1}`})
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
