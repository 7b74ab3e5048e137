package audit

import "testing"

// BenchmarkRow turns a record into columns: from a record that was put, and from the journal's bytes as replay does. It
// is inside the package: outside, this shows only as a share of a put.
func BenchmarkRow(b *testing.B) {
	agent, subject := AgentID{1}, "supplier/Northwind"
	q := QueryAudit{QueryID: QueryID{2}, AgentID: &agent, Timestamp: 1_795_000_000_000, Params: QueryParams{Subject: &subject},
		ResultConfidence: 0.62, Attributes: map[string]any{"trace_id": "pay-20931", "model": "planner-3"}}
	for i := range 3 {
		q.ContributingAssertions = append(q.ContributingAssertions,
			ContributingAssertion{AssertionHash: Hash{byte(i)}, Weight: 0.38, SourceHash: Hash{9}, Lifecycle: Approved})
	}
	raw, err := q.Canonical()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("put", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			toRow(&q)
		}
	})
	b.Run("replayed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := rowOf(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}
