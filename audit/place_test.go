package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// A place is refused by a store that has other records before it, and accepted by one that has the same ones, whether SQLite or the
// journal has the last of them.
func TestAPlaceInAnotherHistory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	none := must(db.PlaceBefore(t.Context(), 0))
	putSamples(t, db, 0, 10)
	closeDB(t, db)
	backup := killed(t, dir)
	db = openDB(t, dir)
	putSamples(t, db, 10, 20)
	closeDB(t, db)
	db = openDB(t, dir, audit.ReadOnly())
	_, end, err := db.TailRange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := must(db.PlaceBefore(t.Context(), end+1000))
	newest := must(db.LastRecords(t.Context(), 1, audit.Filter{})).Records[0]
	if last.Offset != end || last.RecordAt != newest.Offset || last.Store == "" || last.Record == (audit.QueryID{}) {
		t.Errorf("%+v, the end is %d", last, end)
	}
	within := must(db.PlaceBefore(t.Context(), newest.Offset+1))
	if within.RecordAt != last.RecordAt || within.Offset != newest.Offset+1 {
		t.Errorf("%+v", within)
	}
	for _, p := range []audit.Place{none, last, within, {Offset: 1 << 40}} {
		if err := db.CheckPlace(t.Context(), p); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	other := last
	other.Store = "00112233445566778899aabbccddeeff"
	later := must(db.PlaceBefore(t.Context(), last.RecordAt))
	later.Offset = last.Offset // the newest record was not there
	for _, p := range []audit.Place{other, later} {
		if err := db.CheckPlace(t.Context(), p); !errors.Is(err, audit.ErrOtherHistory) {
			t.Errorf("%+v: %v", p, err)
		}
	}

	closeDB(t, db)

	// Of the backup SQLite and the journal end before the place; then both have gone on with other records.
	early := killed(t, backup)
	db = openDB(t, backup, audit.ReadOnly())
	if err := db.CheckPlace(t.Context(), last); !errors.Is(err, wal.ErrRewound) {
		t.Errorf("of the backup: %v", err)
	}
	closeDB(t, db)
	db = openDB(t, backup)
	putSamples(t, db, 100, 130)
	if err := db.CheckPlace(t.Context(), last); !errors.Is(err, audit.ErrOtherHistory) {
		t.Errorf("of a backup that went on: %v", err)
	}
	closeDB(t, db)

	forged := last
	forged.Record[0]++
	// Where SQLite lags, the journal tells.
	for journal, want := range map[string]error{dir: nil, backup: audit.ErrOtherHistory} {
		lagging := killed(t, early)
		if err := os.RemoveAll(filepath.Join(lagging, "wal")); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(lagging, "wal"), os.DirFS(filepath.Join(journal, "wal"))); err != nil {
			t.Fatal(err)
		}
		db := openDB(t, lagging, audit.ReadOnly())
		if err := db.CheckPlace(t.Context(), last); !errors.Is(err, want) {
			t.Errorf("with the journal of %s: %v, want %v", journal, err, want)
		}
		if err := db.CheckPlace(t.Context(), forged); !errors.Is(err, audit.ErrOtherHistory) {
			t.Errorf("another record, with the journal of %s: %v", journal, err)
		}
		closeDB(t, db)
	}
}
