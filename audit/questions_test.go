package audit_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/wal"
)

// The forensic questions are held against a plain program that looks at every record: small worlds in which
// everything collides (times, evidence, sources, agents), asked everything with random filters.

// randomWorld returns the records of a small world, in the order of admission.
func randomWorld(r *rand.Rand, n int) []audit.QueryAudit {
	times := []uint64{0, 1, 59_999, 60_000, 3_600_000, 86_399_999, 86_400_000, 90_000_000, 90_000_001, 200_000_000}
	if r.IntN(4) == 0 {
		times = append(times, 253402300799_999, math.MaxInt64-1, math.MaxInt64)
	}
	text := func(names ...string) *string {
		if i := r.IntN(len(names) + 1); i < len(names) {
			return &names[i]
		}
		return nil
	}
	weights := []float32{0.1, 0.1, 0.25, 0.5, -1, 0, 3e30}
	var qs []audit.QueryAudit
	for i := range n {
		q := audit.QueryAudit{
			QueryID:   hashOf("query", fmt.Sprint(i)),
			Timestamp: times[r.IntN(len(times))],
			Params: audit.QueryParams{
				Subject: text("s0", "s1", "s[1]*"), Predicate: text("p0", "p1"), Lens: text("Recency", ""),
			},
			ResultConfidence: float32(r.IntN(5)) / 4,
		}
		if a := r.IntN(5); a > 0 {
			q.AgentID = ptr(hashOf("agent", fmt.Sprint(a)))
		}
		if r.IntN(2) == 0 {
			q.Params.Lifecycle = ptr(audit.Lifecycle(r.IntN(5)))
		}
		if r.IntN(4) == 0 {
			q.Params.Epoch = ptr(hashOf("epoch", fmt.Sprint(r.IntN(2))))
		}
		for range r.IntN(5) {
			a := r.IntN(6)
			q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
				AssertionHash: hashOf("assertion", fmt.Sprint(a)), Weight: weights[r.IntN(len(weights))],
				SourceHash: hashOf("source", fmt.Sprint(r.IntN(3))), Lifecycle: audit.Lifecycle(1 + r.IntN(3)),
			})
		}
		if r.IntN(4) > 0 {
			q.ResultHash = ptr(hashOf("assertion", fmt.Sprint(r.IntN(6))))
		}
		if r.IntN(3) == 0 {
			q.Attributes = map[string]any{"trace_id": []any{"t1", "1", 1.0, true}[r.IntN(4)]}
		}
		qs = append(qs, q)
	}
	return qs
}

// randomFilter asks for some of it.
func randomFilter(r *rand.Rand) audit.Filter {
	var f audit.Filter
	set := func(one func()) {
		if r.IntN(6) == 0 {
			one()
		}
	}
	set(func() { f.Agent = ptr(hashOf("agent", fmt.Sprint(1+r.IntN(5)))) }) // the fifth is nobody
	set(func() { f.Anonymous = true })
	set(func() { f.From = ptr([]uint64{0, 1, 60_000, 86_400_000, math.MaxUint64}[r.IntN(5)]) })
	set(func() {
		f.To = ptr([]uint64{0, 59_999, 86_400_000, 90_000_000, math.MaxInt64, math.MaxUint64}[r.IntN(6)])
	})
	set(func() { f.Subject = ptr([]string{"s0", "s[1]*", "none"}[r.IntN(3)]) })
	set(func() { f.SubjectGlob = ptr([]string{"s*", "s[1]", "s1", "*", "s[!1]", "[!s]*", "?[^0]*"}[r.IntN(7)]) })
	set(func() { f.Predicate = ptr("p0") })
	set(func() { f.Lens = ptr([]string{"Recency", ""}[r.IntN(2)]) })
	set(func() { f.Lifecycle = ptr(audit.Approved) })
	set(func() { f.Result = ptr(hashOf("assertion", "1")) })
	set(func() { f.Assertion = ptr(hashOf("assertion", fmt.Sprint(r.IntN(7)))) })
	set(func() { f.Source = ptr(hashOf("source", fmt.Sprint(r.IntN(4)))) })
	set(func() { f.Unapproved = true })
	set(func() { f.Attributes = []audit.Attribute{{Key: "trace_id", Value: []string{"t1", "1"}[r.IntN(2)]}} })
	set(func() { f.MinConfidence = ptr(float32(0.5)) })
	set(func() { f.MaxConfidence = ptr(float32(0.5)) })
	return f
}

// randomLists adds lists of alternatives and negations to a filter, which may have some of their own.
func randomLists(r *rand.Rand, f audit.Filter, depth int) audit.Filter {
	list := func() (all []audit.Filter) {
		for range r.IntN(3) + r.IntN(2) {
			g := randomFilter(r)
			if r.IntN(2) == 0 {
				g = randomCondition(r)
			}
			if depth > 0 {
				g = randomLists(r, g, depth-1)
			}
			all = append(all, g)
		}
		return all
	}
	for range r.IntN(3) - r.IntN(2) {
		f.AnyOf = append(f.AnyOf, list())
	}
	if r.IntN(3) == 0 {
		f.NoneOf = list()
	}
	return f
}

