package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
)

// Whatever page of the database is damaged, where no journal can replace it: a reindex repairs it and keeps a copy of the
// damaged file, or it changes nothing.
func TestADamagedPageWithoutAJournal(t *testing.T) {
	t.Parallel()
	whole, lines := closedStore(t, 0, 120, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	content := must(os.ReadFile(filepath.Join(whole, "audit.db")))
	step := 1
	if testing.Short() {
		step = 5
	}
	repaired, refused := 0, 0
	for page := 1; page < len(content)/pageBytes; page += step {
		dir := killed(t, whole)
		damaged := append([]byte(nil), content...)
		copy(damaged[page*pageBytes:], bytes.Repeat([]byte{0xee}, pageBytes))
		if err := os.WriteFile(filepath.Join(dir, "audit.db"), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := audit.Open(dir)
		if err != nil {
			continue // without this page there is no store
		}
		err = db.Reindex(t.Context(), nil)
		asides := must(filepath.Glob(filepath.Join(dir, "aside-*", "audit.db")))
		switch {
		case errors.Is(err, sqlstore.ErrMalformed):
			refused++
			if db.Salvaged() != "" || len(asides) > 0 {
				t.Errorf("page %d: refused, and a copy was kept: %q", page, asides)
			}
			if needs, err := audit.NeedsRecovery(t.Context(), dir); needs != "" || err != nil {
				t.Errorf("page %d: %q, %v", page, needs, err)
			}
			db.Close()
			continue
		case err != nil:
			t.Fatalf("page %d: reindex: %v", page, err)
		case db.Salvaged() != "":
			repaired++
			if len(asides) != 1 || asides[0] != filepath.Join(db.Salvaged(), "audit.db") {
				t.Errorf("page %d: the copy is %q, said to be in %q", page, asides, db.Salvaged())
			}
		}
		wantAll(t, db, lines)
		if _, err := db.PutAudit(t.Context(), ptr(sample(9000))); err != nil {
			t.Errorf("page %d: put: %v", page, err)
		}
		closeDB(t, db)
		db = openDB(t, dir)
		wantSound(t, db)
		closeDB(t, db)
	}
	if repaired == 0 || refused == 0 {
		t.Errorf("%d repaired, %d refused", repaired, refused)
	}
}
