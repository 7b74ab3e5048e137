package audit_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/wal"
)

// corruptRecord flips a bit in the n-th record of a closed store's journal and returns its id, its place and
// its segment.
func corruptRecord(t testing.TB, dir string, n int) (id audit.QueryID, at wal.Record, segment wal.Segment) {
	t.Helper()
	journal := filepath.Join(dir, "wal")
	i := 0
	if _, err := wal.VerifyContext(context.Background(), journal, wal.Options{}, func(r wal.Record) error {
		if i == n {
			at = wal.Record{Offset: r.Offset, Next: r.Next}
			q, err := audit.ParseAudit(r.Payload)
			if err == nil {
				id = q.QueryID
			}
		}
		i++
		return nil
	}); err != nil || i <= n {
		t.Fatal(i, err)
	}
	for _, seg := range must(wal.Segments(journal, wal.Options{})) {
		if seg.Base <= at.Offset {
			segment = seg
		}
	}
	b := must(os.ReadFile(segment.Path))
	b[int(at.Next-segment.Base)-5] ^= 1
	if err := os.WriteFile(segment.Path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return id, at, segment
}

// contents are a folder's files, without those that SQLite's readers may leave beside the database.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"store.json", "audit.db", "wal/*.wal", "wal/*.part", "wal/quarantine/*"} {
		for _, name := range must(filepath.Glob(filepath.Join(dir, pattern))) {
			all[strings.TrimPrefix(name, dir)] = string(must(os.ReadFile(name)))
		}
	}
	return all
}

func repair(t testing.TB, dir string, apply bool) audit.RepairReport {
	t.Helper()
	rep, err := audit.Repair(context.Background(), dir, audit.RepairOptions{Apply: apply})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestRepairTakesRecordsBackFromSQLite(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 60, audit.WithSegmentBytes(4000))
	whole := contents(t, dir)
	id, at, segment := corruptRecord(t, dir, 17)
	if !segment.Sealed {
		t.Fatal("not a sealed segment")
	}
	before := contents(t, dir)
	rep := repair(t, dir, false)
	if len(rep.Ranges) != 1 || !slices.Equal(rep.Ranges[0].Restored, []audit.QueryID{id}) || rep.Ranges[0].LostRecords > 0 || !rep.Asked {
		t.Fatalf("%+v", rep)
	}
	if d := rep.Journal.Damage[0]; d.Offset != at.Offset || d.End != at.Next || d.Segment != segment.Path || rep.Journal.Lost() != 0 {
		t.Fatalf("%+v, want %+v", d, at)
	}
	if !maps.Equal(contents(t, dir), before) {
		t.Fatal("the plan has changed something")
	}
	rep = repair(t, dir, true)
	if !rep.Journal.Applied || rep.Journal.Restored() != 1 {
		t.Fatalf("%+v", rep)
	}
	after := contents(t, dir)
	maps.DeleteFunc(after, func(name, _ string) bool { return strings.Contains(name, "quarantine") })
	if !maps.Equal(after, whole) {
		t.Fatal("the journal is not byte for byte what it was")
	}
	if rep := repair(t, dir, true); len(rep.Journal.Damage) > 0 || len(rep.Ranges) > 0 {
		t.Fatalf("%+v", rep)
	}
	wantAll(t, openDB(t, dir), lines)
}

// tampered makes the database suspect, after somebody has changed it.
func tampered(statement string) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		s := openShell(t, dir)
		s.unguarded(statement)
		s.exit()
		uncleanEnd(t, dir)
	}
}

