package evidence_test

import (
	"fmt"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// A log of two records signs its head and proves the second. Whoever has its verifier key checks that alone.
func ExampleVerify() {
	private, public, _ := evidence.GenerateKey("log.example.com")
	signer, _ := evidence.NewSigner(private)
	first, second := []byte(`{"query_id":"01"}`), []byte(`{"query_id":"02"}`)

	var edge tree.Edge
	edge.Append(tree.LeafHash(first), tree.LeafHash(second))
	signed, _ := evidence.Sign(evidence.Checkpoint{Origin: "log.example.com", Size: 2, Root: edge.Root()}, signer)
	hashes, _ := tree.Inclusion(edge.Reader(nil), 1, 2)
	proof := evidence.Proof{Index: 1, Hashes: hashes, Checkpoint: signed}

	policy, _ := evidence.KeyPolicy(public)
	fmt.Println(evidence.Verify(second, proof.Text(), policy).Outcome)
	fmt.Println(evidence.Verify(first, proof.Text(), policy).Outcome)
	// Output:
	// proven
	// refuted
}
