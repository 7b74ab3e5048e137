package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// Where a hundred pieces of evidence came and a hundred went, the page says so in its heading and shows some of
// both, and all that is not Approved: otherwise question and answer scroll away.
func TestDiffOfMuchEvidenceFitsAPage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for n := range byte(2) {
		q := audit.QueryAudit{Timestamp: uint64(noon.UnixMilli()) + uint64(n), ResultConfidence: 0.5}
		for i := range byte(100) {
			c := audit.ContributingAssertion{AssertionHash: audit.Hash{n + 1, i}, Weight: 1 - float32(i)/128, Lifecycle: audit.Approved}
			if n == 1 && i == 99 {
				c.Lifecycle = audit.Proposed
			}
			q.ContributingAssertions = append(q.ContributingAssertions, c)
		}
		id, err := db.PutAudit(context.Background(), &q)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id.String())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	shown, _ := onTerminal(t, 80, false, "-d", dir, "diff", ids[0], ids[1])
	for want, n := range map[string]int{
		"evidence (100 came, 100 went, 0 as before)\n": 1, "\n  +  ": 21, "\n  -  ": 20, "Proposed": 1,
		"  (159 more, 0 of them not Approved; -o plain has all)\n": 1,
	} {
		if got := strings.Count(shown, want); got != n {
			t.Errorf("%q is there %d times, want %d, in\n%s", want, got, n, shown)
		}
	}
}