// The next opening sets a suspect database aside. What it has of the damaged records comes back before, if it is what was stored.
func TestASuspectDatabaseGivesBackWhatMatchesItsHash(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, lines := closedStore(t, 0, 60, audit.WithSegmentBytes(4000))
	id, at, _ := corruptRecord(t, dir, 17)
	uncleanEnd(t, dir)
	var corrupt *wal.CorruptError
	if _, err := audit.Open(dir); !errors.As(err, &corrupt) || corrupt.Offset != at.Offset {
		t.Fatalf("got %v, want damage at %d", err, at.Offset)
	}
	before := contents(t, dir)
	rep := repair(t, dir, false)
	if len(rep.Ranges) != 1 || !slices.Equal(rep.Ranges[0].Restored, []audit.QueryID{id}) || rep.Asked || rep.Journal.Lost() != 0 || !strings.Contains(rep.SQLite, "records come back from it") {
		t.Fatalf("%+v", rep)
	}
	if !maps.Equal(contents(t, dir), before) {
		t.Fatal("what was planned has changed something")
	}
	repair(t, dir, true)
	db := openDB(t, dir)
	if rec := db.Recovery(); !rec.Rebuilt {
		t.Errorf("%+v", rec)
	}
	wantAll(t, db, lines)
	wantSound(t, db)
}

func TestRepairWithoutSQLiteLosesTheCorruptRecordAlone(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t testing.TB, dir string){
		"lost": removeSQLite,
		"suspect, and the record is not what was stored": tampered(fmt.Sprintf(`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'trace-', 'trace+') AS BLOB) WHERE key = x'004155443a%s'`, sample(17).QueryID)),
		"suspect, and of another journal":                tampered(fmt.Sprintf(`UPDATE entry SET query_id = '%s' WHERE idx = 30`, sample(99).QueryID)),
		"suspect, and its records cannot be read": func(t testing.TB, dir string) {
			uncleanEnd(t, dir)
			corruptPage(t, dir, "kv")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, lines := closedStore(t, 0, 60, audit.WithSegmentBytes(4000))
			id, at, _ := corruptRecord(t, dir, 17)
			lose(t, dir)
			before := contents(t, dir)
			var corrupt *wal.CorruptError
			for range 2 {
				if _, err := audit.Open(dir); !errors.As(err, &corrupt) || corrupt.Offset != at.Offset {
					t.Fatalf("got %v, want damage at %d", err, at.Offset)
				}
			}
			rep := repair(t, dir, false)
			if len(rep.Ranges) != 1 || !slices.Equal(rep.Ranges[0].Lost, []audit.QueryID{id}) || rep.Asked || rep.SQLite == "" ||
				rep.Journal.Lost() != int64(at.Next-at.Offset) {
				t.Fatalf("%+v", rep)
			}
			if !maps.Equal(contents(t, dir), before) {
				t.Fatal("what was refused, or planned, has changed something")
			}
			repair(t, dir, true)
			delete(lines, id)
			db := openDB(t, dir)
			wantAll(t, db, lines)
			verified := wantSound(t, db)
			gap := fmt.Sprintf("%d bytes at offset %d", at.Next-at.Offset, at.Offset)
			if len(verified.Notes) != 1 || !strings.Contains(verified.Notes[0], gap) {
				t.Fatalf("%q do not tell of %s", verified.Notes, gap)
			}
			// It may be put again.
			q := sample(17)
			if got, err := db.PutAudit(context.Background(), &q); err != nil || got != id {
				t.Fatalf("%s, %v", got, err)
			}
		})
	}
}

func TestRepairKnowsWhatSQLiteHasElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, end := newForeignJournal(t, filepath.Join(dir, "wal"), 2000)
	lines := map[audit.QueryID]string{}
	for i := range 12 {
		q := sample(i % 10) // the last two say again what the first did
		lines[q.QueryID] = canonical(t, &q)
		w(lines[q.QueryID])
		if i == 5 {
			w("no audit")
		}
	}
	end()
	db := openDB(t, dir)
	wantRejected := func(db *audit.DB) {
		t.Helper()
		rep, err := db.Verify(context.Background(), audit.VerifyOptions{})
		if err != nil || rep.Rejected != 1 || rep.Total != 1 {
			t.Fatalf("%+v, %v", rep, err)
		}
	}
	wantRejected(db)
	closeDB(t, db)
	// The rejected one comes back like any other, and what is said again is not lost.
	id, again, _ := corruptRecord(t, dir, 12)
	_, rejected, _ := corruptRecord(t, dir, 6)
	rep := repair(t, dir, true)
	if len(rep.Ranges) != 2 || rep.Journal.Damage[0].Offset != rejected.Offset || rep.Journal.Damage[1].Offset != again.Offset {
		t.Fatalf("%+v", rep.Journal)
	}
	if rep.Journal.Damage[0].Restored != 1 || rep.Journal.Lost() != int64(again.Next-again.Offset) || rep.Ranges[1].LostRecords != 0 {
		t.Fatalf("%s: %+v, %+v", id, rep.Journal, rep.Ranges)
	}
	wantRejected(openDB(t, dir))
}

