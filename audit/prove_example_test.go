package audit_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/keyfile"
)

// Give somebody a record with the proof that it is in the log. The verifier key is all that they need besides.
func ExampleDB_Prove() {
	dir, err := os.MkdirTemp("", "auditsql")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	key := filepath.Join(dir, "payments.key")
	verifierKey, err := keyfile.Create(key, "log.example.com/payments")
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	db, err := audit.Open(filepath.Join(dir, "store"), audit.WithSigner(audit.LogOptions{Key: key}))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	id, err := db.PutAudit(ctx, &audit.QueryAudit{Timestamp: 1_795_426_200_000, ResultConfidence: 0.5})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Sign(ctx); err != nil {
		log.Fatal(err)
	}
	proven, err := db.Prove(ctx, id, audit.ProveOptions{})
	if err != nil {
		log.Fatal(err)
	}

	// The receiver.
	policy, err := evidence.KeyPolicy(verifierKey)
	if err != nil {
		log.Fatal(err)
	}
	v := evidence.Verify(proven.Raw, proven.Proof, policy)
	fmt.Println(v.Outcome, v.Checkpoint.Origin, v.Index, v.Checkpoint.Size)
	// Output: proven log.example.com/payments 0 1
}
