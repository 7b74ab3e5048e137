package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/wal"
)

// A Union of stores that have the records of one store divided among them answers as that one does. The records of small worlds, in
// which everything collides, are put into one store and into several, and both are asked everything with random filters.

// questioned is what a store and a union of stores answer.
type questioned interface {
	GetAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error)
	GetRaw(ctx context.Context, id audit.QueryID) ([]byte, error)
	AuditsForAgent(ctx context.Context, agent audit.AgentID, from, to uint64, limit int) ([]audit.QueryAudit, error)
	ListRecent(ctx context.Context, limit int) ([]audit.QueryAudit, error)
	HasAuditsForAgent(ctx context.Context, agent audit.AgentID) (bool, error)
	Audits(ctx context.Context, f audit.Filter) iter.Seq2[audit.QueryAudit, error]
	RawAudits(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error]
	Nearest(ctx context.Context, f audit.Filter, at uint64) (*audit.QueryAudit, []*audit.RecordError, error)
	Extent(ctx context.Context, f audit.Filter) (first, last uint64, ok bool, err error)
	Newest(ctx context.Context, f audit.Filter, n int) (from, records uint64, ok bool, err error)
	Count(ctx context.Context, f audit.Filter, b audit.Budget) (n uint64, cut bool, err error)
	Agents(ctx context.Context, f audit.Filter) iter.Seq2[audit.AgentActivity, error]
	Top(ctx context.Context, o audit.TopOptions) (*audit.TopList, error)
	CompareWindows(ctx context.Context, o audit.CompareOptions) (*audit.Comparison, error)
	Timeline(ctx context.Context, o audit.TimelineOptions) (*audit.Timeline, error)
	Trace(ctx context.Context, id audit.QueryID, o audit.TraceOptions) (*audit.Trace, error)
	Origins(ctx context.Context, id audit.QueryID, o audit.OriginsOptions) (*audit.Origins, error)
	Downstream(h audit.Hash, o audit.DownstreamOptions) *audit.Downstream
	Onward(ctx context.Context, h audit.Hash, source bool, asOf *uint64, b audit.Budget) (audit.Onward, error)
	Impact(ctx context.Context, h audit.Hash, o audit.ImpactOptions) iter.Seq2[audit.ImpactedAnswer, error]
	ImpactTotals(ctx context.Context, h audit.Hash, o audit.ImpactOptions) (audit.ImpactTotals, error)
	Answers(ctx context.Context, subject, predicate string, f audit.Filter) iter.Seq2[audit.Answer, error]
	DiffAsOf(ctx context.Context, a, b audit.QueryID, asOf *uint64) (*audit.Difference, error)
	GetRawAsOf(ctx context.Context, id audit.QueryID, asOf *uint64) ([]byte, error)
	ResolveAsOf(ctx context.Context, prefix string, asOf *uint64) ([]audit.QueryID, error)
	ResolveHashAsOf(ctx context.Context, name string, kinds audit.HashKind, asOf *uint64) (audit.Hash, error)
	ResolveHash(ctx context.Context, name string, kinds audit.HashKind) (audit.Hash, error)
	IdentifyAsOf(ctx context.Context, h audit.Hash, asOf *uint64) (*audit.Identity, error)
	Labels(ctx context.Context) (*audit.Labels, error)
	CheckAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
}

// answered is an answer with what was asked.
type answered struct {
	question string
	answer   any
	err      error
}

func gathered[T any](list iter.Seq2[T, error]) (all []T, err error) {
	for v, failed := range list {
		if failed != nil {
			return all, failed
		}
		all = append(all, v)
	}
	return all, nil
}

