package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
)

// A Union answers the questions of one store whose records are in several stores, its parts. Each record is in one part, which its id
// decides. The answers are those of one store with all records, except for what this comment and the methods say.
//
//	question ─► part 0 ─► counts, lists, steps ─┐
//	       └──► part 1 ─► counts, lists, steps ─┴─► one answer
//
// What a part answers is put together exactly: lists by (timestamp, query id), counts by adding them up, different agents, subjects and
// assertions by their hashes and texts. Walks along chains take each step in all parts. Sums of weights and of confidences can differ from
// those of one store in their last digit, since floats are added in another order.
//
// The parts have no order of admission between them, and no moment of their own that all share. So a Union refuses lists in the order
// of admission (*DividedError). A moment of a Union is one that Moment has returned: as of the number of records that it said then, each
// part is as it was at that time. The Union remembers MaxMoments of them, and forgets them when its process ends. Any other
// number is refused.
//
// Where one store takes the first records that were admitted, because a search has a limit (Trace, Identify), a Union takes the
// first ones of its parts. Where a budget ends a count of the newest records, a Union has counted the newest ones of each part.
//
// All methods may be called from several goroutines. The parts belong to the caller, who closes them after the last call has returned.
type Union struct {
	dbs  []*DB
	home func(QueryID) int

	mu      sync.Mutex
	moments map[uint64][]*uint64 // by the number of records
	order   []uint64             // the same numbers, the oldest first, without 0
	most    int                  // of them
}

// MaxMoments is how many moments a Union remembers.
const MaxMoments = 1 << 16

// NewUnion returns the union of stores, at least one, that have the same time unit. home returns for an id which of them its record is
// in. The stores must have no records that a question does not see: they follow a log, are open for reading, or have
// WithReads(Acknowledged). Anything else is ErrInvalid.
func NewUnion(dbs []*DB, home func(QueryID) int) (*Union, error) {
	if len(dbs) == 0 {
		return nil, fmt.Errorf("%w: a union of no stores", ErrInvalid)
	}
	for _, db := range dbs {
		switch {
		case db.TimeUnit() != dbs[0].TimeUnit():
			return nil, fmt.Errorf("%w: the time unit of %s is %s, and that of %s is %s", ErrInvalid, db.Dir(), db.TimeUnit(), dbs[0].Dir(), dbs[0].TimeUnit())
		case db.journal != nil && db.opts.reads == Applied:
			return nil, fmt.Errorf("%w: %s shows what is applied, and a union needs what is acknowledged", ErrInvalid, db.Dir())
		}
	}
	none := make([]*uint64, len(dbs))
	for i := range none {
		none[i] = new(uint64)
	}
	return &Union{dbs: slices.Clone(dbs), home: home, moments: map[uint64][]*uint64{0: none}, most: MaxMoments}, nil
}

// TimeUnit is that of all parts.
func (u *Union) TimeUnit() TimeUnit { return u.dbs[0].TimeUnit() }

// Progress adds up what the parts have.
func (u *Union) Progress() (all Progress) {
	for _, db := range u.dbs {
		p := db.Progress()
		all.Records += p.Records
		all.LagRecords += p.LagRecords
		all.LagBytes += p.LagBytes
		all.Unknown = all.Unknown || p.Unknown
	}
	return all
}

// Moment is DB.Moment. The Union remembers it.
func (u *Union) Moment() (records uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	// The parts are asked while nobody else asks them. So of two moments one has at least as many records of each part as the other, and
	// no two of them have the same number.
	moment := make([]*uint64, len(u.dbs))
	for i, db := range u.dbs {
		of := db.Moment()
		moment[i] = &of
		records += of
	}
	if _, known := u.moments[records]; !known {
		u.moments[records] = moment
		if u.order = append(u.order, records); len(u.order) > u.most {
			delete(u.moments, u.order[0])
			u.order = u.order[1:]
		}
	}
	return records
}

// AwaitShown is DB.AwaitShown, of all parts.
func (u *Union) AwaitShown(ctx context.Context) error { return u.await(ctx, (*DB).AwaitShown) }

// AwaitWritten is DB.AwaitWritten, of all parts.
func (u *Union) AwaitWritten(ctx context.Context) error { return u.await(ctx, (*DB).AwaitWritten) }

// await waits for each part.
func (u *Union) await(ctx context.Context, wait func(*DB, context.Context) error) error {
	for _, db := range u.dbs {
		if err := wait(db, ctx); err != nil {
			return err
		}
	}
	return nil
}

