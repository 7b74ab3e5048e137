package wal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

func TestTheArchiveIsNotTheJournalItself(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	for _, archive := range []string{dir, dir + "/", filepath.Join(dir, "x", ".."), link} {
		j, _, err := wal.Open(dir, wal.Options{Archive: archive})
		if err == nil {
			j.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "the journal's own folder") {
			t.Errorf("archive %s: %v", archive, err)
		}
	}
}

// Two journals with one archive: the second one's segment of the same name stays where it is.
func TestWhatIsArchivedIsNotReplaced(t *testing.T) {
	archive := t.TempDir()
	journal := func(first string) (*wal.Journal, []wal.Segment) {
		j, _ := open(t, t.TempDir(), wal.Options{SegmentBytes: 500, Archive: archive})
		appendOne(t, j, first)
		appendAll(t, j, payloads(20, 60))
		return j, j.Segments()
	}
	one, segs := journal("{store one}")
	original := readFile(t, segs[0].Path)
	// An earlier try that died before the source went has left the same.
	writeFile(t, filepath.Join(archive, firstSegment), original)
	if err := one.RemoveBefore(segs[1].Base); err != nil {
		t.Fatal(err)
	}
	two, segs := journal("{store two}")
	if err := two.RemoveBefore(segs[1].Base); !errors.Is(err, fs.ErrExist) {
		t.Errorf("archiving another store's segment: %v", err)
	}
	if got := readFile(t, filepath.Join(archive, firstSegment)); string(got) != string(original) {
		t.Error("what was archived first is gone")
	}
	if _, err := os.Stat(segs[0].Path); err != nil {
		t.Error(err)
	}
	appendOne(t, two, "{}") // nothing has failed that matters to writing
}

func TestTheArchivesNamesAreDurableBeforeTheSourceGoes(t *testing.T) {
	top := t.TempDir()
	archive := filepath.Join(top, "x", "y")
	// Made by a process that died before it synced its name.
	if err := os.Mkdir(filepath.Join(top, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	fsys := &faultFS{FS: wal.OS}
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{FS: fsys, SegmentBytes: 500, Archive: archive})
	appendAll(t, j, payloads(20, 60))
	first := j.Segments()[0].Path
	synced := map[string]bool{}
	removed := false
	fsys.set(func(op, name string) error {
		switch {
		case op == "syncdir":
			synced[name] = true
		case op == "remove" && name == first:
			removed = true
			for _, want := range []string{top, filepath.Join(top, "x"), archive} {
				if !synced[want] {
					t.Errorf("%s goes, and %s was not synced", name, want)
				}
			}
		}
		return nil
	})
	if err := j.RemoveBefore(j.Segments()[1].Base); err != nil || !removed {
		t.Fatal(removed, err)
	}
}
