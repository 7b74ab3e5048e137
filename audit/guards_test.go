package audit_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/wal"
)

// forgetReached removes from store.json what it says of SQLite's last checkpoint, as in a store of an older version.
func forgetReached(t *testing.T, dir string) {
	t.Helper()
	name := filepath.Join(dir, "store.json")
	was := string(must(os.ReadFile(name)))
	file := regexp.MustCompile(`(?s),\s*"reached": \{.*\}\s*\}`).ReplaceAllString(was, "\n}")
	if file == was {
		t.Fatal(was)
	}
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Opening compares the newest record of SQLite with the journal. Whatever differs is refused, whether the database is
// as the store left it or suspect, and nothing is changed.
func TestOpeningComparesTheNewestRecordWithTheJournal(t *testing.T) {
	t.Parallel()
	from, _ := closedStore(t, 0, 40)
	newest := sample(39).QueryID
	for name, c := range map[string]struct {
		tampering string
		suspect   bool
		want      error
		words     string
	}{
		"another id":                      {`UPDATE entry SET query_id = zeroblob(32) WHERE idx = 39`, false, audit.ErrMismatch, "where another one is"},
		"other bytes":                     {fmt.Sprintf(`UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'subject 4', 'subject 3') AS BLOB) WHERE key = x'004155443a%s'`, newest), false, audit.ErrMismatch, "where it has other bytes"},
		"no record":                       {fmt.Sprintf(`DELETE FROM kv WHERE key = x'004155443a%s'`, newest), false, audit.ErrMismatch, "is missing from kv"},
		"in a record":                     {`UPDATE entry SET journal_offset = journal_offset + 1 WHERE idx = 39`, false, audit.ErrMismatch, "where another one covers it"},
		"after the end":                   {`UPDATE entry SET journal_offset = 999999 WHERE idx = 39`, false, audit.ErrMismatch, "where the journal has ended"},
		"in a record, suspect":            {`UPDATE entry SET journal_offset = journal_offset + 1 WHERE idx = 39`, true, audit.ErrMismatch, "where no record begins"},
		"a cursor after the end, suspect": {`UPDATE store SET value = value + 5000 WHERE name IN ('cursor', 'reach')`, true, wal.ErrAhead, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, from)
			s := openShell(t, dir)
			s.unguarded(c.tampering)
			s.exit()
			forgetReached(t, dir)
			if c.suspect {
				uncleanEnd(t, dir)
			}
			before := contents(t, dir)
			_, err := audit.Open(dir)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("opening: %v", err)
			}
			if after := contents(t, dir); after["/audit.db"] != before["/audit.db"] {
				t.Error("the refused database was changed")
			}
			report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{Quick: true})
			if err != nil || !strings.Contains(fmt.Sprint(report.Problems), "opening the store is refused: ") {
				t.Errorf("verify: %q, %v", report.Problems, err)
			}
		})
	}
}

