package durable_test

import (
	"os"
	"path/filepath"
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