// randomCondition is a filter with one condition, as a front end has it in a list.
func randomCondition(r *rand.Rand) audit.Filter {
	for {
		f := randomFilter(r)
		set := 0
		v := reflect.ValueOf(f)
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				set++
			}
		}
		if set == 1 {
			return f
		}
	}
}

// world is a store and what is in it.
type world struct {
	*testing.T
	db *audit.DB
	qs []audit.QueryAudit
}

// fits reports whether a record meets the conditions of a filter.
func fits(q audit.QueryAudit, f audit.Filter) bool {
	has := func(ok func(audit.ContributingAssertion) bool) bool {
		return slices.ContainsFunc(q.ContributingAssertions, ok)
	}
	return fitsRecord(q, f) &&
		(f.Lifecycle == nil || q.Params.Lifecycle != nil && *q.Params.Lifecycle == *f.Lifecycle) &&
		(f.Assertion == nil || has(func(c audit.ContributingAssertion) bool { return c.AssertionHash == *f.Assertion })) &&
		(f.Source == nil || has(func(c audit.ContributingAssertion) bool { return c.SourceHash == *f.Source })) &&
		(!f.Unapproved || has(func(c audit.ContributingAssertion) bool { return c.Lifecycle != audit.Approved })) &&
		fitsLists(f, func(g audit.Filter) bool { return fits(q, g) })
}

// fitsPiece reports whether a piece of evidence in a record meets a filter, where pieces are counted.
func fitsPiece(q audit.QueryAudit, c audit.ContributingAssertion, f audit.Filter) bool {
	return fitsRecord(q, f) && (f.Lifecycle == nil || c.Lifecycle == *f.Lifecycle) &&
		(f.Assertion == nil || c.AssertionHash == *f.Assertion) && (f.Source == nil || c.SourceHash == *f.Source) &&
		(!f.Unapproved || c.Lifecycle != audit.Approved) &&
		fitsLists(f, func(g audit.Filter) bool { return fitsPiece(q, c, g) })
}

func fitsLists(f audit.Filter, ok func(audit.Filter) bool) bool {
	for _, list := range f.AnyOf {
		if !slices.ContainsFunc(list, ok) {
			return false
		}
	}
	return !slices.ContainsFunc(f.NoneOf, ok)
}

// fitsRecord is what is the same for both: the conditions of a filter itself that are not of evidence.
func fitsRecord(q audit.QueryAudit, f audit.Filter) bool {
	same := func(have, want *string) bool { return want == nil || have != nil && *have == *want }
	hash := func(have, want *audit.Hash) bool { return want == nil || have != nil && *have == *want }
	ok := hash(q.AgentID, f.Agent) && (!f.Anonymous || q.AgentID == nil) &&
		(f.From == nil || q.Timestamp >= *f.From) && (f.To == nil || q.Timestamp <= *f.To) &&
		same(q.Params.Subject, f.Subject) && same(q.Params.Predicate, f.Predicate) && same(q.Params.Lens, f.Lens) &&
		hash(q.ResultHash, f.Result) &&
		(f.MinConfidence == nil || q.ResultConfidence >= *f.MinConfidence) &&
		(f.MaxConfidence == nil || q.ResultConfidence <= *f.MaxConfidence)
	if ok && f.SubjectGlob != nil {
		ok = q.Params.Subject != nil
		if ok {
			ok, _ = path.Match(strings.ReplaceAll(*f.SubjectGlob, "[!", "[^"), *q.Params.Subject)
		}
	}
	for _, a := range f.Attributes {
		v, there := q.Attributes[a.Key]
		ok = ok && there && fmt.Sprint(v) == a.Value
	}
	return ok
}

// piece is a piece of evidence with its record.
type piece struct {
	audit.ContributingAssertion
	position int
	of       audit.QueryAudit
}

// pieces are those that a filter selects where pieces are counted, in the order of time.
func (w *world) pieces(f audit.Filter) (out []piece) {
	for _, q := range w.selected(audit.Filter{AsOf: f.AsOf}) {
		for i, c := range q.ContributingAssertions {
			if fitsPiece(q, c, f) {
				out = append(out, piece{c, i, q})
			}
		}
	}
	return out
}

// selected is what a filter selects, in its order, up to its limit.
func (w *world) selected(f audit.Filter) []audit.QueryAudit {
	return w.ordered(f, func(q audit.QueryAudit) bool { return fits(q, f) })
}

// ordered are the records that are ok, in the order of a filter and up to its limit.
func (w *world) ordered(f audit.Filter, ok func(audit.QueryAudit) bool) (out []audit.QueryAudit) {
	for i, q := range w.qs {
		if f.AsOf != nil && uint64(i) >= *f.AsOf {
			break
		}
		if ok(q) {
			out = append(out, q)
		}
	}
	if !f.ByAdmission {
		slices.SortStableFunc(out, byTime)
	}
	if f.Descending {
		slices.Reverse(out)
	}
	if f.After != nil {
		admitted := func(id audit.QueryID) int {
			return slices.IndexFunc(w.qs, func(q audit.QueryAudit) bool { return q.QueryID == id })
		}
		out = slices.DeleteFunc(out, func(q audit.QueryAudit) bool {
			c := byTime(q, audit.QueryAudit{QueryID: f.After.ID, Timestamp: f.After.Timestamp})
			if f.ByAdmission {
				c = cmp.Compare(admitted(q.QueryID), admitted(f.After.ID))
			}
			if f.Descending {
				c = -c
			}
			return c <= 0
		})
	}
	if f.Limit > 0 {
		out = out[:min(len(out), f.Limit)]
	}
	return out
}

