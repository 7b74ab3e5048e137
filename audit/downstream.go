package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/auditsql/auditsql/sqlstore"
)

// The answer of one agent may be evidence of another: its result is the assertion. That is how a fact goes on from agent to
// agent. Downstream follows it forward, and Origins back.
//
// A step leads from a record to another record if the result of the first is in the evidence of the second, and the first was
// given before it was used: its timestamp is not greater. Two records of the same time count as before each other, since their order
// is not known. A record leads to itself never.

// The usual bounds of Downstream.
const (
	DefaultDownstreamAnswers = 10_000
	DefaultDownstreamTime    = 2 * time.Second
)

// DownstreamOptions say how far Downstream goes, and which answers it yields.
type DownstreamOptions struct {
	Source   bool // the hash is a source's, not an assertion's
	Depth    int  // how many steps are taken at most; 0: as many as there are
	AnyOrder bool // a step may also lead to a record that is older

	// Filter selects the answers that are yielded and counted. The steps lead through all answers. Its AsOf is that of the whole walk. Its
	// limit, order and After have no effect.
	Filter Filter

	// Budget bounds how many answers are reached, selected or not, and how long Next takes for that, all calls together. What the caller does
	// between them takes nothing of it: somebody who reads slowly gets as much as anybody else.
	Budget Budget
}

// DownstreamAnswer is a record that was reached. Evidence is the evidence that led to it.
type DownstreamAnswer struct {
	ImpactedAnswer
	Distance int // how many steps away it is, at least; 1: the hash itself is in its evidence

	// Through is the assertion by which it was reached, or the source in the first step. By is the record of the step before that
	// has this assertion as its result: of several the first in time, then by id. It is nil in the first step.
	Through Hash
	By      *QueryID
	ByAgent *AgentID // of By; nil: anonymous
}

// DownstreamTotals count the answers that Downstream has yielded so far.
type DownstreamTotals struct {
	Answers     uint64
	Agents      uint64 // anonymous records are no agent
	Anonymous   uint64
	First, Last *uint64 // timestamps
	Steps       []StepTotals
	ByAgent     []AgentDownstream

	Reached  uint64 // answers that were reached, selected or not
	Cut      Cut    // what ended the walk early
	MoreDeep bool   // Depth ended the walk, and further answers are one step more away
}

// StepTotals count the answers that are as many steps away.
type StepTotals struct {
	Distance, Answers int
	Agents            int
}

// AgentDownstream counts the answers to one agent.
type AgentDownstream struct {
	AgentID     *AgentID // nil: the anonymous answers, which come last
	Answers     uint64
	First, Last uint64 // timestamps
	Nearest     int    // the least distance
}

// Cut says what ended a walk early.
type Cut string

// What can end a walk early.
const (
	NotCut       Cut = ""
	CutByAnswers Cut = "answers" // it had reached as many as it may
	CutByTime    Cut = "time"    // it had taken as long as it may
)

func cutOf(c sqlstore.ChainCut) Cut {
	switch c {
	case sqlstore.CutByRecords:
		return CutByAnswers
	case sqlstore.CutByTime:
		return CutByTime
	}
	return NotCut
}

// A Downstream is a walk along the answers that came of an assertion, or of a source, the nearest first.
//
//	d := db.Downstream(h, o)
//	for d.Next(ctx) {
//		for a, err := range d.Answers(ctx) { … } // those that are one step further away
//	}
//	err := d.Err()
//
// Each answer comes once, with the least number of steps. One goroutine at a time may use a Downstream.
type Downstream struct {
	in   asked
	hash Hash
	o    DownstreamOptions

	walk     *sqlstore.Downstream
	distance int
	level    []*sqlstore.Reached
	agents   []map[int64]*Hash // of each part, by their numbers
	err      error

	totals   DownstreamTotals
	looked   bool // a step beyond the depth was taken
	byAgent  map[agentKey]*AgentDownstream
	carriers uint64 // answers in the first step whose results are evidence in the second
}

