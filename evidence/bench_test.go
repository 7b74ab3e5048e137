package evidence_test

import (
	"bytes"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
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

// Each iteration is an export of 50,000 records of 1.1 kB. The rate is that of all processors together.
func BenchmarkVerifyExport(b *testing.B) {
	const n = 50_000
	l := newLog(b, origin, 'l')
	record := append(bytes.Repeat([]byte("r"), 1099), '\n')
	export := bytes.Repeat(record, n)
	for range n {
		l.edge.Append(tree.LeafHash(record[:len(record)-1]))
	}
	signed, err := evidence.Sign(evidence.Checkpoint{Origin: origin, Size: n, Root: l.edge.Root()}, l.signer)
	if err != nil {
		b.Fatal(err)
	}
	policy := l.policy("quorum none")
	b.SetBytes(int64(len(export)))
	b.ReportAllocs()
	for b.Loop() {
		if v := evidence.VerifyExport(bytes.NewReader(export), signed, policy); v.Outcome != evidence.Proven {
			b.Fatal(v.Err())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}