func byTime(a, b audit.QueryAudit) int {
	return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), a.QueryID.Compare(b.QueryID))
}

// unlimited is a filter as it counts for those questions whose limit is of something else than records.
func unlimited(f audit.Filter) audit.Filter {
	f.Limit, f.After, f.Descending, f.ByAdmission = 0, nil, false, false
	return f
}

func (w *world) same(what string, got, want any) {
	w.Helper()
	if !reflect.DeepEqual(got, want) {
		w.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func ids(qs []audit.QueryAudit) []string {
	out := []string{}
	for _, q := range qs {
		out = append(out, q.QueryID.String())
	}
	return out
}

func TestQuestionsFindWhatLookingAtEveryRecordFinds(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	worlds, questions := 6, 60
	if testing.Short() {
		worlds, questions = 2, 30
	}
	for seed := range worlds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			// At this interval nothing is synced unless somebody waits for it.
			db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithDurability(wal.SyncInterval(time.Hour)))
			w := &world{t, db, randomWorld(r, 1+r.IntN(80))}
			for i := range w.qs {
				if _, err := db.PutAudit(context.Background(), &w.qs[i]); err != nil {
					t.Fatal(err)
				}
			}
			for range questions {
				f := randomFilter(r)
				if r.IntN(2) == 0 {
					f = randomLists(r, f, r.IntN(2))
				}
				f.Limit, f.Descending = r.IntN(6), r.IntN(2) == 0
				if r.IntN(2) == 0 {
					f.AsOf = ptr(uint64(r.IntN(len(w.qs) + 1)))
				}
				if r.IntN(3) == 0 {
					f.After = ptr(audit.CursorOf(&w.qs[r.IntN(len(w.qs))]))
				}
				w.askAll(r, f)
			}
		})
	}
}

func (w *world) askAll(r *rand.Rand, f audit.Filter) {
	w.Helper()
	ctx := context.Background()
	w.Logf("filter %+v", f)
	var listed []audit.QueryAudit
	byAdmission := f
	byAdmission.ByAdmission = true
	for q, err := range w.db.Audits(ctx, byAdmission) {
		if err != nil {
			w.Fatal(err)
		}
		listed = append(listed, q)
	}
	w.same("list by admission", ids(listed), ids(w.selected(byAdmission)))
	listed = nil
	for q, err := range w.db.Audits(ctx, f) {
		if err != nil {
			w.Fatal(err)
		}
		listed = append(listed, q)
	}
	w.same("list", ids(listed), ids(w.selected(f)))
	w.wantTrace(r.IntN(len(w.qs)), r.IntN(4)-1, f.AsOf)
	for _, source := range []bool{false, true} {
		h := hashOf(map[bool]string{false: "assertion", true: "source"}[source], fmt.Sprint(r.IntN(6)))
		w.wantImpact(h, audit.ImpactOptions{Source: source, Filter: f})
	}
	w.wantAnswers([]string{"s0", "s1", "s[1]*"}[r.IntN(3)], []string{"p0", "p1"}[r.IntN(2)], f)
	w.wantAgents(f)
	w.wantNearest(f, []uint64{0, 30_000, 59_999, 60_000, 95_000_000, math.MaxInt64, math.MaxUint64}[r.IntN(7)])
	w.wantTimeline(audit.TimelineOptions{By: audit.BucketSize(r.IntN(4)), Filter: f, Unapproved: r.IntN(2) == 0, MaxBuckets: []int{0, 0, 3}[r.IntN(3)]})
	o := audit.TopOptions{By: topKeys[r.IntN(len(topKeys))], Rank: []audit.TopRank{"", audit.RankPieces, audit.RankAnswers, audit.RankAgents}[r.IntN(4)], Filter: f}
	if r.IntN(2) == 0 {
		o.NewSince = ptr([]uint64{0, 60_000, 86_400_000, math.MaxUint64}[r.IntN(4)])
	}
	w.wantTop(o)
	w.wantComparison(audit.CompareOptions{By: o.By, Filter: f, Before: audit.Window{From: 0, To: 59_999}, After: audit.Window{From: 59_999 + uint64(r.IntN(3)), To: []uint64{60_001, 86_400_000, math.MaxUint64}[r.IntN(3)]}})
	n, cut, err := w.db.Count(ctx, f, audit.Budget{})
	if err != nil || cut {
		w.Fatal(n, cut, err)
	}
	w.same("count", n, uint64(len(w.selected(unlimited(f)))))
}

// topKeys are what can be ranked.
var topKeys = []audit.TopBy{
	audit.TopAgents, audit.TopSubjects, audit.TopPredicates, audit.TopLenses, audit.TopAssertions, audit.TopSources, audit.TopLifecycles,
	audit.TopAttribute("trace_id"), audit.TopAttribute("nothing"),
}