// Downstream begins a walk. It reads nothing before Next. With WithReads(Acknowledged) it waits like every question until SQLite has
// what was acknowledged.
func (db *DB) Downstream(h Hash, o DownstreamOptions) *Downstream {
	return newDownstream(db, h, o)
}

func newDownstream(in asked, h Hash, o DownstreamOptions) *Downstream {
	return &Downstream{in: in, hash: h, o: o, byAgent: map[agentKey]*AgentDownstream{}}
}

// begin begins the walk, in the parts as they are at the first step.
func (d *Downstream) begin(p *parts) {
	b := d.o.Budget.lower()
	e := sqlstore.Evidence{Hash: bytesOf(&d.hash), Source: d.o.Source}
	d.walk = sqlstore.NewDownstream(p.stores(), p.moments(), e, sqlstore.ChainOptions{AnyOrder: d.o.AnyOrder, Records: b.Records, Time: b.Time})
	for range p.dbs {
		d.agents = append(d.agents, map[int64]*Hash{})
	}
}

// Next takes a step. It returns false at the end, or after an error.
func (d *Downstream) Next(ctx context.Context) bool {
	if d.err != nil || d.o.Depth > 0 && d.distance >= d.o.Depth {
		return false
	}
	err := d.in.inParts(ctx, d.o.Filter.AsOf, func(p *parts) error { return d.next(ctx, p) })
	if err != nil {
		d.err = fmt.Errorf("downstream of %s: %w", d.hash, err)
	}
	return err == nil && len(d.level) > 0
}

func (d *Downstream) next(ctx context.Context, p *parts) (err error) {
	if d.walk == nil {
		d.begin(p)
	}
	if d.level, err = d.walk.Next(ctx); err != nil {
		return err
	}
	d.totals.Cut = cutOf(d.walk.Cut())
	if d.distance == 1 {
		d.carriers = uint64(d.walk.Carried())
	}
	d.totals.Reached += uint64(len(d.level))
	unknown := make([][]int64, len(p.dbs))
	for _, r := range d.level {
		if _, known := d.agents[r.In][r.Agent]; !known {
			d.agents[r.In][r.Agent] = nil
			unknown[r.In] = append(unknown[r.In], r.Agent)
		}
	}
	for i, numbers := range unknown {
		if len(numbers) == 0 {
			continue
		}
		hashes, err := p.dbs[i].sql.AgentHashes(ctx, numbers)
		if err != nil {
			return err
		}
		for number, h := range hashes {
			d.agents[i][number] = (*Hash)(h)
		}
	}
	d.distance++
	return nil
}

// Distance is how many steps the answers of the last Next are away.
func (d *Downstream) Distance() int { return d.distance }

// Found is how many answers the last Next has reached, selected or not.
func (d *Downstream) Found() int { return len(d.level) }

// Err is the error that ended Next.
func (d *Downstream) Err() error { return d.err }

// Answers yields the answers of the last Next that the filter selects, by (timestamp, query id), and counts them. In place of a record
// that is damaged it yields a *RecordError, and goes on.
func (d *Downstream) Answers(ctx context.Context) iter.Seq2[DownstreamAnswer, error] {
	return func(yield func(DownstreamAnswer, error) bool) {
		if d.o.Filter.none() || len(d.level) == 0 {
			return
		}
		stopped := false
		err := d.in.inParts(ctx, d.o.Filter.AsOf, func(p *parts) error {
			return d.answers(ctx, p, func(a DownstreamAnswer, err error) bool {
				stopped = !yield(a, err)
				return !stopped
			})
		})
		if err != nil && !stopped {
			yield(DownstreamAnswer{}, fmt.Errorf("downstream of %s: %w", d.hash, err))
		}
	}
}

