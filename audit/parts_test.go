package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// A life is a store at several times: folders, each with the records that were acknowledged by then.
type life map[string]moment

type moment struct {
	dir   string
	lines map[audit.QueryID]string
}

// live makes a store of records from first on, with a copy of it at the end of each of four times: early, closed
// with 20 records; mid and late, killed with 40 and 60, in one session; closed, the end of it; now, killed in the
// next session with 80; and end, closed.
func live(t *testing.T, first int, opts ...audit.Option) life {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	l, lines := life{}, map[audit.QueryID]string{}
	keep := func(name string) {
		have := map[audit.QueryID]string{}
		for id, line := range lines {
			have[id] = line
		}
		l[name] = moment{killed(t, dir), have}
	}
	n := 0
	put := func(db *audit.DB) {
		for range 4 { // a transaction each
			for id, line := range putSamples(t, db, first+n, first+n+5) {
				lines[id] = line
			}
			wantRoom(t, db) // waits for the applier
			n += 5
		}
	}
	db := openDB(t, dir, opts...)
	put(db)
	closeDB(t, db)
	keep("early")
	db = openDB(t, dir)
	put(db)
	keep("mid")
	put(db)
	keep("late")
	closeDB(t, db)
	keep("closed")
	db = openDB(t, dir)
	put(db)
	keep("now")
	closeDB(t, db)
	keep("end")
	return l
}