// users counts the agents of records, and what else Uses has.
func uses(qs []audit.QueryAudit, limit int) (u audit.Uses) {
	agents := map[audit.Hash]bool{}
	for _, q := range qs {
		if u.Answers == limit {
			u.More = true
			return u
		}
		u.Answers++
		if q.AgentID != nil && !agents[*q.AgentID] {
			agents[*q.AgentID] = true
			u.Agents++
		}
		if u.First == nil || q.Timestamp < *u.First {
			u.First = ptr(q.Timestamp)
		}
	}
	return u
}

func (w *world) wantTrace(index, neighbours int, asOf *uint64) {
	w.Helper()
	q := w.qs[index]
	hot := 1 + int(q.QueryID[0])%30
	got, err := w.db.Trace(context.Background(), q.QueryID, audit.TraceOptions{Neighbours: neighbours, HotLimit: hot, AsOf: asOf})
	if asOf != nil && uint64(index) >= *asOf {
		if !errors.Is(err, audit.ErrNotFound) {
			w.Fatalf("trace of record %d as of %d: %v", index, *asOf, err)
		}
		return
	}
	if err != nil {
		w.Fatal(err)
	}
	w.same("trace", got.Audit.QueryID, q.QueryID)
	type piece struct {
		Position     int
		Weight       float32
		Won, Fit     bool
		Uses, Others audit.Uses
	}
	var have, want []piece
	for _, e := range got.Evidence {
		w.same("piece", e.ContributingAssertion, q.ContributingAssertions[e.Position])
		have = append(have, piece{e.Position, e.Weight, e.Won, e.Fit, e.Uses, e.Others})
	}
	sources := map[audit.Hash]bool{}
	at := map[audit.FindingKind][]int{}
	won := false
	for i, c := range q.ContributingAssertions {
		p := piece{Position: i, Weight: c.Weight, Won: q.ResultHash != nil && *q.ResultHash == c.AssertionHash, Fit: c.Lifecycle == audit.Approved}
		all := w.selected(audit.Filter{Assertion: &c.AssertionHash, AsOf: asOf, ByAdmission: true})
		p.Uses = uses(all, hot)
		p.Others = uses(slices.DeleteFunc(all, func(o audit.QueryAudit) bool { return o.QueryID == q.QueryID }), hot)
		want = append(want, p)
		sources[c.SourceHash] = true
		won = won || p.Won
		if !p.Fit {
			at[audit.UnfitEvidence] = append(at[audit.UnfitEvidence], i)
			if p.Won {
				at[audit.UnfitResult] = append(at[audit.UnfitResult], i)
			}
		}
		if !p.Others.More && (p.Others.First == nil || *p.Others.First > q.Timestamp) {
			at[audit.FirstUse] = append(at[audit.FirstUse], i)
		}
	}
	slices.SortStableFunc(want, func(a, b piece) int { return cmp.Compare(b.Weight, a.Weight) })
	w.same("evidence", have, want)
	var findings []audit.Finding
	add := func(kind audit.FindingKind, ok bool) {
		if ok {
			findings = append(findings, audit.Finding{Kind: kind, Positions: append([]int{}, at[kind]...)})
		}
	}
	add(audit.UnfitResult, at[audit.UnfitResult] != nil)
	add(audit.UnfitEvidence, at[audit.UnfitEvidence] != nil)
	add(audit.OneSource, len(sources) == 1)
	add(audit.FirstUse, at[audit.FirstUse] != nil)
	add(audit.LowConfidence, q.ResultConfidence < 0.5)
	add(audit.NoEvidence, q.ResultHash != nil && want == nil)
	add(audit.ForeignResult, q.ResultHash != nil && want != nil && !won)
	w.same("findings", append([]audit.Finding(nil), got.Findings...), findings)
	if neighbours == 0 {
		neighbours = audit.DefaultNeighbours
	}
	var before, after []audit.QueryAudit
	if q.AgentID != nil && neighbours > 0 {
		mine := w.selected(audit.Filter{Agent: q.AgentID, AsOf: asOf})
		i := slices.IndexFunc(mine, func(o audit.QueryAudit) bool { return o.QueryID == q.QueryID })
		before, after = mine[max(0, i-neighbours):i], mine[i+1:min(len(mine), i+1+neighbours)]
	}
	w.same("before", ids(got.Before), ids(before))
	w.same("after", ids(got.After), ids(after))
}

