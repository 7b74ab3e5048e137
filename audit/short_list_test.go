package audit_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// A short list by time reads an index and the records alone, in a writer and in a reader. It stays right where table entry is wrong.
func TestAShortListNeedsNoEntries(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	lines := putSamples(t, db, 0, 60)
	if found := must(db.ListRecent(context.Background(), 60)); len(found) != 60 {
		t.Fatalf("%d records", len(found))
	}
	if err := db.AwaitApplied(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := openShell(t, dir)
	s.unguarded(`UPDATE entry SET query_id = zeroblob(32) WHERE idx < 59`)
	s.exit()
	for name, db := range map[string]*audit.DB{"writer": db, "reader": openDB(t, dir, audit.ReadOnly())} {
		agent := *sample(4).AgentID
		found := must(db.AuditsForAgent(context.Background(), agent, sample(4).Timestamp, audit.Unbounded, 5))
		for i, q := range append(found, must(db.ListRecent(context.Background(), 5))...) {
			want := sample(4 + 3*i)
			if i >= 5 {
				want = sample(59 - (i - 5))
			}
			if q.QueryID != want.QueryID || canonical(t, &q) != lines[q.QueryID] {
				t.Errorf("%s: record %d is %s", name, i, q.QueryID)
			}
		}
	}
}
