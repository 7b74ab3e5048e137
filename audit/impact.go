package audit

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/auditsql/auditsql/sqlstore"
)

// ImpactOptions say which answers Impact yields.
type ImpactOptions struct {
	Source bool   // the hash is a source's, not an assertion's
	Filter Filter // which pieces of evidence count, in which answers; Impact sets its Assertion or Source

	Budget Budget // of ImpactTotals: how many answers it counts, or for how long
}

// ImpactedAnswer is a record that some evidence went into.
type ImpactedAnswer struct {
	Audit    QueryAudit
	Evidence []ImpactedEvidence // the pieces in the record that the filter selects, in its order; never empty
	Won      bool               // the evidence is the result
}

// ImpactedEvidence is a piece of a record's evidence.
type ImpactedEvidence struct {
	ContributingAssertion
	Position int // in the record, from 0
}

// ImpactTotals counts what Impact yields.
type ImpactTotals struct {
	// Cut says that the budget ended the count. All figures are of the answers that were counted until then, which are not
	// necessarily the first ones, and there are more.
	Cut bool

	Answers     uint64
	Agents      uint64  // anonymous records are no agent
	Anonymous   uint64  // answers to no agent
	First, Last *uint64 // timestamps; nil when there are no answers
	Won         uint64  // how many answers it was the result of
	Weight      float64 // the sum of the evidence's weights in all of them
	ByAgent     []AgentImpact

	// Assertions is how many assertions of a source went into answers. For an assertion it is 1 or 0. Counting ends at
	// MaxAssertions. Then MoreAssertions is true.
	Assertions     int
	MoreAssertions bool
}

// AgentImpact counts the answers to one agent.
type AgentImpact struct {
	AgentID     *AgentID // nil: the anonymous answers, which come last
	Answers     uint64
	First, Last uint64 // timestamps
	Won         uint64
	Weight      float64
}

// MaxAssertions is how many assertions of a source ImpactTotals counts at most.
const MaxAssertions = 100_000

// within returns the filter with the evidence added.
func (o ImpactOptions) within(h Hash) (Filter, error) {
	f := o.Filter
	set := &f.Assertion
	if o.Source {
		set = &f.Source
	}
	if *set != nil && **set != h {
		return f, invalid("names other evidence than %s", h).in("filter")
	}
	*set = &h
	return f, nil
}

// Impact yields the answers that an assertion, or a source, went into, in the order of the filter: by
// (timestamp, query id) unless it says otherwise, and at most its limit. Lifecycle, Assertion, Source and Unapproved in the filter
// are conditions of that evidence itself: with Unapproved an answer is one in which it was not Approved. When they are many (more than about
// 16,000), Impact walks through the records in that order, so the first answers come at once and the rest as
// fast as they are read. In place of a record that is damaged it yields a *RecordError, and goes on.
func (db *DB) Impact(ctx context.Context, h Hash, o ImpactOptions) iter.Seq2[ImpactedAnswer, error] {
	return impact(h, o, func(f Filter) iter.Seq2[QueryAudit, error] { return db.withPiece(ctx, f) })
}

// impact yields what some evidence did in the records that have a piece which meets a filter.
func impact(h Hash, o ImpactOptions, withPiece func(Filter) iter.Seq2[QueryAudit, error]) iter.Seq2[ImpactedAnswer, error] {
	return func(yield func(ImpactedAnswer, error) bool) {
		f, err := o.within(h)
		if err != nil {
			yield(ImpactedAnswer{}, fmt.Errorf("impact of %s: %w", h, err))
			return
		}
		g := f.lowerPieces()
		for q, err := range withPiece(f) {
			if err != nil {
				if !yield(ImpactedAnswer{}, fmt.Errorf("impact of %s: %w", h, err)) || !ofRecord(err) {
					return
				}
				continue
			}
			if !yield(impactOn(q, &g), nil) {
				return
			}
		}
	}
}

// withPiece yields the records that have a piece of evidence which meets a filter.
func (db *DB) withPiece(ctx context.Context, f Filter) iter.Seq2[QueryAudit, error] {
	onePiece := func(ctx context.Context, g sqlstore.Filter) iter.Seq2[[]byte, error] {
		g.OnePiece = true
		return db.sql.Select(ctx, g)
	}
	return parsed(whileOpen(ctx, db, selected(ctx, db, f, onePiece)))
}

