package view_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
)

// A trace says what is wrong with an answer, in words for people and in JSON for programs.
func Example() {
	dir, err := os.MkdirTemp("", "view")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	subject, answer := "supplier/Northwind", audit.Hash{1}
	id, err := db.PutAudit(ctx, &audit.QueryAudit{
		Timestamp: 1795426200000, Params: audit.QueryParams{Subject: &subject}, ResultHash: &answer, ResultConfidence: 0.9,
		ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: answer, Weight: 1, Lifecycle: audit.Proposed}},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := db.PutLabels(ctx, []audit.Label{{Hash: answer, Label: "account 7"}}); err != nil {
		log.Fatal(err)
	}
	labels, err := db.Labels(ctx)
	if err != nil {
		log.Fatal(err)
	}
	trace, err := view.New(db, labels, time.UTC).Trace(ctx, id, audit.TraceOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(trace.Time, *trace.ResultLabel)
	for _, finding := range trace.Findings {
		fmt.Println(finding.Kind+":", finding.Text)
	}
	// Output:
	// 2026-11-23T09:30:00.000Z account 7
	// unfit_result: the answer itself is Proposed, not Approved
	// unfit_evidence: 1 of 1 piece of evidence not Approved
	// one_source: all of its evidence comes from one source
	// first_use: 1 of 1 piece of evidence had been in no answer before
}