// A record of kv that nobody can parse keeps no store from being opened. The forensic tables are rebuilt without it,
// and that is said.
func TestAReindexWithoutWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 40)
	s := openShell(t, dir)
	s.unguarded(fmt.Sprintf(`UPDATE kv SET value = x'7b' WHERE key = x'004155443a%s'`, sample(4).QueryID))
	s.do(`DROP TABLE attribute`)
	s.exit()
	db := openDB(t, dir)
	notes := fmt.Sprint(db.Recovery().Notes)
	if !strings.Contains(notes, "the forensic tables were rebuilt, without what cannot be read") {
		t.Errorf("notes: %s", notes)
	}
	if stats := must(db.Stats(t.Context())); stats.Audits != 40 {
		t.Errorf("%d records", stats.Audits)
	}
	report, err := db.Verify(t.Context(), audit.VerifyOptions{})
	if err != nil || report.OK() {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// unclean makes a store that was killed, whose SQLite has pages in -wal only, and a reader that keeps them there.
func uncleanWithReader(t *testing.T) (dir string) {
	t.Helper()
	from, _ := closedStore(t, 0, 20)
	db := openDB(t, from)
	putSamples(t, db, 20, 40)
	wantRoom(t, db)
	audit.AtRest(db, func() { dir = killed(t, from) })
	s := openShell(t, dir)
	s.do("BEGIN")
	s.ask("SELECT count(*) FROM audit")
	return dir
}

// A reader that blocks the checkpoint of an opening is waited for, but not without end, and not after the context has
// ended.
func TestOpeningWaitsForAReaderWithPatienceOnly(t *testing.T) {
	t.Parallel()
	t.Run("patience", func(t *testing.T) {
		t.Parallel()
		db := openDB(t, uncleanWithReader(t), audit.WithPatience(1, 0))
		if notes := fmt.Sprint(db.Recovery().Notes); !strings.Contains(notes, "a reader keeps SQLite from being brought to disk") {
			t.Errorf("notes: %s", notes)
		}
		if stats := must(db.Stats(t.Context())); stats.Audits != 40 {
			t.Errorf("%d records", stats.Audits)
		}
	})
	t.Run("context", func(t *testing.T) {
		t.Parallel()
		dir := uncleanWithReader(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		blocked := slog.New(&onMessage{slog.DiscardHandler, "a reader keeps SQLite's -wal", cancel})
		_, err := audit.OpenContext(ctx, dir, audit.WithPatience(1_000, 0), audit.WithLogger(blocked))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// onMessage is a handler of a logger that calls do at messages with a prefix.
type onMessage struct {
	slog.Handler
	prefix string
	do     func()
}

func (h *onMessage) Enabled(context.Context, slog.Level) bool { return true }

func (h *onMessage) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, h.prefix) {
		h.do()
	}
	return nil
}

// A shell that holds SQLite's write lock for longer than a statement waits costs time and nothing else: the applier
// tries again.
func TestALongHeldWriteLockIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	logger, busy := told("somebody else is writing to SQLite")
	db := openDB(t, dir, audit.WithPatience(40, time.Millisecond), audit.WithLogger(logger))
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE")
	lines := putSamples(t, db, 0, 10)
	<-busy
	<-busy
	if stats := must(db.Stats(t.Context())); stats.Audits != 0 || stats.Backlog != 10 {
		t.Errorf("%d records in SQLite, %d waiting", stats.Audits, stats.Backlog)
	}
	s.do("COMMIT")
	wantAll(t, db, lines)
	wantRoom(t, db)
}

// Records of one damaged range come back from SQLite in their order, admitted and rejected ones. One that kv lacks is
// lost, and its id is told.
func TestRepairRestoresARangeOfSeveralRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put, end := newForeignJournal(t, filepath.Join(dir, "wal"), 1<<20)
	for i := range 12 {
		q := sample(i)
		put(canonical(t, &q))
		if i == 5 {
			put("no audit")
		}
	}
	end()
	closeDB(t, openDB(t, dir))
	whole := contents(t, dir)
	var from, to wal.Offset
	var segment wal.Segment
	for n := 8; n >= 5; n-- { // record 5, what was rejected, records 6 and 7, from the last: what follows damage may not be visited
		var at wal.Record
		_, at, segment = corruptRecord(t, dir, n)
		from, to = at.Offset, max(to, at.Next)
	}
	if segment.Base > 0 {
		t.Fatal("there are several segments")
	}
	for name, c := range map[string]struct {
		tampering string
		restored  []audit.QueryID
		lost      []audit.QueryID
	}{
		"all":              {"", []audit.QueryID{sample(5).QueryID, sample(6).QueryID, sample(7).QueryID}, nil},
		"without a record": {fmt.Sprintf(`DELETE FROM kv WHERE key = x'004155443a%s'`, sample(6).QueryID), []audit.QueryID{sample(5).QueryID, sample(7).QueryID}, []audit.QueryID{sample(6).QueryID}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, dir)
			if c.tampering != "" {
				s := openShell(t, dir)
				s.unguarded(c.tampering)
				s.exit()
			}
			rep := repair(t, dir, true)
			if len(rep.Ranges) == 0 || rep.Journal.Damage[0].Offset != from || rep.Journal.Damage[len(rep.Ranges)-1].End != to {
				t.Fatalf("%+v", rep.Journal)
			}
			var restored, lost []audit.QueryID
			for _, r := range rep.Ranges {
				restored, lost = append(restored, r.Restored...), append(lost, r.Lost...)
			}
			if !slices.Equal(restored, c.restored) || !slices.Equal(lost, c.lost) {
				t.Errorf("restored %v, lost %v", restored, lost)
			}
			after := contents(t, dir)
			for file, content := range whole {
				if strings.HasSuffix(file, ".wal") && (after[file] == content) != (len(lost) == 0) {
					t.Errorf("%s is as it was: %v", file, after[file] == content)
				}
			}
		})
	}
}

