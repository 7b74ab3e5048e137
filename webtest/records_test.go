package webtest

import (
	"fmt"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// incidentDay is the time of the demo's story, in milliseconds.
const incidentDay = 1_795_428_000_000 // 2026-11-23T10:00:00Z

// record returns record number no, the same every time. It has an id of its own.
func record(t testing.TB, no int) (audit.QueryID, string) {
	t.Helper()
	agent := audit.Hash{0xa9, byte(no % 7)}
	subject, predicate, lens := fmt.Sprintf("order/%d", no%97), "status", "Recency"
	approved := audit.Approved
	evidence := audit.ContributingAssertion{
		AssertionHash: audit.Hash{0xfa, byte(no % 251), byte(no >> 8)}, SourceHash: audit.Hash{0x50, byte(no % 13)}, Weight: 0.5, Lifecycle: approved,
	}
	q := &audit.QueryAudit{
		QueryID: audit.Hash{0x1d, byte(no >> 24), byte(no >> 16), byte(no >> 8), byte(no), 1}, AgentID: &agent,
		Timestamp:  incidentDay + uint64(no)*1000,
		Params:     audit.QueryParams{Subject: &subject, Predicate: &predicate, Lens: &lens, Lifecycle: &approved},
		ResultHash: &evidence.AssertionHash, ResultConfidence: 0.5,
		ContributingAssertions: []audit.ContributingAssertion{evidence},
		Attributes:             map[string]any{"no": no},
	}
	return q.QueryID, canonical(t, q)
}

func canonical(t testing.TB, q *audit.QueryAudit) string {
	t.Helper()
	raw, err := q.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// recordsFrom returns n lines.
func recordsFrom(t testing.TB, first, n int) (lines []string) {
	for no := first; no < first+n; no++ {
		_, line := record(t, no)
		lines = append(lines, line)
	}
	return lines
}
