package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/auditsql/auditsql/internal/durable"
)

// The folders of a file are those where it really lies, whatever links its name goes through, and also when it is not there yet.
func TestTheFoldersOfAFile(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(root, "store", "inner")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	file, link := filepath.Join(inner, "file"), filepath.Join(root, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(inner, link); err != nil {
		t.Skip(err)
	}
	toFile := filepath.Join(root, "to-file")
	if err := os.Symlink(file, toFile); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		file, toFile, filepath.Join(link, "file"), filepath.Join(link, "new"), filepath.Join(link, "no", "such", "folders", "new"), filepath.Join(inner, "new"),
	} {
		var found []string
		for folder := range durable.FoldersOf(name) {
			found = append(found, folder)
		}
		if want := []string{inner, filepath.Join(root, "store"), root}; len(found) < 3 || !slices.Equal(found[:3], want) {
			t.Errorf("%s: %q, want %q and those around", name, found, want)
		}
	}
}

// The content takes the place of a missing folder or of an empty one, whose mode it gets. What cannot be replaced is refused before anything is
// made, and nothing is left beside it.
func TestWhatStagedContentReplaces(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	inRoot := func(name string) string { return filepath.Join(root, name) }
	for name, mode := range map[string]fs.FileMode{"missing": 0, "empty": 0o750, "missing/inner": 0} {
		dir, called := inRoot(name), false
		if mode != 0 {
			if err := os.Mkdir(dir, mode); err != nil {
				t.Fatal(err)
			}
		} else {
			os.RemoveAll(dir)
			mode = 0o700
		}
		if name == "missing/inner" {
			os.MkdirAll(filepath.Dir(dir), 0o700)
		}
		err := durable.Stage(dir, func(part string) (string, error) {
			called = true
			write(t, filepath.Join(part, "file"), "content")
			return part, nil
		})
		if err != nil || !called {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "content" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if st, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %v", name, st.Mode(), err, mode)
		}
	}
	if err := os.Symlink(inRoot("missing"), inRoot("link")); err != nil {
		t.Skip(err)
	}
	if err := os.Mkdir(inRoot("other"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(inRoot("other"), inRoot("link-to-empty")); err != nil {
		t.Fatal(err)
	}
	write(t, inRoot("file"), "")
	for _, name := range []string{"link", "link-to-empty", "empty", "file"} { // "empty" is full by now
		err := durable.Stage(inRoot(name), func(string) (string, error) {
			t.Errorf("%s: the content was made", name)
			return "", errors.New("no")
		})
		if err == nil {
			t.Errorf("%s was replaced", name)
		}
	}
	// What appears while the content is made stays.
	err := durable.Stage(inRoot("other"), func(part string) (string, error) {
		write(t, filepath.Join(inRoot("other"), "new"), "theirs")
		return part, nil
	})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	want(t, filepath.Join(inRoot("other"), "new"), "theirs", 0o600)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if left := []string{"empty", "file", "link", "link-to-empty", "missing", "other"}; !slices.Equal(names, left) {
		t.Errorf("there is %q, want %q", names, left)
	}
}

func TestTheWorkingFolderIsNotReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "here")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, name := range []string{".", dir} {
		err := durable.Stage(name, func(string) (string, error) {
			t.Errorf("%s: the content was made", name)
			return "", errors.New("no")
		})
		if err == nil {
			t.Errorf("%s was replaced", name)
		}
	}
	if err := durable.Stage("new", func(part string) (string, error) { return part, nil }); err != nil {
		t.Error(err)
	}
}