// at returns the parts as of a moment.
func (u *Union) at(asOf *uint64) (*parts, error) {
	p := &parts{dbs: u.dbs, asOf: make([]*uint64, len(u.dbs)), home: u.home}
	if asOf == nil {
		return p, nil
	}
	u.mu.Lock()
	moment, known := u.moments[*asOf]
	u.mu.Unlock()
	if known {
		p.asOf = slices.Clone(moment)
		return p, nil
	}
	have := uint64(0)
	for _, db := range u.dbs {
		have += db.Progress().Records
	}
	if *asOf > have {
		return nil, &AsOfError{AsOf: *asOf, Have: have}
	}
	return nil, &DividedError{Why: fmt.Sprintf("as of %d records: its partitions have no common order, so only the moments are known that this process has shown since it was started, the last %d of them", *asOf, u.most)}
}

// inParts implements asked.
func (u *Union) inParts(ctx context.Context, asOf *uint64, question func(p *parts) error) error {
	p, err := u.at(asOf)
	if err != nil {
		return err
	}
	ask := func() error { return question(p) }
	for i, db := range p.dbs {
		next := ask
		ask = func() error { return db.ask(ctx, p.asOf[i], next) }
	}
	return ask()
}

// part is the part that has an id.
func (u *Union) part(id QueryID) *DB { return u.dbs[u.home(id)] }

// GetAudit is DB.GetAudit.
func (u *Union) GetAudit(ctx context.Context, id QueryID) (*QueryAudit, error) {
	return u.part(id).GetAudit(ctx, id)
}

// GetRaw is DB.GetRaw.
func (u *Union) GetRaw(ctx context.Context, id QueryID) ([]byte, error) {
	return u.part(id).GetRaw(ctx, id)
}

// GetRawAsOf is DB.GetRawAsOf.
func (u *Union) GetRawAsOf(ctx context.Context, id QueryID, asOf *uint64) ([]byte, error) {
	if asOf == nil {
		return u.GetRaw(ctx, id)
	}
	return getRawAsOf(ctx, u, id, asOf)
}

// AuditsForAgent is DB.AuditsForAgent.
func (u *Union) AuditsForAgent(ctx context.Context, agent AgentID, from, to uint64, limit int) ([]QueryAudit, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	return collected(u.Audits(ctx, Filter{Agent: &agent, From: &from, To: &to, Limit: limit}))
}

// ListRecent is DB.ListRecent.
func (u *Union) ListRecent(ctx context.Context, limit int) ([]QueryAudit, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	return collected(u.Audits(ctx, Filter{Descending: true, Limit: limit}))
}

// HasAuditsForAgent is DB.HasAuditsForAgent.
func (u *Union) HasAuditsForAgent(ctx context.Context, agent AgentID) (bool, error) {
	for _, db := range u.dbs {
		if has, err := db.HasAuditsForAgent(ctx, agent); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// errByAdmission refuses the order of admission.
var errByAdmission = &DividedError{Why: "its partitions have no common order of admission; list by time"}

// lists has the list of each part for a filter, in its order.
func lists[T any](u *Union, f Filter, list func(db *DB, f Filter) iter.Seq2[T, error], place func(*T) Cursor) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if f.ByAdmission {
			yield(none, errByAdmission)
			return
		}
		p, err := u.at(f.AsOf)
		if err != nil {
			yield(none, err)
			return
		}
		all := make([]iter.Seq2[T, error], len(p.dbs))
		for i, db := range p.dbs {
			all[i] = list(db, p.at(f, i))
		}
		merged(all, f.Descending, f.Limit, place)(yield)
	}
}

// Audits is DB.Audits. A place in the list (Filter.After) is that of a record, so it means the same in all parts. A filter that is
// by admission is a *DividedError.
func (u *Union) Audits(ctx context.Context, f Filter) iter.Seq2[QueryAudit, error] {
	return lists(u, f, func(db *DB, f Filter) iter.Seq2[QueryAudit, error] { return db.Audits(ctx, f) }, CursorOf)
}

// RawAudits is DB.RawAudits, with what Audits says.
func (u *Union) RawAudits(ctx context.Context, f Filter) iter.Seq2[[]byte, error] {
	place := func(raw *[]byte) Cursor {
		h, _ := headingOf(*raw) // stored records are canonical
		return Cursor{uint64(h.Timestamp), h.QueryID}
	}
	return lists(u, f, func(db *DB, f Filter) iter.Seq2[[]byte, error] { return db.RawAudits(ctx, f) }, place)
}

