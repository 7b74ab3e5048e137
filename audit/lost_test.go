package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/wal"
)

// files lists everything below a folder; the lock, which may stay after a refusal, is left out.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Base(path) != "LOCK" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// wantGone checks that a store that has lost something is refused however often it is opened, and that
// nothing is made in its place.
func wantGone(t *testing.T, dir string, around string) {
	t.Helper()
	before := files(t, around)
	for range 2 {
		if _, err := audit.Open(dir); !errors.Is(err, wal.ErrGap) || !strings.Contains(err.Error(), "backup") {
			t.Fatalf("got %v", err)
		}
		if after := files(t, around); !slices.Equal(before, after) {
			t.Fatalf("there was %q, now there is %q", before, after)
		}
	}
}

func TestALostDatabaseAndJournalMakeNoEmptyStore(t *testing.T) {
	for _, retention := range []audit.Retention{audit.RetainAll, audit.RetainNone} {
		t.Run(retention.String(), func(t *testing.T) {
			dir, _ := closedStore(t, 0, 50, audit.WithSegmentBytes(4000), audit.WithRetention(retention))
			removeSQLite(t, dir)
			segments, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
			if err != nil || len(segments) == 0 {
				t.Fatal(segments, err)
			}
			for _, name := range segments {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			wantGone(t, dir, dir)
		})
	}
}

// A segment that is deleted before SQLite has what was acknowledged in it leaves a store that seems to be new.
func TestSegmentsLostBeforeSQLiteHadThemAreMissed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := audit.Init(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range must(filepath.Glob(filepath.Join(dir, "wal", "*.wal"))) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	var away *audit.JournalAwayError
	if _, err := audit.NeedsRecovery(t.Context(), dir); !errors.As(err, &away) || !away.Empty {
		t.Fatalf("got %v", err)
	}
	wantGone(t, dir, dir)
}

func TestAJournalFolderThatIsGoneIsNotMade(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	dir, lines := closedStore(t, 0, 10, audit.WithJournalDir(filepath.Join(disk, "journal")))
	around := filepath.Dir(disk)
	if err := os.Rename(disk, disk+" that is not mounted"); err != nil {
		t.Fatal(err)
	}
	wantGone(t, dir, around)
	// With the database lost as well, there is even less to start from.
	lost := killed(t, dir)
	removeSQLite(t, lost)
	wantGone(t, lost, around)
	if err := os.Rename(disk+" that is not mounted", disk); err != nil {
		t.Fatal(err)
	}
	wantAll(t, openDB(t, dir), lines)
}

func TestAJournalAloneIsNotLeftForAnother(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	q := sample(1)
	w, end := newForeignJournal(t, filepath.Join(dir, "wal"), 1<<20)
	w(canonical(t, &q))
	end()
	before := files(t, dir)
	if _, err := audit.Open(dir, audit.WithJournalDir(elsewhere)); !errors.Is(err, audit.ErrMismatch) {
		t.Fatalf("got %v", err)
	}
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Fatalf("left over: %q", after)
	}
	if _, err := os.Stat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("the other folder was made")
	}
	wantAll(t, openDB(t, dir), map[audit.QueryID]string{q.QueryID: canonical(t, &q)})
}

func TestStoreFileKeepsItsMode(t *testing.T) {
	dir, _ := closedStore(t, 0, 1)
	name := filepath.Join(dir, "store.json")
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	want := func(when string) {
		t.Helper()
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o640 {
			t.Fatalf("%s: %v, %v", when, st.Mode(), err)
		}
	}
	db := openDB(t, dir)
	want("open")
	putSamples(t, db, 1, 2)
	closeDB(t, db)
	want("closed")
}

