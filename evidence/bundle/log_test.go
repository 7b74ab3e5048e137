package bundle_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/tree"
)

const origin = "log.example.com/payments"

// A testLog is a log in memory: the same each time.
type testLog struct {
	t       testing.TB
	signer  *evidence.Signer
	policy  *evidence.Policy
	records [][]byte
	names   []string
	edge    tree.Edge
}

// newLog makes a log of so many records. It has at most 256, so that the edge is the whole tree.
func newLog(t testing.TB, size int) *testLog {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	sum := sha256.Sum256(append([]byte(origin+"\n\x01"), key.Public().(ed25519.PublicKey)...))
	signer, err := evidence.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", origin, sum[:4], base64.StdEncoding.EncodeToString(append([]byte{1}, key.Seed()...))))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := evidence.KeyPolicy(signer.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	l := &testLog{t: t, signer: signer, policy: policy}
	text := func(s string) *string { return &s }
	for n := range size {
		q := audit.QueryAudit{Timestamp: 1795424400000 + 60_000*uint64(n), ResultConfidence: 0.9}
		q.Params.Subject, q.Params.Predicate = text(fmt.Sprintf("supplier/%d", n%4)), text("payment_account")
		id, err := q.ID()
		if err != nil {
			t.Fatal(err)
		}
		record, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		l.records, l.names = append(l.records, record), append(l.names, id.String())
		l.edge.Append(tree.LeafHash(record))
	}
	return l
}

// head signs the log as it was at the size.
func (l *testLog) head(size int64) []byte {
	l.t.Helper()
	root, err := tree.Root(l.edge.Reader(nil), size)
	if err != nil {
		l.t.Fatal(err)
	}
	signed, err := evidence.Sign(evidence.Checkpoint{Origin: origin, Size: size, Root: root}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return signed
}

func (l *testLog) proof(index, size int64) []byte {
	l.t.Helper()
	hashes, err := tree.Inclusion(l.edge.Reader(nil), index, size)
	if err != nil {
		l.t.Fatal(err)
	}
	return (&evidence.Proof{Index: index, Hashes: hashes, Checkpoint: l.head(size)}).Text()
}

func (l *testLog) record(index, size int64) bundle.Record {
	return bundle.Record{Name: l.names[index], Bytes: l.records[index], Proof: l.proof(index, size)}
}

// some yields records with proofs in the log of its whole size.
func (l *testLog) some(indexes ...int64) iter.Seq2[bundle.Record, error] {
	return func(yield func(bundle.Record, error) bool) {
		for _, n := range indexes {
			if !yield(l.record(n, int64(len(l.records))), nil) {
				return
			}
		}
	}
}

func (l *testLog) lines(from, to int64) []byte {
	var b bytes.Buffer
	for _, r := range l.records[from:to] {
		b.Write(r)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func (l *testLog) between(from, to int64) *bundle.Range {
	l.t.Helper()
	edge, err := tree.ReadFrontier(l.edge.Reader(nil), from)
	if err != nil {
		l.t.Fatal(err)
	}
	return &bundle.Range{Older: l.head(from), Newer: l.head(to), Edge: edge, Records: bytes.NewReader(l.lines(from, to))}
}

// contents are two records and a range, which can be written once.
func (l *testLog) contents() *bundle.Contents {
	return &bundle.Contents{Policy: l.policy, Records: l.some(2, 9), Range: l.between(5, 11)}
}
