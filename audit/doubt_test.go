package audit_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// closedStore makes a store of records [from, to) and closes it. It is opened twice, so that a journal of which little is
// kept is trimmed: up to where the first close had SQLite on disk.
func closedStore(t *testing.T, from, to int, opts ...audit.Option) (dir string, lines map[audit.QueryID]string) {
	t.Helper()
	dir, lines = filepath.Join(t.TempDir(), "store"), map[audit.QueryID]string{}
	most := from + (to-from)*3/4
	for _, part := range [][2]int{{from, most}, {most, to}} {
		db := openDB(t, dir, opts...)
		maps.Copy(lines, putSamples(t, db, part[0], part[1]))
		closeDB(t, db)
	}
	return dir, lines
}

// trimmedWithoutWAL makes a store whose journal does not reach back, whose process was killed, and whose
// -wal somebody has deleted.
func trimmedWithoutWAL(t *testing.T) (dir string, lines map[audit.QueryID]string) {
	t.Helper()
	dir, lines = closedStore(t, 0, 60, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	db := openDB(t, dir)
	for id, line := range putSamples(t, db, 60, 70) {
		lines[id] = line
	}
	wantSound(t, db)
	dir = killed(t, dir)
	if err := os.Remove(filepath.Join(dir, "audit.db-wal")); err != nil {
		t.Fatal(err)
	}
	return dir, lines
}

func wantNeedsRecovery(t *testing.T, dir string, want bool) {
	t.Helper()
	// A process that another test is starting has the lock open as well, from its fork until it runs.
	needs, err := audit.NeedsRecovery(context.Background(), dir)
	for giveUp := time.Now().Add(5 * time.Second); err == nil && (needs != "") != want && time.Now().Before(giveUp); {
		needs, err = audit.NeedsRecovery(context.Background(), dir)
	}
	if err != nil || (needs != "") != want {
		t.Fatalf("needs recovery: %q, %v; want %v", needs, err, want)
	}
}

func TestARebuildNeedsTheJournalThatHasTheNewestRecord(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 50)
	older := killed(t, dir)
	db := openDB(t, dir)
	putSamples(t, db, 50, 100)
	closeDB(t, db)
	shorter, _ := closedStore(t, 1000, 1030)
	longer, _ := closedStore(t, 1000, 1300)
	for name, test := range map[string]struct {
		from string
		want error
	}{
		"of an earlier time":      {older, wal.ErrAhead},
		"another store's, short":  {shorter, audit.ErrMismatch},
		"another store's, longer": {longer, audit.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, dir)
			uncleanEnd(t, dir)
			if err := os.RemoveAll(filepath.Join(dir, "wal")); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(dir, "wal"), os.DirFS(filepath.Join(test.from, "wal"))); err != nil {
				t.Fatal(err)
			}
			database := must(os.ReadFile(filepath.Join(dir, "audit.db")))
			for range 2 {
				if _, err := audit.Open(dir); !errors.Is(err, test.want) {
					t.Fatalf("got %v", err)
				}
			}
			if string(must(os.ReadFile(filepath.Join(dir, "audit.db")))) != string(database) {
				t.Fatal("the refused database was changed")
			}
		})
	}
}

func TestDoubtOutlivesARefusedOpening(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, lines := trimmedWithoutWAL(t)
	undo := corruptPage(t, dir, "label_by_name")
	for range 3 { // the first one leaves a -wal
		if _, err := audit.Open(dir); !errors.As(err, new(*audit.DamagedError)) || !strings.Contains(err.Error(), "backup") {
			t.Fatalf("got %v", err)
		}
		wantNeedsRecovery(t, dir, true)
	}
	undo()
	db := openDB(t, dir)
	if !db.Recovery().Checked {
		t.Fatalf("%+v", db.Recovery())
	}
	wantAll(t, db, lines)
	closeDB(t, db)
	db = openDB(t, dir)
	if rec := db.Recovery(); rec.Checked || len(rec.Notes) > 0 {
		t.Fatalf("there is nothing left to doubt: %+v", rec)
	}
}

// The cursor may be ahead of the rows: what lies between is taken from the journal again, although the guards
// let nothing in from below the cursor.
func TestRowsBelowTheCursorComeBackFromWhatIsLeftOfTheJournal(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 60, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	db := openDB(t, dir)
	left := must(db.Stats(context.Background())).JournalFirst
	closeDB(t, db)
	uncleanEnd(t, dir)
	s := openShell(t, dir)
	lost := fmt.Sprintf("(SELECT query_id FROM entry WHERE journal_offset >= %d)", left)
	n := s.ask("SELECT count(*) FROM " + lost)
	if left == 0 || n == 0 {
		t.Fatalf("the journal begins at %d and has %d records", left, n)
	}
	s.unguarded(
		"DELETE FROM kv WHERE length(key) = 37 AND substr(key, 6) IN "+lost,
		"DELETE FROM kv WHERE length(key) = 80 AND substr(key, 49) IN "+lost,
		fmt.Sprintf("DELETE FROM entry WHERE journal_offset >= %d", left),
	)
	s.exit()
	db = openDB(t, dir)
	if rec := db.Recovery(); !rec.Checked || int64(rec.Replayed) != n {
		t.Fatalf("%d records were lost: %+v", n, rec)
	}
	wantAll(t, db, lines)
}