// one implements listed.
func (u *Union) one(ctx context.Context, f Filter, wanted func(*QueryAudit) bool) (*QueryAudit, []*RecordError, error) {
	if f.ByAdmission {
		return nil, nil, errByAdmission
	}
	p, err := u.at(f.AsOf)
	if err != nil {
		return nil, nil, err
	}
	type answer struct {
		found   *QueryAudit
		damaged []*RecordError
	}
	answers, err := each(ctx, p, func(ctx context.Context, i int, db *DB) (a answer, err error) {
		a.found, a.damaged, err = db.one(ctx, p.at(f, i), wanted)
		return a, err
	})
	if err != nil {
		return nil, nil, err
	}
	var first answer
	for _, a := range answers {
		first.damaged = append(first.damaged, a.damaged...)
		if a.found == nil {
			continue
		}
		if first.found == nil || (CursorOf(a.found).compare(CursorOf(first.found)) < 0) != f.Descending {
			first.found = a.found
		}
	}
	return first.found, first.damaged, nil
}

// Nearest is DB.Nearest.
func (u *Union) Nearest(ctx context.Context, f Filter, at uint64) (*QueryAudit, []*RecordError, error) {
	return nearestOf(ctx, u, f, at)
}

// Extent is DB.Extent.
func (u *Union) Extent(ctx context.Context, f Filter) (first, last uint64, ok bool, err error) {
	p, err := u.at(f.AsOf)
	if err != nil {
		return 0, 0, false, err
	}
	for i, db := range p.dbs {
		from, to, some, err := db.Extent(ctx, p.at(f, i))
		if err != nil {
			return 0, 0, false, err
		}
		if !some {
			continue
		}
		if !ok {
			first, last, ok = from, to, true
		}
		first, last = min(first, from), max(last, to)
	}
	return first, last, ok, nil
}

// Newest is DB.Newest. It returns the latest of the timestamps that the parts return, each with n records of its own.
func (u *Union) Newest(ctx context.Context, f Filter, n int) (from, records uint64, ok bool, err error) {
	p, err := u.at(f.AsOf)
	if err != nil {
		return 0, 0, false, err
	}
	for i, db := range p.dbs {
		at, _, some, err := db.Newest(ctx, p.at(f, i), n)
		if err != nil {
			return 0, 0, false, err
		}
		if some {
			from, ok = max(from, at), true
		}
	}
	if !ok { // no part has as many by itself
		first, _, some, err := u.Extent(ctx, f)
		if err != nil || !some {
			return 0, 0, false, err
		}
		from = first
	}
	f.From = &from
	if records, _, err = u.Count(ctx, f, Budget{}); err != nil || records < uint64(max(n, 0)) {
		return 0, 0, false, err
	}
	return from, records, true, nil
}

// Count is DB.Count.
func (u *Union) Count(ctx context.Context, f Filter, b Budget) (n uint64, cut bool, err error) {
	return count(ctx, u, f, b)
}

// Agents is DB.Agents.
func (u *Union) Agents(ctx context.Context, f Filter) iter.Seq2[AgentActivity, error] {
	return agentsOf(ctx, u, f, u.Labels)
}

// Top is DB.Top.
func (u *Union) Top(ctx context.Context, o TopOptions) (*TopList, error) { return top(ctx, u, o) }

// CompareWindows is DB.CompareWindows.
func (u *Union) CompareWindows(ctx context.Context, o CompareOptions) (*Comparison, error) {
	return compareWindows(ctx, u, o)
}

// Timeline is DB.Timeline.
func (u *Union) Timeline(ctx context.Context, o TimelineOptions) (*Timeline, error) {
	return timeline(ctx, u, u.TimeUnit(), o)
}

// Trace is DB.Trace. The uses of evidence are counted in all parts.
func (u *Union) Trace(ctx context.Context, id QueryID, o TraceOptions) (*Trace, error) {
	return trace(ctx, u, id, o)
}

// Origins is DB.Origins. It goes back through all parts.
func (u *Union) Origins(ctx context.Context, id QueryID, o OriginsOptions) (*Origins, error) {
	return origins(ctx, u, id, o)
}

// Downstream is DB.Downstream. Each step is taken in all parts.
func (u *Union) Downstream(h Hash, o DownstreamOptions) *Downstream { return newDownstream(u, h, o) }

