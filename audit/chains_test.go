package audit_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/audit"
)

// Chains of answers are held against a plain program that reads the records as NDJSON and knows nothing of the store. The records are few,
// and everything collides in them: results, evidence, times. So there are cycles, answers that were used before they were given, and answers
// of the same time.

// A plainRecord is what the plain program reads of a line.
type plainRecord struct {
	ID        string  `json:"query_id"`
	Agent     *string `json:"agent_id"`
	Timestamp uint64  `json:"timestamp"`
	Params    struct {
		Predicate *string `json:"predicate"`
	} `json:"params"`
	Result   *string `json:"result_hash"`
	Evidence []struct {
		Assertion string `json:"assertion_hash"`
		Source    string `json:"source_hash"`
	} `json:"contributing_assertions"`
}

func (r *plainRecord) uses(hash string, source bool) bool {
	for _, e := range r.Evidence {
		if !source && e.Assertion == hash || source && e.Source == hash {
			return true
		}
	}
	return false
}

func plainOrder(a, b *plainRecord) int {
	return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.ID, b.ID))
}

// A plainReached is a record that the plain program reached.
type plainReached struct {
	Distance int
	ID, By   string
}

// plainDownstream follows answers step by step, and looks at every pair of records in each.
func plainDownstream(records []*plainRecord, hash string, source, anyOrder bool) (list []plainReached) {
	distance := map[string]int{}
	var last []*plainRecord
	for n := 1; n == 1 || len(last) > 0; n++ {
		var level []*plainRecord
		for _, r := range records {
			if distance[r.ID] > 0 {
				continue
			}
			by := ""
			if n == 1 {
				if !r.uses(hash, source) {
					continue
				}
			} else {
				i := slices.IndexFunc(last, func(l *plainRecord) bool { // the first in time: last is in that order
					return l.Result != nil && r.uses(*l.Result, false) && (anyOrder || l.Timestamp <= r.Timestamp)
				})
				if i < 0 {
					continue
				}
				by = last[i].ID
			}
			level = append(level, r)
			list = append(list, plainReached{n, r.ID, by})
		}
		for _, r := range level {
			distance[r.ID] = n
		}
		slices.SortFunc(level, plainOrder)
		last = level
	}
	at := map[string]*plainRecord{}
	for _, r := range records {
		at[r.ID] = r
	}
	slices.SortFunc(list, func(a, b plainReached) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), plainOrder(at[a.ID], at[b.ID]))
	})
	return list
}

// plainEarlier is the first answer that some evidence of a record was before.
func plainEarlier(records []*plainRecord, r *plainRecord, assertion string) (first *plainRecord, n int) {
	for _, o := range records {
		if o.ID != r.ID && o.Result != nil && *o.Result == assertion && o.Timestamp <= r.Timestamp {
			n++
			if first == nil || plainOrder(o, first) < 0 {
				first = o
			}
		}
	}
	return first, n
}

// plainRecords reads what the store exports.
func plainRecords(t testing.TB, db *audit.DB) (records []*plainRecord) {
	t.Helper()
	for raw, err := range db.RawAudits(context.Background(), audit.Filter{ByAdmission: true}) {
		if err != nil {
			t.Fatal(err)
		}
		var r plainRecord
		if err := json.Unmarshal(raw, &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, &r)
	}
	return records
}

// walked takes a whole walk.
func walked(t interface{ Fatal(...any) }, db *audit.DB, h audit.Hash, o audit.DownstreamOptions) (list []plainReached, answers []audit.DownstreamAnswer, totals audit.DownstreamTotals) {
	ctx := context.Background()
	d := db.Downstream(h, o)
	for d.Next(ctx) {
		for a, err := range d.Answers(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			r := plainReached{Distance: a.Distance, ID: a.Audit.QueryID.String()}
			if a.By != nil {
				r.By = a.By.String()
			}
			list, answers = append(list, r), append(answers, a)
		}
	}
	totals, err := d.Totals(ctx)
	if err != nil || d.Err() != nil {
		t.Fatal(err, d.Err())
	}
	return list, answers, totals
}

