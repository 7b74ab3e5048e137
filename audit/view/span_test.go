package view_test

import (
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
)

// When an agent has used the evidence in other records too, its span is that of the other records.
func TestTheSpanOfAnAgentsOtherUsesLeavesOutTheTracedRecord(t *testing.T) {
	t.Parallel()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	agent, rumour := audit.AgentID{1}, audit.Hash{9}
	for _, who := range []*audit.AgentID{&agent, nil} {
		var ids []audit.QueryID
		for timestamp := range uint64(4) {
			id, err := db.PutAudit(t.Context(), &audit.QueryAudit{
				AgentID: who, Timestamp: timestamp,
				ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: rumour, Weight: 1, SourceHash: audit.Hash{8}, Lifecycle: audit.Proposed}},
			})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		for i, want := range []struct{ first, last uint64 }{{1, 3}, {0, 3}, {0, 3}, {0, 2}} {
			trace, err := view.New(db, nil, nil).Trace(t.Context(), ids[i], audit.TraceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, user := range trace.Evidence[0].Others.ByAgent {
				if (user.AgentID == nil) == (who == nil) {
					found = true
					if user.Answers != 3 || user.First != want.first || user.Last != want.last {
						t.Errorf("agent %v, record %d: %+v, want %+v", who, i, user, want)
					}
				}
			}
			if !found {
				t.Errorf("agent %v, record %d: it is not among the other users", who, i)
			}
		}
	}
}

// A lifecycle is named once, wherever in the evidence it is.
func TestAnImpactedAnswerNamesEachLifecycleOnce(t *testing.T) {
	t.Parallel()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	mail := audit.Hash{8}
	var evidence []audit.ContributingAssertion
	for i, l := range []audit.Lifecycle{audit.Approved, audit.Proposed, audit.Approved} {
		evidence = append(evidence, audit.ContributingAssertion{AssertionHash: audit.Hash{byte(i + 1)}, Weight: 1, SourceHash: mail, Lifecycle: l})
	}
	if _, err := db.PutAudit(t.Context(), &audit.QueryAudit{ContributingAssertions: evidence}); err != nil {
		t.Fatal(err)
	}
	v := view.New(db, nil, nil)
	for answer, err := range v.Impact(t.Context(), mail, audit.ImpactOptions{Source: true}).Rows() {
		if err != nil || answer.Lifecycle != "Approved,Proposed" {
			t.Errorf("%q, %v", answer.Lifecycle, err)
		}
	}
}