func TestDoubtOutlivesAnInterruptedOpening(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	left, lines := trimmedWithoutWAL(t)
	interrupted, few := 0, 10
	step := func(look int) int { return 1 + look/2 }
	if testing.Short() {
		few, step = 4, func(look int) int { return 8 + 2*look }
	}
	for look := 0; ; look += step(look) {
		dir := killed(t, left)
		rec, err := audit.Recover(endAtLook(look), dir)
		if err == nil {
			if !rec.Checked {
				t.Fatalf("%+v", rec)
			}
			break
		}
		interrupted++
		wantNeedsRecovery(t, dir, true)
		db := openDB(t, dir)
		if !db.Recovery().Checked {
			t.Fatalf("interrupted at look %d (%v), then not suspect: %+v", look, err, db.Recovery())
		}
		if interrupted%4 == 0 {
			wantAll(t, db, lines)
		}
		closeDB(t, db)
	}
	if interrupted < few {
		t.Fatalf("interrupted at %d places only", interrupted)
	}
}

func TestAMalformedDatabaseWithoutItsWALIsRebuilt(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"store", "kv"} {
		t.Run(table, func(t *testing.T) {
			dir, lines := closedStore(t, 0, 100)
			corruptPage(t, dir, table)
			uncleanEnd(t, dir)
			wantNeedsRecovery(t, dir, true)
			db := openDB(t, dir)
			if rec := db.Recovery(); !rec.Rebuilt || rec.Aside == "" {
				t.Fatalf("%+v", rec)
			}
			wantAll(t, db, lines)
		})
	}
}

func TestLabelsAreCarriedOverByARebuild(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 20)
	labels := []sqlstore.Label{
		{Hash: hashOf("agent", "0").String(), Label: "Bob"},
		{Hash: hashOf("source", "1").String(), Label: "ledger"},
	}
	if err := sqlstore.PutLabels(context.Background(), filepath.Join(dir, "audit.db"), labels, nil); err != nil {
		t.Fatal(err)
	}
	uncleanEnd(t, dir)
	db := openDB(t, dir)
	if rec := db.Recovery(); !rec.Rebuilt || rec.Aside == "" {
		t.Fatalf("%+v", rec)
	}
	wantAll(t, db, lines)
	closeDB(t, db)
	sql, err := sqlstore.Open(context.Background(), filepath.Join(dir, "audit.db"), sqlstore.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sql.Close()
	got, err := sql.Labels(context.Background())
	if err != nil || len(got) != len(labels) {
		t.Fatalf("%v, %v", got, err)
	}
	for _, l := range got {
		if l != labels[0] && l != labels[1] {
			t.Errorf("%+v", l)
		}
	}
}

// A shell that is writing keeps a store from being opened. That must not look as if the opening had died.
func TestAShellThatIsWritingMakesNoDoubt(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 20)
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE", "INSERT INTO label VALUES ('"+hashOf("agent", "0").String()+"', 'Bob')")
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		_, err := audit.Recover(ctx, dir)
		cancel()
		if err == nil {
			t.Fatal("nobody can write beside the shell")
		}
	}
	wantNeedsRecovery(t, dir, false)
	s.do("COMMIT")
	s.exit()
	db := openDB(t, dir)
	if rec := db.Recovery(); rec.Rebuilt || rec.Checked {
		t.Fatalf("%+v", rec)
	}
	wantAll(t, db, lines)
	closeDB(t, db)
	if n := openShell(t, dir).ask("SELECT count(*) FROM label"); n != 1 {
		t.Fatalf("%d labels", n)
	}
}

// What a server and an import of spans have put beside the journal is the store's own, and keeps nobody from making the rest again.
func TestAServedStoreWithNothingButItsJournalIsRebuilt(t *testing.T) {
	dir, lines := closedStore(t, 0, 20)
	removeSQLite(t, dir)
	for _, name := range []string{"store.json", "ids.filter"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"tokens", "tokens.lock", "serve.sock"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"inbox", "serve.sock.part"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	db := openDB(t, dir)
	defer closeDB(t, db)
	wantAll(t, db, lines)
}
