package ingest_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
)

func ExampleLines() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := audit.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	inputs := []ingest.Input{{Name: "monday.ndjson", Text: strings.NewReader(
		`{"timestamp":1795429152000,"params":{"subject":"Tesla"},"result_confidence":0.95}
{"params":{"subject":"Tesla"},"result_confidence":0.95}
`)}}
	for o, err := range ingest.Lines(context.Background(), db, inputs, ingest.Options{}) {
		switch {
		case err != nil:
			log.Fatal(err)
		case o.Err != nil:
			fmt.Printf("%s:%d: %v\n", o.Input, o.Line, o.Err)
		default:
			fmt.Printf("%s:%d: stored as %.8s…\n", o.Input, o.Line, o.Result.ID)
		}
	}
	// Output:
	// monday.ndjson:1: stored as c0eb08c0…
	// monday.ndjson:2: timestamp: is missing
}
