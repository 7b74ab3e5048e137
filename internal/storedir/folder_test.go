package storedir_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/storedir"
)

// A folder in which a store has left anything that the documents name is taken for its own, as long as its journal is there. Otherwise a
// store that was served could not be made anew from its journal.
func TestEveryNameThatTheDocumentsTellIsTheStoresOwn(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^DIR/([^/ ]+)`).FindAllSubmatch(text, -1) {
		names[strings.ReplaceAll(string(m[1]), "*", "1")] = true
	}
	if len(names) < 12 {
		t.Fatalf("only these names were found: %v", names)
	}
	for name := range names {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, storedir.JournalName), 0o700); err != nil {
			t.Fatal(err)
		}
		if name != storedir.JournalName {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := storedir.CheckVacant(dir); err != nil {
			t.Error(err)
		}
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := storedir.CheckVacant(other); !errors.Is(err, storedir.ErrNoStore) {
		t.Errorf("among other files: %v", err)
	}
}