// chainWorld draws the records of a world of its own: no hash of it is in another one.
func chainWorld(t *rapid.T, name string) (records []*audit.QueryAudit, assertions, sources []audit.Hash) {
	few := rapid.IntRange(0, 7)
	for i := range 8 {
		assertions = append(assertions, hashOf("assertion", name, fmt.Sprint(i)))
		sources = append(sources, hashOf("source", name, fmt.Sprint(i)))
	}
	for i := range rapid.IntRange(1, 14).Draw(t, "records") {
		q := &audit.QueryAudit{QueryID: hashOf("query", name, fmt.Sprint(i)), Timestamp: uint64(rapid.IntRange(0, 5).Draw(t, "time")), ResultConfidence: 0.5}
		if agent := few.Draw(t, "agent"); agent > 3 {
			q.AgentID = ptr(hashOf("agent", fmt.Sprint(agent)))
		}
		q.Params.Predicate = ptr([]string{"price", "order"}[rapid.IntRange(0, 1).Draw(t, "predicate")])
		for range rapid.IntRange(0, 3).Draw(t, "pieces") {
			q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
				AssertionHash: assertions[few.Draw(t, "assertion")], SourceHash: sources[rapid.IntRange(0, 2).Draw(t, "source")],
				Weight: 0.5, Lifecycle: audit.Lifecycle(rapid.IntRange(0, 2).Draw(t, "lifecycle")),
			})
		}
		if few.Draw(t, "answers") > 1 {
			q.ResultHash = ptr(assertions[few.Draw(t, "result")])
		}
		records = append(records, q)
	}
	return records, assertions, sources
}

func TestChainsAreWhatAPlainProgramFindsInTheRecords(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	worlds := 0
	var all []*plainRecord // of all worlds, in the order of admission
	rapid.Check(t, func(t *rapid.T) {
		worlds++
		records, assertions, sources := chainWorld(t, fmt.Sprint(worlds))
		before := len(all)
		if _, err := db.PutAudits(context.Background(), records); err != nil {
			t.Fatal(err)
		}
		for _, q := range records {
			raw, err := q.Canonical()
			if err != nil {
				t.Fatal(err)
			}
			var r plainRecord
			if err := json.Unmarshal(raw, &r); err != nil {
				t.Fatal(err)
			}
			all = append(all, &r)
		}
		world := all[before:]
		var asOf *uint64
		if n := rapid.IntRange(0, len(world)).Draw(t, "as of"); n < len(world) {
			asOf = ptr(uint64(before + n))
			world = world[:n]
		}
		h, source := assertions[0], rapid.Bool().Draw(t, "of a source")
		if source {
			h = sources[0]
		}
		o := audit.DownstreamOptions{Source: source, AnyOrder: rapid.Bool().Draw(t, "any order"), Filter: audit.Filter{AsOf: asOf}}
		wantDownstream(t, db, world, h, o)
		wantOnward(t, db, world, h, source, asOf)
		for _, r := range world {
			wantOrigins(t, db, world, r, asOf)
		}
	})
	if worlds < 20 {
		t.Errorf("only %d worlds were made", worlds)
	}
	// What the store exports is what the worlds were checked against.
	if got := plainRecords(t, db); !reflect.DeepEqual(got, all) {
		t.Error("the store does not export what was put")
	}
}

