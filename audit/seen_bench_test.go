package audit

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// The benchmarks of this file are inside the package: outside, the filter and the columns show only as a
// share of a put.

func benchID(no int) (id QueryID) {
	binary.LittleEndian.PutUint64(id[:], uint64(no)*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(id[24:], uint64(no))
	return id
}

// BenchmarkSeen is the look at the filter that every put begins with, for an id that is new, and the entry of
// one that was applied.
func BenchmarkSeen(b *testing.B) {
	for _, held := range []int{10_000, 1_000_000} {
		s := newSeen()
		for i := range held {
			s.add(benchID(i))
		}
		s.complete.Store(true)
		b.Run(fmt.Sprintf("new/held=%d", held), func(b *testing.B) {
			no, needless := held, 0
			for b.Loop() {
				if no++; s.maybe(benchID(no)) {
					needless++
				}
			}
			b.ReportMetric(100*float64(needless)/float64(b.N), "%needless")
		})
	}
	b.Run("add", func(b *testing.B) {
		s, no := newSeen(), 0
		for b.Loop() {
			no++
			s.add(benchID(no))
		}
	})
}

// BenchmarkRow takes a record apart into columns: out of a record that was put, and out of the journal's bytes as
// replay has to.
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
			toRow(&q, raw)
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
