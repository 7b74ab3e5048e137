package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/auditsql/auditsql/sqlstore"
)

// The defaults of TraceOptions, and a limit: Trace counts the uses of at most MaxTraced different assertions.
const (
	DefaultNeighbours    = 3
	DefaultHotLimit      = 1000
	DefaultLowConfidence = 0.5
	MaxTraced            = 256
)

// TraceOptions say how much Trace returns. The zero value has the defaults.
type TraceOptions struct {
	// Neighbours is how many of the agent's records before and after are returned; 0 is DefaultNeighbours, a
	// negative number is none.
	Neighbours int

	// HotLimit is the number of records at which counting the uses of a piece of evidence ends; 0 is DefaultHotLimit,
	// and a negative one is ErrInvalid.
	HotLimit int

	// AsOf, if set, makes the answer that of the store when it had so many records (see Filter.AsOf). A record that was
	// admitted later is ErrNotFound.
	AsOf *uint64

	// LowConfidence is the confidence below which there is a finding of that name; nil is DefaultLowConfidence.
	LowConfidence *float32
}

// Trace says why an agent got its answer.
type Trace struct {
	Audit QueryAudit

	// AsOf is how many records the store had in the answer, if that was asked for or the record is Pending. Pending says that
	// SQLite does not have the record yet, which a store that was opened with WithReads(Acknowledged) never shows: the Uses count it
	// all the same, and other questions do not.
	AsOf    *uint64
	Pending bool

	// Evidence is descending by weight, then in the record's order. In a record with more than MaxTraced different
	// assertions, the uses of those with the least weight are not counted: Untraced says for how many pieces.
	Evidence    []TracedEvidence
	Untraced    int
	TotalWeight float64

	// Before and After are the agent's nearest other records, in the order of time. An anonymous record has
	// none: it is not known who asked.
	Before, After []QueryAudit

	// Damaged are those of the nearest records that are left out: what SQLite has of them is not what was stored.
	Damaged []*RecordError

	Findings []Finding
}

// TracedEvidence is a piece of a record's evidence, and where else it was used.
type TracedEvidence struct {
	ContributingAssertion
	Position int  // in the record, from 0
	Won      bool // its assertion is the record's result
	Fit      bool // its lifecycle is Approved

	Uses   Uses // in all records, this one included
	Others Uses // in other records

	// Answered is the record that gave the assertion as its answer first, before this record used it; nil: none did. It is another
	// record than the one that is traced.
	Answered *EarlierAnswer
}

// Uses counts the records that some evidence went into.
type Uses struct {
	Answers int  // records, each once
	Agents  int  // agents among them; anonymous records are no agent
	More    bool // there are more: counting ended at a limit

	// First is the earliest timestamp among the records counted, nil when there are none. Records are counted in the
	// order of admission. So if More is set, an earlier timestamp is possible only in a record that was admitted late.
	First *uint64
}

// Finding is something about a record that a person should look at.
type Finding struct {
	Kind      FindingKind
	Positions []int // of the evidence concerned, in the record, ascending
}

// FindingKind says what was found.
type FindingKind string

// The kinds of findings, in the order in which Trace lists them.
const (
	UnfitResult   FindingKind = "unfit_result"   // the result itself is not Approved
	UnfitEvidence FindingKind = "unfit_evidence" // at least one piece of evidence is not Approved
	OneSource     FindingKind = "one_source"     // all evidence comes from one source; one piece is enough
	FirstUse      FindingKind = "first_use"      // evidence that no earlier record had used
	LowConfidence FindingKind = "low_confidence" // see TraceOptions
	NoEvidence    FindingKind = "no_evidence"    // there is a result and no evidence
	ForeignResult FindingKind = "foreign_result" // there is evidence, and the result is not part of it
)

// Trace explains one record: what was asked and answered, its evidence and where else that was used, and what the
// agent asked just before and after. An id that is not stored is ErrNotFound.
//
// It costs two searches for each different assertion in the evidence: for who used it, and for who gave it as an answer. Each search is
// bounded, however many records an assertion is in.
func (db *DB) Trace(ctx context.Context, id QueryID, o TraceOptions) (*Trace, error) {
	return trace(ctx, db, id, o)
}

