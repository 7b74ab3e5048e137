package audit_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/auditsql/auditsql/audit"
)

// The library in ten lines: open a store, put a record, ask for it.
func Example() {
	dir, err := os.MkdirTemp("", "auditsql")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	db, err := audit.Open(dir) // makes the store if there is none
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	subject, predicate := "Tesla", "revenue"
	id, err := db.PutAudit(ctx, &audit.QueryAudit{
		Timestamp:        1000,
		Params:           audit.QueryParams{Subject: &subject, Predicate: &predicate},
		ResultConfidence: 0.95,
	})
	if err != nil {
		log.Fatal(err)
	}
	q, err := db.GetAudit(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*q.Params.Subject, *q.Params.Predicate, q.ResultConfidence)
	// Output: Tesla revenue 0.95
}
