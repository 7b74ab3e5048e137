package audit_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// An opening after a kill says how far the replay is, and one that has nothing to replay says nothing. While it goes on, a reader
// shows what SQLite has.
func TestAReplaySaysHowFarItIs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	putSamples(t, db, 0, 10)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := openShell(t, dir)
	s.do("BEGIN IMMEDIATE") // nothing can be applied
	const n = 4000
	results, err := db.PutAudits(t.Context(), samples(10, n))
	if err != nil || len(results) != n-10 {
		t.Fatal(len(results), err)
	}
	left := killed(t, dir)
	s.do("ROLLBACK")

	var done, total []uint64
	var log strings.Builder
	again := openDB(t, left, audit.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), audit.WithReplayProgress(func(d, n uint64) {
		done, total = append(done, d), append(total, n)
		reader, err := audit.Open(left, audit.ReadOnly())
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		if _, err := reader.GetAudit(t.Context(), sample(3).QueryID); err != nil {
			t.Error(err)
		}
	}))
	last := len(done) - 1
	if last < 1 || done[0] != 0 || done[last] != total[0] || total[last] != total[0] || total[0] < 1<<20 {
		t.Errorf("%d of %d", done, total)
	}
	for i := range last {
		if done[i] > done[i+1] {
			t.Errorf("%d after %d", done[i+1], done[i])
		}
	}
	if !strings.Contains(log.String(), "replaying the journal into SQLite") {
		t.Errorf("the log: %s", &log)
	}
	if again.Recovery().Replayed != n-10 {
		t.Errorf("replayed %d", again.Recovery().Replayed)
	}
	closeDB(t, again)
	closeDB(t, openDB(t, left, audit.WithReplayProgress(func(done, total uint64) { t.Errorf("after a clean end: %d of %d", done, total) })))
}