func TestRepairMixesNoHistories(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 50, audit.WithSegmentBytes(4000))
	older := killed(t, dir)
	db := openDB(t, dir)
	putSamples(t, db, 50, 100)
	closeDB(t, db)
	another, _ := closedStore(t, 1000, 1300, audit.WithSegmentBytes(4000))
	db = openDB(t, older)
	putSamples(t, db, 200, 290)
	closeDB(t, db)
	for name, from := range map[string]string{"another store's": another, "one that went on otherwise": older} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, dir)
			if err := os.RemoveAll(filepath.Join(dir, "wal")); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(dir, "wal"), os.DirFS(filepath.Join(from, "wal"))); err != nil {
				t.Fatal(err)
			}
			corruptRecord(t, dir, 30)
			before := contents(t, dir)
			for _, apply := range []bool{false, true} {
				_, err := audit.Repair(context.Background(), dir, audit.RepairOptions{Apply: apply})
				if !errors.Is(err, audit.ErrMismatch) {
					t.Fatalf("got %v", err)
				}
			}
			if !maps.Equal(contents(t, dir), before) {
				t.Fatal("something was changed")
			}
		})
	}
}

func TestRepairOfAJournalThatIsGone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir, lines := closedStore(t, 0, 50, audit.WithSegmentBytes(4000))
	trimmed, _ := closedStore(t, 0, 50, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	removeSegments := func(dir string) {
		for _, name := range must(filepath.Glob(filepath.Join(dir, "wal", "*.wal"))) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	lost := killed(t, dir)
	removeSegments(lost)
	removeSQLite(t, lost)
	removeSQLite(t, trimmed)
	for name, dir := range map[string]string{"all of it, and SQLite": lost, "its beginning, and SQLite": trimmed} {
		if _, err := audit.Repair(ctx, dir, audit.RepairOptions{Apply: true}); !errors.Is(err, wal.ErrGap) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := audit.Repair(ctx, t.TempDir(), audit.RepairOptions{Apply: true}); !errors.Is(err, audit.ErrNoStore) {
		t.Errorf("no store: %v", err)
	}
	// SQLite has everything, and the journal goes on where it was.
	removeSegments(dir)
	if _, err := audit.Open(dir); !errors.Is(err, wal.ErrAhead) {
		t.Fatalf("got %v", err)
	}
	rep := repair(t, dir, true)
	if len(rep.Journal.Damage) != 1 || !rep.Journal.Damage[0].Missing {
		t.Fatalf("%+v", rep)
	}
	db := openDB(t, dir)
	wantAll(t, db, lines)
	maps.Copy(lines, putSamples(t, db, 50, 60))
	wantAll(t, db, lines)
	if stats, err := db.Stats(ctx); err != nil || stats.JournalFirst != rep.Journal.Cursor {
		t.Fatalf("%+v, %v", stats, err)
	}
}

func TestOnlyApplyingARepairNeedsToBeTheWriter(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	putSamples(t, db, 0, 10)
	if rep := repair(t, dir, false); len(rep.Journal.Damage) > 0 {
		t.Fatalf("%+v", rep)
	}
	_, err := audit.Repair(context.Background(), dir, audit.RepairOptions{Apply: true})
	var locked *wal.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("got %v", err)
	}
}

// Damage before the cursor keeps no store from being opened. But what SQLite does not have on disk could then not be
// replayed.
func TestAJournalThatIsDamagedBeforeTheCursorHasSQLiteOnDiskFirst(t *testing.T) {
	t.Parallel()
	open, _ := closedStore(t, 0, 20, audit.WithSegmentBytes(4000))
	db := openDB(t, open)
	putSamples(t, db, 20, 60)
	wantSound(t, db)
	dir := killed(t, open)
	corruptRecord(t, dir, 17)
	db = openDB(t, dir)
	stats, err := db.Stats(context.Background())
	if err != nil || stats.Audits != 60 || stats.Durable == nil || *stats.Durable != stats.Applied {
		t.Fatalf("applied up to %d, %d records, on disk up to %v, %v", stats.Applied, stats.Audits, stats.Durable, err)
	}
}

// A short journal has no mark after its records. What SQLite once had is still known when SQLite is lost, so a
// corrupt record before that offset is no torn tail, and is not cut with all the intact records after it.
func TestWhatSQLiteHadIsNotCutOffAsATornTail(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t testing.TB, dir string){
		"lost":    removeSQLite,
		"suspect": uncleanEnd,
	} {
		t.Run(name, func(t *testing.T) {
			dir, lines := closedStore(t, 0, 20)
			id, at, segment := corruptRecord(t, dir, 7)
			if segment.Sealed {
				t.Fatal("a sealed segment")
			}
			lose(t, dir)
			before := contents(t, dir)
			var corrupt *wal.CorruptError
			for range 2 {
				if _, err := audit.Open(dir); !errors.As(err, &corrupt) || corrupt.Offset != at.Offset {
					t.Fatalf("got %v, want damage at %d", err, at.Offset)
				}
			}
			if !maps.Equal(contents(t, dir), before) {
				t.Fatal("what was refused has changed something")
			}
			repair(t, dir, true)
			if name == "lost" {
				delete(lines, id)
			}
			wantAll(t, openDB(t, dir), lines)
		})
	}
}

