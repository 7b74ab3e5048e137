package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

// closedBesideReader leaves a store that was closed while a shell read an earlier state of it, and the shell.
func closedBesideReader(t *testing.T) (dir string, lines map[audit.QueryID]string, s *shell) {
	t.Helper()
	dir, lines = closedStore(t, 0, 60)
	db := openDB(t, dir)
	s = openShell(t, dir)
	s.do("BEGIN")
	s.ask("SELECT count(*) FROM kv")
	for id, line := range putSamples(t, db, 60, 90) {
		lines[id] = line
	}
	closeDB(t, db)
	if db.CloseNote() == "" {
		t.Fatal("the close says nothing of the reader")
	}
	return dir, lines, s
}

// A shell that reads while the store closes takes -wal away when it goes. That is no reason to rebuild anything.
func TestAReaderThatOutlivesTheWriterCostsNoRebuild(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"the reader goes", "the reader stays"} {
		t.Run(end, func(t *testing.T) {
			dir, lines, s := closedBesideReader(t)
			s.do("COMMIT")
			if end == "the reader goes" {
				s.exit()
				if _, err := os.Stat(filepath.Join(dir, "audit.db-wal")); err == nil {
					t.Skip("this shell leaves -wal")
				}
			}
			db := openDB(t, dir)
			if rec := db.Recovery(); rec.Rebuilt || rec.Checked || rec.Aside != "" {
				t.Errorf("%+v", rec)
			}
			wantAll(t, db, lines)
			if end == "the reader stays" {
				s.exit()
			}
			closeDB(t, db)
			if note := db.CloseNote(); note != "" {
				t.Error(note)
			}
			if rec := openDB(t, dir).Recovery(); len(rec.Notes) > 0 {
				t.Errorf("%+v", rec)
			}
		})
	}
}

// Somebody has removed -wal, and only a part of what it held had been copied, the cursor among it.
func TestWhatAReaderWasLeftWithIsNotBelievedUnseen(t *testing.T) {
	t.Parallel()
	dir, lines, s := closedBesideReader(t)
	left := killed(t, dir)
	s.exit()
	pages, _ := walPages(t, left)
	some := 0
	checkpointPart(t, left, func(i, n int) bool {
		some++
		return i != n/2 // one page is missing, and not the end of the file
	})
	if some != len(pages) {
		t.Fatal(some, len(pages))
	}
	for _, name := range []string{"audit.db-wal", "audit.db-shm"} {
		if err := os.Remove(filepath.Join(left, name)); err != nil {
			t.Fatal(err)
		}
	}
	db := openDB(t, left)
	// It was examined before it was opened: an opening that runs into a damaged page by chance says something else.
	if rec := db.Recovery(); !rec.Rebuilt || !strings.Contains(fmt.Sprint(rec.Notes), "suspect (SQLite finds: ") {
		t.Errorf("%+v", rec)
	}
	wantAll(t, db, lines)
}

// A close that cannot write store.json leaves -wal where it is: without both the next opening would have nothing to go
// by.
func TestACloseThatCannotBeNotedCostsNoRebuild(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 40)
	db := openDB(t, dir)
	for id, line := range putSamples(t, db, 40, 60) {
		lines[id] = line
	}
	wantRoom(t, db)
	inTheWay := filepath.Join(dir, "store.json.part")
	if err := os.MkdirAll(filepath.Join(inTheWay, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err == nil {
		t.Fatal("closed without a note, and without an error")
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, dir)
	if rec := db.Recovery(); rec.Rebuilt || rec.Checked {
		t.Errorf("%+v", rec)
	}
	wantAll(t, db, lines)
}

// Verify takes a database for whole that opening would take for whole.
func TestVerifyOfWhatAReaderWasLeftWith(t *testing.T) {
	t.Parallel()
	dir, _, s := closedBesideReader(t)
	s.exit()
	report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{})
	if err != nil || !report.OK() {
		t.Errorf("%q, %v", report.Problems, err)
	}
}

// However often a rebuild is interrupted, it goes on where it was: one database is moved aside, and its labels come
// along.
func TestAnInterruptedRebuildGoesOn(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	left, lines := closedStore(t, 0, 80)
	label := audit.Label{Hash: hashOf("agent", "0"), Label: "Bob"}
	db := openDB(t, left)
	if err := db.PutLabels(t.Context(), []audit.Label{label}); err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	uncleanEnd(t, left)
	interrupted := 0
	step := func(look int) int { return 1 + look/3 }
	if testing.Short() {
		step = func(look int) int { return 8 + 2*look }
	}
	for look := 0; ; look += step(look) {
		dir := killed(t, left)
		_, err := audit.Recover(endAtLook(look), dir)
		if err != nil {
			interrupted++
			if _, err := audit.Recover(endAtLook(look/2), dir); err == nil && interrupted == 1 {
				t.Error("less time was enough")
			}
		}
		db := openDB(t, dir)
		wantAll(t, db, lines)
		if labels := must(db.Labels(t.Context())).All(); len(labels) != 1 || labels[0] != label {
			t.Errorf("interrupted at look %d: labels %v", look, labels)
		}
		if asides := must(filepath.Glob(filepath.Join(dir, "aside-*"))); len(asides) != 1 {
			t.Errorf("interrupted at look %d: %d databases were moved aside", look, len(asides))
		}
		closeDB(t, db)
		if err == nil {
			break
		}
	}
	if interrupted < 3 {
		t.Errorf("interrupted %d times only", interrupted)
	}
}

// A process that cannot be ended, a shell in another window perhaps, blocks SQLite. The store closes all
// the same, says so, and ends the puts that wait for room. The next opening has everything that was acknowledged.
func TestCloseDoesNotWaitForeverForOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begin []string
		wait  string // what the log says when it is waited for
		note  string
	}{
		"a reader at the limit of -wal": {[]string{"BEGIN", "SELECT count(*) FROM kv"}, "SQLite's -wal is at its limit", "a reader of SQLite keeps its -wal at its limit"},
		"a writer":                      {[]string{"BEGIN IMMEDIATE"}, "somebody else is writing to SQLite", "somebody else holds SQLite's write lock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			logger, waiting := told(c.wait)
			db := openDB(t, dir, audit.WithBacklog(20, 0), audit.WithWALLimit(1<<20), audit.WithPatience(40, time.Millisecond), audit.WithLogger(logger))
			lines := putSamples(t, db, 0, 5)
			s := openShell(t, dir)
			s.do(c.begin...)
			ended := make(chan error)
			n := 5
			go func() {
				for {
					q := sample(n)
					if _, err := db.PutAudit(context.Background(), &q); err != nil {
						ended <- err
						return
					}
					lines[q.QueryID] = canonical(t, &q)
					n++
				}
			}()
			<-waiting
			closeDB(t, db)
			if err := <-ended; !errors.Is(err, audit.ErrClosed) {
				t.Errorf("put: %v", err)
			}
			if note := db.CloseNote(); !strings.Contains(note, c.note) {
				t.Errorf("the close says %q", note)
			}
			s.do("COMMIT")
			db = openDB(t, dir)
			if rec := db.Recovery(); rec.Replayed == 0 || rec.Rebuilt || rec.Checked || rec.Rejected > 0 {
				t.Errorf("%+v", rec)
			}
			wantAll(t, db, lines)
		})
	}
}