// answersOf asks everything. Equal seeds ask the same.
func answersOf(ctx context.Context, s questioned, seed uint64, world []audit.QueryAudit, f audit.Filter) (all []answered) {
	r := rand.New(rand.NewPCG(seed, 5))
	add := func(question string, answer any, err error) { all = append(all, answered{question, answer, err}) }
	some := func() audit.QueryID { return world[r.IntN(len(world))].QueryID }
	listed, err := gathered(s.Audits(ctx, f))
	add("list", listed, err)
	raw, err := gathered(s.RawAudits(ctx, f))
	texts := make([]string, len(raw))
	for i := range raw {
		texts[i] = string(raw[i])
	}
	add("raw list", texts, err)
	id := some()
	got, err := s.GetAudit(ctx, id)
	add("get", got, err)
	text, err := s.GetRaw(ctx, hashOf("nobody's"))
	add("get what is not there", string(text), err)
	agent := hashOf("agent", fmt.Sprint(r.IntN(6)))
	has, err := s.HasAuditsForAgent(ctx, agent)
	add("has agent", has, err)
	ofAgent, err := s.AuditsForAgent(ctx, agent, 1, 90_000_000, 1+r.IntN(9))
	add("of an agent", ofAgent, err)
	recent, err := s.ListRecent(ctx, r.IntN(9))
	add("recent", recent, err)
	nearest, _, err := s.Nearest(ctx, f, []uint64{0, 30_000, 60_000, 95_000_000, math.MaxUint64}[r.IntN(5)])
	add("nearest", nearest, err)
	first, last, ok, err := s.Extent(ctx, f)
	add("extent", []any{first, last, ok}, err)
	n, cut, err := s.Count(ctx, f, audit.Budget{})
	add("count", []any{n, cut}, err)
	agents, err := gathered(s.Agents(ctx, f))
	add("agents", agents, err)
	o := audit.TopOptions{By: topKeys[r.IntN(len(topKeys))], Rank: []audit.TopRank{"", audit.RankPieces, audit.RankAnswers, audit.RankAgents}[r.IntN(4)], Filter: f}
	if r.IntN(2) == 0 {
		o.NewSince = ptr([]uint64{0, 60_000, 86_400_000, math.MaxUint64}[r.IntN(4)])
	}
	top, err := s.Top(ctx, o)
	add(fmt.Sprintf("top %s %s", o.By, o.Rank), top, err)
	compared, err := s.CompareWindows(ctx, audit.CompareOptions{
		By: o.By, Filter: f, Before: audit.Window{From: 0, To: 59_999}, After: audit.Window{From: 59_999 + uint64(r.IntN(3)), To: []uint64{60_001, 86_400_000, math.MaxUint64}[r.IntN(3)]},
	})
	add("compare", compared, err)
	zone := []*time.Location{nil, time.FixedZone("odd", 12*60), time.FixedZone("half", 5*3600+1800)}[r.IntN(3)]
	timeline, err := s.Timeline(ctx, audit.TimelineOptions{
		By: audit.BucketSize(r.IntN(4)), Zone: zone, Filter: f, Unapproved: r.IntN(2) == 0, MaxBuckets: []int{0, 0, 1, 3}[r.IntN(4)], Now: []uint64{0, 95_000_000}[r.IntN(2)],
	})
	add("timeline", timeline, err)
	traced, err := s.Trace(ctx, id, audit.TraceOptions{AsOf: f.AsOf, Neighbours: r.IntN(4) - 1})
	add("trace", traced, err)
	origins, err := s.Origins(ctx, id, audit.OriginsOptions{AsOf: f.AsOf})
	add("origins", origins, err)
	for _, source := range []bool{false, true} {
		h := hashOf(map[bool]string{false: "assertion", true: "source"}[source], fmt.Sprint(r.IntN(6)))
		io := audit.ImpactOptions{Source: source, Filter: f}
		impact, err := gathered(s.Impact(ctx, h, io))
		add("impact", impact, err)
		totals, err := s.ImpactTotals(ctx, h, io)
		add("impact totals", totals, err)
		onward, err := s.Onward(ctx, h, source, f.AsOf, audit.Budget{})
		add("onward", onward, err)
		d := s.Downstream(h, audit.DownstreamOptions{Source: source, Depth: r.IntN(3), AnyOrder: r.IntN(4) == 0, Filter: f})
		for d.Next(ctx) {
			reached, err := gathered(d.Answers(ctx))
			add(fmt.Sprintf("downstream, step %d with %d", d.Distance(), d.Found()), reached, err)
		}
		walked, err := d.Totals(ctx)
		add("downstream", walked, errors.Join(err, d.Err()))
		identity, err := s.IdentifyAsOf(ctx, h, f.AsOf)
		add("identify", identity, err)
		resolved, err := s.ResolveHashAsOf(ctx, h.String()[:8+r.IntN(5)], audit.AnyHash, f.AsOf)
		add("resolve hash", resolved, err)
	}
	answers, err := gathered(s.Answers(ctx, []string{"s0", "s1", "s[1]*"}[r.IntN(3)], []string{"p0", "p1"}[r.IntN(2)], f))
	add("answers", answers, err)
	diff, err := s.DiffAsOf(ctx, id, some(), f.AsOf)
	add("diff", diff, err)
	stored, err := s.GetRawAsOf(ctx, id, f.AsOf)
	add("get as of", string(stored), err)
	ids, err := s.ResolveAsOf(ctx, id.String()[:8+r.IntN(5)], f.AsOf)
	add("resolve", ids, err)
	nobody := hashOf("nobody's").String()
	for _, name := range []string{
		"of an agent", " of an agent ", "of two", "of nobody", agent.String(), nobody, " " + strings.ToUpper(nobody), nobody[:12], nobody + "0", " ",
	} {
		resolved, err := s.ResolveHash(ctx, name, []audit.HashKind{audit.AnyHash, audit.AgentHash, audit.SourceHash}[r.IntN(3)])
		add("resolve label "+name, resolved, err)
	}
	labels, err := s.Labels(ctx)
	add("labels", labels.All(), err)
	known, fresh := world[r.IntN(len(world))], world[0]
	fresh.QueryID = hashOf("fresh")
	conflict := known
	conflict.ResultConfidence = 0.125
	checked, err := s.CheckAudits(ctx, []*audit.QueryAudit{&fresh, &known, &conflict})
	add("check", fmt.Sprint(checked), err)
	return all
}