func (d *Downstream) answers(ctx context.Context, p *parts, yield func(DownstreamAnswer, error) bool) error {
	step := StepTotals{Distance: d.distance}
	agents := map[agentKey]bool{}
	defer func() {
		step.Agents = len(agents)
		d.totals.Steps = append(d.totals.Steps, step)
	}()
	lists := make([]iter.Seq2[foundAnswer, error], len(p.dbs))
	for i, db := range p.dbs {
		lists[i] = d.among(ctx, db, p.at(d.o.Filter, i), i)
	}
	place := func(a *foundAnswer) Cursor { return Cursor{uint64(a.reached.Timestamp), a.reached.QueryID} }
	for a, err := range merged(lists, false, 0, place) {
		if err != nil {
			return err
		}
		d.count(a.reached)
		step.Answers++
		if a.reached.Agent != 0 {
			agents[d.agentOf(a.reached)] = true
		}
		if a.damaged != nil {
			if !yield(DownstreamAnswer{}, a.damaged) {
				return nil
			}
			continue
		}
		q, err := storedAudit(a.raw)
		if err != nil {
			return err
		}
		if !yield(d.answer(q, a.reached), nil) {
			return nil
		}
	}
	return nil
}

// foundAnswer is an answer of a step that the filter selects.
type foundAnswer struct {
	reached *sqlstore.Reached
	raw     []byte
	damaged *RecordError
}

// among yields the answers of a step that are in one part and that a filter selects.
func (d *Downstream) among(ctx context.Context, db *DB, f Filter, in int) iter.Seq2[foundAnswer, error] {
	return func(yield func(foundAnswer, error) bool) {
		level := d.level
		if len(d.agents) > 1 {
			level = slices.DeleteFunc(slices.Clone(level), func(r *sqlstore.Reached) bool { return r.In != in })
		}
		for v, err := range db.sql.Among(ctx, f.lower(), level) {
			var damaged *RecordError
			if err = db.lost(err); err != nil && !errors.As(err, &damaged) {
				yield(foundAnswer{}, err)
				return
			}
			for level[0].Index != int64(v.Index) { // the filter has left it out
				level = level[1:]
			}
			if !yield(foundAnswer{level[0], v.Value, damaged}, nil) {
				return
			}
		}
	}
}

// agentOf is the agent of a record that was reached.
func (d *Downstream) agentOf(r *sqlstore.Reached) agentKey {
	h := d.agents[r.In][r.Agent]
	return agentKey{deref(h, Hash{}), r.Agent == 0}
}

func (d *Downstream) answer(q QueryAudit, r *sqlstore.Reached) DownstreamAnswer {
	through := Hash(r.Through)
	led := Filter{Assertion: &through}
	if d.o.Source && d.distance == 1 {
		led = Filter{Source: &through}
	}
	piece := led.lowerPieces()
	a := DownstreamAnswer{ImpactedAnswer: impactOn(q, &piece), Distance: d.distance, Through: through}
	if r.By != nil {
		id := QueryID(r.By.QueryID)
		a.By, a.ByAgent = &id, d.agents[r.By.In][r.By.Agent]
	}
	return a
}

// count adds an answer to the totals.
func (d *Downstream) count(r *sqlstore.Reached) {
	t, at := &d.totals, uint64(r.Timestamp)
	key := d.agentOf(r)
	a := d.byAgent[key]
	if a == nil {
		a = &AgentDownstream{AgentID: d.agents[r.In][r.Agent], First: at, Last: at, Nearest: d.distance}
		d.byAgent[key] = a
	}
	a.Answers++
	a.First, a.Last = min(a.First, at), max(a.Last, at)
	t.Answers++
	widen(&t.First, &t.Last, at, at)
}

// Totals counts the answers that were yielded so far. If Depth has ended the walk, it looks one step further.
func (d *Downstream) Totals(ctx context.Context) (DownstreamTotals, error) {
	if err := d.lookBeyond(ctx); err != nil {
		return d.totals, fmt.Errorf("downstream of %s: %w", d.hash, err)
	}
	t := d.totals
	t.Steps, t.ByAgent = append([]StepTotals{}, t.Steps...), make([]AgentDownstream, 0, len(d.byAgent))
	for key, a := range d.byAgent {
		t.ByAgent = append(t.ByAgent, *a)
		if key.anonymous {
			t.Anonymous = a.Answers
		} else {
			t.Agents++
		}
	}
	slices.SortFunc(t.ByAgent, func(a, b AgentDownstream) int { return compareAgents(a.AgentID, b.AgentID, a.Answers, b.Answers) })
	return t, nil
}

