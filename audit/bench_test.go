package audit_test

import (
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// bigRecord has n contributions with weights of seven digits, as a ranked list of passages has.
func bigRecord(n int) audit.QueryAudit {
	q := audit.QueryAudit{
		AgentID:   ptr(hashOf("agent")),
		Timestamp: 1730419201700,
		Params: audit.QueryParams{
			Subject:   ptr("trec-rag-2024/topic/2024-224960"),
			Predicate: ptr("relevant_passages"),
			Lifecycle: ptr(audit.Approved),
			Lens:      ptr("Recency"),
		},
		ResultHash:       ptr(hashOf("winner")),
		ResultConfidence: 0.7,
	}
	for i := range n {
		q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
			AssertionHash: hashOf("assertion", string(rune('a'+i))),
			Weight:        0.7 / (1 + float32(i)/7),
			SourceHash:    hashOf("source", string(rune('a'+i/3))),
			Lifecycle:     audit.Approved,
		})
	}
	q.QueryID, _ = q.ID()
	return q
}

func benchmarkSizes(b *testing.B, run func(b *testing.B, q audit.QueryAudit, line []byte)) {
	for _, size := range []struct {
		name string
		n    int
	}{{"contributions=0", 0}, {"contributions=3", 3}, {"contributions=100", 100}} {
		b.Run(size.name, func(b *testing.B) {
			q := bigRecord(size.n)
			line, err := q.Canonical()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			run(b, q, line)
		})
	}
}

func BenchmarkAppendCanonical(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, q audit.QueryAudit, line []byte) {
		var err error
		for b.Loop() {
			if line, err = q.AppendCanonical(line[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDeriveID(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, q audit.QueryAudit, _ []byte) {
		q.QueryID = audit.QueryID{}
		for b.Loop() {
			if _, err := q.ID(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseAudit(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, _ audit.QueryAudit, line []byte) {
		for b.Loop() {
			if _, err := audit.ParseAudit(line); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseCanonical(b *testing.B) {
	benchmarkSizes(b, func(b *testing.B, _ audit.QueryAudit, line []byte) {
		for b.Loop() {
			if _, err := audit.ParseCanonical(line); err != nil {
				b.Fatal(err)
			}
		}
	})
}
