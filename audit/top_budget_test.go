package audit_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// A ranking that its budget ends is one of the newest records, as a whole: what it says of an entry is about the records that were
// counted, and about no others.
func TestARankingWithinABudget(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	const n = 2000
	var qs []*audit.QueryAudit
	for i := range n {
		qs = append(qs, &audit.QueryAudit{
			QueryID: hashOf("query", fmt.Sprint(i)), Timestamp: uint64(1000 + i), AgentID: ptr(hashOf("agent", fmt.Sprint(i%2))),
			Params: audit.QueryParams{Subject: ptr(fmt.Sprint("subject ", i%3)), Lens: ptr(fmt.Sprint("lens ", i%3))},
			ContributingAssertions: []audit.ContributingAssertion{{
				AssertionHash: hashOf("assertion", fmt.Sprint(i%3)), SourceHash: hashOf("source", fmt.Sprint(i%3)), Weight: 1,
			}},
		})
	}
	if _, err := db.PutAudits(t.Context(), qs); err != nil {
		t.Fatal(err)
	}
	for _, by := range []audit.TopBy{audit.TopSubjects, audit.TopLenses, audit.TopAssertions, audit.TopSources} {
		all, err := db.Top(t.Context(), audit.TopOptions{By: by, Filter: audit.Filter{From: ptr(uint64(0))}})
		if err != nil || all.Incomplete || all.Total != n {
			t.Fatalf("%s: %+v, %v", by, all, err)
		}
		some, err := db.Top(t.Context(), audit.TopOptions{By: by, Filter: audit.Filter{From: ptr(uint64(0))}, Budget: audit.Budget{Records: 1}})
		if err != nil || !some.Incomplete || some.Total == 0 || some.Total >= n/2 || len(some.Entries) != 3 {
			t.Fatalf("%s within a budget: %+v, %v", by, some, err)
		}
		for _, e := range some.Entries {
			if e.Answers != e.Count || e.Agents != 2 || e.First < 1000+n-some.Total || e.Last >= 1000+n || e.Last < 1000+n-3 {
				t.Errorf("%s: %+v of the newest %d of %d records", by, e, some.Total, n)
			}
		}
		// Something that is new is not looked for any longer either.
		some, err = db.Top(t.Context(), audit.TopOptions{By: by, NewSince: ptr(uint64(1000)), Budget: audit.Budget{Time: 1}})
		if err != nil || !some.Incomplete || len(some.Entries) != 0 {
			t.Errorf("%s, new ones, without time: %+v, %v", by, some, err)
		}
	}
}
