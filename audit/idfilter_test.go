package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// The filter over the ids outlives a clean close in a file. Whatever becomes of that file, an id that is stored must
// be found: else another record under it would be acknowledged.
func TestTheKeptFilterIsNeverWrong(t *testing.T) {
	ctx := t.Context()
	const filter = "ids.filter"
	record := func(no int, subject string) *audit.QueryAudit {
		return &audit.QueryAudit{QueryID: audit.QueryID{1, byte(no), byte(no >> 8)}, Params: audit.QueryParams{Subject: &subject}}
	}
	fill := func(t *testing.T, dir string, from, to int) {
		t.Helper()
		db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
		if err != nil {
			t.Fatal(err)
		}
		for no := from; no < to; no++ {
			if _, err := db.PutAudit(ctx, record(no, "first")); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, path string, older []byte)
		kept   bool // whether it is used
	}{
		"as it was": {func(*testing.T, string, []byte) {}, true},
		"lost":      {func(t *testing.T, path string, _ []byte) { must(t, os.Remove(path)) }, false},
		"older":     {func(t *testing.T, path string, older []byte) { must(t, os.WriteFile(path, older, 0o600)) }, false},
		"cut":       {func(t *testing.T, path string, _ []byte) { must(t, os.Truncate(path, 100_000)) }, false},
		"empty":     {func(t *testing.T, path string, _ []byte) { must(t, os.Truncate(path, 0)) }, false},
		"longer": {func(t *testing.T, path string, _ []byte) {
			b, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, append(b, 0), 0o600))
		}, false},
		"a flipped bit": {func(t *testing.T, path string, _ []byte) {
			b, err := os.ReadFile(path)
			must(t, err)
			b[len(b)/2] ^= 4
			must(t, os.WriteFile(path, b, 0o600))
		}, false},
		"all zeros after its beginning": {func(t *testing.T, path string, _ []byte) {
			b, err := os.ReadFile(path)
			must(t, err)
			clear(b[200:])
			must(t, os.WriteFile(path, b, 0o600))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			path := filepath.Join(dir, filter)
			fill(t, dir, 0, 50)
			older, err := os.ReadFile(path)
			must(t, err)
			fill(t, dir, 50, 100)
			c.change(t, path, older)

			db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if fromFile := audit.AwaitFilter(db); fromFile != c.kept {
				t.Errorf("used: %v, want %v", fromFile, c.kept)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file outlives the opening that it is for: %v", err)
			}
			for no := range 100 {
				if _, err := db.PutAudit(ctx, record(no, "second")); !errors.Is(err, audit.ErrConflict) {
					t.Fatalf("another record under id %d: %v", no, err)
				}
			}
			if _, err := db.PutAudit(ctx, record(100, "new")); err != nil {
				t.Fatal(err)
			}
			if _, err := db.PutAudit(ctx, record(100, "other")); !errors.Is(err, audit.ErrConflict) {
				t.Fatalf("another record under a new id: %v", err)
			}
		})
	}
}