// impactOn says which evidence of a record meets a filter.
func impactOn(q QueryAudit, f *sqlstore.Filter) ImpactedAnswer {
	a := ImpactedAnswer{Audit: q}
	row := toRow(&q)
	for i, c := range q.ContributingAssertions {
		if !f.MatchesPiece(&row, &row.Contributions[i]) {
			continue
		}
		a.Evidence = append(a.Evidence, ImpactedEvidence{c, i})
		if q.ResultHash != nil && *q.ResultHash == c.AssertionHash {
			a.Won = true
		}
	}
	return a
}

// ImpactTotals counts the answers that Impact yields without a limit. It reads each of them, which takes about a second
// for 100,000. o.Budget can end that.
func (db *DB) ImpactTotals(ctx context.Context, h Hash, o ImpactOptions) (ImpactTotals, error) {
	return impactTotals(ctx, db, h, o)
}

func impactTotals(ctx context.Context, in asked, h Hash, o ImpactOptions) (ImpactTotals, error) {
	t := ImpactTotals{ByAgent: []AgentImpact{}}
	f, err := o.within(h)
	if err == nil {
		err = in.inParts(ctx, f.AsOf, func(p *parts) error { return p.impactTotals(ctx, &t, h, o, f) })
	}
	if err != nil {
		return t, fmt.Errorf("impact of %s: %w", h, err)
	}
	return t, nil
}

func (p *parts) impactTotals(ctx context.Context, t *ImpactTotals, h Hash, o ImpactOptions, f Filter) error {
	if f.none() {
		return nil
	}
	assertions := 0 // an assertion is itself
	if o.Source {
		assertions = MaxAssertions
	}
	budget := o.Budget.share(len(p.dbs))
	found, err := each(ctx, p, func(ctx context.Context, i int, db *DB) (sqlstore.EvidenceUses, error) {
		return db.sql.CountEvidence(ctx, sqlstore.Evidence{Hash: bytesOf(&h), Source: o.Source}, p.at(f, i).lowerPieces(), assertions, budget.lower())
	})
	if err != nil {
		return err
	}
	uses := found[0]
	for _, more := range found[1:] {
		uses.Cut = uses.Cut || more.Cut
		uses.ByAgent = append(uses.ByAgent, more.ByAgent...)
		maps.Copy(uses.Assertions, more.Assertions)
	}
	t.Cut = uses.Cut
	if len(found) > 1 {
		uses.ByAgent = byAgent(uses.ByAgent)
	}
	for _, u := range uses.ByAgent {
		a := AgentImpact{
			AgentID: (*Hash)(u.Agent), Answers: uint64(u.Answers), First: uint64(u.First), Last: uint64(u.Last),
			Won: uint64(u.Won), Weight: u.Weight,
		}
		t.ByAgent = append(t.ByAgent, a)
		t.Answers += a.Answers
		t.Won += a.Won
		if a.AgentID == nil {
			t.Anonymous = a.Answers
		} else {
			t.Agents++
		}
		widen(&t.First, &t.Last, a.First, a.Last)
	}
	slices.SortFunc(t.ByAgent, func(a, b AgentImpact) int {
		return compareAgents(a.AgentID, b.AgentID, a.Answers, b.Answers)
	})
	for _, a := range t.ByAgent { // in a fixed order, since the sum of floats depends on it
		t.Weight += a.Weight
	}
	if o.Source {
		t.Assertions, t.MoreAssertions = min(len(uses.Assertions), MaxAssertions), len(uses.Assertions) > MaxAssertions
	} else {
		t.Assertions = int(min(t.Answers, 1))
	}
	return nil
}

// byAgent adds up what several parts say of one agent.
func byAgent(uses []sqlstore.AgentUses) []sqlstore.AgentUses {
	of := map[agentKey]int{}
	var sums []sqlstore.AgentUses
	for _, u := range uses {
		at, known := of[keyOf(u.Agent)]
		if !known {
			of[keyOf(u.Agent)] = len(sums)
			sums = append(sums, u)
			continue
		}
		s := &sums[at]
		s.Answers, s.Won, s.Weight = s.Answers+u.Answers, s.Won+u.Won, s.Weight+u.Weight
		s.First, s.Last = min(s.First, u.First), max(s.Last, u.Last)
	}
	return sums
}

// widen extends a span of time to include another.
func widen(first, last **uint64, from, to uint64) {
	if *first == nil || from < **first {
		*first = &from
	}
	if *last == nil || to > **last {
		*last = &to
	}
}

// compareAgents orders by count, descending, then by id. The anonymous records come last.
func compareAgents(a, b *AgentID, aCount, bCount uint64) int {
	switch {
	case a == nil || b == nil:
		return cmp.Compare(btoi(a == nil), btoi(b == nil))
	case aCount != bCount:
		return cmp.Compare(bCount, aCount)
	}
	return a.Compare(*b)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