// What the database says about itself counts as well, although it is suspect and store.json was written earlier.
func TestTheCursorOfADatabaseInDoubtIsKnownToRepair(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 20)
	uncleanEnd(t, dir)
	name := filepath.Join(dir, "store.json")
	was := string(must(os.ReadFile(name)))
	file := regexp.MustCompile(`(?s),\s*"reached": \{.*\}\s*\}`).ReplaceAllString(was, "\n}")
	if file == was {
		t.Fatal(was)
	}
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	_, at, _ := corruptRecord(t, dir, 7)
	var corrupt *wal.CorruptError
	if _, err := audit.Open(dir); !errors.As(err, &corrupt) || corrupt.Offset != at.Offset {
		t.Fatalf("got %v, want damage at %d", err, at.Offset)
	}
	if rep := repair(t, dir, true); rep.Asked || len(rep.Journal.Damage) != 1 {
		t.Fatalf("%+v", rep)
	}
	wantAll(t, openDB(t, dir), lines)
}

// A log that begins where SQLite once was would be above what an older database has.
func TestNoJournalIsMadeAboveAnOlderDatabase(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 20)
	older := must(os.ReadFile(filepath.Join(dir, "audit.db")))
	db := openDB(t, dir)
	putSamples(t, db, 20, 40)
	closeDB(t, db)
	if err := os.WriteFile(filepath.Join(dir, "audit.db"), older, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, seg := range must(wal.Segments(filepath.Join(dir, "wal"), wal.Options{})) {
		if err := os.Remove(seg.Path); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, dir)
	for _, apply := range []bool{false, true} {
		_, err := audit.Repair(context.Background(), dir, audit.RepairOptions{Apply: apply})
		if !errors.Is(err, wal.ErrGap) || !strings.Contains(err.Error(), "backup") {
			t.Fatalf("got %v", err)
		}
	}
	if !maps.Equal(contents(t, dir), before) {
		t.Fatal("something was changed")
	}
}

