package web

import (
	"errors"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// A hub that has dropped records says so to a tail that has not seen them, and has everything after that.
func TestAHubKnowsWhatItHasDropped(t *testing.T) {
	h := &hub{ready: true, changed: make(chan struct{})}
	const n = hubRecords + 100
	for i := range n {
		h.add(audit.TailRecord{Offset: audit.Offset(10 * i), Next: audit.Offset(10*i + 10)})
	}
	for i := range n {
		at := audit.Offset(10 * i)
		records, _, err := h.from(at)
		if dropped := i < n-hubRecords; dropped != errors.Is(err, errCatchUp) || dropped == h.has(at) {
			t.Fatalf("record %d of %d: %v, and has it: %v", i, n, err, h.has(at))
		} else if !dropped && (err != nil || records[0].Offset != at) {
			t.Fatalf("record %d: %v, %v", i, records, err)
		}
	}
	large := audit.TailRecord{Offset: 10 * n, Next: 10*n + 10, Raw: make([]byte, hubBytes+1)}
	h.add(large)
	if records, _, err := h.from(large.Offset); err != nil || len(records) != 1 || len(h.records) != 1 {
		t.Errorf("%d records, %v", len(h.records), err)
	}
}
