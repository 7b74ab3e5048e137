package audit_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// told is a logger that passes on what begins with some words.
func told(words string) (*slog.Logger, <-chan string) {
	heard := make(chan string, 1000)
	return slog.New(&listener{slog.DiscardHandler, words, heard}), heard
}

type listener struct {
	slog.Handler
	words string
	heard chan<- string
}

func (l *listener) Enabled(context.Context, slog.Level) bool { return true }

func (l *listener) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, l.words) {
		select {
		case l.heard <- r.Message:
		default:
		}
	}
	return nil
}

// powerCut copies an open store's files as a power cut leaves them that takes all it can of SQLite's.
func powerCut(t *testing.T, db *audit.DB) (left string) {
	t.Helper()
	audit.AtRest(db, func() { left = killed(t, db.Dir()) })
	if err := os.Truncate(filepath.Join(left, "audit.db-wal"), int64(walOnDisk(t, left))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(left, "audit.db-shm")); err != nil {
		t.Fatal(err)
	}
	return left
}

// Whatever a power cut takes from SQLite must still be in the journal, however little of that is kept.
func TestTheJournalIsTrimmedUpToWhatSQLiteHasOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(1000), audit.WithRetention(audit.RetainNone))
	lines := map[audit.QueryID]string{}
	put := func(from, to int) {
		t.Helper()
		for id, line := range putSamples(t, db, from, to) {
			lines[id] = line
		}
		wantRoom(t, db) // all is applied
	}
	want := func(when string) {
		t.Helper()
		if !judge(t, powerCut(t, db), lines) {
			t.Fatalf("%s: refused", when)
		}
	}
	first := func() wal.Offset { return must(db.Stats(context.Background())).JournalFirst }

	put(0, 20)
	want("nothing on disk")
	if err := audit.Checkpoint(db); err != nil {
		t.Fatal(err)
	}
	if now := first(); now != 0 {
		t.Fatalf("trimmed up to %d, with nothing but the newest checkpoint to rest on", now)
	}
	// A checkpoint that finds nothing new is none to rest on either.
	if err := audit.Checkpoint(db); err != nil {
		t.Fatal(err)
	}
	if now := first(); now != 0 {
		t.Fatalf("trimmed up to %d after a checkpoint of nothing", now)
	}
	one := must(db.Stats(context.Background())).Applied
	put(20, 30)
	if err := audit.Checkpoint(db); err != nil {
		t.Fatal(err)
	}
	trimmed := first()
	if trimmed == 0 || trimmed > one {
		t.Fatalf("trimmed up to %d; the checkpoint before the newest had %d", trimmed, one)
	}
	put(30, 40)
	want("half of it on disk")

	s := openShell(t, dir)
	s.do("BEGIN")
	s.ask("SELECT count(*) FROM kv")
	if err := audit.Checkpoint(db); err != nil { // as far as the shell sees
		t.Fatal(err)
	}
	trimmed = first()
	put(40, 60)
	if err := audit.Checkpoint(db); err != nil { // that does not get past the shell
		t.Fatal(err)
	}
	put(60, 65)
	want("beside a reader")
	if now := first(); now != trimmed {
		t.Fatalf("trimmed up to %d beside a reader, %d before", now, trimmed)
	}
	s.do("COMMIT")
	if err := audit.Checkpoint(db); err != nil {
		t.Fatal(err)
	}
	if now := first(); now == trimmed {
		t.Fatal("not trimmed when the reader has gone")
	}
	want("all of it on disk")
}