// alike compares answers. Floats may differ in their last digits, since they were added in another order.
func alike(t *testing.T, a, b any) bool {
	t.Helper()
	plain := func(v any) (p any) {
		d := json.NewDecoder(bytes.NewReader(must(json.Marshal(v))))
		d.UseNumber()
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	var same func(a, b any) bool
	same = func(a, b any) bool {
		switch x := a.(type) {
		case map[string]any:
			y, ok := b.(map[string]any)
			if !ok || len(x) != len(y) {
				return false
			}
			for k := range x {
				if v, ok := y[k]; !ok || !same(x[k], v) {
					return false
				}
			}
			return true
		case []any:
			y, ok := b.([]any)
			return ok && slices.EqualFunc(x, y, same)
		case json.Number:
			y, ok := b.(json.Number)
			if !ok || x == y {
				return ok
			}
			f, _ := x.Float64()
			g, _ := y.Float64()
			return strings.ContainsAny(string(x+y), ".e") && math.Abs(f-g) <= 1e-6*max(math.Abs(f), math.Abs(g), 1e-6)
		}
		return a == b
	}
	return same(plain(a), plain(b))
}

// divided puts a world into one store and into several, in steps.
type divided struct {
	one     *audit.DB
	several []*audit.DB
	union   *audit.Union
}

func newDivided(t *testing.T, partitions int) *divided {
	t.Helper()
	open := func() *audit.DB {
		return openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithDurability(wal.SyncInterval(time.Hour)))
	}
	d := &divided{one: open()}
	for range partitions {
		d.several = append(d.several, open())
	}
	union, err := audit.NewUnion(d.several, d.home)
	if err != nil {
		t.Fatal(err)
	}
	d.union = union
	return d
}

