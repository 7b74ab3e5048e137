package audit_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// trimmedStore is a closed store whose journal cannot replace the database.
func trimmedStore(t *testing.T, records int) (dir string, lines map[audit.QueryID]string) {
	t.Helper()
	return closedStore(t, 0, records, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
}

// wantReplaced checks that a Reindex has salvaged a store: it has everything and is sound, it goes on, and the damaged database is
// kept.
func wantReplaced(t *testing.T, dir string, rep audit.ReindexReport, lines map[audit.QueryID]string) {
	t.Helper()
	if !rep.Recovery.Salvaged || rep.Records != uint64(len(lines)) {
		t.Errorf("%+v", rep)
	}
	if _, err := os.Stat(filepath.Join(rep.Recovery.Aside, "audit.db")); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	wantNeedsRecovery(t, dir, false)
	db := openDB(t, dir)
	if rec := db.Recovery(); len(rec.Notes) > 0 {
		t.Errorf("the next opening notes %q", rec.Notes)
	}
	wantAll(t, db, lines)
	if _, err := db.PutAudit(t.Context(), ptr(sample(9000))); err != nil {
		t.Error(err)
	}
	wantSound(t, db)
	closeDB(t, db)
}

// Whatever page of the database is damaged, where no journal can replace it: a reindex repairs it and keeps the
// damaged file, or it changes nothing and says what is lost. Whether the store can be opened makes no difference.
func TestADamagedPageWithoutAJournal(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := trimmedStore(t, 120)
	content := must(os.ReadFile(filepath.Join(whole, "audit.db")))
	step := 5
	if testing.Short() {
		step = 12
	}
	repaired, refused := 0, 0
	for page := 0; page < len(content)/pageBytes; page += step {
		dir := killed(t, whole)
		damaged := bytes.Clone(content)
		copy(damaged[page*pageBytes:], bytes.Repeat([]byte{0xee}, pageBytes))
		if err := os.WriteFile(filepath.Join(dir, "audit.db"), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		rep, err := audit.Reindex(t.Context(), dir, nil)
		var primary *audit.PrimaryError
		switch {
		case errors.As(err, &primary):
			refused++
			if left := asides(t, dir); len(left) > 0 {
				t.Errorf("page %d: refused, and left %q", page+1, left)
			}
			for range 2 { // the answer stays the same
				if _, err := audit.Reindex(t.Context(), dir, nil); !errors.As(err, &primary) {
					t.Errorf("page %d: then %v", page+1, err)
				}
			}
		case err != nil:
			t.Errorf("page %d: reindex: %v", page+1, err)
		case rep.Recovery.Salvaged:
			repaired++
			wantReplaced(t, dir, rep, lines)
		}
	}
	if repaired == 0 || refused == 0 {
		t.Errorf("%d repaired, %d refused", repaired, refused)
	}
}

// asides are what is beside the files of a store that is in order.
func asides(t *testing.T, dir string) (left []string) {
	t.Helper()
	for _, pattern := range []string{"aside-*", "*.part*", "*.new*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	return left
}

// An opening that meets the damage is refused, as often as it is tried, and changes nothing. It says that a reindex helps, and a
// reindex does. What the journal has after the cursor comes with it.
func TestAnOpeningThatMeetsDamageNamesTheCure(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for i, table := range []string{"audit", "sqlite_autoindex_kv_1", "agent", "contribution"} {
		for _, running := range []bool{false, true} {
			if running != (i%2 == 0) && (testing.Short() || i > 1) {
				continue
			}
			dir, lines := trimmedStore(t, 60)
			if running {
				db := openDB(t, dir)
				for id, line := range putSamples(t, db, 60, 70) {
					lines[id] = line
				}
				wantSound(t, db)
				dir = killed(t, dir) // with a -wal, and after an unclean end
			}
			corruptPage(t, dir, table)
			for range 2 {
				db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
				var damaged *audit.DamagedError
				switch {
				case err == nil: // it does not read this page
					if err := db.Close(); err != nil && !errors.Is(err, sqlstore.ErrMalformed) {
						t.Errorf("%s: %v", table, err)
					}
				case !errors.As(err, &damaged) || errors.Is(err, audit.ErrMismatch) || !strings.Contains(err.Error(), "a reindex salvages it"):
					t.Errorf("%s: refused with %v", table, err)
				}
				if left := asides(t, dir); len(left) > 0 {
					t.Errorf("%s: left %q", table, left)
				}
			}
			rep, err := audit.Reindex(t.Context(), dir, nil)
			if err != nil {
				t.Errorf("%s, running %v: %v", table, running, err)
				continue
			}
			wantReplaced(t, dir, rep, lines)
		}
	}
}

// A store that was suspect before, since its -wal is gone, stays so when its database is salvaged: what the journal has is
// replayed.
func TestASalvagedDatabaseIsNotTrustedMoreThanBefore(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, lines := trimmedWithoutWAL(t)
	corruptPage(t, dir, "label_by_name")
	for range 2 {
		if _, err := audit.Open(dir); !errors.As(err, new(*audit.DamagedError)) || !strings.Contains(err.Error(), "its -wal is missing") {
			t.Fatal(err)
		}
	}
	rep, err := audit.Reindex(t.Context(), dir, nil)
	if err != nil || !rep.Recovery.Checked {
		t.Fatalf("%+v, %v", rep, err)
	}
	wantReplaced(t, dir, rep, lines)
}

// A reindex that ends at any moment, by its context, leaves a store that the next one repairs, and nothing of its own.
func TestASalvageThatIsInterrupted(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := trimmedStore(t, 60)
	corruptPage(t, whole, "audit")
	step := func(look int) int { return 40 + look/2 }
	if testing.Short() {
		step = func(look int) int { return 100 + 3*look }
	}
	interrupted := 0
	for look := 0; ; look += step(look) {
		dir := killed(t, whole)
		rep, err := audit.Reindex(endAtLook(look), dir, nil)
		if err == nil {
			break
		}
		interrupted++
		if left := asides(t, dir); len(left) > 1 || len(left) == 1 && left[0] != rep.Recovery.Aside && !strings.Contains(left[0], "aside-") {
			t.Errorf("interrupted at look %d (%v): left %q", look, err, left)
		}
		if _, err = audit.Reindex(t.Context(), dir, nil); err != nil {
			t.Fatalf("interrupted at look %d, then %v", look, err)
		}
		if left := asides(t, dir); len(left) != 1 {
			t.Errorf("interrupted at look %d: left %q", look, left)
		}
		db := openDB(t, dir)
		wantAll(t, db, lines)
		closeDB(t, db)
	}
	if interrupted < 3 {
		t.Errorf("interrupted at %d places only", interrupted)
	}
}

// A process that dies while one database takes the place of the other leaves a state that any opening for writing completes.
func TestAReplacementThatIsInterrupted(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := trimmedStore(t, 60)
	corruptPage(t, whole, "audit")
	rep, err := audit.Reindex(t.Context(), whole, nil)
	if err != nil {
		t.Fatal(err)
	}
	aside := filepath.Base(rep.Recovery.Aside)
	for what, undo := range map[string]func(dir string) error{
		"before anything is moved": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "audit.db"), filepath.Join(dir, "audit.db.part")),
				os.Rename(filepath.Join(dir, aside, "audit.db"), filepath.Join(dir, "audit.db")))
		},
		"after the damaged database was moved": func(dir string) error {
			return os.Rename(filepath.Join(dir, "audit.db"), filepath.Join(dir, "audit.db.part"))
		},
		"after the new one was moved": func(string) error { return nil },
	} {
		dir := killed(t, whole)
		name := filepath.Join(dir, "store.json")
		text := strings.Replace(string(must(os.ReadFile(name))), `"used": true`, `"used": true, "replacing": "`+aside+`"`, 1)
		if err := errors.Join(undo(dir), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		wantNeedsRecovery(t, dir, true)
		db := openDB(t, dir)
		wantAll(t, db, lines)
		closeDB(t, db)
		wantNeedsRecovery(t, dir, false)
		if left := asides(t, dir); !slices.Equal(left, []string{filepath.Join(dir, aside)}) {
			t.Errorf("%s: left %q", what, left)
		}
		if _, err := os.Stat(filepath.Join(dir, aside, "audit.db")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Pages that no table has cost no record. An older version could leave them when it was interrupted between two steps of a
// salvage, together with the mark that a reindex is due. Such a store opens, and a reindex removes the pages.
func TestPagesThatNoTableHas(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, lines := trimmedStore(t, 60)
	uncleanEnd(t, dir)
	s := openShell(t, dir)
	for _, view := range []string{"agents", "answers", "audits", "contributions", "attributes", "labels"} {
		s.do("DROP VIEW " + view)
	}
	s.do("INSERT INTO store (name, value) VALUES ('reindex', 'running')", "PRAGMA writable_schema=ON",
		"DELETE FROM sqlite_schema WHERE tbl_name IN ('agent', 'audit', 'contribution', 'attribute', 'sqlite_stat1')")
	s.exit()
	db := openDB(t, dir)
	if !db.Recovery().Checked {
		t.Errorf("%+v", db.Recovery())
	}
	if n, err := count(db.RawAudits(t.Context(), audit.Filter{})); n != len(lines) || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
	report := must(db.Verify(t.Context(), audit.VerifyOptions{}))
	if report.OK() || !strings.Contains(report.Problems[0], "never used") {
		t.Errorf("%q", report.Problems)
	}
	closeDB(t, db)
	rep, err := audit.Reindex(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantReplaced(t, dir, rep, lines)
}

// A record that was changed and damage elsewhere do not send a person in circles: the reindex salvages what is not that
// record, and says that repair is next.
func TestASalvageOfAStoreWithADamagedRecord(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, lines := trimmedStore(t, 60)
	id := sample(3).QueryID
	s := openShell(t, dir)
	s.unguarded("UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'revenue', 'profits') AS BLOB) WHERE key = CAST(x'004155443A' || x'" + id.String() + "' AS BLOB)")
	s.exit()
	corruptPage(t, dir, "audit")
	var record *audit.RecordError
	rep, err := audit.Reindex(t.Context(), dir, nil)
	if !errors.As(err, &record) || record.ID != id || !rep.Recovery.Salvaged {
		t.Fatalf("%+v, %v", rep, err)
	}
	report, err := audit.RepairRecords(t.Context(), dir, audit.RepairOptions{Apply: true})
	if err != nil || report.Damaged() != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	db := openDB(t, dir)
	for other, line := range lines {
		if raw, err := db.GetRaw(t.Context(), other); other != id && (err != nil || string(raw) != line) {
			t.Errorf("%s, %v", raw, err)
		}
	}
	closeDB(t, db)
}

// SQLite passes over the rows of a page whose number of rows was changed, without an error. A walk over all records knows
// how many there must be.
func TestAWalkThatMissesRecordsSaysSo(t *testing.T) {
	t.Parallel()
	whole, _ := trimmedStore(t, 500)
	reader := openDB(t, whole, audit.ReadOnly())
	if _, err := count(reader.RawAudits(t.Context(), audit.Filter{})); err != nil {
		t.Fatal(err)
	}
	closeDB(t, reader)
	walks := map[string]audit.Filter{
		"entry":         {ByAdmission: true},
		"audit_by_time": {},
	}
	for index, filter := range walks {
		for _, which := range []string{"first", "last"} {
			dir := killed(t, whole)
			s := openShell(t, dir)
			order := map[string]string{"first": "", "last": " DESC"}[which]
			page := s.ask("SELECT pageno FROM dbstat WHERE name = '" + index + "' AND pagetype = 'leaf' ORDER BY path" + order + " LIMIT 1")
			s.exit()
			file := filepath.Join(dir, "audit.db")
			content := must(os.ReadFile(file))
			at := int(page-1)*pageBytes + 3
			binary.BigEndian.PutUint16(content[at:], 3)
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			db := openDB(t, dir, audit.ReadOnly())
			n, err := count(db.RawAudits(t.Context(), filter))
			var incomplete *sqlstore.IncompleteError
			if !errors.As(err, &incomplete) || incomplete.Have != uint64(n) || incomplete.Want != 500 || n >= 500 {
				t.Errorf("%s page of %s: %d records, %v", which, index, n, err)
			}
			// What was there earlier is missed as well, and what has come later is not.
			early, missing := uint64(10), false
			if which == "first" {
				early, missing = 450, true
			}
			then := filter
			then.AsOf = &early
			n, err = count(db.RawAudits(t.Context(), then))
			if missing && (!errors.As(err, &incomplete) || incomplete.Want != early || uint64(n) >= early) || !missing && (err != nil || uint64(n) != early) {
				t.Errorf("%s page of %s, as of %d: %d records, %v", which, index, early, n, err)
			}
			then.AsOf = ptr(uint64(499))
			if n, err := count(db.RawAudits(t.Context(), then)); !errors.As(err, &incomplete) {
				t.Errorf("%s page of %s, as of %d: %d records, %v", which, index, *then.AsOf, n, err)
			}
			closeDB(t, db)
			if _, err := audit.Open(dir); index == "entry" && which == "last" && err == nil {
				t.Errorf("a store that lacks its newest entries is opened for writing")
			}
		}
	}
}

// The pages of a suspect database can be whole, and of two times or of another table. If entries are missing that the journal does
// not have either, it is refused, as often as it is opened: the tree, which shows it, is not made to fit.
func TestASuspectDatabaseThatLacksEntriesIsRefused(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, _ := trimmedStore(t, 60)
	uncleanEnd(t, dir)
	s := openShell(t, dir)
	s.unguarded("DELETE FROM entry")
	s.exit()
	for range 3 {
		if _, err := audit.Open(dir); !errors.As(err, new(*audit.DamagedError)) || !strings.Contains(err.Error(), "table entry shows 0 of 60 records") {
			t.Fatal(err)
		}
	}
	var primary *audit.PrimaryError
	if _, err := audit.Reindex(t.Context(), dir, nil); !errors.As(err, &primary) {
		t.Fatal(err)
	}
}

func count(records func(func([]byte, error) bool)) (n int, err error) {
	for _, err := range records {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Two pages that were exchanged have rows of another table. Whatever SQLite or the driver says about that, it is damage.
func TestPagesOfOtherTablesAreDamage(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, _ := trimmedStore(t, 60)
	s := openShell(t, whole)
	root := map[string]int64{}
	tables := []string{"kv", "entry", "audit", "agent", "rejected", "store", "edge"}
	for _, name := range tables {
		root[name] = s.ask("SELECT rootpage FROM sqlite_schema WHERE name = '" + name + "'")
	}
	s.exit()
	content := must(os.ReadFile(filepath.Join(whole, "audit.db")))
	for i, a := range tables {
		for _, b := range tables[i+1:] {
			if testing.Short() && i > 1 {
				break
			}
			dir := killed(t, whole)
			broken := bytes.Clone(content)
			copy(broken[(root[a]-1)*pageBytes:root[a]*pageBytes], content[(root[b]-1)*pageBytes:])
			copy(broken[(root[b]-1)*pageBytes:root[b]*pageBytes], content[(root[a]-1)*pageBytes:])
			if err := os.WriteFile(filepath.Join(dir, "audit.db"), broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{}); err != nil || report.OK() {
				t.Errorf("%s and %s: verify: %q, %v", a, b, report.Problems, err)
			}
			db, err := audit.OpenContext(context.Background(), dir, audit.ReadOnly())
			if err == nil {
				_, err = db.Stats(t.Context())
				db.Close()
			}
			if err != nil && !errors.Is(err, sqlstore.ErrMalformed) {
				t.Errorf("%s and %s: stats: %v", a, b, err)
			}
			if _, err := audit.Reindex(t.Context(), dir, nil); err != nil && !errors.Is(err, sqlstore.ErrMalformed) {
				t.Errorf("%s and %s: reindex: %v", a, b, err)
			}
		}
	}
}

// An opening that has put one database in the place of another and then fails says where the old one is: the next one does not know.
func TestAFailedOpeningSaysWhatItHasMoved(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	store, _ := trimmedStore(t, 60)
	db := openDB(t, store)
	var dir string
	audit.AtRest(db, func() { // nothing is applied meanwhile
		for i := 60; i < 90; i++ { // the damage must be in a segment that is followed by another one
			putSamples(t, db, i, i+1)
		}
		dir = killed(t, store)
	})
	closeDB(t, db)
	n := 0
	if _, err := wal.VerifyContext(t.Context(), filepath.Join(dir, "wal"), wal.Options{}, func(wal.Record) error { n++; return nil }); err != nil || n < 30 {
		t.Fatal(n, err)
	}
	if _, _, segment := corruptRecord(t, dir, n-20); !segment.Sealed {
		t.Fatal("not a sealed segment")
	}
	openShell(t, dir).exit() // nothing is left in -wal
	const replacing = `"used": true, "replacing": "aside-1"`
	name := filepath.Join(dir, "store.json")
	text := strings.Replace(string(must(os.ReadFile(name))), `"used": true`, replacing, 1)
	if err := errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Mkdir(filepath.Join(dir, "aside-1"), 0o700),
		os.WriteFile(filepath.Join(dir, "audit.db.part"), must(os.ReadFile(filepath.Join(dir, "audit.db"))), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err := audit.Open(dir)
	var corrupt *wal.CorruptError
	if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "before that, audit.db was damaged") || !strings.Contains(err.Error(), "aside-1") {
		t.Errorf("got %v", err)
	}
	if _, err := audit.Open(dir); !errors.As(err, &corrupt) || strings.Contains(err.Error(), "before that") {
		t.Errorf("got %v", err)
	}
}
