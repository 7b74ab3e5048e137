package audit_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/wal"
)

var lives = flag.Int("lives", 150, "how many lives of a store TestShortLivesKeepLittleJournal counts")

// A store that is only ever open for one import trims all the same: the checkpoint before the newest may be of an
// earlier life.
func TestShortLivesKeepLittleJournal(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	n := *lives
	if testing.Short() {
		n = min(n, 20)
	}
	for life := range n {
		db := openDB(t, dir, audit.WithSegmentBytes(1000), audit.WithRetention(audit.RetainNone))
		putSamples(t, db, 3*life, 3*life+3)
		closeDB(t, db)
		if segs := must(wal.Segments(filepath.Join(dir, "wal"), wal.Options{})); len(segs) > 3 {
			t.Fatalf("life %d: %d segments are left", life, len(segs))
		}
	}
}

// A checkpoint of an earlier life is nothing to trim by while SQLite is in doubt: it may be the one that went wrong.
func TestADoubtedDatabaseStartsCountingAnew(t *testing.T) {
	t.Parallel()
	dir, lines := trimmedWithoutWAL(t)
	began := must(wal.Segments(filepath.Join(dir, "wal"), wal.Options{}))[0].Base
	db := openDB(t, dir)
	if !db.Recovery().Checked {
		t.Fatalf("%+v", db.Recovery())
	}
	first := func() wal.Offset { return must(db.Stats(context.Background())).JournalFirst }
	if now := first(); now != began {
		t.Errorf("after the first checkpoint of this opening the journal begins at %d; it began at %d", now, began)
	}
	maps.Copy(lines, putSamples(t, db, 200, 240))
	wantRoom(t, db)
	if err := audit.Checkpoint(db); err != nil {
		t.Fatal(err)
	}
	if now := first(); now == began {
		t.Errorf("after two checkpoints of this opening the journal still begins at %d", now)
	}
	wantAll(t, db, lines)
}

// SQLite and the journal were both put back to yesterday's, beside the store.json of today: every opening refuses that,
// and so does verify.
func TestVerifyFindsWhatOpeningRefuses(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 40)
	yesterday := killed(t, dir)
	db := openDB(t, dir)
	putSamples(t, db, 40, 80)
	closeDB(t, db)
	restore(t, dir, yesterday, "audit.db", "audit.db-wal", "audit.db-shm", "wal")
	if _, err := audit.Open(dir); err == nil {
		t.Fatal("it opens")
	}
	for _, quick := range []bool{true, false} {
		report, err := audit.Verify(t.Context(), dir, audit.VerifyOptions{Quick: quick})
		if err != nil || !strings.Contains(fmt.Sprint(report.Problems), "opening the store is refused: ") {
			t.Errorf("quick %v: %q, %v", quick, report.Problems, err)
		}
	}
}

// A disk may lose the end of a -wal that it was never made to keep, after somebody has copied its pages into the
// database. What is left of it puts older pages over newer ones.
func TestAWALThatHasLostItsEndIsNotPutOverNewerPages(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 60)
	db := openDB(t, dir)
	for i := range 8 { // each is a commit
		maps.Copy(lines, putSamples(t, db, 60+10*i, 70+10*i))
		wantRoom(t, db)
	}
	left := killed(t, dir)
	checkpointPart(t, left, func(int, int) bool { return true })
	log := filepath.Join(left, "audit.db-wal")
	st := must(os.Stat(log))
	if err := os.Truncate(log, walHeader+(st.Size()-walHeader)/walFrame/2*walFrame); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(left, "audit.db-shm")); err != nil {
		t.Fatal(err)
	}
	after := openDB(t, left)
	if rec := after.Recovery(); !rec.Rebuilt {
		t.Errorf("%+v", rec)
	}
	wantAll(t, after, lines)
}