func (w *world) wantImpact(h audit.Hash, o audit.ImpactOptions) {
	w.Helper()
	ctx := context.Background()
	f := o.Filter
	asked := &f.Assertion
	if o.Source {
		asked = &f.Source
	}
	if *asked != nil && **asked != h {
		_, err := w.db.ImpactTotals(ctx, h, o)
		if !errors.Is(err, audit.ErrInvalid) {
			w.Fatalf("two assertions at once: %v", err)
		}
		return
	}
	*asked = &h
	mine := func(q audit.QueryAudit, c audit.ContributingAssertion) bool { return fitsPiece(q, c, f) }
	selected := func(f audit.Filter) []audit.QueryAudit {
		return w.ordered(f, func(q audit.QueryAudit) bool {
			return slices.ContainsFunc(q.ContributingAssertions, func(c audit.ContributingAssertion) bool { return fitsPiece(q, c, f) })
		})
	}
	look := func(q audit.QueryAudit) (positions []int, won bool, weight float64) {
		for i, c := range q.ContributingAssertions {
			if mine(q, c) {
				positions = append(positions, i)
				won = won || q.ResultHash != nil && *q.ResultHash == c.AssertionHash
				weight += float64(c.Weight)
			}
		}
		return positions, won, weight
	}
	var got []string
	for a, err := range w.db.Impact(ctx, h, o) {
		if err != nil {
			w.Fatal(err)
		}
		var positions []int
		for _, e := range a.Evidence {
			w.same("piece", e.ContributingAssertion, a.Audit.ContributingAssertions[e.Position])
			positions = append(positions, e.Position)
		}
		got = append(got, fmt.Sprint(a.Audit.QueryID, positions, a.Won))
	}
	var want []string
	for _, q := range selected(f) {
		positions, won, _ := look(q)
		want = append(want, fmt.Sprint(q.QueryID, positions, won))
	}
	w.same("impact", got, want)

	totals, err := w.db.ImpactTotals(ctx, h, o)
	if err != nil {
		w.Fatal(err)
	}
	sum := audit.ImpactTotals{ByAgent: []audit.AgentImpact{}}
	assertions := map[audit.Hash]bool{}
	var weight float64
	byAgent := map[audit.Hash]*audit.AgentImpact{}
	for _, q := range selected(unlimited(f)) {
		_, won, wt := look(q)
		sum.Answers++
		weight += wt
		a := &audit.AgentImpact{AgentID: q.AgentID, First: q.Timestamp}
		if q.AgentID == nil {
			sum.Anonymous++
		}
		if old := byAgent[hashOrZero(q.AgentID)]; old != nil {
			a = old
		} else {
			byAgent[hashOrZero(q.AgentID)] = a
		}
		a.Answers, a.Last = a.Answers+1, q.Timestamp
		if won {
			sum.Won++
			a.Won++
		}
		if sum.First == nil {
			sum.First = ptr(q.Timestamp)
		}
		sum.Last = ptr(q.Timestamp)
		for _, c := range q.ContributingAssertions {
			if mine(q, c) {
				assertions[c.AssertionHash] = true
			}
		}
	}
	sum.Assertions = len(assertions)
	for _, a := range byAgent {
		sum.ByAgent = append(sum.ByAgent, *a)
		if a.AgentID != nil {
			sum.Agents++
		}
	}
	slices.SortFunc(sum.ByAgent, func(a, b audit.AgentImpact) int {
		return compareCounts(a.AgentID, b.AgentID, a.Answers, b.Answers)
	})
	if math.Abs(totals.Weight-weight) > 1e-6*math.Max(1, math.Abs(weight)) {
		w.Fatalf("weight %v, want %v", totals.Weight, weight)
	}
	totals.Weight = 0
	for i := range totals.ByAgent {
		totals.ByAgent[i].Weight = 0
	}
	w.same("totals", show(totals), show(sum))
}

func hashOrZero(h *audit.Hash) audit.Hash {
	if h == nil {
		return audit.Hash{}
	}
	return *h
}

// compareCounts is the order of agents: the busiest first, nobody last.
func compareCounts(a, b *audit.Hash, aCount, bCount uint64) int {
	if a == nil || b == nil {
		return cmp.Compare(map[bool]int{true: 1}[a == nil], map[bool]int{true: 1}[b == nil])
	}
	return cmp.Or(cmp.Compare(bCount, aCount), a.Compare(*b))
}

func (w *world) wantAnswers(subject, predicate string, f audit.Filter) {
	w.Helper()
	shown := f
	shown.Subject, shown.SubjectGlob, shown.Predicate = &subject, nil, &predicate
	all := unlimited(shown)
	all.From, all.To = nil, nil
	history := w.selected(all)
	var want []string
	for _, q := range w.selected(shown) {
		i := slices.IndexFunc(history, func(o audit.QueryAudit) bool { return o.QueryID == q.QueryID })
		line := q.QueryID.String() + " first"
		if i > 0 {
			line = fmt.Sprint(q.QueryID, history[i-1].QueryID, hashOrZero(q.ResultHash) != hashOrZero(history[i-1].ResultHash))
		}
		want = append(want, line)
	}
	var got []string
	for a, err := range w.db.Answers(context.Background(), subject, predicate, f) {
		if err != nil {
			w.Fatal(err)
		}
		line := a.Audit.QueryID.String() + " first"
		if a.Before != nil {
			line = fmt.Sprint(a.Audit.QueryID, a.Before.A.QueryID, a.Flipped)
			w.same("compared", a.Before.B.QueryID, a.Audit.QueryID)
			if a.Flipped {
				w.same("causes", a.Causes, a.Before.Causes())
			}
		}
		got = append(got, line)
	}
	w.same("answers", got, want)
}

