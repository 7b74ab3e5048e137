package evidence_test

import (
	"testing"

	"github.com/auditsql/auditsql/evidence"
)

// A record among 100,000, with the signatures of the log and of one witness.
func BenchmarkVerify(b *testing.B) {
	l := newLog(b, origin, 'l').grow(100_000)
	w := newWitness("witness.example.com", '1')
	policy := l.policy("witness one "+w.public, "quorum one")
	signed := l.head(100_000)
	proof := l.proof(77_777, 100_000, append(signed, w.cosign(signed, 5)...))
	b.ReportAllocs()
	for b.Loop() {
		if v := evidence.Verify(l.records[77_777], proof, policy); v.Outcome != evidence.Proven {
			b.Fatal(v.Err())
		}
	}
}