// restore replaces parts of a store by those of another folder; what is not there is removed.
func restore(t testing.TB, dir, from string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		dst, src := filepath.Join(dir, part), filepath.Join(from, part)
		if err := os.RemoveAll(dst); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(src)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			t.Fatal(err)
		case st.IsDir():
			if err := os.CopyFS(dst, os.DirFS(src)); err != nil {
				t.Fatal(err)
			}
		default:
			if err := os.WriteFile(dst, must(os.ReadFile(src)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// retentions are a journal that reaches back to the beginning, and one that does not, which is the harder case.
func retentions() []audit.Retention {
	if testing.Short() {
		return []audit.Retention{audit.RetainNone}
	}
	return []audit.Retention{audit.RetainAll, audit.RetainNone}
}

// What people do to the files of a store: each comes to all that was acknowledged, or is refused.
func TestFilesThatSomebodyHasBeenAt(t *testing.T) {
	t.Parallel()
	const db, log, shm, journal, note = "audit.db", "audit.db-wal", "audit.db-shm", "wal", "store.json"
	const (
		recovers = "recovers"
		refuses  = "refuses"
		either   = "either" // with a journal that reaches back to the beginning it recovers
	)
	other := live(t, 10_000)
	times := map[string][]string{"now": {"mid", "closed"}, "end": {"early", "late"}}
	if testing.Short() {
		times = map[string][]string{"now": {"mid"}}
	}
	for _, retention := range retentions() {
		l := live(t, 0, audit.WithSegmentBytes(2000), audit.WithRetention(retention))
		for base, times := range times {
			try := func(want, name string, do func(dir string)) {
				t.Run(fmt.Sprintf("%s/%s/%s", retention, base, name), func(t *testing.T) {
					t.Parallel()
					dir := killed(t, l[base].dir)
					do(dir)
					recovered := judge(t, dir, l[base].lines)
					if want == either && retention == audit.RetainAll {
						want = recovers
					}
					if want == recovers && !recovered || want == refuses && recovered {
						t.Errorf("recovered is %v, it %s", recovered, want)
					}
				})
			}
			gone := func(parts ...string) func(string) { return func(dir string) { restore(t, dir, "", parts...) } }
			try(recovers, "-wal deleted", gone(log, shm))
			try(recovers, "-shm deleted", gone(shm))
			try(recovers, "store.json gone", gone(note))
			for name, some := range map[string]func(i, n int) bool{
				"first":   func(i, n int) bool { return i == 0 },
				"half":    func(i, n int) bool { return i < n/2 },
				"but one": func(i, n int) bool { return i < n-1 },
				"odd":     func(i, n int) bool { return i%2 == 1 },
			} {
				if base == "now" {
					try(recovers, "in a checkpoint/"+name, func(dir string) { checkpointPart(t, dir, some) })
					try(either, "in a checkpoint, -wal deleted/"+name, func(dir string) {
						checkpointPart(t, dir, some)
						restore(t, dir, "", log, shm)
					})
				}
			}
			for _, when := range times {
				of := func(parts ...string) func(string) {
					return func(dir string) { restore(t, dir, l[when].dir, parts...) }
				}
				try(either, "db of "+when, of(db))
				try(either, "db of "+when+" without -wal", func(dir string) {
					of(db)(dir)
					gone(log, shm)(dir)
				})
				try(either, "db and -wal of "+when, of(db, log, shm))
				try(either, "-wal of "+when, of(log))
				try(refuses, "journal of "+when, of(journal))
				try(either, "store.json of "+when, of(note))
				try(either, "all but the journal of "+when, of(note, db, log, shm))
				try(refuses, "all but the database of "+when, of(note, journal))
				if base == "end" || when == "mid" {
					// Both are lost here; what came after the last note in store.json cannot be missed then.
					try(refuses, "journal of "+when+" and no database", func(dir string) {
						of(journal)(dir)
						gone(db, log, shm)(dir)
					})
				}
			}
			another := func(parts ...string) func(string) {
				return func(dir string) { restore(t, dir, other[base].dir, parts...) }
			}
			try(refuses, "another's journal", another(journal))
			try(refuses, "another's journal, no database", func(dir string) {
				another(journal)(dir)
				gone(db, log, shm)(dir)
			})
			try(refuses, "another's journal, a malformed database without -wal", func(dir string) {
				another(journal)(dir)
				uncleanly(t, dir)
				gone(log, shm)(dir)
				hurtPages(t, dir)
			})
			try(either, "a malformed database without -wal", func(dir string) {
				uncleanly(t, dir)
				gone(log, shm)(dir)
				hurtPages(t, dir)
			})
			try(refuses, "another's database", another(db))
			try(refuses, "another's database and -wal", another(db, log, shm))
			try(refuses, "another's store.json", another(note))
			if base == "now" {
				try(refuses, "another's -wal", another(log))
			}
			segments := func(dir string) []string { return must(filepath.Glob(filepath.Join(dir, journal, "*.wal"))) }
			try(refuses, "segments gone", func(dir string) {
				for _, name := range segments(dir) {
					os.Remove(name)
				}
			})
			try(refuses, "segments emptied", func(dir string) {
				for _, name := range segments(dir) {
					os.Truncate(name, 0)
				}
			})
			try(refuses, "last segment gone", func(dir string) {
				names := segments(dir)
				os.Remove(names[len(names)-1])
			})
		}
	}
}

// A store that is put back whole is that of its time, also over what a killed process has left, of which the
// backup has no -wal to replace.
func TestAStoreThatIsPutBackIsThatOfItsTime(t *testing.T) {
	t.Parallel()
	for _, retention := range retentions() {
		l := live(t, 0, audit.WithSegmentBytes(2000), audit.WithRetention(retention))
		for _, when := range []string{"late", "closed"} {
			if !judge(t, killed(t, l[when].dir), l[when].lines) {
				t.Errorf("%s: refused", when)
			}
		}
		lines, backup := l["closed"].lines, filepath.Join(t.TempDir(), "backup")
		from := openDB(t, l["closed"].dir, audit.ReadOnly())
		if _, err := from.Backup(t.Context(), backup); err != nil {
			t.Fatal(err)
		}
		if !judge(t, killed(t, backup), lines) {
			t.Error("the backup is refused")
		}
		over := killed(t, l["now"].dir)
		restore(t, over, backup, "audit.db", "store.json", "wal")
		judge(t, over, lines)
	}
}

// A store that is open for weeks notes with each checkpoint what SQLite has, so that a database of last week beside the
// -wal of today is no less recognized than one of another session.
func TestADatabaseOfEarlierInTheSession(t *testing.T) {
	t.Parallel()
	for _, retention := range retentions() {
		t.Run(retention.String(), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			db := openDB(t, dir, audit.WithSegmentBytes(2000), audit.WithRetention(retention))
			lines := map[audit.QueryID]string{}
			put := func(from, to int) {
				for id, line := range putSamples(t, db, from, to) {
					lines[id] = line
				}
				wantRoom(t, db)
			}
			put(0, 20)
			earlier := killed(t, dir)
			for i := range 2 { // the journal is trimmed up to the first
				put(20+20*i, 40+20*i)
				if err := audit.Checkpoint(db); err != nil {
					t.Fatal(err)
				}
			}
			put(60, 61)
			for _, parts := range [][]string{{"audit.db"}, {"audit.db", "audit.db-wal"}, {"audit.db-wal"}} {
				left := killed(t, dir)
				restore(t, left, earlier, parts...)
				// The database is whole without a -wal of earlier.
				want := retention == audit.RetainAll || parts[0] == "audit.db-wal"
				if recovered := judge(t, left, lines); recovered != want {
					t.Errorf("%q of earlier: recovered is %v", parts, recovered)
				}
			}
		})
	}
}

// hurtPages makes a database that SQLite takes for one, and cannot read.
func hurtPages(t testing.TB, dir string) {
	t.Helper()
	name := filepath.Join(dir, "audit.db")
	content := must(os.ReadFile(name))
	for i := pageBytes; i < len(content); i++ {
		content[i] = 0xee
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// uncleanly makes sure that a store looks as if its process had died.
func uncleanly(t testing.TB, dir string) {
	t.Helper()
	if strings.Contains(string(must(os.ReadFile(filepath.Join(dir, "store.json")))), `"clean": true`) {
		uncleanEnd(t, dir)
	}
}

// judge opens a store that somebody has been at. It has all these records and nothing else, or is refused, with
// the reason, also the next time.
func judge(t *testing.T, dir string, lines map[audit.QueryID]string) (recovered bool) {
	t.Helper()
	db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
	if err == nil {
		wantAll(t, db, lines)
		closeDB(t, db)
		wantNeedsRecovery(t, dir, false)
		return true
	}
	for range 2 {
		var corrupt *wal.CorruptError
		if !errors.Is(err, audit.ErrMismatch) && !errors.Is(err, wal.ErrAhead) && !errors.Is(err, wal.ErrGap) && !errors.As(err, &corrupt) && !errors.As(err, new(*audit.DamagedError)) {
			t.Errorf("refused for another reason: %v", err)
		}
		if db, err = audit.Open(dir, audit.WithReads(audit.Acknowledged)); err == nil {
			closeDB(t, db)
			t.Error("refused, and opened the next time")
			return false
		}
	}
	// Where a reindex is said to help, it brings everything or refuses too: the pages may be of two times.
	if errors.As(err, new(*audit.DamagedError)) {
		if _, err = audit.Reindex(t.Context(), dir, nil); err == nil {
			db := openDB(t, dir)
			wantAll(t, db, lines)
			closeDB(t, db)
		} else if !errors.Is(err, sqlstore.ErrMalformed) && !errors.Is(err, audit.ErrMismatch) {
			t.Errorf("a reindex fails with %v", err)
		}
	}
	return false
}

// With SQLite lost as well, a repaired journal is all there is, and must not be refused for what it lacks.
func TestARepairedJournalIsTakenForWhatItHasWhenSQLiteIsLost(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	// Of the 20 records, these are lost.
	for name, test := range map[string]struct {
		from, to int
		corrupt  func(journal []byte, at func(record int) int) []byte
	}{
		"the end is gone": {15, 20, func(journal []byte, at func(int) int) []byte { return journal[:at(15)+60] }},
		"the end is corrupt": {15, 20, func(journal []byte, at func(int) int) []byte {
			clear(journal[at(15)+50:])
			return journal
		}},
		"the last one is corrupt": {19, 20, func(journal []byte, at func(int) int) []byte {
			journal[len(journal)-1] ^= 1
			return journal
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, lines := closedStore(t, 0, 20)
			removeSQLite(t, dir)
			segment := filepath.Join(dir, "wal", "0000000000000000.wal")
			journal := must(os.ReadFile(segment))
			at := func(i int) int { return strings.Index(string(journal), canonical(t, ptr(sample(i)))) - 40 }
			begin := at(test.from)
			if err := os.WriteFile(segment, test.corrupt(journal, at), 0o600); err != nil {
				t.Fatal(err)
			}
			for i := test.from; i < test.to; i++ {
				delete(lines, sample(i).QueryID)
			}
			var corrupt *wal.CorruptError
			if _, err := audit.Open(killed(t, dir)); !errors.As(err, &corrupt) || int(corrupt.Offset) != begin {
				t.Fatalf("unrepaired: %v", err)
			}
			if _, err := audit.Repair(t.Context(), dir, audit.RepairOptions{Apply: true}); err != nil {
				t.Fatal(err)
			}
			db := openDB(t, dir)
			wantAll(t, db, lines)
			put := putSamples(t, db, 20, 25)
			for id, line := range put {
				lines[id] = line
			}
			wantAll(t, db, lines)
		})
	}
}

// Two copies of a store that went on by themselves have all in common up to the last note. What SQLite has after
// it tells their journals apart, even if they are of one length.
func TestAJournalOfACopyThatWentOnByItself(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 20)
	copied := killed(t, dir)
	db, other := openDB(t, dir), openDB(t, copied)
	for _, i := range []int{20, 21} {
		for id, line := range putSamples(t, db, i, i+1) {
			lines[id] = line
		}
		putSamples(t, other, 41-i, 42-i)
	}
	wantRoom(t, db)
	left := killed(t, dir)
	if !judge(t, killed(t, left), lines) {
		t.Fatal("its own journal is refused")
	}
	restore(t, left, copied, "wal")
	if judge(t, left, lines) {
		t.Fatal("the other's journal is taken")
	}
}