func trace(ctx context.Context, in asked, id QueryID, o TraceOptions) (*Trace, error) {
	if o.HotLimit < 0 {
		return nil, fmt.Errorf("trace %s: %w", id, invalid("must not be negative, and is %d", o.HotLimit).in("hot_limit"))
	}
	var t *Trace
	err := in.inParts(ctx, o.AsOf, func(p *parts) error {
		q, err := p.dbs[p.home(id)].GetAudit(ctx, id)
		if err != nil {
			return err
		}
		t, err = p.trace(ctx, q, o)
		return err
	})
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("trace: %w", err) // it names the id
		}
		return nil, fmt.Errorf("trace %s: %w", id, err)
	}
	return t, nil
}

func (p *parts) trace(ctx context.Context, q *QueryAudit, o TraceOptions) (*Trace, error) {
	home := p.home(q.QueryID)
	db := p.dbs[home]
	t := &Trace{Audit: *q, Evidence: []TracedEvidence{}, Before: []QueryAudit{}, After: []QueryAudit{}, Findings: []Finding{}}
	for i, c := range q.ContributingAssertions {
		t.Evidence = append(t.Evidence, TracedEvidence{
			ContributingAssertion: c, Position: i, Fit: c.Lifecycle == Approved,
			Won: q.ResultHash != nil && *q.ResultHash == c.AssertionHash,
		})
		t.TotalWeight += shortest(c.Weight)
	}
	slices.SortStableFunc(t.Evidence, func(a, b TracedEvidence) int { return cmp.Compare(b.Weight, a.Weight) })
	now, err := db.records(ctx) // before SQLite is asked for the record
	if err != nil {
		return nil, err
	}
	self, err := p.indexOf(ctx, q.QueryID, o.AsOf)
	if err != nil {
		return nil, err
	}
	if self < 0 && db.opts.reads == Applied && len(p.dbs) == 1 { // the parts of a Union have no records on their way to SQLite
		// All that follows is of the state that lacks the record. Otherwise some of it might count the record and some not.
		o.AsOf, t.Pending = &now, true
		p.asOf = []*uint64{&now}
	}
	t.AsOf = o.AsOf
	if err := p.traceUses(ctx, t, self, o); err != nil {
		return nil, err
	}
	if n := orDefault(o.Neighbours, DefaultNeighbours); q.AgentID != nil && n > 0 {
		place := CursorOf(q)
		beside := Filter{Agent: q.AgentID, AsOf: o.AsOf, After: &place, Limit: n}
		if t.After, err = p.neighbours(ctx, t, beside); err != nil {
			return nil, err
		}
		beside.Descending = true
		if t.Before, err = p.neighbours(ctx, t, beside); err != nil {
			return nil, err
		}
		slices.Reverse(t.Before)
	}
	low := float32(DefaultLowConfidence)
	if o.LowConfidence != nil {
		low = *o.LowConfidence
	}
	t.find(low)
	return t, nil
}

// neighbours returns the records that a filter selects, never nil, and adds those that are damaged to the trace.
func (p *parts) neighbours(ctx context.Context, t *Trace, f Filter) ([]QueryAudit, error) {
	list := []QueryAudit{}
	for q, err := range p.selected(ctx, f, (*sqlstore.DB).Select) {
		var damaged *RecordError
		switch {
		case errors.As(err, &damaged):
			t.Damaged = append(t.Damaged, damaged)
		case err != nil:
			return nil, err
		default:
			list = append(list, q)
		}
	}
	return list, nil
}

func orDefault(n, usual int) int {
	if n == 0 {
		return usual
	}
	return n
}