// An answer that is reached later, and was given earlier than another one with the same result, has the uses between the two.
func TestAnEarlierAnswerWithTheSameResult(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	fact, late, early, same := hashOf("the fact"), hashOf("late"), hashOf("early"), hashOf("same")
	record := func(name string, at uint64, result *audit.Hash, evidence audit.Hash) *audit.QueryAudit {
		return &audit.QueryAudit{QueryID: hashOf("query", name), Timestamp: at, ResultHash: result, ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: evidence}}}
	}
	if _, err := db.PutAudits(t.Context(), []*audit.QueryAudit{
		record("a late answer", 5, &same, fact),
		record("another one, which leads to an earlier answer", 1, &early, fact),
		record("the earlier answer", 2, &same, early),
		record("a use between the two", 3, nil, same),
		record("a use before both", 1, nil, same),
		record("a use after both", 6, &late, same),
		record("the last", 7, nil, late),
	}); err != nil {
		t.Fatal(err)
	}
	want := plainDownstream(plainRecords(t, db), fact.String(), false, false)
	got, _, _ := walked(t, db, fact, audit.DownstreamOptions{})
	if len(want) != 6 || want[5].Distance != 3 || !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func wantDownstream(t *rapid.T, db *audit.DB, world []*plainRecord, h audit.Hash, o audit.DownstreamOptions) {
	want := plainDownstream(world, h.String(), o.Source, o.AnyOrder)
	got, answers, totals := walked(t, db, h, o)
	if !slices.Equal(got, want) {
		t.Fatalf("downstream:\n got %v\nwant %v", got, want)
	}
	if totals.Answers != uint64(len(want)) || totals.Reached != totals.Answers || totals.Cut != audit.NotCut || totals.MoreDeep {
		t.Fatalf("totals of %d: %+v", len(want), totals)
	}
	deepest := 0
	for _, a := range answers {
		deepest = max(deepest, a.Distance)
		source := o.Source && a.Distance == 1
		if len(a.Evidence) == 0 || a.By == nil && a.Through != h {
			t.Fatalf("%v was reached by nothing", a)
		}
		for _, e := range a.Evidence {
			if source && e.SourceHash != h || !source && e.AssertionHash != a.Through {
				t.Fatalf("%v was reached by %v", a, e)
			}
		}
	}
	// Fewer steps.
	if depth := rapid.IntRange(1, 3).Draw(t, "depth"); depth > 0 {
		shallow := o
		shallow.Depth = depth
		got, _, totals := walked(t, db, h, shallow)
		near := slices.DeleteFunc(slices.Clone(want), func(r plainReached) bool { return r.Distance > depth })
		if !slices.Equal(got, near) || totals.MoreDeep != (deepest > depth) {
			t.Fatalf("depth %d:\n got %v\nwant %v\ntotals %+v", depth, got, near, totals)
		}
	}
	// Some of them.
	some := o
	some.Filter.Predicate = ptr("order")
	if rapid.Bool().Draw(t, "of an agent") {
		some.Filter.Anonymous = true
	}
	selected := slices.DeleteFunc(slices.Clone(want), func(r plainReached) bool {
		w := world[slices.IndexFunc(world, func(w *plainRecord) bool { return w.ID == r.ID })]
		return *w.Params.Predicate != "order" || some.Filter.Anonymous && w.Agent != nil
	})
	got, _, totals = walked(t, db, h, some)
	if !slices.Equal(got, selected) || totals.Answers != uint64(len(selected)) || totals.Reached != uint64(len(want)) {
		t.Fatalf("of a filter:\n got %v\nwant %v\ntotals %+v", got, selected, totals)
	}
	sum := uint64(0)
	for _, a := range totals.ByAgent {
		sum += a.Answers
	}
	steps := 0
	for _, s := range totals.Steps {
		steps += s.Answers
	}
	if sum != totals.Answers || uint64(steps) != totals.Answers {
		t.Fatalf("totals %+v", totals)
	}
	// A bound: no more than that, said, and each of them is one of all with its distance.
	bounded := o
	bounded.Budget.Records = uint64(rapid.IntRange(1, 6).Draw(t, "bound"))
	got, _, totals = walked(t, db, h, bounded)
	if n := min(len(want), int(bounded.Budget.Records)); len(got) != n || (totals.Cut == audit.CutByAnswers) != (n < len(want)) {
		t.Fatalf("bound %d of %d: %v, %+v", bounded.Budget.Records, len(want), got, totals)
	}
	for _, r := range got {
		if !slices.ContainsFunc(want, func(w plainReached) bool { return w.ID == r.ID && w.Distance == r.Distance }) {
			t.Fatalf("bound %d: %v is none of %v", bounded.Budget.Records, r, want)
		}
	}
}

// wantOnward checks how many of the nearest answers were evidence elsewhere.
func wantOnward(t *rapid.T, db *audit.DB, world []*plainRecord, h audit.Hash, source bool, asOf *uint64) {
	reached := plainDownstream(world, h.String(), source, false)
	byID := map[string]*plainRecord{}
	for _, r := range world {
		byID[r.ID] = r
	}
	var want audit.Onward
	for _, near := range reached {
		if near.Distance > 1 {
			want.More++
			continue
		}
		n := byID[near.ID]
		if n.Result != nil && slices.ContainsFunc(reached, func(far plainReached) bool {
			f := byID[far.ID]
			return far.Distance == 2 && f.uses(*n.Result, false) && n.Timestamp <= f.Timestamp
		}) {
			want.Answers++
		}
	}
	got, err := db.Onward(context.Background(), h, source, asOf, audit.Budget{})
	if err != nil || got != want {
		t.Fatalf("onward: %+v, %v, want %+v", got, err, want)
	}
}

