package sqlstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/sqlstore"
)

// pageBytes is the size of a page.
const pageBytes = 8192

// Whichever page is damaged: either a salvage and a reindex make a whole database of it that has the same rows, or nothing
// is changed.
func TestSalvageOfAnyPage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 700)...)
	put(t, db, "a program's own", "value")
	if err := db.PutLabels(t.Context(), []sqlstore.Label{{Hash: hx("agent 1"), Label: "planner"}}); err != nil {
		t.Fatal(err)
	}
	before := dump(t, db)
	mustClose(t, db)
	sound := read(t, path)
	salvaged, refused := 0, 0
	for page := 1; page < len(sound)/pageBytes; page++ { // but for the first, without which there is no database
		if testing.Short() && page%31 != 0 {
			continue
		}
		path := filepath.Join(t.TempDir(), "audit.db")
		damaged := append([]byte(nil), sound...)
		for i := range pageBytes {
			damaged[page*pageBytes+i] = 0xee
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := sqlstore.Open(t.Context(), path, sqlstore.Options{})
		if err != nil {
			continue // without this page nothing can be done
		}
		kept := false
		err = db.Salvage(t.Context(), func() error { kept = true; return nil })
		if err != nil {
			if !errors.Is(err, sqlstore.ErrMalformed) || kept {
				t.Errorf("page %d: %v, kept a copy: %v", page, err, kept)
			}
			refused++
			db.Close()
			continue
		}
		salvaged++
		if needs, err := db.NeedsReindex(t.Context()); !needs || err != nil || !kept {
			t.Errorf("page %d: needs a reindex: %v, %v; kept a copy: %v", page, needs, err, kept)
		}
		if err := db.Reindex(t.Context(), decode, nil); err != nil {
			t.Fatalf("page %d: reindex: %v", page, err)
		}
		if problems, err := db.Integrity(t.Context(), false); err != nil || len(problems) > 0 {
			t.Errorf("page %d: %q, %v", page, problems, err)
		}
		if after := dump(t, db); after != before {
			t.Errorf("page %d: the rows are not the same", page)
		}
		if problems, notes := checkSchema(t, db); len(problems)+len(notes) > 0 {
			t.Errorf("page %d: %q, %q", page, problems, notes)
		}
		mustClose(t, db)
	}
	t.Logf("%d pages, %d salvaged, %d refused", len(sound)/pageBytes, salvaged, refused)
	if salvaged == 0 || refused == 0 {
		t.Errorf("%d salvaged, %d refused", salvaged, refused)
	}
}

// A salvage that ends after any of its steps leaves a database that the next one completes.
func TestSalvageThatIsInterrupted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.db")
	db := open(t, path, sqlstore.Options{})
	apply(t, db, samples(0, 300)...)
	before := dump(t, db)
	refusal := errors.New("no room for a copy")
	if err := db.Salvage(t.Context(), func() error { return refusal }); !errors.Is(err, refusal) {
		t.Fatal(err)
	}
	if after := dump(t, db); after != before {
		t.Error("something was changed without a copy")
	}
	// After the first step: the tables are gone, and their pages belong to no table.
	if err := db.ForgetDerived(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	db = open(t, path, sqlstore.Options{})
	if needs, err := db.NeedsReindex(t.Context()); !needs || err != nil {
		t.Errorf("needs a reindex: %v, %v", needs, err)
	}
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	if after := dump(t, db); after != before {
		t.Error("the rows are not the same")
	}
	if problems, err := db.Integrity(t.Context(), false); err != nil || len(problems) == 0 {
		t.Errorf("pages of no table are not reported: %q, %v", problems, err)
	}
	apply(t, db, samples(300, 310)...)
	before = dump(t, db)
	if err := db.Salvage(context.Background(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Reindex(t.Context(), decode, nil); err != nil {
		t.Fatal(err)
	}
	if problems, err := db.Integrity(t.Context(), false); err != nil || len(problems) > 0 {
		t.Errorf("%q, %v", problems, err)
	}
	if after := dump(t, db); after != before {
		t.Error("the rows are not the same")
	}
}
