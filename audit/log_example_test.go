package audit_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/keyfile"
)

// Sign the log of a store. The key is made once, with auditsql key new, and lies outside of the store.
func ExampleDB_Sign() {
	dir, err := os.MkdirTemp("", "auditsql")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	key := filepath.Join(dir, "payments.key")
	if _, err := keyfile.Create(key, "log.example.com/payments"); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	db, err := audit.Open(filepath.Join(dir, "store"), audit.WithSigner(audit.LogOptions{Key: key}))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.PutAudit(ctx, &audit.QueryAudit{Timestamp: 1_795_426_200_000, ResultConfidence: 0.5}); err != nil {
		log.Fatal(err)
	}
	signed, err := db.Sign(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signed.Origin, signed.Size, signed.New)
	// Output: log.example.com/payments 1 true
}
