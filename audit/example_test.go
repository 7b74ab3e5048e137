package audit_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// Open a store, put a record with its evidence, and get it back.
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

	// An agent, an assertion or a source that has only a name gets a hash of the name.
	hash := func(name string) audit.Hash { return sha256.Sum256([]byte(name)) }
	agent := hash("planner-7")
	proposed, approved := hash("Northwind is paid at account 7731"), hash("Northwind is paid at account 4402")

	subject, predicate := "supplier/Northwind", "payment_account"
	id, err := db.PutAudit(ctx, &audit.QueryAudit{
		AgentID:          &agent,
		Timestamp:        uint64(time.Now().UnixMilli()), // milliseconds, unless the store has another unit
		Params:           audit.QueryParams{Subject: &subject, Predicate: &predicate},
		ResultHash:       &proposed,
		ResultConfidence: 0.62,
		ContributingAssertions: []audit.ContributingAssertion{
			{AssertionHash: proposed, Weight: 0.62, SourceHash: hash("mail 7731"), Lifecycle: audit.Proposed},
			{AssertionHash: approved, Weight: 0.38, SourceHash: hash("contract 2024-118"), Lifecycle: audit.Approved},
		},
		Attributes: map[string]any{"trace_id": "pay-20931"},
	})
	if err != nil {
		log.Fatal(err)
	}
	q, err := db.GetAudit(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*q.Params.Subject, q.ResultConfidence, len(q.ContributingAssertions), q.Attributes["trace_id"])
	// Output: supplier/Northwind 0.62 2 pay-20931
}

// A complete record says who asked, on which evidence the answer rests, and what the program adds as attributes. An
// agent, an assertion or a source that has only a name gets a hash of the name. The example finds the record by an
// attribute. Trace then says what a person should look at.
func ExampleDB_Trace() {
	dir, err := os.MkdirTemp("", "auditsql")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	db, err := audit.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	agent := audit.AgentID(sha256.Sum256([]byte("planner-7")))
	account := audit.Hash(sha256.Sum256([]byte("Northwind is paid at account 7731")))
	subject, predicate := "supplier/Northwind", "payment_account"
	_, err = db.PutAudit(ctx, &audit.QueryAudit{
		AgentID:          &agent,
		Timestamp:        1795429152000,
		Params:           audit.QueryParams{Subject: &subject, Predicate: &predicate},
		ResultHash:       &account,
		ResultConfidence: 0.62,
		ContributingAssertions: []audit.ContributingAssertion{{
			AssertionHash: account,
			Weight:        0.62,
			SourceHash:    sha256.Sum256([]byte("mail 7731")),
			Lifecycle:     audit.Proposed,
		}},
		Attributes: map[string]any{"trace_id": "pay-20931", "tokens": 1234},
	})
	if err != nil {
		log.Fatal(err)
	}

	// A put is durable at once. A question about anything but an id, an agent or a time sees it when SQLite has it.
	if err := db.AwaitApplied(ctx); err != nil {
		log.Fatal(err)
	}
	request := audit.Filter{Attributes: []audit.Attribute{{Key: "trace_id", Value: "pay-20931"}}}
	for q, err := range db.Audits(ctx, request) {
		if err != nil {
			log.Fatal(err)
		}
		t, err := db.Trace(ctx, q.QueryID, audit.TraceOptions{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(*t.Audit.Params.Subject, t.Evidence[0].Lifecycle, t.Evidence[0].Weight)
		for _, f := range t.Findings {
			fmt.Println(f.Kind)
		}
	}
	// Output:
	// supplier/Northwind Proposed 0.62
	// unfit_result
	// unfit_evidence
	// one_source
	// first_use
}
