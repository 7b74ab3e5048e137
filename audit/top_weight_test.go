package audit_test

import (
	"context"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// Sums of floats depend on their order: those of one source are the same each time, and those of ImpactTotals.
func TestTopWeighsTheSameEachTime(t *testing.T) {
	ctx := context.Background()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	source := audit.Hash{9}
	var records []*audit.QueryAudit
	for i := range 40 {
		agent := audit.AgentID{1, byte(i)}
		records = append(records, &audit.QueryAudit{
			AgentID: &agent, Timestamp: uint64(1000 + i), ResultConfidence: 0.5,
			ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: audit.Hash{2, byte(i)}, SourceHash: source, Weight: 1 / float32(i+3)}},
		})
	}
	if _, err := db.PutAudits(ctx, records); err != nil {
		t.Fatal(err)
	}
	totals, err := db.ImpactTotals(ctx, source, audit.ImpactOptions{Source: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		top, err := db.Top(ctx, audit.TopOptions{By: audit.TopSources})
		if err != nil {
			t.Fatal(err)
		}
		if len(top.Entries) != 1 || top.Entries[0].Weight != totals.Weight {
			t.Fatalf("got %+v, want one that weighs %v", top.Entries, totals.Weight)
		}
	}
}