func (d *divided) home(id audit.QueryID) int { return int(id[3]) % len(d.several) }

func (d *divided) put(t *testing.T, world []audit.QueryAudit) {
	t.Helper()
	for i := range world {
		for _, db := range []*audit.DB{d.one, d.several[d.home(world[i].QueryID)]} {
			if _, err := db.PutAudit(t.Context(), &world[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, db := range append([]*audit.DB{d.one}, d.several...) {
		if err := db.AwaitApplied(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAUnionAnswersAsOneStoreDoes(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	worlds, questions := 8, 40
	if testing.Short() {
		worlds, questions = 3, 20
	}
	for seed := range worlds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 17))
			d := newDivided(t, 1+seed%4)
			world := randomWorld(r, 3+r.IntN(90))
			labels := []audit.Label{{Hash: hashOf("agent", "1"), Label: "of an agent"}, {Hash: hashOf("source", "1"), Label: "of two"}, {Hash: hashOf("agent", "2"), Label: "of two"}}
			if err := errors.Join(d.one.PutLabels(t.Context(), labels), d.union.PutLabels(t.Context(), labels)); err != nil {
				t.Fatal(err)
			}
			moments := []uint64{0}
			for part := range slices.Chunk(world, 1+len(world)/3) {
				d.put(t, part)
				moments = append(moments, d.union.Moment())
			}
			if got := moments[len(moments)-1]; got != uint64(len(world)) {
				t.Fatalf("the union has %d records of %d", got, len(world))
			}
			for range questions {
				f := randomFilter(r)
				if r.IntN(2) == 0 {
					f = randomLists(r, f, r.IntN(2))
				}
				f.Limit, f.Descending = r.IntN(6), r.IntN(2) == 0
				if r.IntN(2) == 0 {
					f.AsOf = &moments[r.IntN(len(moments))]
				}
				if r.IntN(3) == 0 {
					f.After = ptr(audit.CursorOf(&world[r.IntN(len(world))]))
				}
				asked := r.Uint64()
				want, got := answersOf(t.Context(), d.one, asked, world, f), answersOf(t.Context(), d.union, asked, world, f)
				if len(want) != len(got) {
					t.Fatalf("%s\nthe union has %d answers, want %d", show(f), len(got), len(want))
				}
				for i := range want {
					if got[i].question != want[i].question || fmt.Sprint(got[i].err) != fmt.Sprint(want[i].err) || !alike(t, got[i].answer, want[i].answer) {
						t.Fatalf("%d parts, %s\n%s: %s, %v\nwant %s: %s, %v", len(d.several), show(f), got[i].question, show(got[i].answer), got[i].err, want[i].question, show(want[i].answer), want[i].err)
					}
				}
				d.wantNewest(t, r, f)
			}
		})
	}
}

// wantNewest holds the newest records of a union against what Newest promises: which timestamp it is may differ.
func (d *divided) wantNewest(t *testing.T, r *rand.Rand, f audit.Filter) {
	t.Helper()
	n := 1 + r.IntN(20)
	g := audit.Filter{Agent: f.Agent, From: f.From, To: f.To, AsOf: f.AsOf}
	_, _, want, err := d.one.Newest(t.Context(), g, n)
	if err != nil {
		t.Fatal(err)
	}
	from, records, ok, err := d.union.Newest(t.Context(), g, n)
	if err != nil || ok != want {
		t.Fatalf("%s: newest %d: %v, %v, want %v", show(g), n, ok, err, want)
	}
	if !ok {
		return
	}
	g.From = &from
	if all, _, err := d.one.Count(t.Context(), g, audit.Budget{}); err != nil || all != records || records < uint64(n) {
		t.Errorf("%s: %d records are the newest %d, and there are %d, %v", show(g), records, n, all, err)
	}
}

// What has no exact answer over several stores is refused, with the reason.
func TestWhatAUnionRefuses(t *testing.T) {
	t.Parallel()
	d := newDivided(t, 2)
	world := randomWorld(rand.New(rand.NewPCG(1, 1)), 12)
	d.put(t, world[:6])
	known := d.union.Moment()
	d.put(t, world[6:])
	ctx := t.Context()
	outcomes := map[string]error{}
	for _, err := range d.union.Audits(ctx, audit.Filter{ByAdmission: true}) {
		outcomes["list by admission"] = err
	}
	for _, err := range d.union.RawAudits(ctx, audit.Filter{ByAdmission: true, Descending: true}) {
		outcomes["raw list by admission"] = err
	}
	for _, err := range d.union.Impact(ctx, hashOf("source", "1"), audit.ImpactOptions{Source: true, Filter: audit.Filter{ByAdmission: true}}) {
		outcomes["impact by admission"] = err
	}
	never := ptr(known + 1) // there are as many, and it was never shown
	_, _, outcomes["a moment that was not shown"] = d.union.Count(ctx, audit.Filter{AsOf: never}, audit.Budget{})
	_, outcomes["a trace as of a moment that was not shown"] = d.union.Trace(ctx, world[0].QueryID, audit.TraceOptions{AsOf: never})
	_, outcomes["a checkpoint"] = d.union.Verify(ctx, audit.VerifyOptions{Against: make([]audit.Against, 1)})
	for what, err := range outcomes {
		if why := (*audit.DividedError)(nil); !errors.Is(err, audit.ErrDivided) || !errors.As(err, &why) || why.Why == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(outcomes) != 6 {
		t.Errorf("%d were refused", len(outcomes))
	}
	var later *audit.AsOfError
	if _, _, err := d.union.Count(ctx, audit.Filter{AsOf: ptr(uint64(13))}, audit.Budget{}); !errors.As(err, &later) || later.Have != 12 {
		t.Errorf("a moment that has not come: %v", err)
	}
	if n, _, err := d.union.Count(ctx, audit.Filter{AsOf: &known}, audit.Budget{}); err != nil || n != 6 {
		t.Errorf("as of %d: %d, %v", known, n, err)
	}
	if _, err := audit.NewUnion(nil, d.home); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("a union of nothing: %v", err)
	}
	applied := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithReads(audit.Applied))
	if _, err := audit.NewUnion([]*audit.DB{applied}, d.home); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("a store that shows what is applied: %v", err)
	}
}