func TestReadsAfterCloseSayClosed(t *testing.T) {
	dir, _ := closedStore(t, 0, 3)
	ctx, q := context.Background(), sample(0)
	for name, opts := range map[string][]audit.Option{"writer": nil, "reader": {audit.ReadOnly()}} {
		db := openDB(t, dir, opts...)
		closeDB(t, db)
		for call, do := range map[string]func() error{
			"GetAudit":          func() error { _, err := db.GetAudit(ctx, q.QueryID); return err },
			"GetRaw":            func() error { _, err := db.GetRaw(ctx, q.QueryID); return err },
			"Resolve":           func() error { _, err := db.Resolve(ctx, q.QueryID.String()); return err },
			"ListRecent":        func() error { _, err := db.ListRecent(ctx, 1); return err },
			"AuditsForAgent":    func() error { _, err := db.AuditsForAgent(ctx, *q.AgentID, 0, audit.Unbounded, 1); return err },
			"HasAuditsForAgent": func() error { _, err := db.HasAuditsForAgent(ctx, *q.AgentID); return err },
			"Stats":             func() error { _, err := db.Stats(ctx); return err },
			"Verify":            func() error { _, err := db.Verify(ctx, audit.VerifyOptions{}); return err },
			"Backup":            func() error { _, err := db.Backup(ctx, filepath.Join(t.TempDir(), "copy")); return err },
			"RawAudits": func() (last error) {
				for _, last = range db.RawAudits(ctx, audit.Filter{}) {
				}
				return last
			},
			"Audits": func() (last error) {
				for _, last = range db.Audits(ctx, audit.Filter{ByAdmission: true}) {
				}
				return last
			},
			"Tail": func() (last error) {
				for _, last = range db.Tail(ctx, 1, false) {
				}
				return last
			},
		} {
			if err := do(); !errors.Is(err, audit.ErrClosed) {
				t.Errorf("%s of a closed %s: %v", call, name, err)
			}
		}
	}
}

// Nothing says how much of a journal was to be kept when it is all that is left of a store. So nothing of it is removed.
func TestAJournalThatIsAllThatIsLeftIsKept(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	whole, lines := closedStore(t, 0, 50, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainAll))
	for name, c := range map[string]struct {
		opts []audit.Option
		kept audit.Retention
		said string
	}{
		"nothing was asked for":      {nil, audit.RetainAll, "store.json is missing: it was made again from what the journal says; all of the journal is kept until init --wal-retain says otherwise"},
		"the caller says what stays": {[]audit.Option{audit.WithRetention(1 << 20)}, 1 << 20, "store.json is missing: it was made again from what the journal says"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, whole)
			removeSQLite(t, dir)
			if err := os.Remove(filepath.Join(dir, "store.json")); err != nil {
				t.Fatal(err)
			}
			db := openDB(t, dir, c.opts...)
			if rec := db.Recovery(); !rec.Rebuilt || !slices.Contains(rec.Notes, c.said) {
				t.Errorf("%+v", rec)
			}
			if kept := must(db.Stats(t.Context())).Retention; kept != c.kept {
				t.Errorf("%s is kept", kept)
			}
			wantAll(t, db, lines)
			wantSound(t, db)
		})
	}
}

// A store whose store.json and database are lost, and whose journal was trimmed, is refused. That must not make the store look new: a
// database that is put back is checked.
func TestARefusedOpeningKeepsTheDoubtAboutADatabaseThatComesBack(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, lines := trimmedStore(t, 60)
	away := t.TempDir()
	if err := os.Rename(filepath.Join(dir, "audit.db"), filepath.Join(away, "audit.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "store.json")); err != nil {
		t.Fatal(err)
	}
	wantGone(t, dir, dir)
	restore(t, dir, away, "audit.db")
	db := openDB(t, dir)
	if rec := db.Recovery(); !rec.Checked {
		t.Errorf("%+v", rec)
	}
	if kept := must(db.Stats(t.Context())).Retention; kept != audit.RetainAll {
		t.Errorf("%s is kept", kept)
	}
	wantAll(t, db, lines)
}

// Nothing says where the records of such a journal were acknowledged. A damaged one in its middle takes no other with it.
func TestAJournalThatIsAllThatIsLeftKeepsWhatIsIntact(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, lines := closedStore(t, 0, 0)
	db := openDB(t, dir)
	for i := range 12 { // a group each, and no mark
		maps.Copy(lines, putSamples(t, db, i, i+1))
	}
	closeDB(t, db)
	removeSQLite(t, dir)
	if err := os.Remove(filepath.Join(dir, "store.json")); err != nil {
		t.Fatal(err)
	}
	id, at, _ := corruptRecord(t, dir, 4)
	delete(lines, id)
	db = openDB(t, dir)
	said := fmt.Sprintf("%d bytes of the journal at offset %d are damaged", at.Next-at.Offset, at.Offset)
	if notes := strings.Join(db.Recovery().Notes, "\n"); !strings.Contains(notes, said) {
		t.Errorf("notes %q, want %q", notes, said)
	}
	wantAll(t, db, lines)
	if report := must(db.Verify(t.Context(), audit.VerifyOptions{})); !report.OK() || !strings.Contains(strings.Join(report.Notes, "\n"), "repaired gaps") {
		t.Errorf("%q, notes %q", report.Problems, report.Notes)
	}
}
