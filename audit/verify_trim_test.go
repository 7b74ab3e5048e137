package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/wal"
)

// elsewhere is the file system of another process than the writer's. It calls step before each listing of a folder
// and each opening of a file, so that the writer gets on between any two of them.
type elsewhere struct {
	wal.FS
	step func()
}

func (e *elsewhere) List(dir string) ([]string, error) {
	e.step()
	return e.FS.List(dir)
}

func (e *elsewhere) Open(name string) (wal.File, error) {
	e.step()
	return e.FS.Open(name)
}

// A writer that keeps nothing goes on while another process verifies: what it trims meanwhile is no problem.
func TestVerifyBesideAWriterThatKeepsNothing(t *testing.T) {
	t.Parallel()
	var midway atomic.Bool // a segment was trimmed between two that verify has read
	t.Cleanup(func() {
		if !midway.Load() {
			t.Error("nothing was trimmed in the middle of the walk")
		}
	})
	for quick, calls := range map[bool][]int{false: {1, 5, 11, 15, 18, 21}, true: {1, 5, 15}} {
		for _, when := range calls {
			for _, often := range []bool{false, true} {
				t.Run(fmt.Sprintf("quick %v, call %d, often %v", quick, when, often), func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir() + "/store"
					db := openDB(t, dir, audit.WithSegmentBytes(3000), audit.WithRetention(audit.RetainNone))
					putSamples(t, db, 0, 40) // stays in the journal until a checkpoint

					calls, next := 0, 40
					var on atomic.Bool
					fsys := &elsewhere{FS: wal.OS, step: func() {
						if !on.Load() {
							return
						}
						if calls++; calls != when && (!often || calls < when || calls > when+5) {
							return
						}
						// The second checkpoint trims up to the first one.
						for range 2 {
							putSamples(t, db, next, next+20)
							next += 20
							wantRoom(t, db)
							if err := audit.Checkpoint(db); err != nil {
								t.Error(err)
							}
						}
					}}
					reader := openDB(t, dir, audit.ReadOnly(), audit.WithJournalFS(fsys))
					if _, err := reader.Stats(context.Background()); err != nil {
						t.Fatal(err)
					}
					on.Store(true)
					rep, err := reader.Verify(context.Background(), audit.VerifyOptions{Quick: quick})
					on.Store(false)
					if err != nil {
						t.Fatal(err)
					}
					if !rep.OK() || calls < when {
						t.Errorf("after %d calls: %d problems: %s", calls, rep.Total, strings.Join(rep.Problems, "\n"))
					}
					noted := strings.Contains(strings.Join(rep.Notes, "\n"), "trimmed by a writer")
					if noted {
						midway.Store(true)
					}
					if noted != (len(rep.Journal.Trimmed) > 0) {
						t.Errorf("trimmed %v, and notes %q", rep.Journal.Trimmed, rep.Notes)
					}
					closeDB(t, db)
					// With nobody beside it, all is well too.
					if rep := must(openDB(t, dir, audit.ReadOnly()).Verify(context.Background(), audit.VerifyOptions{})); !rep.OK() || len(rep.Journal.Trimmed) > 0 {
						t.Errorf("afterwards: %+v", rep)
					}
				})
			}
		}
	}
}

// A journal that does not begin with the first record is noted, with the records that are in SQLite alone. It is no problem: the store
// trims it itself. When its retention does not explain that, the note says so.
func TestVerifySaysWhereTheJournalBegins(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	const unexplained = "does not explain that"
	removed, _ := closedStore(t, 0, 40, audit.WithSegmentBytes(4000))
	first := must(wal.Segments(filepath.Join(removed, "wal"), wal.Options{}))
	if err := os.Remove(first[0].Path); err != nil {
		t.Fatal(err)
	}
	trimmed, _ := trimmedStore(t, 40)
	whole, _ := closedStore(t, 0, 40)
	for name, c := range map[string]struct {
		dir                string
		noted, unexplained bool
	}{"removed": {removed, true, true}, "trimmed": {trimmed, true, false}, "whole": {whole, false, false}} {
		for _, quick := range []bool{false, true} {
			report := must(audit.Verify(t.Context(), c.dir, audit.VerifyOptions{Quick: quick}))
			notes := strings.Join(report.Notes, "\n")
			want := fmt.Sprintf("the journal begins at offset %d: %d records before it are in SQLite alone", report.Journal.First, report.Audits-report.Matched)
			if quick {
				want = fmt.Sprintf("the journal begins at offset %d: the records before it are in SQLite alone", report.Journal.First)
			}
			if !report.OK() || strings.Contains(notes, want) != c.noted || strings.Contains(notes, unexplained) != c.unexplained {
				t.Errorf("%s, quick %v: problems %q, notes %q, want %q", name, quick, report.Problems, notes, want)
			}
		}
	}
}
