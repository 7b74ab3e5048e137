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
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
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
	set(func() { f.SubjectGlob = ptr([]string{"s*", "s[1]", "s1", "*"}[r.IntN(4)]) })
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

// world is a store and what is in it.
type world struct {
	*testing.T
	db *audit.DB
	qs []audit.QueryAudit
}

// selected is what a filter selects, in its order, up to its limit.
func (w *world) selected(f audit.Filter) (out []audit.QueryAudit) {
	same := func(have, want *string) bool { return want == nil || have != nil && *have == *want }
	hash := func(have, want *audit.Hash) bool { return want == nil || have != nil && *have == *want }
	for i, q := range w.qs {
		if f.AsOf != nil && uint64(i) >= *f.AsOf {
			break
		}
		has := func(ok func(audit.ContributingAssertion) bool) bool {
			return slices.ContainsFunc(q.ContributingAssertions, ok)
		}
		ok := hash(q.AgentID, f.Agent) && (!f.Anonymous || q.AgentID == nil) &&
			(f.From == nil || q.Timestamp >= *f.From) && (f.To == nil || q.Timestamp <= *f.To) &&
			same(q.Params.Subject, f.Subject) && same(q.Params.Predicate, f.Predicate) && same(q.Params.Lens, f.Lens) &&
			(f.Lifecycle == nil || q.Params.Lifecycle != nil && *q.Params.Lifecycle == *f.Lifecycle) &&
			hash(q.ResultHash, f.Result) &&
			(f.Assertion == nil || has(func(c audit.ContributingAssertion) bool { return c.AssertionHash == *f.Assertion })) &&
			(f.Source == nil || has(func(c audit.ContributingAssertion) bool { return c.SourceHash == *f.Source })) &&
			(!f.Unapproved || has(func(c audit.ContributingAssertion) bool { return c.Lifecycle != audit.Approved })) &&
			(f.MinConfidence == nil || q.ResultConfidence >= *f.MinConfidence) &&
			(f.MaxConfidence == nil || q.ResultConfidence <= *f.MaxConfidence)
		if ok && f.SubjectGlob != nil {
			ok = q.Params.Subject != nil
			if ok {
				ok, _ = path.Match(*f.SubjectGlob, *q.Params.Subject)
			}
		}
		for _, a := range f.Attributes {
			v, there := q.Attributes[a.Key]
			ok = ok && there && fmt.Sprint(v) == a.Value
		}
		if ok {
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
	w.wantTimeline(audit.TimelineOptions{By: audit.BucketSize(r.IntN(3)), Filter: f, Unapproved: r.IntN(2) == 0, MaxBuckets: []int{0, 0, 3}[r.IntN(3)]})
	o := audit.TopOptions{By: []audit.TopBy{audit.TopAgents, audit.TopSubjects, audit.TopLenses, audit.TopAssertions, audit.TopSources}[r.IntN(5)], Filter: f}
	if r.IntN(2) == 0 {
		o.NewSince = ptr([]uint64{0, 60_000, 86_400_000, math.MaxUint64}[r.IntN(4)])
	}
	w.wantTop(o)
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
	f, mine := o.Filter, func(c audit.ContributingAssertion) bool { return c.AssertionHash == h }
	asked := &f.Assertion
	if o.Source {
		asked, mine = &f.Source, func(c audit.ContributingAssertion) bool { return c.SourceHash == h }
	}
	if *asked != nil && **asked != h {
		_, err := w.db.ImpactTotals(ctx, h, o)
		if !errors.Is(err, audit.ErrInvalid) {
			w.Fatalf("two assertions at once: %v", err)
		}
		return
	}
	*asked = &h
	look := func(q audit.QueryAudit) (positions []int, won bool, weight float64) {
		for i, c := range q.ContributingAssertions {
			if mine(c) {
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
	for _, q := range w.selected(f) {
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
	for _, q := range w.selected(unlimited(f)) {
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
			if mine(c) {
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
	size := map[audit.BucketSize]uint64{audit.ByMinute: 60_000, audit.ByHour: 3_600_000, audit.ByDay: 86_400_000}[o.By]
	counted := map[uint64]*audit.TimelineBucket{}
	agents, last, shown := map[uint64]map[audit.Hash]bool{}, map[audit.Hash]uint64{}, map[audit.Hash]uint64{}
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
			shown[*q.AgentID]++
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
		middle := from + (to-from)/2
		timed := unlimited(o.Filter)
		timed.From, timed.To, timed.AsOf = nil, nil, nil
		if reflect.DeepEqual(timed, audit.Filter{}) {
			for _, q := range w.selected(audit.Filter{To: &to, AsOf: o.Filter.AsOf}) {
				if q.AgentID != nil {
					last[*q.AgentID] = q.Timestamp
				}
			}
		}
		for id, at := range last {
			if at <= middle {
				want.Silent = append(want.Silent, audit.SilentAgent{AgentID: id, Last: at, Shown: shown[id]})
			}
		}
		slices.SortFunc(want.Silent, func(a, b audit.SilentAgent) int {
			return cmp.Or(cmp.Compare(b.Last, a.Last), a.AgentID.Compare(b.AgentID))
		})
	}
	w.same("timeline", show(*got), show(want))
}

func (w *world) wantTop(o audit.TopOptions) {
	w.Helper()
	got, err := w.db.Top(context.Background(), o)
	if err != nil {
		w.Fatal(err)
	}
	keys := func(q audit.QueryAudit) (keys []any) {
		switch o.By {
		case audit.TopAgents:
			if q.AgentID != nil {
				keys = append(keys, *q.AgentID)
			}
		case audit.TopSubjects, audit.TopLenses:
			if s := map[audit.TopBy]*string{audit.TopSubjects: q.Params.Subject, audit.TopLenses: q.Params.Lens}[o.By]; s != nil {
				keys = append(keys, *s)
			}
		default:
			for _, c := range q.ContributingAssertions {
				if o.By == audit.TopSources {
					keys = append(keys, c.SourceHash)
				} else {
					keys = append(keys, c.AssertionHash)
				}
			}
		}
		return keys
	}
	first := map[any]uint64{} // in the whole store
	for _, q := range w.selected(audit.Filter{AsOf: o.Filter.AsOf}) {
		for _, k := range keys(q) {
			if _, ok := first[k]; !ok {
				first[k] = q.Timestamp
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
		Weight                      float64
	}
	entries := map[any]*entry{}
	var total, without uint64
	for _, q := range w.selected(f) {
		list := keys(q)
		if len(list) == 0 && o.By != audit.TopAssertions && o.By != audit.TopSources {
			without++
		}
		seen := map[any]bool{}
		for i, k := range list {
			total++
			if o.NewSince != nil && first[k] < *o.NewSince {
				continue
			}
			e := entries[k]
			if e == nil {
				e = &entry{First: q.Timestamp, agents: map[audit.Hash]bool{}}
				entries[k] = e
			}
			e.Count++
			e.Last = q.Timestamp
			if !seen[k] {
				seen[k] = true
				e.Answers++
			}
			if q.AgentID != nil {
				e.agents[*q.AgentID] = true
			}
			if o.By == audit.TopAssertions || o.By == audit.TopSources {
				e.Weight += float64(q.ContributingAssertions[i].Weight)
			}
		}
	}
	limit := o.Filter.Limit
	if limit == 0 {
		limit = audit.DefaultTop
	}
	w.same("totals of top", []any{got.Total, got.Without, got.Missed, got.More, len(got.Entries)},
		[]any{total, without, uint64(0), len(entries) > limit, min(limit, len(entries))})
	previous := entry{Count: math.MaxUint64}
	var before string
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
		if e.Count > previous.Count || e.Count == previous.Count && fmt.Sprint(k) <= before {
			w.Fatalf("top is not in order at %v", k)
		}
		previous, before = *e, fmt.Sprint(k)
		w.same("entry", []uint64{g.Count, g.Answers, g.Agents, g.First, g.Last}, []uint64{e.Count, e.Answers, uint64(len(e.agents)), e.First, e.Last})
		if math.Abs(g.Weight-e.Weight) > 1e-6*math.Max(1, math.Abs(e.Weight)) || g.Share != float64(e.Count)/float64(total) {
			w.Fatalf("%+v, want weight %v", g, e.Weight)
		}
		delete(entries, k)
	}
	for k, e := range entries { // nothing that was left out belongs in
		if len(got.Entries) > 0 && e.Count > previous.Count {
			w.Fatalf("top lacks %v with %d", k, e.Count)
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