// After a complete checkpoint a shell with synchronous=OFF begins -wal anew, and a power cut leaves what it likes of that. SQLite
// then reads the beginning of the former -wal, whose pages are older than those of the database. The journal was trimmed, so the
// database cannot be rebuilt, and need not: it is whole without its -wal.
func TestADatabaseIsUsedWithoutAWALThatDoesNotFitIt(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir, lines := closedStore(t, 0, 60, audit.WithSegmentBytes(4000), audit.WithRetention(audit.RetainNone))
	db := openDB(t, dir)
	for i := range 8 { // each is a commit
		maps.Copy(lines, putSamples(t, db, 60+10*i, 70+10*i))
		wantRoom(t, db)
	}
	if err := audit.Checkpoint(db); err != nil {
		t.Fatal(err)
	}
	maps.Copy(lines, putSamples(t, db, 140, 141)) // in the journal
	left := killed(t, dir)
	whole := must(os.ReadFile(filepath.Join(left, "audit.db-wal")))
	frames, aside := (len(whole)-walHeader)/walFrame, 0
	for n := 1; n < frames; n += 1 + frames/20 {
		left := killed(t, left)
		if err := os.WriteFile(filepath.Join(left, "audit.db-wal"), whole[:walHeader+n*walFrame], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(left, "audit.db-shm")); err != nil {
			t.Fatal(err)
		}
		after, err := audit.Open(left, audit.WithReads(audit.Acknowledged))
		if err != nil {
			t.Errorf("with the first %d of %d frames: %v", n, frames, err)
			continue
		}
		if rec := after.Recovery(); rec.Checked && strings.Contains(strings.Join(rec.Notes, "\n"), "the -wal of audit.db did not fit it") {
			aside++
		}
		wantAll(t, after, lines)
		wantSound(t, after)
		closeDB(t, after)
	}
	if aside == 0 {
		t.Error("there was no -wal that did not fit")
	}
}