// Verify checks what table rejected says of the journal's records.
func TestVerifyChecksTheRejectedRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put, end := newForeignJournal(t, filepath.Join(dir, "wal"), 1<<20)
	for i := range 6 {
		q := sample(i)
		put(canonical(t, &q))
	}
	put("no audit")
	conflict := sample(2)
	conflict.ResultConfidence = 0
	put(canonical(t, &conflict))
	end()
	closeDB(t, openDB(t, dir))
	const fewer = `; UPDATE store SET value = 1 WHERE name = 'rejected'`
	for name, c := range map[string]struct{ tampering, problem string }{
		"other bytes":           {`UPDATE rejected SET payload = x'00' WHERE payload = CAST('no audit' AS BLOB)`, "has other bytes"},
		"no audit, not noted":   {`DELETE FROM rejected WHERE payload = CAST('no audit' AS BLOB)` + fewer, "is no audit, and was not rejected"},
		"a conflict, not noted": {`DELETE FROM rejected WHERE payload <> CAST('no audit' AS BLOB)` + fewer, "differs from kv, and was not rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, dir)
			s := openShell(t, dir)
			s.unguarded(c.tampering)
			s.exit()
			wantProblem(t, dir, c.problem)
		})
	}
}

// A record that kv or entry lacks is damage. The errors of reads and the report of Verify name the cure, and the cure
// works.
func TestARecordThatIsMissingInKVOrEntry(t *testing.T) {
	t.Parallel()
	whole, lines := closedStore(t, 0, 40)
	trimmed, _ := closedStore(t, 0, 40, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	const rebuild, backup = "to rebuild SQLite from the journal, without the labels, move ", "restore the store from a backup"
	for name, c := range map[string]struct {
		store, tampering, cure string
		read                   string // what failing reads say; "" when they do not fail
	}{
		"kv":          {whole, fmt.Sprintf(`DELETE FROM kv WHERE key = x'004155443a%s'`, sample(4).QueryID), rebuild, "a repair restores it from the journal"},
		"kv, trimmed": {trimmed, fmt.Sprintf(`DELETE FROM kv WHERE key = x'004155443a%s'`, sample(4).QueryID), backup, backup},
		"entry":       {whole, `DELETE FROM entry WHERE idx = 4`, rebuild, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, c.store)
			s := openShell(t, dir)
			s.unguarded(c.tampering)
			s.exit()
			db := openDB(t, dir)
			if c.read != "" {
				var exported, listed error
				for _, err := range db.RawAudits(t.Context(), audit.Filter{ByAdmission: true}) {
					exported = cmp.Or(exported, err)
				}
				_, listed = db.ListRecent(t.Context(), 100)
				for _, err := range []error{exported, listed} {
					if !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), c.read) || strings.Contains(err.Error(), rebuild) {
						t.Errorf("read: %v", err)
					}
				}
			}
			report := must(db.Verify(t.Context(), audit.VerifyOptions{}))
			if report.OK() || !strings.Contains(fmt.Sprint(report.Notes), c.cure) {
				t.Errorf("verify: %q, notes %q", report.Problems, report.Notes)
			}
			closeDB(t, db)
			if c.cure == backup {
				return
			}
			removeSQLite(t, dir)
			db = openDB(t, dir)
			wantAll(t, db, lines)
		})
	}
}