func (w *world) wantAgents(f audit.Filter) {
	w.Helper()
	byAgent := map[audit.Hash]*audit.AgentActivity{}
	for _, q := range w.selected(unlimited(f)) {
		a := byAgent[hashOrZero(q.AgentID)]
		if a == nil {
			a = &audit.AgentActivity{AgentID: q.AgentID, First: q.Timestamp}
			byAgent[hashOrZero(q.AgentID)] = a
		}
		a.Audits, a.Last = a.Audits+1, q.Timestamp
	}
	want := []audit.AgentActivity{}
	for _, a := range byAgent {
		want = append(want, *a)
	}
	slices.SortFunc(want, func(a, b audit.AgentActivity) int { return compareCounts(a.AgentID, b.AgentID, a.Audits, b.Audits) })
	if f.Limit > 0 {
		want = want[:min(len(want), f.Limit)]
	}
	got := []audit.AgentActivity{}
	for a, err := range w.db.Agents(context.Background(), f) {
		if err != nil {
			w.Fatal(err)
		}
		got = append(got, a)
	}
	w.same("agents", show(got), show(want))
}

func (w *world) wantNearest(f audit.Filter, at uint64) {
	w.Helper()
	var want *audit.QueryAudit
	far := func(q *audit.QueryAudit) uint64 { return max(q.Timestamp, at) - min(q.Timestamp, at) }
	for _, q := range w.selected(unlimited(f)) {
		if want == nil || far(&q) < far(want) { // of equally close ones the first
			want = &q
		}
	}
	got, damaged, err := w.db.Nearest(context.Background(), f, at)
	if len(damaged) > 0 {
		w.Fatalf("nearest to %d: damaged are %v", at, damaged)
	}
	if want == nil {
		if !errors.Is(err, audit.ErrNotFound) {
			w.Fatalf("nearest to %d: %+v, %v; want none", at, got, err)
		}
		return
	}
	if err != nil || got.QueryID != want.QueryID {
		w.Fatalf("nearest to %d: %+v, %v; want %+v", at, got, err, want)
	}
}

func (w *world) wantTimeline(o audit.TimelineOptions) {
	w.Helper()
	got, err := w.db.Timeline(context.Background(), o)
	if err != nil {
		w.Fatal(err)
	}
	size := map[audit.BucketSize]uint64{audit.ByMinute: 60_000, audit.ByHour: 3_600_000, audit.ByDay: 86_400_000, audit.ByQuarter: 900_000}[o.By]
	counted := map[uint64]*audit.TimelineBucket{}
	agents, last := map[uint64]map[audit.Hash]bool{}, map[audit.Hash]uint64{}
	selected := w.selected(unlimited(o.Filter))
	want := audit.Timeline{Buckets: []audit.TimelineBucket{}, Silent: []audit.SilentAgent{}}
	for _, q := range selected {
		start := q.Timestamp / size * size
		b := counted[start]
		if b == nil {
			b = &audit.TimelineBucket{Start: start}
			counted[start], agents[start] = b, map[audit.Hash]bool{}
		}
		b.Audits++
		want.Audits++
		if q.AgentID == nil {
			b.Anonymous++
			want.Anonymous++
		} else {
			agents[start][*q.AgentID] = true
			b.Agents = uint64(len(agents[start]))
			last[*q.AgentID] = q.Timestamp
			want.Agents = uint64(len(last))
		}
		if o.Unapproved && slices.ContainsFunc(q.ContributingAssertions, func(c audit.ContributingAssertion) bool { return c.Lifecycle != audit.Approved }) {
			b.Unapproved++
		}
	}
	from, to := uint64(0), uint64(0)
	if len(selected) > 0 {
		from, to = selected[0].Timestamp, selected[len(selected)-1].Timestamp
	}
	if o.Filter.From != nil {
		from = *o.Filter.From
	}
	if o.Filter.To != nil {
		to = min(*o.Filter.To, math.MaxInt64)
	}
	if from <= math.MaxInt64 && (len(selected) > 0 || o.Filter.From != nil && o.Filter.To != nil && from <= to) {
		most := o.MaxBuckets
		if most == 0 {
			most = audit.DefaultMaxBuckets
		}
		want.Sparse = to/size-from/size+1 > uint64(most)
		for start := from / size * size; !want.Sparse && start <= to; start += size {
			if counted[start] == nil {
				counted[start] = &audit.TimelineBucket{Start: start}
			}
		}
		for _, b := range counted {
			b.End = math.MaxInt64
			if b.Start <= math.MaxInt64-size {
				b.End = b.Start + size - 1
			}
			want.Buckets = append(want.Buckets, *b)
		}
		slices.SortFunc(want.Buckets, func(a, b audit.TimelineBucket) int { return cmp.Compare(a.Start, b.Start) })
		if n := len(want.Buckets); n > most {
			want.Buckets, want.Cut = want.Buckets[n-most:], true
		}
		want.Silent = w.silent(o.Filter, selected, from, to)
		slices.SortFunc(want.Silent, func(a, b audit.SilentAgent) int {
			return cmp.Or(cmp.Compare(b.Last, a.Last), a.AgentID.Compare(b.AgentID))
		})
	}
	w.same("timeline", show(*got), show(want))
}