// Onward is DB.Onward.
func (u *Union) Onward(ctx context.Context, h Hash, source bool, asOf *uint64, b Budget) (Onward, error) {
	return onward(ctx, u, h, source, asOf, b)
}

// Impact is DB.Impact.
func (u *Union) Impact(ctx context.Context, h Hash, o ImpactOptions) iter.Seq2[ImpactedAnswer, error] {
	return impact(h, o, func(f Filter) iter.Seq2[QueryAudit, error] {
		return lists(u, f, func(db *DB, f Filter) iter.Seq2[QueryAudit, error] { return db.withPiece(ctx, f) }, CursorOf)
	})
}

// ImpactTotals is DB.ImpactTotals.
func (u *Union) ImpactTotals(ctx context.Context, h Hash, o ImpactOptions) (ImpactTotals, error) {
	return impactTotals(ctx, u, h, o)
}

// Answers is DB.Answers. Answers of different parts are compared with each other.
func (u *Union) Answers(ctx context.Context, subject, predicate string, f Filter) iter.Seq2[Answer, error] {
	return answers(ctx, u, subject, predicate, f)
}

// Diff is DB.Diff.
func (u *Union) Diff(ctx context.Context, a, b QueryID) (*Difference, error) {
	return diff(ctx, u.GetAudit, a, b)
}

// DiffAsOf is DB.DiffAsOf.
func (u *Union) DiffAsOf(ctx context.Context, a, b QueryID, asOf *uint64) (*Difference, error) {
	return diff(ctx, auditsAsOf(u.GetRawAsOf, asOf), a, b)
}

// Resolve is DB.Resolve.
func (u *Union) Resolve(ctx context.Context, prefix string) ([]QueryID, error) {
	return u.ResolveAsOf(ctx, prefix, nil)
}

// ResolveAsOf is DB.ResolveAsOf.
func (u *Union) ResolveAsOf(ctx context.Context, prefix string, asOf *uint64) ([]QueryID, error) {
	found, err := u.idsBeginning(ctx, prefix, make([]*uint64, len(u.dbs)))
	if err != nil || len(found) < 2 || asOf == nil {
		return found, err
	}
	p, err := u.at(asOf)
	if err != nil {
		return nil, err
	}
	return u.idsBeginning(ctx, prefix, p.asOf)
}

// idsBeginning returns the ids that begin with some digits, each part as of a moment of its own.
func (u *Union) idsBeginning(ctx context.Context, prefix string, asOf []*uint64) ([]QueryID, error) {
	found := []QueryID{}
	for i, db := range u.dbs {
		ids, err := db.idsBeginning(ctx, prefix, asOf[i])
		if err != nil {
			return nil, err
		}
		found = append(found, ids...)
	}
	slices.SortFunc(found, QueryID.Compare)
	return found[:min(len(found), MaxResolved)], nil
}

// ResolveHash is DB.ResolveHash.
func (u *Union) ResolveHash(ctx context.Context, name string, kinds HashKind) (Hash, error) {
	return u.ResolveHashAsOf(ctx, name, kinds, nil)
}

// ResolveHashAsOf is DB.ResolveHashAsOf.
func (u *Union) ResolveHashAsOf(ctx context.Context, name string, kinds HashKind, asOf *uint64) (Hash, error) {
	return resolveHash(ctx, u, u.dbs[0], name, kinds, asOf)
}

// Identify is DB.Identify.
func (u *Union) Identify(ctx context.Context, h Hash) (*Identity, error) {
	return u.IdentifyAsOf(ctx, h, nil)
}

// IdentifyAsOf is DB.IdentifyAsOf.
func (u *Union) IdentifyAsOf(ctx context.Context, h Hash, asOf *uint64) (*Identity, error) {
	return identify(ctx, u, u.dbs[0], h, asOf)
}

// Labels is DB.Labels. The labels of all parts are in the first one.
func (u *Union) Labels(ctx context.Context) (*Labels, error) { return u.dbs[0].Labels(ctx) }

// PutLabels is DB.PutLabels. They go to the first part.
func (u *Union) PutLabels(ctx context.Context, labels []Label) error {
	return u.dbs[0].PutLabels(ctx, labels)
}

// AddLabels is DB.AddLabels. They go to the first part.
func (u *Union) AddLabels(ctx context.Context, labels []Label) error {
	return u.dbs[0].AddLabels(ctx, labels)
}