// traceUses counts where else the evidence was used. self is the record's index, or negative if SQLite does not have it.
func (p *parts) traceUses(ctx context.Context, t *Trace, self int64, o TraceOptions) error {
	if len(t.Evidence) == 0 {
		return nil
	}
	limit := orDefault(o.HotLimit, DefaultHotLimit)
	var own *sqlstore.Use // the record, if it is pending
	if t.Pending {
		self = pending
		var err error
		if own, err = p.dbs[0].ownUse(ctx, &t.Audit); err != nil {
			return err
		}
	} else {
		self = p.index(self, p.home(t.Audit.QueryID))
	}
	var asked []Hash
	for i := range t.Evidence {
		if h := t.Evidence[i].AssertionHash; len(asked) < MaxTraced && !slices.Contains(asked, h) {
			asked = append(asked, h)
		}
	}
	dictionaries, err := p.dictionaries(ctx, asked...)
	if err != nil {
		return err
	}
	var book agentBook
	type counted struct {
		uses, others Uses
		answered     *EarlierAnswer
	}
	known := map[Hash]counted{} // a record can have an assertion several times
	for i := range t.Evidence {
		e := &t.Evidence[i]
		c, ok := known[e.AssertionHash]
		if !ok {
			if len(known) == MaxTraced {
				t.Untraced++
				continue
			}
			// One more shows that there are more. Another may be the record itself, which others leaves out.
			found, err := p.uses(ctx, dictionaries, sqlstore.Evidence{Hash: bytesOf(&e.AssertionHash)}, &book, limit+2)
			if err != nil {
				return err
			}
			if own != nil {
				found = append(found, *own) // it was admitted last
			}
			answered, err := p.givenBefore(ctx, dictionaries, e.AssertionHash, t.Audit.Timestamp, t.Audit.QueryID)
			if err != nil {
				return err
			}
			c = counted{countUses(found, limit, nobody), countUses(found, limit, self), answered}
			known[e.AssertionHash] = c
		}
		e.Uses, e.Others, e.Answered = c.uses, c.others, c.answered
	}
	return nil
}

// index is the index of a record among those of all parts: no two have the same one. A negative one stays negative.
func (p *parts) index(of int64, part int) int64 { return of*int64(len(p.dbs)) + int64(part) }

// dictionaries have looked up some hashes in each part, all together.
func (p *parts) dictionaries(ctx context.Context, hashes ...Hash) ([]*sqlstore.Dictionary, error) {
	list := make([]*[32]byte, len(hashes))
	for i := range hashes {
		list[i] = bytesOf(&hashes[i])
	}
	return each(ctx, p, func(ctx context.Context, _ int, db *DB) (*sqlstore.Dictionary, error) {
		d := db.sql.Dictionary()
		return d, d.Learn(ctx, list...)
	})
}

// uses are the first records that have some evidence, at most so many. They are in the order of admission; those of several parts are in
// that of their indexes, since there is no other order between them.
func (p *parts) uses(ctx context.Context, in []*sqlstore.Dictionary, e sqlstore.Evidence, book *agentBook, most int) ([]sqlstore.Use, error) {
	found, err := each(ctx, p, func(ctx context.Context, i int, _ *DB) ([]sqlstore.Use, error) {
		return in[i].Uses(ctx, e, indexOf(p.asOf[i]), most)
	})
	if err != nil || len(found) == 1 {
		return slices.Concat(found...), err
	}
	var all []sqlstore.Use
	for i, uses := range found {
		numbers := make([]int64, len(uses))
		for j, u := range uses {
			numbers[j] = u.Agent
		}
		shared, err := book.shared(ctx, p.dbs[i], numbers)
		if err != nil {
			return nil, err
		}
		for _, u := range uses {
			all = append(all, sqlstore.Use{Index: p.index(u.Index, i), Agent: shared[u.Agent], Timestamp: u.Timestamp})
		}
	}
	slices.SortFunc(all, func(a, b sqlstore.Use) int { return cmp.Compare(a.Index, b.Index) })
	return all[:min(len(all), most)], nil
}