// A segment that ends where a record ends can be cut, or the next one is missing. What is missing shows which: a segment begins with
// the identity. In both cases the repair makes the files that were there.
func TestACutAtTheEdgeOfARecordIsNoMissingSegment(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	store, lines := closedStore(t, 0, 40, audit.WithSegmentBytes(4000))
	whole := contents(t, store)
	segs := must(wal.Segments(filepath.Join(store, "wal"), wal.Options{}))
	seg := segs[1]
	var edges []wal.Offset
	if _, err := wal.VerifyContext(t.Context(), filepath.Dir(seg.Path), wal.Options{}, func(r wal.Record) error {
		if r.Offset >= seg.Base && r.Offset < segs[2].Base {
			edges = append(edges, r.Offset)
		}
		return nil
	}); err != nil || len(edges) < 3 {
		t.Fatal(edges, err)
	}
	for _, gone := range []bool{false, true} { // the whole file
		for _, at := range append(edges, seg.Base) {
			if gone && at != seg.Base {
				continue
			}
			dir := killed(t, store)
			path := filepath.Join(dir, "wal", filepath.Base(seg.Path))
			if err := os.Truncate(path, int64(at-seg.Base)); err != nil {
				t.Fatal(err)
			}
			if gone {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			if rep := repair(t, dir, true); rep.Journal.Lost() != 0 {
				t.Errorf("cut at %d: %+v", at, rep)
			}
			after := contents(t, dir)
			maps.DeleteFunc(after, func(name, _ string) bool { return strings.Contains(name, "quarantine") })
			if !maps.Equal(after, whole) {
				t.Errorf("cut at %d of %s: the journal is not byte for byte what it was: %q", at-seg.Base, filepath.Base(path), slices.Sorted(maps.Keys(after)))
			}
			wantAll(t, openDB(t, dir), lines)
		}
	}
}

// A repair that has no SQLite to ask puts fillers over records that SQLite has. When SQLite is there again, the journal contradicts
// nothing: the store opens, has all its records, and verify says that SQLite alone has some.
func TestSQLiteComesBackAfterARepairWithoutIt(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	for name, which := range map[string][]int{"the newest record": {39}, "others": {7, 8, 20}, "the last ones": {37, 38, 39}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, lines := closedStore(t, 0, 40, audit.WithSegmentBytes(4000))
			for _, n := range slices.Backward(which) {
				corruptRecord(t, dir, n)
			}
			away := t.TempDir()
			for _, name := range must(filepath.Glob(filepath.Join(dir, "audit.db*"))) {
				if err := os.Rename(name, filepath.Join(away, filepath.Base(name))); err != nil {
					t.Fatal(err)
				}
			}
			if rep := repair(t, dir, true); rep.Journal.Lost() == 0 {
				t.Fatalf("nothing was lost: %+v", rep)
			}
			restore(t, dir, away, "audit.db")
			db := openDB(t, dir)
			wantAll(t, db, lines)
			report := must(db.Verify(t.Context(), audit.VerifyOptions{}))
			if want := fmt.Sprintf("SQLite alone has %d records", len(which)); !report.OK() || !strings.Contains(fmt.Sprint(report.Notes), want) {
				t.Errorf("problems %q, notes %q, want %q", report.Problems, report.Notes, want)
			}
		})
	}
}

// Neither can be read, and each error names the way: the journal by itself, and then SQLite from it.
func TestRepairSaysWhatToDoAboutADatabaseThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 20)
	id, _, _ := corruptRecord(t, dir, 7)
	name := filepath.Join(dir, "audit.db")
	b := must(os.ReadFile(name))
	copy(b, "no database at all")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := audit.Repair(context.Background(), dir, audit.RepairOptions{})
	if err == nil || !strings.Contains(err.Error(), "move audit.db* out of the folder") {
		t.Fatalf("got %v", err)
	}
	removeSQLite(t, dir)
	repair(t, dir, true)
	delete(lines, id)
	wantAll(t, openDB(t, dir), lines)
}

// What lies below the cursor was acknowledged, so verify does not call it a tail in which nothing was.
func TestVerifyCallsNoTornTailWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 20)
	corruptRecord(t, dir, 7)
	// The writer's own process knows more.
	rep, err := openDB(t, dir, audit.ReadOnly()).Verify(context.Background(), audit.VerifyOptions{})
	if err != nil || rep.OK() || len(rep.Notes) > 0 {
		t.Fatalf("%q, notes %q, %v", rep.Problems, rep.Notes, err)
	}
}