// silent are the agents that are silent at the end of a time, in no order. selected are the records of the filter.
func (w *world) silent(f audit.Filter, selected []audit.QueryAudit, from, to uint64) []audit.SilentAgent {
	out := []audit.SilentAgent{}
	if f.AsOf != nil {
		newest := uint64(0)
		for _, q := range w.selected(audit.Filter{AsOf: f.AsOf}) {
			newest = max(newest, q.Timestamp)
		}
		if to = min(to, newest); to < from {
			return out
		}
	}
	timed := unlimited(f)
	timed.From, timed.To, timed.AsOf = nil, nil, nil
	known := selected // by which the filter may judge
	if reflect.DeepEqual(timed, audit.Filter{}) {
		known = w.selected(audit.Filter{AsOf: f.AsOf})
	}
	done := map[audit.Hash]bool{}
	for _, q := range known {
		if q.AgentID == nil || done[*q.AgentID] {
			continue
		}
		id := *q.AgentID
		done[id] = true
		of := func(qs []audit.QueryAudit) (times []uint64) {
			for _, q := range qs {
				if q.AgentID != nil && *q.AgentID == id {
					times = append(times, q.Timestamp)
				}
			}
			return times
		}
		shown, rated := of(selected), of(selected)
		if len(shown) < audit.MinRated {
			if !reflect.DeepEqual(timed, audit.Filter{}) {
				continue
			}
			rated = of(known)
		}
		last, heard := uint64(0), false
		for _, t := range append(of(known), shown...) {
			if t <= to {
				last, heard = max(last, t), true
			}
		}
		length := rated[len(rated)-1] - rated[0]
		if !heard || length == 0 || len(rated) < audit.MinRated {
			continue
		}
		if expected := float64(len(rated)-1) * float64(to-last) / float64(length); expected >= audit.MinExpected {
			out = append(out, audit.SilentAgent{AgentID: id, Last: last, Shown: uint64(len(shown)), Expected: uint64(expected)})
		}
	}
	return out
}

// keysOf are those that a piece of evidence has, or with a nil one its record.
func keyOf(by audit.TopBy, q audit.QueryAudit, c *audit.ContributingAssertion) (key any, ok bool) {
	text := func(s *string) (any, bool) {
		if s == nil {
			return nil, false
		}
		return *s, true
	}
	switch by {
	case audit.TopAgents:
		if q.AgentID == nil {
			return nil, false
		}
		return *q.AgentID, true
	case audit.TopSubjects:
		return text(q.Params.Subject)
	case audit.TopPredicates:
		return text(q.Params.Predicate)
	case audit.TopLenses:
		return text(q.Params.Lens)
	case audit.TopSources:
		return c.SourceHash, true
	case audit.TopAssertions:
		return c.AssertionHash, true
	case audit.TopLifecycles:
		return c.Lifecycle.String(), true
	}
	name, _ := by.Attribute()
	v, ok := q.Attributes[name]
	return fmt.Sprint(v), ok
}

// counted are what a ranking counts: pieces of evidence, or records, which have no piece.
func (w *world) counted(by audit.TopBy, f audit.Filter) (out []piece) {
	if by.OfEvidence() {
		return w.pieces(f)
	}
	for _, q := range w.selected(f) {
		out = append(out, piece{of: q})
	}
	return out
}