func TestAnArchiveThatFailsKeepsTheJournal(t *testing.T) {
	dir, archive := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(archive, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	logger, heard := told("old journal segments could not be removed")
	db := openDB(t, dir, audit.WithSegmentBytes(1000), audit.WithRetention(audit.RetainNone),
		audit.WithArchive(archive), audit.WithLogger(logger))
	lines := map[audit.QueryID]string{}
	put := func(from, to int) {
		for id, line := range putSamples(t, db, from, to) {
			lines[id] = line
		}
		wantRoom(t, db)
		if err := audit.Checkpoint(db); err != nil {
			t.Fatal(err)
		}
	}
	put(0, 20) // up to here the next two want to trim
	put(20, 40)
	put(40, 60)
	if s := must(db.Stats(context.Background())); s.JournalFirst != 0 || len(heard) != 2 {
		t.Fatalf("trimmed up to %d, told %d times", s.JournalFirst, len(heard))
	}
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
	put(60, 80)
	s := must(db.Stats(context.Background()))
	if names := must(os.ReadDir(archive)); s.JournalFirst == 0 || len(names) < 10 {
		t.Fatalf("trimmed up to %d, %d segments are in the archive", s.JournalFirst, len(names))
	}
	wantAll(t, db, lines)
}

// A reader that never lets go costs disk up to a bound, from there on puts wait, and nothing is lost.
func TestALongReaderIsWaitedForAtTheBound(t *testing.T) {
	const bound = 1 << 20
	dir := filepath.Join(t.TempDir(), "store")
	logger, waiting := told("SQLite's -wal is at its limit")
	db := openDB(t, dir, audit.WithBacklog(20, 0), audit.WithWALLimit(bound), audit.WithLogger(logger))
	putSamples(t, db, 0, 5)
	s := openShell(t, dir)
	s.do("BEGIN")
	s.ask("SELECT count(*) FROM kv")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	n := 5
	go func() {
		for {
			if _, err := db.PutAudit(ctx, ptr(sample(n))); err != nil {
				ended <- err
				return
			}
			n++
		}
	}()
	<-waiting
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("put: %v", err)
	}
	// What was acknowledged is seen meanwhile, and one batch may have gone beyond the bound.
	if st := must(db.Stats(context.Background())); st.SQLiteWAL < bound || st.SQLiteWAL > 2*bound {
		t.Fatalf("-wal has %d bytes", st.SQLiteWAL)
	}
	lines := map[audit.QueryID]string{}
	for i := range n {
		q := sample(i)
		lines[q.QueryID] = canonical(t, &q)
		if raw, err := db.GetRaw(context.Background(), q.QueryID); err != nil || string(raw) != lines[q.QueryID] {
			t.Fatalf("record %d of %d: %s, %v", i, n, raw, err)
		}
	}
	s.do("COMMIT")
	for id, line := range putSamples(t, db, n, n+50) {
		lines[id] = line
	}
	q := sample(n) // the put that was ended may have got through
	lines[q.QueryID] = canonical(t, &q)
	wantAll(t, db, lines)
}

// A live writer whose active segment is taken away, or replaced, does not acknowledge into a file that nobody can
// find. What it had acknowledged is there again with the file.
func TestTheActiveSegmentTakenFromALiveWriter(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		t.Run(map[bool]string{false: "deleted", true: "replaced"}[replaced], func(t *testing.T) {
			later := new(atomic.Int64)
			dir := filepath.Join(t.TempDir(), "store")
			db := openDB(t, dir, audit.WithClock(func() time.Time { return time.Now().Add(time.Duration(later.Load())) }))
			lines := putSamples(t, db, 0, 10)
			wantRoom(t, db) // SQLite has them; what it lacks cannot be read now
			segment, kept := filepath.Join(dir, "wal", "0000000000000000.wal"), filepath.Join(t.TempDir(), "kept")
			if err := os.Rename(segment, kept); err != nil {
				t.Fatal(err)
			}
			if replaced {
				if err := os.WriteFile(segment, must(os.ReadFile(kept)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			later.Store(int64(time.Second)) // within which it has to look
			if _, err := db.PutAudit(context.Background(), ptr(sample(10))); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("put: %v", err)
			}
			for id, line := range lines {
				if raw, err := db.GetRaw(context.Background(), id); err != nil || string(raw) != line {
					t.Fatalf("get: %s, %v", raw, err)
				}
			}
			if err := db.Close(); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("close: %v", err)
			}
			if !replaced {
				// Refused, however little of it SQLite had.
				if _, err := audit.Open(dir); !errors.Is(err, wal.ErrAhead) && !errors.Is(err, wal.ErrGap) {
					t.Fatalf("open: %v", err)
				}
				if err := os.Rename(kept, segment); err != nil {
					t.Fatal(err)
				}
			}
			wantAll(t, openDB(t, dir), lines)
		})
	}
}

// A mark or a filler may be the last that the journal has: of the group after it a power cut took everything.
func TestAJournalThatEndsInAMarkIsCaughtUpWith(t *testing.T) {
	dir, lines := t.TempDir(), map[audit.QueryID]string{}
	w, err := walspec.NewWriter(filepath.Join(dir, "wal"), walspec.Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		q := sample(i)
		lines[q.QueryID] = canonical(t, &q)
		if _, err := w.Append([]byte(lines[q.QueryID])); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Mark(w.End()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, dir)
	wantAll(t, db, lines)
	closeDB(t, db)
	wantNeedsRecovery(t, dir, false)
}