// lookBeyond finds out whether there is more one step beyond the depth.
func (d *Downstream) lookBeyond(ctx context.Context) error {
	if d.looked || d.err != nil || d.totals.Cut != NotCut || d.o.Depth == 0 || d.distance < d.o.Depth {
		return nil
	}
	d.looked = true
	return d.in.inParts(ctx, d.o.Filter.AsOf, func(*parts) error {
		further, err := d.walk.Next(ctx)
		cut := cutOf(d.walk.Cut())
		// A walk that is cut here has reached all that it was asked for. But when it has found nothing in its time, it is not known whether
		// there is more.
		if d.totals.MoreDeep = len(further) > 0 || cut == CutByAnswers; !d.totals.MoreDeep {
			d.totals.Cut = cut
		}
		return err
	})
}

// Onward says whether the answers that an assertion or a source went into were evidence elsewhere.
type Onward struct {
	Answers uint64 // of them, whose results are evidence of further answers
	More    uint64 // further answers that are reached in any number of steps
	Cut     bool   // counting ended early: there may be more of both
}

// Onward looks whether the answers that Impact yields without a filter were evidence elsewhere. The budget bounds how many answers are
// reached, and how long that takes.
func (db *DB) Onward(ctx context.Context, h Hash, source bool, asOf *uint64, b Budget) (Onward, error) {
	return onward(ctx, db, h, source, asOf, b)
}

func onward(ctx context.Context, in asked, h Hash, source bool, asOf *uint64, b Budget) (Onward, error) {
	d := newDownstream(in, h, DownstreamOptions{Source: source, Filter: Filter{AsOf: asOf}, Budget: b})
	var direct uint64
	for d.Next(ctx) {
		if d.Distance() == 1 {
			direct = d.totals.Reached
		}
	}
	return Onward{Answers: d.carriers, More: d.totals.Reached - direct, Cut: d.totals.Cut != NotCut}, d.Err()
}

// EarlierAnswer is the first record that gave an assertion as its answer, before some record used it.
type EarlierAnswer struct {
	QueryID   QueryID
	AgentID   *AgentID // nil: anonymous
	Timestamp uint64
	Answers   int  // how many records gave it by then, this one included
	More      bool // there may be more, and an earlier one: looking ended at a limit
}

// maxGivers is how many records that gave an assertion are looked at. They are those that were admitted first, so the first in time is
// most often among them.
const maxGivers = 100

// givenBefore returns who gave an assertion first, of the records up to a time and without one record, or nil.
func (p *parts) givenBefore(ctx context.Context, in []*sqlstore.Dictionary, assertion Hash, at uint64, without QueryID) (*EarlierAnswer, error) {
	found, err := each(ctx, p, func(ctx context.Context, i int, _ *DB) ([]sqlstore.Reached, error) {
		return in[i].Givers(ctx, assertion, indexOf(p.asOf[i]), maxGivers+1)
	})
	if err != nil {
		return nil, err
	}
	more := false
	var givers []sqlstore.Reached
	for i, some := range found {
		more = more || len(some) > maxGivers
		for _, g := range some[:min(len(some), maxGivers)] {
			g.In = i
			givers = append(givers, g)
		}
	}
	givers = slices.DeleteFunc(givers, func(g sqlstore.Reached) bool {
		return uint64(g.Timestamp) > at || g.QueryID == [32]byte(without)
	})
	if len(givers) == 0 {
		return nil, nil
	}
	first := slices.MinFunc(givers, func(a, b sqlstore.Reached) int {
		return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), QueryID(a.QueryID).Compare(b.QueryID))
	})
	e := &EarlierAnswer{QueryID: first.QueryID, Timestamp: uint64(first.Timestamp), Answers: len(givers), More: more}
	if first.Agent != 0 {
		hashes, err := p.dbs[first.In].sql.AgentHashes(ctx, []int64{first.Agent})
		if err != nil {
			return nil, err
		}
		e.AgentID = (*Hash)(hashes[first.Agent])
	}
	return e, nil
}