// CheckAudits is DB.CheckAudits.
func (u *Union) CheckAudits(ctx context.Context, records []*QueryAudit) ([]PutResult, error) {
	results := make([]PutResult, len(records))
	of := make([][]int, len(u.dbs))
	for i, q := range records {
		id, err := q.ID()
		if err != nil {
			results[i].Err = err
			continue
		}
		home := u.home(id)
		of[home] = append(of[home], i)
	}
	for home, positions := range of {
		some := make([]*QueryAudit, len(positions))
		for i, at := range positions {
			some[i] = records[at]
		}
		checked, err := u.dbs[home].CheckAudits(ctx, some)
		if err != nil {
			return nil, err
		}
		for i, at := range positions {
			results[at] = checked[i]
		}
	}
	return results, nil
}

// Stats adds up what the parts say. Dir, StoreID and the offsets are those of no part, and empty. Follows names all logs. It reads the agents of all parts.
func (u *Union) Stats(ctx context.Context) (Stats, error) {
	sum := Stats{TimeUnit: u.TimeUnit()}
	for _, db := range u.dbs {
		s, err := db.Stats(ctx)
		if err != nil {
			return Stats{}, err
		}
		sum.Audits, sum.Contributions, sum.Rejected = sum.Audits+s.Audits, sum.Contributions+s.Contributions, sum.Rejected+s.Rejected
		for _, t := range []*uint64{s.Oldest, s.Newest} {
			if t != nil {
				widen(&sum.Oldest, &sum.Newest, *t, *t)
			}
		}
		sum.SQLiteBytes, sum.SQLiteWAL = sum.SQLiteBytes+s.SQLiteBytes, sum.SQLiteWAL+s.SQLiteWAL
		sum.RecentPerSecond += s.RecentPerSecond
		sum.Follows = enumerate(sum.Follows, s.Follows)
	}
	err := u.inParts(ctx, nil, func(p *parts) error {
		counts, _, err := p.agentCounts(ctx, Filter{}, Budget{})
		for _, c := range counts {
			if c.Agent != nil {
				sum.Agents++
			}
		}
		return err
	})
	return sum, err
}

// enumerate adds a name, if there is one, to names.
func enumerate(names, name string) string {
	if names == "" || name == "" {
		return names + name
	}
	return names + ", " + name
}

// Verify verifies each part. The report adds up theirs, and says of each problem and note which part it is about. It has no root: each
// part has a tree of its own, and a note with its root.
func (u *Union) Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	sum := VerifyReport{Quick: o.Quick, Against: []Compared{}, Problems: []string{}, Notes: []string{}}
	if len(o.Against) > 0 {
		return sum, &DividedError{Why: "each partition has a tree of its own, with which a checkpoint can be compared"}
	}
	for i, db := range u.dbs {
		of := o
		if o.Progress != nil {
			of.Progress = func(stage string, done uint64) { o.Progress(fmt.Sprintf("partition %d: %s", i, stage), done) }
		}
		r, err := db.Verify(ctx, of)
		if err != nil {
			return sum, err
		}
		sum.Audits, sum.Contributions, sum.Attributes = sum.Audits+r.Audits, sum.Contributions+r.Contributions, sum.Attributes+r.Attributes
		sum.Matched, sum.Rejected, sum.NotApplied = sum.Matched+r.Matched, sum.Rejected+r.Rejected, sum.NotApplied+r.NotApplied
		sum.Total, sum.Took = sum.Total+r.Total, sum.Took+r.Took
		for _, p := range r.Problems {
			if len(sum.Problems) < MaxProblems {
				sum.Problems = append(sum.Problems, fmt.Sprintf("partition %d: %s", i, p))
			}
		}
		for _, n := range r.Notes {
			sum.Notes = append(sum.Notes, fmt.Sprintf("partition %d: %s", i, n))
		}
		sum.Notes = append(sum.Notes, fmt.Sprintf("partition %d: %d records with the root %s", i, r.TreeSize, r.Root))
		sum.Follows = enumerate(sum.Follows, r.Follows)
		sum.SQLiteUnread = cmp.Or(sum.SQLiteUnread, r.SQLiteUnread)
		sum.JournalAway = cmp.Or(sum.JournalAway, r.JournalAway)
	}
	// An agent or a key may be in several parts, so theirs are not added up.
	s, err := u.Stats(ctx)
	if err != nil && !errors.Is(err, ErrReindexing) {
		return sum, err
	}
	sum.Agents = s.Agents
	return sum, nil
}