func (w *world) wantTop(o audit.TopOptions) {
	w.Helper()
	got, err := w.db.Top(context.Background(), o)
	if err != nil {
		w.Fatal(err)
	}
	first := map[any]uint64{} // in the whole store
	for _, p := range w.counted(o.By, audit.Filter{AsOf: o.Filter.AsOf}) {
		if k, ok := keyOf(o.By, p.of, &p.ContributingAssertion); ok {
			if _, met := first[k]; !met {
				first[k] = p.of.Timestamp
			}
		}
	}
	f := unlimited(o.Filter)
	if o.NewSince != nil && (f.From == nil || *f.From < *o.NewSince) {
		f.From = o.NewSince
	}
	type entry struct {
		Count, Answers, First, Last uint64
		agents                      map[audit.Hash]bool
		subjects                    map[string]bool
		seen                        map[audit.QueryID]bool
		Weight, Confidence          float64
	}
	entries := map[any]*entry{}
	var total, without uint64
	for _, p := range w.counted(o.By, f) {
		q := p.of
		k, ok := keyOf(o.By, q, &p.ContributingAssertion)
		if !ok {
			without++
			continue
		}
		total++
		if o.NewSince != nil && first[k] < *o.NewSince {
			continue
		}
		e := entries[k]
		if e == nil {
			e = &entry{First: q.Timestamp, agents: map[audit.Hash]bool{}, subjects: map[string]bool{}, seen: map[audit.QueryID]bool{}}
			entries[k] = e
		}
		e.Count++
		e.Last = q.Timestamp
		if !e.seen[q.QueryID] {
			e.seen[q.QueryID] = true
			e.Answers++
			e.Confidence += float64(q.ResultConfidence)
		}
		if q.AgentID != nil {
			e.agents[*q.AgentID] = true
		}
		if q.Params.Subject != nil {
			e.subjects[*q.Params.Subject] = true
		}
		if o.By.OfEvidence() {
			e.Weight += float64(p.Weight)
		}
	}
	rank := func(e *entry) uint64 {
		switch {
		case o.Rank == audit.RankAnswers && o.By.OfEvidence():
			return e.Answers
		case o.Rank == audit.RankAgents && o.By != audit.TopAgents:
			return uint64(len(e.agents))
		}
		return e.Count
	}
	limit := o.Filter.Limit
	if limit == 0 {
		limit = audit.DefaultTop
	}
	w.same("totals of top", []any{got.Total, got.Without, got.Missed, got.More, len(got.Entries)},
		[]any{total, without, uint64(0), len(entries) > limit, min(limit, len(entries))})
	previous, before := uint64(math.MaxUint64), ""
	for _, g := range got.Entries {
		var k any
		if g.Hash != nil {
			k = *g.Hash
		} else {
			k = *g.Text
		}
		e := entries[k]
		if e == nil {
			w.Fatalf("top has %v", k)
		}
		if n := rank(e); n > previous || n == previous && o.By != audit.TopLifecycles && fmt.Sprint(k) <= before {
			w.Fatalf("top is not in order at %v", k)
		}
		previous, before = rank(e), fmt.Sprint(k)
		w.same("entry", []uint64{g.Count, g.Answers, g.Agents, g.First, g.Last, g.Subjects}, []uint64{e.Count, e.Answers, uint64(len(e.agents)), e.First, e.Last, uint64(len(e.subjects))})
		if math.Abs(g.Weight-e.Weight) > 1e-6*math.Max(1, math.Abs(e.Weight)) || g.Share != float64(e.Count)/float64(total) {
			w.Fatalf("%+v, want weight %v", g, e.Weight)
		}
		if mean := e.Confidence / float64(e.Answers); g.Confidence != float32(mean) || g.MoreSubjects {
			w.Fatalf("%+v, want confidence %v", g, mean)
		}
		delete(entries, k)
	}
	for k, e := range entries { // nothing that was left out belongs in
		if len(got.Entries) > 0 && rank(e) > previous {
			w.Fatalf("top lacks %v with %d", k, e.Count)
		}
	}
}

func (w *world) wantComparison(o audit.CompareOptions) {
	w.Helper()
	got, err := w.db.CompareWindows(context.Background(), o)
	if err != nil {
		w.Fatal(err)
	}
	type counts struct{ before, after uint64 }
	all := map[any]*counts{}
	var total, without counts
	windows := []audit.Window{o.Before, o.After}
	if o.Before.To == o.After.From {
		windows[0].To--
	}
	for i, window := range windows {
		f := unlimited(o.Filter)
		f.From, f.To = &window.From, &window.To
		side := func(c *counts) *uint64 { return []*uint64{&c.before, &c.after}[i] }
		for _, p := range w.counted(o.By, f) {
			k, ok := keyOf(o.By, p.of, &p.ContributingAssertion)
			if !ok {
				*side(&without)++
				continue
			}
			*side(&total)++
			if all[k] == nil {
				all[k] = &counts{}
			}
			*side(all[k])++
		}
	}
	before, after := float64(o.Before.To-o.Before.From)+1, float64(o.After.To-o.After.From)+1
	grown := func(c *counts) float64 { return float64(c.after)*before - float64(c.before)*after }
	change := func(c *counts) audit.Change {
		switch {
		case c.before == 0:
			return audit.Came
		case c.after == 0:
			return audit.Went
		case grown(c) > 0:
			return audit.Grew
		case grown(c) < 0:
			return audit.Shrank
		}
		return audit.Same
	}
	changes := map[audit.Change]uint64{}
	for _, c := range all {
		changes[change(c)]++
	}
	limit := o.Filter.Limit
	if limit == 0 {
		limit = audit.DefaultTop
	}
	w.same("totals of compare", []any{got.Before, got.After, got.WithoutBefore, got.WithoutAfter, got.Changes, got.More, len(got.Entries)},
		[]any{total.before, total.after, without.before, without.after, changes, len(all) > limit, min(limit, len(all))})
	previous := math.Inf(1)
	for _, e := range got.Entries {
		var k any
		if e.Hash != nil {
			k = *e.Hash
		} else {
			k = *e.Text
		}
		c := all[k]
		if c == nil {
			w.Fatalf("compare has %v", k)
		}
		w.same("compared", []any{e.Before, e.After, e.Change}, []any{c.before, c.after, change(c)})
		if n := math.Abs(grown(c)); n > previous {
			w.Fatalf("compare is not in order at %v", k)
		} else {
			previous = n
		}
		delete(all, k)
	}
	for k, c := range all {
		if len(got.Entries) > 0 && math.Abs(grown(c)) > previous {
			w.Fatalf("compare lacks %v", k)
		}
	}
}

// show turns pointers into what they point to.
func show(v any) string { return string(must(marshalForShow(v))) }

func marshalForShow(v any) ([]byte, error) { return json.MarshalIndent(v, "", " ") }

func TestTraceRefusesANegativeLimit(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	var field *audit.FieldError
	if _, err := db.Trace(t.Context(), audit.QueryID{1}, audit.TraceOptions{HotLimit: -1}); !errors.As(err, &field) || field.Field != "hot_limit" {
		t.Errorf("got %v", err)
	}
}