// An older database beside the -wal of today can look whole, when all that has changed since is in pages that -wal has,
// but for a label.
func TestAnOlderDatabaseBesideANewerWALIsNoticed(t *testing.T) {
	t.Parallel()
	dir, lines := closedStore(t, 0, 40)
	old := killed(t, dir)
	db := openDB(t, dir)
	if err := db.PutLabels(t.Context(), []audit.Label{{Hash: hashOf("agent", "0"), Label: "Bob"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		maps.Copy(lines, putSamples(t, db, 40+i, 41+i))
		wantRoom(t, db)
		if i == 0 {
			if err := audit.Checkpoint(db); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := killed(t, dir)
	restore(t, left, old, "audit.db")
	after := openDB(t, left)
	if rec := after.Recovery(); !rec.Rebuilt {
		t.Errorf("%+v", rec)
	}
	wantAll(t, after, lines)
}

// A segment that is cut under the writer reads like one that a crash has left half written. The writer knows what it had
// acknowledged, and notes it when it stops, whoever has noticed the cut: the next opening cuts nothing off.
func TestWhatAJournalThatFailedHadSyncedIsRemembered(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	const large, count = 8 << 20, 12 // more than the applier takes into memory before it has applied the first
	for name, noticed := range map[string]func(*testing.T, *audit.DB) error{
		"the writer notices": func(t *testing.T, db *audit.DB) error {
			_, err := db.PutAudit(t.Context(), ptr(sample(60)))
			return err
		},
		"the applier notices": func(*testing.T, *audit.DB) error { return wal.ErrFailed },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, lines := closedStore(t, 0, 20)
			db := openDB(t, dir, audit.WithSegmentBytes(1<<30))
			maps.Copy(lines, putSamples(t, db, 20, 25))
			wantRoom(t, db)
			end := must(db.Stats(t.Context())).Applied
			audit.AtRest(db, func() { // nothing is applied meanwhile
				for i := range count {
					q := sample(25 + i)
					q.Attributes["large"] = strings.Repeat("x", large)
					q.QueryID = must(q.ID())
					id, err := db.PutAudit(t.Context(), &q)
					if err != nil {
						t.Fatal(err)
					}
					if i < count-1 {
						lines[id] = canonical(t, &q)
					}
				}
				segs := must(wal.Segments(filepath.Join(dir, "wal"), wal.Options{}))
				last := segs[len(segs)-1]
				inTheLast := int64(end-last.Base) + (count-1)*large + large/2
				if err := os.Truncate(last.Path, inTheLast); err != nil {
					t.Fatal(err)
				}
				if err := noticed(t, db); !errors.Is(err, wal.ErrFailed) {
					t.Fatalf("acknowledged into a segment that was cut: %v", err)
				}
			})
			if err := db.Close(); err == nil {
				t.Fatal("closed as if nothing had been cut")
			}
			for range 2 {
				var corrupt *wal.CorruptError
				if _, err := audit.Open(dir); !errors.As(err, &corrupt) && !errors.Is(err, wal.ErrAhead) {
					t.Fatalf("opened as if nothing acknowledged were missing: %v", err)
				}
			}
			// SQLite lacks what was not applied yet. That does not make the journal another store's.
			for _, apply := range []bool{false, true} {
				if rep := repair(t, dir, apply); len(rep.Ranges) != 1 {
					t.Errorf("one range is damaged, the report has %+v", rep.Ranges)
				}
			}
			after := openDB(t, dir)
			open := sample(60) // it was not acknowledged, and may be there
			if has, err := after.GetRaw(t.Context(), open.QueryID); err == nil {
				lines[open.QueryID] = string(has)
			}
			wantAll(t, after, lines)
		})
	}
}

// The end of a journal may be lost together with its marks, and SQLite need not have it yet. What had been synced at the last
// checkpoint is missed all the same.
func TestTheEndOfAJournalIsMissed(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	store, lines := closedStore(t, 0, 20)
	db := openDB(t, store, audit.WithSegmentBytes(64<<10))
	maps.Copy(lines, putSamples(t, db, 20, 30))
	wantRoom(t, db)
	var left string
	audit.AtRest(db, func() { // nothing is applied meanwhile
		for i := 30; i < 130; i++ {
			maps.Copy(lines, putSamples(t, db, i, i+1))
		}
		if err := audit.CheckpointAtRest(db); err != nil {
			t.Fatal(err)
		}
		left = killed(t, store)
	})
	wantAll(t, openDB(t, killed(t, left)), lines)
	for name, lose := range map[string]func(seg wal.Segment) error{
		"the newest segment is gone": func(seg wal.Segment) error { return os.Remove(seg.Path) },
		"it is empty":                func(seg wal.Segment) error { return os.Truncate(seg.Path, 0) },
		"its end is cut": func(seg wal.Segment) error {
			reader, err := wal.OpenReader(filepath.Dir(seg.Path), seg.Base, wal.Options{})
			if err != nil {
				return err
			}
			defer reader.Close()
			if _, err := reader.Next(t.Context()); err != nil {
				return err
			}
			return os.Truncate(seg.Path, int64(reader.Offset()-seg.Base))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killed(t, left)
			segs := must(wal.Segments(filepath.Join(dir, "wal"), wal.Options{}))
			if err := lose(segs[len(segs)-1]); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			var corrupt *wal.CorruptError
			for range 2 {
				if _, err := audit.Open(dir); !errors.As(err, &corrupt) && !errors.Is(err, wal.ErrAhead) {
					t.Fatalf("opened as if nothing acknowledged were missing: %v", err)
				}
			}
			if after := contents(t, dir); !maps.Equal(after, before) {
				t.Error("what was refused has changed something")
			}
			rep := repair(t, dir, true)
			if rep.Journal.Lost() == 0 {
				t.Errorf("%+v", rep)
			}
			after := openDB(t, dir)
			if n, err := count(after.RawAudits(t.Context(), audit.Filter{})); n < 30 || n >= len(lines) || err != nil {
				t.Errorf("%d records, %v", n, err)
			}
			wantSound(t, after)
		})
	}
}
