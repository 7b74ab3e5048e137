package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// content is what stands below a folder: of each file its bytes, of each link where it leads.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		var b []byte
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(path)
			b = []byte("link to " + target)
		case e.Type().IsRegular():
			b, err = os.ReadFile(path)
		}
		all[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantSame(t *testing.T, what string, before, after map[string]string) {
	t.Helper()
	for name, b := range before {
		if after[name] != b {
			t.Errorf("%s: %s has changed, from %d bytes to %d", what, name, len(b), len(after[name]))
		}
	}
	for name := range after {
		if _, was := before[name]; !was {
			t.Errorf("%s: %s was made", what, name)
		}
	}
}

// linkStore makes a store in dir/s with one record.
func linkStore(t *testing.T, dir string) {
	t.Helper()
	if _, said, code := auditsql("-d", filepath.Join(dir, "s"), "put", "--subject", "a", "--confidence", "1"); code != exitDone {
		t.Fatal(said)
	}
}

// A store that was unpacked from somebody else's archive may have links in it, to any file of the machine. Every
// command refuses each of them at first sight, with what to do, and leaves what it leads to as it is.
func TestAStoreWithALinkInItIsRefused(t *testing.T) {
	t.Parallel()
	few := map[string]bool{"store.json": true, "audit.db": true, "wal/LOCK": true}
	for _, name := range []string{
		"store.json", "store.json.part", "ids.filter", "ids.filter.part",
		"audit.db", "audit.db-wal", "audit.db-shm", "audit.db.new",
		"wal", "wal/LOCK", "wal/quarantine", "wal/0000000000000000.wal", "wal/0000000000000000.wal.part",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && !few[name] {
				t.Skip("a few names do")
			}
			dir := t.TempDir()
			linkStore(t, dir)
			path, elsewhere := filepath.Join(dir, "s", filepath.FromSlash(name)), filepath.Join(dir, "elsewhere")
			err := os.Rename(path, elsewhere)
			if os.IsNotExist(err) {
				err = os.WriteFile(elsewhere, []byte("somebody else's\n"), 0o600)
			}
			if err == nil {
				err = os.Symlink(elsewhere, path)
			}
			if err != nil {
				t.Skip(err)
			}
			thing := "file"
			if name == "wal" {
				thing = "folder"
			}
			before := content(t, dir)
			for _, args := range [][]string{
				{"list"}, {"recent", "--read-only"}, {"verify", "--read-only"}, {"wal", "verify"},
				{"put", "--subject", "b", "--confidence", "1"}, {"wal", "repair", "--apply"}, {"init"},
			} {
				out, said, code := auditsql(append([]string{"-d", filepath.Join(dir, "s")}, args...)...)
				want := path + " is a symbolic link to " + elsewhere + ", and no part of a store is opened through one; try: put the " + thing + " itself in the place of the link"
				if code != exitFailed || out != "" || !strings.Contains(said, want) || strings.Count(said, "\n") != 1 {
					t.Errorf("%q: exit code %d: %s%s", args, code, out, said)
				}
				wantSame(t, strings.Join(args, " "), before, content(t, dir))
			}
		})
	}
}

// The folder of a store is a person's choice, and so are the folders above a journal on another disk.
func TestLinksToAndAboveFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	linkStore(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"store": "s", "mount": "disk", "journal": "disk"} {
		if err := os.Symlink(filepath.Join(dir, to), filepath.Join(dir, from)); err != nil {
			t.Skip(err)
		}
	}
	for _, args := range [][]string{
		{"-d", "store", "put", "--subject", "b", "--confidence", "1"}, {"-d", "store", "verify"}, {"-d", "s", "recent"},
		{"-d", "new", "init", "--wal-dir", filepath.Join(dir, "mount", "journal")},
		{"-d", "new", "put", "--subject", "b", "--confidence", "1"}, {"-d", "new", "verify"},
	} {
		args[1] = filepath.Join(dir, args[1])
		if _, said, code := auditsql(args...); code != exitDone || said != "" {
			t.Errorf("%q: exit code %d: %s", args, code, said)
		}
	}
	before := content(t, dir)
	_, said, code := auditsql("-d", filepath.Join(dir, "newer"), "init", "--wal-dir", filepath.Join(dir, "journal"))
	if code != exitFailed || !strings.Contains(said, "journal is a symbolic link to ") {
		t.Errorf("exit code %d: %s", code, said)
	}
	wantSame(t, "init", before, content(t, dir))
}
