package audit_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

var chainRecords = flag.Int("chains", 0, "make a store of so many records with chains, and compare what came of a fact with a plain program over the NDJSON")

// In a large store the chains are those that a plain program finds in its export. go test ./audit -run LargeStore -chains 1000000 -v -timeout 30m
// also says how long the walk took.
func TestChainsInALargeStore(t *testing.T) {
	if *chainRecords == 0 {
		t.Skip("-chains N makes a store of N records")
	}
	dir := t.TempDir()
	fact := hashOf("the fact")
	db := openDB(t, filepath.Join(dir, "store"))
	makeChains(t, db, fact, *chainRecords)
	closeDB(t, db)
	db = openDB(t, filepath.Join(dir, "store"), audit.ReadOnly())

	file := filepath.Join(dir, "records.ndjson")
	exportTo(t, db, file)
	want := plainChains(t, file, fact.String())
	for range 3 {
		begun := time.Now()
		var first time.Duration
		var got []plainReached
		d := db.Downstream(fact, audit.DownstreamOptions{})
		for d.Next(context.Background()) {
			for a, err := range d.Answers(context.Background()) {
				if err != nil {
					t.Fatal(err)
				}
				if first == 0 {
					first = time.Since(begun)
				}
				r := plainReached{Distance: a.Distance, ID: a.Audit.QueryID.String()}
				if a.By != nil {
					r.By = a.By.String()
				}
				got = append(got, r)
			}
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
		took := time.Since(begun)
		if !slices.Equal(got, want) {
			t.Fatalf("%d answers came of the fact, want %d", len(got), len(want))
		}
		t.Logf("%d answers, up to %d steps away: the first after %s, all after %s", len(got), got[len(got)-1].Distance, first.Round(time.Millisecond), took.Round(time.Millisecond))
	}
	begun := time.Now()
	o, err := db.Onward(context.Background(), fact, false, nil, audit.Budget{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("onward %+v after %s", o, time.Since(begun).Round(time.Millisecond))
	id, err := audit.ParseHash(want[len(want)-1].ID)
	if err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	origins, err := db.Origins(context.Background(), id, audit.OriginsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("origins of the farthest: %d pieces of %d answers after %s", len(origins.Pieces), origins.Answers, time.Since(begun).Round(time.Millisecond))
}

// makeChains stores n records. One in ten uses the answer of another, and chains have up to six answers. 5,000 of them, or one in
// twenty where there are fewer, come of the fact.
func makeChains(t *testing.T, db *audit.DB, fact audit.Hash, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 17))
	type given struct {
		result audit.Hash
		depth  int
	}
	var others, ofFact []given
	most := min(5000, n/20)
	const batch = 10_000
	var records []*audit.QueryAudit
	for i := range n {
		agent := hashOf("agent", fmt.Sprint(r.IntN(40)))
		subject, predicate := fmt.Sprint("part/", r.IntN(50_000)), "unit_price"
		result := hashOf("answer", fmt.Sprint(i))
		q := &audit.QueryAudit{
			AgentID: &agent, Timestamp: 1_795_000_000_000 + uint64(i)*80 - uint64(r.IntN(400)), ResultHash: &result, ResultConfidence: 0.75,
			Params: audit.QueryParams{Subject: &subject, Predicate: &predicate},
		}
		use := func(h audit.Hash, l audit.Lifecycle) {
			q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
				AssertionHash: h, Weight: 0.5, SourceHash: hashOf("source", fmt.Sprint(r.IntN(300))), Lifecycle: l,
			})
		}
		use(hashOf("fact", fmt.Sprint(r.IntN(n/4+1))), audit.Approved)
		depth := 0
		from := func(list []given) (given, bool) {
			if len(list) == 0 {
				return given{}, false
			}
			g := list[r.IntN(len(list))]
			return g, g.depth < 6
		}
		switch {
		case len(ofFact) < most && r.IntN(n) < 12*most/10:
			if g, ok := from(ofFact); ok && r.IntN(4) > 0 {
				use(g.result, audit.Approved)
				depth = g.depth + 1
			} else {
				use(fact, audit.Proposed)
				depth = 1
			}
			ofFact = append(ofFact, given{result, depth})
		case r.IntN(10) == 0:
			if g, ok := from(others); ok {
				use(g.result, audit.Approved)
				depth = g.depth + 1
			}
			others = append(others, given{result, depth})
		case r.IntN(10) == 0:
			others = append(others, given{result, 0})
		}
		if records = append(records, q); len(records) == batch || i == n-1 {
			if _, err := db.PutAudits(context.Background(), records); err != nil {
				t.Fatal(err)
			}
			records = nil
		}
	}
}

// exportTo writes the records as NDJSON.
func exportTo(t *testing.T, db *audit.DB, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for raw, err := range db.RawAudits(context.Background(), audit.Filter{ByAdmission: true}) {
		if err != nil {
			t.Fatal(err)
		}
		w.Write(raw)
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// plainChains is plainDownstream over a file. It has an index in memory, since the file is large.
func plainChains(t *testing.T, file, hash string) (list []plainReached) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	uses := map[string][]*plainRecord{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		r := new(plainRecord)
		if err := json.Unmarshal(lines.Bytes(), r); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Evidence {
			uses[e.Assertion] = append(uses[e.Assertion], r)
		}
	}
	reached := map[string]bool{}
	var last []*plainRecord
	for distance := 1; distance == 1 || len(last) > 0; distance++ {
		by := map[*plainRecord]string{}
		if distance == 1 {
			for _, r := range uses[hash] {
				by[r] = ""
			}
		}
		for _, l := range last { // in the order of time, so the first one counts
			for _, r := range uses[*l.Result] {
				if _, has := by[r]; !has && !reached[r.ID] && l.Timestamp <= r.Timestamp {
					by[r] = l.ID
				}
			}
		}
		last = last[:0:0]
		for r, from := range by {
			reached[r.ID] = true
			last = append(last, r)
			list = append(list, plainReached{distance, r.ID, from})
		}
		slices.SortFunc(last, plainOrder)
		at := map[string]uint64{}
		for _, r := range last {
			at[r.ID] = r.Timestamp
		}
		slices.SortFunc(list[len(list)-len(last):], func(a, b plainReached) int {
			return cmp.Or(cmp.Compare(at[a.ID], at[b.ID]), cmp.Compare(a.ID, b.ID))
		})
	}
	return list
}