// wantOrigins checks who answered each piece of a record first, in its trace, and the tree of these answers.
func wantOrigins(t *rapid.T, db *audit.DB, world []*plainRecord, r *plainRecord, asOf *uint64) {
	ctx := context.Background()
	id, err := audit.ParseHash(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	traced, err := db.Trace(ctx, id, audit.TraceOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, got *audit.EarlierAnswer, of *plainRecord, assertion string) {
		first, n := plainEarlier(world, of, assertion)
		switch {
		case (got == nil) != (first == nil):
			t.Fatalf("%s: %s of %s was answered by %+v, want %+v", what, assertion, of.ID, got, first)
		case got == nil:
		case got.QueryID.String() != first.ID || got.Timestamp != first.Timestamp || got.Answers != n || got.More ||
			(got.AgentID == nil) != (first.Agent == nil) || got.AgentID != nil && got.AgentID.String() != *first.Agent:
			t.Fatalf("%s: %s of %s was answered by %+v, want %+v and %d in all", what, assertion, of.ID, got, first, n)
		}
	}
	for _, e := range traced.Evidence {
		same("trace", e.Answered, r, e.AssertionHash.String())
	}
	o, err := db.Origins(ctx, id, audit.OriginsOptions{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	// Each piece of each record that is followed is there once, and no others.
	want := map[string]int{}
	met := map[string]bool{r.ID: true}
	for list := []*plainRecord{r}; len(list) > 0; list = list[1:] {
		for _, e := range list[0].Evidence {
			want[list[0].ID]++
			if first, _ := plainEarlier(world, list[0], e.Assertion); first != nil && !met[first.ID] {
				met[first.ID] = true
				list = append(list, first)
			}
		}
	}
	got := map[string]int{}
	depth := map[string]int{r.ID: 0}
	for i, p := range o.Pieces {
		got[p.Of.String()]++
		of := world[slices.IndexFunc(world, func(w *plainRecord) bool { return w.ID == p.Of.String() })]
		same("origins", p.Answered, of, p.AssertionHash.String())
		if p.Distance != depth[of.ID]+1 {
			t.Fatalf("piece %d is %d steps back: %+v", i, p.Distance, o.Pieces)
		}
		switch p.How {
		case audit.IsOrigin:
			if p.Answered != nil {
				t.Fatalf("piece %d is no origin: %+v", i, p)
			}
		case audit.Below:
			depth[p.Answered.QueryID.String()] = p.Distance
			below := world[slices.IndexFunc(world, func(w *plainRecord) bool { return w.ID == p.Answered.QueryID.String() })]
			if len(below.Evidence) > 0 && (i+1 == len(o.Pieces) || o.Pieces[i+1].Of != p.Answered.QueryID) {
				t.Fatalf("after piece %d its answer's evidence is missing: %+v", i, o.Pieces)
			}
		case audit.Elsewhere:
			if !met[p.Answered.QueryID.String()] {
				t.Fatalf("piece %d is nowhere: %+v", i, p)
			}
		default:
			t.Fatalf("piece %d: %+v", i, p)
		}
	}
	if !reflect.DeepEqual(got, want) || o.Answers != len(met) || o.Cut != audit.NotCut || o.Untraced != 0 {
		t.Fatalf("origins of %s: %v, want %v\n%+v", r.ID, got, want, o)
	}
}

// A walk whose time is over says so, and so does the way back.
func TestAWalkThatHasNoTimeSaysSo(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	fact := hashOf("fact")
	q := audit.QueryAudit{Timestamp: 1, ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: fact, Weight: 1}}}
	id, err := db.PutAudit(t.Context(), &q)
	if err != nil {
		t.Fatal(err)
	}
	got, _, totals := walked(t, db, fact, audit.DownstreamOptions{Budget: audit.Budget{Time: 1}})
	if len(got) != 0 || totals.Cut != audit.CutByTime {
		t.Errorf("%v, %+v", got, totals)
	}
	o, err := db.Origins(t.Context(), id, audit.OriginsOptions{Budget: audit.Budget{Time: 1}})
	if err != nil || o.Cut != audit.CutByTime || len(o.Pieces) != 1 || o.Pieces[0].How != audit.NotFollowed {
		t.Errorf("%+v, %v", o, err)
	}
}

// The way back ends after so many answers, and says which it has not followed.
func TestTheWayBackIsBounded(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	var ids []audit.QueryID
	for i := range 6 {
		result := hashOf("answer", fmt.Sprint(i+1))
		q := audit.QueryAudit{Timestamp: uint64(i), ResultHash: &result, ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: hashOf("answer", fmt.Sprint(i)), Weight: 1}}}
		id, err := db.PutAudit(t.Context(), &q)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for n, want := range map[uint64]int{1: 1, 2: 2, 5: 5, 6: 6, 7: 6} {
		o, err := db.Origins(t.Context(), ids[5], audit.OriginsOptions{Budget: audit.Budget{Records: n}})
		if err != nil {
			t.Fatal(err)
		}
		last := o.Pieces[len(o.Pieces)-1]
		cut := n < 6
		if len(o.Pieces) != want || o.Answers != want || (o.Cut == audit.CutByAnswers) != cut || (last.How == audit.NotFollowed) != cut || (last.Answered != nil) != cut {
			t.Errorf("bound %d: %+v", n, o)
		}
	}
}