// ownUse is a record of the backlog as SQLite will have it: a question that does not wait for the applier may be about it.
func (db *DB) ownUse(ctx context.Context, q *QueryAudit) (*sqlstore.Use, error) {
	u := &sqlstore.Use{Index: pending, Timestamp: int64(q.Timestamp)}
	if q.AgentID != nil {
		var err error
		if u.Agent, err = db.sql.AgentNumber(ctx, *q.AgentID); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// pending is in place of the index of a record that SQLite does not have yet, and nobody is the index of none.
const (
	pending = math.MaxInt64
	nobody  = -1
)

// countUses counts at most limit records, and leaves out the one with the index without; nobody leaves out none.
func countUses(found []sqlstore.Use, limit int, without int64) Uses {
	var u Uses
	agents := map[int64]bool{}
	for _, f := range found {
		if f.Index == without {
			continue
		}
		if u.Answers == limit {
			u.More = true
			break
		}
		u.Answers++
		if f.Agent != 0 && !agents[f.Agent] {
			agents[f.Agent] = true
			u.Agents++
		}
		if ts := uint64(f.Timestamp); u.First == nil || ts < *u.First {
			u.First = &ts
		}
	}
	return u
}

// find lists the findings.
func (t *Trace) find(low float32) {
	q := &t.Audit
	at := map[FindingKind][]int{}
	sources := map[Hash]bool{}
	for i := range t.Evidence {
		e := &t.Evidence[i]
		sources[e.SourceHash] = true
		if e.Lifecycle.Unapproved() {
			at[UnfitEvidence] = append(at[UnfitEvidence], e.Position)
			if e.Won {
				at[UnfitResult] = append(at[UnfitResult], e.Position)
			}
		}
		if e.Uses.Answers > 0 && (e.Others.First == nil || *e.Others.First > q.Timestamp) && !e.Others.More {
			at[FirstUse] = append(at[FirstUse], e.Position)
		}
	}
	won := slices.ContainsFunc(t.Evidence, func(e TracedEvidence) bool { return e.Won })
	none := len(t.Evidence) == 0
	for _, f := range []struct {
		kind FindingKind
		ok   bool
	}{
		{UnfitResult, at[UnfitResult] != nil}, {UnfitEvidence, at[UnfitEvidence] != nil},
		{OneSource, len(sources) == 1}, {FirstUse, at[FirstUse] != nil},
		{LowConfidence, q.ResultConfidence < low},
		{NoEvidence, q.ResultHash != nil && none}, {ForeignResult, q.ResultHash != nil && !none && !won},
	} {
		if f.ok {
			positions := append([]int{}, at[f.kind]...)
			slices.Sort(positions)
			t.Findings = append(t.Findings, Finding{f.kind, positions})
		}
	}
}

// Nearest returns, of the records that a filter selects, the one whose timestamp is closest to a time. Of two equally
// close records it returns the earlier, and of several at one time the one with the least id. If the filter selects none,
// the error is ErrNotFound. The filter's limit, order and After have no effect.
//
// Damaged records are left out. Those that the search has met are in damaged, also with ErrNotFound: one of them may have been
// the nearest.
func (db *DB) Nearest(ctx context.Context, f Filter, at uint64) (nearest *QueryAudit, damaged []*RecordError, err error) {
	return nearestOf(ctx, db, f, at)
}

func nearestOf(ctx context.Context, in listed, f Filter, at uint64) (nearest *QueryAudit, damaged []*RecordError, err error) {
	f.Descending, f.ByAdmission, f.After = false, false, nil
	first := func(f Filter) (*QueryAudit, error) {
		q, left, err := in.one(ctx, f, nil)
		for _, d := range left {
			if !slices.ContainsFunc(damaged, func(e *RecordError) bool { return e.ID == d.ID }) {
				damaged = append(damaged, d)
			}
		}
		return q, err
	}
	var later, earlier *QueryAudit
	if f.To == nil || at <= *f.To {
		g := f
		from := max(at, deref(f.From, 0))
		g.From = &from
		if later, err = first(g); err != nil {
			return nil, nil, err
		}
		if later != nil && later.Timestamp == at {
			return later, damaged, nil
		}
	}
	if at > 0 && (f.From == nil || *f.From < at) {
		g := f
		to := min(at-1, deref(f.To, Unbounded))
		g.To, g.Descending = &to, true
		if earlier, err = first(g); err != nil {
			return nil, nil, err
		}
		if earlier != nil {
			// The first of the records at that time.
			g.From, g.To, g.Descending = &earlier.Timestamp, &earlier.Timestamp, false
			if earlier, err = first(g); err != nil {
				return nil, nil, err
			}
		}
	}
	switch {
	case earlier == nil && later == nil:
		return nil, damaged, fmt.Errorf("nearest to %d: %w", at, ErrNotFound)
	case later == nil || earlier != nil && at-earlier.Timestamp <= later.Timestamp-at:
		return earlier, damaged, nil
	}
	return later, damaged, nil
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