// What a union counts of all parts.
func TestWhatAUnionSaysOfItself(t *testing.T) {
	t.Parallel()
	d := newDivided(t, 3)
	world := randomWorld(rand.New(rand.NewPCG(2, 1)), 40)
	d.put(t, world)
	want, err := d.one.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.union.Stats(t.Context())
	if err != nil || got.Audits != want.Audits || got.Agents != want.Agents || got.Contributions != want.Contributions || *got.Oldest != *want.Oldest || *got.Newest != *want.Newest {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	r, err := d.union.Verify(t.Context(), audit.VerifyOptions{})
	if err != nil || !r.OK() || r.Audits != uint64(len(world)) || r.Agents != want.Agents || r.Contributions != want.Contributions || len(r.Notes) < 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A union forgets the moment that it was shown first, when there are too many.
func TestAUnionForgetsMoments(t *testing.T) {
	t.Parallel()
	d := newDivided(t, 2)
	d.union.KeepMoments(2)
	world := randomWorld(rand.New(rand.NewPCG(3, 1)), 4)
	for i := range world {
		d.put(t, world[i:i+1])
		if got := d.union.Moment(); got != uint64(i+1) {
			t.Fatalf("%d records after %d", got, i+1)
		}
		d.union.Moment() // the same moment again
	}
	for asOf, want := range []error{nil, audit.ErrDivided, audit.ErrDivided, nil, nil} {
		if _, _, err := d.union.Count(t.Context(), audit.Filter{AsOf: ptr(uint64(asOf))}, audit.Budget{}); !errors.Is(err, want) {
			t.Errorf("as of %d: %v, want %v", asOf, err, want)
		}
	}
}
