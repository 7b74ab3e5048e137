package audit

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/sqlstore"
)

// TopBy says what Top ranks.
type TopBy string

// What Top can rank.
const (
	TopAgents     TopBy = "agent"
	TopSubjects   TopBy = "subject"
	TopPredicates TopBy = "predicate"
	TopLenses     TopBy = "lens"
	TopAssertions TopBy = "assertion"
	TopSources    TopBy = "source"
	TopLifecycles TopBy = "lifecycle" // of the pieces of evidence
)

// attributePrefix is what a TopBy begins with that ranks the values of an attribute. The key follows.
const attributePrefix = "attr:"

// TopAttribute ranks the values that attributes with a key have.
func TopAttribute(key string) TopBy { return TopBy(attributePrefix + key) }

// Attribute returns the key of the attribute whose values are ranked, if that is what b says.
func (b TopBy) Attribute() (key string, ok bool) {
	return strings.CutPrefix(string(b), attributePrefix)
}

// OfEvidence reports whether pieces of evidence are counted, and not records.
func (b TopBy) OfEvidence() bool { return b == TopAssertions || b == TopSources || b == TopLifecycles }

// OfHashes reports whether the entries are hashes, and not texts.
func (b TopBy) OfHashes() bool { return b == TopAgents || b == TopAssertions || b == TopSources }

// TopKeys are the words that ParseTopBy reads, for messages and help.
const TopKeys = "agent, subject, predicate, lens, attr:KEY, assertion, source or lifecycle"

// ParseTopBy reads one of the TopKeys. Anything else is ErrInvalid.
func ParseTopBy(s string) (TopBy, error) {
	by := TopBy(s)
	switch by {
	case TopAgents, TopSubjects, TopPredicates, TopLenses, TopAssertions, TopSources, TopLifecycles:
		return by, nil
	}
	if key, ok := by.Attribute(); ok {
		return TopAttribute(key), nil
	}
	return "", invalid("unknown %s: want "+TopKeys, excerpt(s))
}

// TopRank says what the entries of Top are ordered by.
type TopRank string

// The ranks.
const (
	RankPieces  TopRank = "pieces"  // pieces of evidence; of what is no evidence: records
	RankAnswers TopRank = "answers" // records
	RankAgents  TopRank = "agents"  // different agents of these records
)

// ParseTopRank reads "pieces", "answers" or "agents". Anything else is ErrInvalid.
func ParseTopRank(s string) (TopRank, error) {
	switch rank := TopRank(s); rank {
	case RankPieces, RankAnswers, RankAgents:
		return rank, nil
	}
	return "", invalid("unknown rank %s: want pieces, answers or agents", excerpt(s))
}

// DefaultTop is how many entries Top returns when the filter's limit is 0.
const DefaultTop = 20

// MostFigured is how many records Top looks at for Subjects and Confidence of agents, unless it is asked to.
const MostFigured = 100_000

// TopOptions say what to rank.
type TopOptions struct {
	By     TopBy
	Rank   TopRank // "" is RankPieces
	Filter Filter  // what counts; its Limit counts entries, 0 is DefaultTop; its order has no effect

	// NewSince, if set, leaves out what any record of the store with an earlier timestamp has.
	NewSince *uint64

	// Figures asks for Subjects and Confidence of agents that have more than MostFigured records.
	Figures bool

	// Budget can end the count. Then the figures are those of the newest records, as many as could be counted; of agents whose
	// figures are not stored they are of any records. It also ends the count of the Subjects and Confidence of agents. Evidence
	// counts by pieces: a record can have several.
	Budget Budget
}

// TopList is the result of Top.
type TopList struct {
	Entries []TopEntry // descending by the rank, then by hash or text
	More    bool       // there are more entries than the limit

	// Total is how many records were counted, or for assertions, sources and lifecycles how many pieces of evidence. Without
	// counts the records that have no such thing: anonymous ones, or those without a subject, predicate, lens or attribute.
	Total, Without uint64

	// Missed is 0 unless there were too many different things to count in memory. Then things with a count up to Missed
	// may be missing, and the order may be wrong where counts differ by Missed or less.
	Missed uint64

	// Incomplete says that the budget ended the count. The figures are of the records that were counted until then: the newest
	// ones, except for agents. With NewSince it also says that the time was over before all that was counted had been looked up.
	Incomplete bool

	// Unfigured says that Subjects and Confidence of the agents were not counted: there are more than MostFigured records and
	// nobody asked for them, or the budget ended their count.
	Unfigured bool
}

// TopEntry is an agent, subject, predicate, lens, value of an attribute, assertion, source or lifecycle.
type TopEntry struct {
	Hash *Hash   // of an agent, assertion or source
	Text *string // anything else

	Count       uint64  // records; of evidence: pieces, of which one record can have several
	Share       float64 // Count as a part of TopList.Total
	Answers     uint64  // records
	Agents      uint64  // different agents; anonymous records are no agent
	First, Last uint64  // timestamps of the records counted
	Weight      float64 // of evidence: the sum of the weights of the pieces

	Subjects     uint64  // different subjects of the records, see TopList.Unfigured
	MoreSubjects bool    // there are more subjects: they were too many to count in memory
	Confidence   float32 // mean of the records' confidences, see TopList.Unfigured
}

// key returns what package sqlstore counts by.
func (b TopBy) key() sqlstore.TopKey {
	if key, ok := b.Attribute(); ok {
		return sqlstore.ByAttribute(key)
	}
	return map[TopBy]sqlstore.TopKey{
		TopAgents: sqlstore.ByAgent, TopSubjects: sqlstore.BySubject, TopPredicates: sqlstore.ByPredicate, TopLenses: sqlstore.ByLens,
		TopAssertions: sqlstore.ByAssertion, TopSources: sqlstore.BySource, TopLifecycles: sqlstore.ByLifecycle,
	}[b]
}

// lower returns the filter of a ranking as package sqlstore has it.
func (b TopBy) lower(f Filter) sqlstore.Filter {
	if b.OfEvidence() {
		return f.lowerPieces()
	}
	return f.lower()
}

// named returns an entry's hash or text for a key of package sqlstore.
func (b TopBy) named(key string) (h *Hash, text *string) {
	switch {
	case b.OfHashes():
		hash := Hash([]byte(key))
		return &hash, nil
	case b == TopLifecycles:
		if n, err := strconv.ParseUint(key, 10, 8); err == nil {
			key = Lifecycle(n).String()
		}
	}
	return nil, &key
}

// Top ranks what records have in common by how often it occurs. Where evidence is ranked, the conditions of the filter for evidence
// (Lifecycle, Assertion, Source, Unapproved) say which pieces count.
//
// The figures of agents are stored, see Timeline; only for Subjects and Confidence does Top look at their records. For anything else
// it reads each record that the filter selects (a million take some seconds, for evidence about ten). A time in the
// filter makes them few, and a budget ends the count.
func (db *DB) Top(ctx context.Context, o TopOptions) (*TopList, error) {
	return top(ctx, db, o)
}

func top(ctx context.Context, in asked, o TopOptions) (*TopList, error) {
	t := &TopList{Entries: []TopEntry{}}
	limit := orDefault(o.Filter.Limit, DefaultTop)
	f := o.Filter
	f.Limit = 0
	if o.NewSince != nil && *o.NewSince > deref(f.From, 0) {
		f.From = o.NewSince // something new has no earlier record
	}
	_, err := ParseTopBy(string(o.By))
	if err == nil && o.Rank != "" {
		_, err = ParseTopRank(string(o.Rank))
	}
	if err == nil && !f.none() {
		err = in.inParts(ctx, f.AsOf, func(p *parts) error {
			if o.By == TopAgents {
				return p.topAgents(ctx, t, f, &o, limit)
			}
			return p.top(ctx, t, f, &o, limit)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("top: %w", err)
	}
	for i := range t.Entries {
		t.Entries[i].Share = float64(t.Entries[i].Count) / float64(t.Total)
	}
	return t, nil
}

// topAgents ranks agents. All ranks have the same order: a record is an answer to one agent.
func (p *parts) topAgents(ctx context.Context, t *TopList, f Filter, o *TopOptions, limit int) error {
	agents, cut, err := p.agents(ctx, f, o.Budget)
	if err != nil {
		return err
	}
	t.Incomplete = cut
	var keys []string
	for _, a := range agents {
		if a.AgentID == nil {
			t.Without = a.Audits
			continue
		}
		t.Total += a.Audits
		if o.NewSince != nil {
			seen, err := p.seenBefore(ctx, *a.AgentID, *o.NewSince)
			if err != nil {
				return err
			}
			if seen {
				continue
			}
		}
		if len(t.Entries) == limit {
			t.More = true
			continue
		}
		keys = append(keys, string(a.AgentID[:]))
		t.Entries = append(t.Entries, TopEntry{Hash: a.AgentID, Count: a.Audits, Answers: a.Audits, Agents: 1, First: a.First, Last: a.Last})
	}
	records := uint64(0)
	for _, e := range t.Entries {
		records += e.Answers
	}
	if t.Unfigured = cut || records > MostFigured && !o.Figures; t.Unfigured {
		return nil
	}
	budget := o.Budget.share(len(p.dbs))
	filters := make([]sqlstore.Filter, len(p.dbs))
	for i := range filters {
		filters[i] = p.at(f, i).lower()
	}
	figures, cut, err := p.figures(ctx, sqlstore.ByAgent, keys, filters, int64(t.Total), budget)
	if t.Unfigured = cut; err != nil || cut {
		return err
	}
	for i := range t.Entries {
		t.Entries[i].figure(&figures[i])
	}
	return nil
}

// seenBefore reports whether an agent has a record with a timestamp before this one.
func (p *parts) seenBefore(ctx context.Context, agent AgentID, timestamp uint64) (seen bool, err error) {
	if timestamp == 0 {
		return false, nil
	}
	for i, db := range p.dbs {
		_, seen, err = db.sql.LastBefore(ctx, agent, int64(min(timestamp-1, MaxTimestamp)), indexOf(p.asOf[i]))
		if seen || err != nil {
			break
		}
	}
	return seen, err
}

// figures adds up what the parts say about some keys. filters has for each part the records that count there.
func (p *parts) figures(ctx context.Context, k sqlstore.TopKey, keys []string, filters []sqlstore.Filter, selected int64, b Budget) (sums []sqlstore.Figures, cut bool, err error) {
	type counted struct {
		figures []sqlstore.Figures
		cut     bool
	}
	selected /= int64(len(p.dbs)) // more or less: it only says which way to read them is short
	found, err := each(ctx, p, func(ctx context.Context, i int, db *DB) (c counted, err error) {
		c.figures, c.cut, err = db.sql.Figures(ctx, k, keys, filters[i], selected, b.lower())
		return c, err
	})
	if err != nil {
		return nil, false, err
	}
	for _, part := range found {
		if cut = cut || part.cut; cut {
			return nil, true, nil
		}
	}
	sums = found[0].figures
	for _, part := range found[1:] {
		for i := range sums {
			addFigures(&sums[i], &part.figures[i])
		}
	}
	if len(found) > 1 {
		for i := range sums {
			sums[i].ByAgent = byAgent(sums[i].ByAgent)
		}
	}
	return sums, false, nil
}

// addFigures adds what another part says of a key.
func addFigures(sum, more *sqlstore.Figures) {
	switch {
	case more.Count == 0:
		return
	case sum.Count == 0:
		sum.First, sum.Last = more.First, more.Last
	}
	sum.First, sum.Last = min(sum.First, more.First), max(sum.Last, more.Last)
	sum.Count += more.Count
	sum.Confidence += more.Confidence
	sum.ByAgent = append(sum.ByAgent, more.ByAgent...)
	maps.Copy(sum.Subjects, more.Subjects)
	sum.MoreSubjects = sum.MoreSubjects || more.MoreSubjects
}

// frequencies adds up what the parts count by a key. The records that each has counted are in counted.
func (p *parts) frequencies(ctx context.Context, by TopBy, f Filter, rank sqlstore.Rank, b Budget) (sum sqlstore.Frequencies, counted []sqlstore.Filter, err error) {
	b = b.share(len(p.dbs))
	found, err := each(ctx, p, func(ctx context.Context, i int, db *DB) (sqlstore.Frequencies, error) {
		return db.sql.Frequencies(ctx, by.key(), by.lower(p.at(f, i)), rank, b.lower())
	})
	if err != nil {
		return sum, nil, err
	}
	for _, part := range found {
		counted = append(counted, part.Counted)
	}
	if len(found) == 1 {
		return found[0], counted, nil
	}
	counts := map[string]int64{}
	for _, part := range found {
		sum.Total, sum.Without = sum.Total+part.Total, sum.Without+part.Without
		sum.Missed += part.Missed // each part can have missed as much of one key
		sum.Cut = sum.Cut || part.Cut
		for _, one := range part.Top {
			counts[one.Key] += one.Count
		}
	}
	if rank == sqlstore.RankAgents {
		// An agent may have records with one key in several parts.
		if counts, err = p.agentsByKey(ctx, found); err != nil {
			return sum, nil, err
		}
	}
	for key, n := range counts {
		sum.Top = append(sum.Top, sqlstore.Frequency{Key: key, Count: n})
	}
	slices.SortFunc(sum.Top, func(a, b sqlstore.Frequency) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	return sum, counted, nil
}

// agentsByKey counts the different agents of each key.
func (p *parts) agentsByKey(ctx context.Context, found []sqlstore.Frequencies) (map[string]int64, error) {
	var book agentBook
	all := map[string]map[int64]struct{}{}
	for i, part := range found {
		numbers := map[int64]struct{}{}
		for _, set := range part.Agents {
			maps.Copy(numbers, set)
		}
		shared, err := book.shared(ctx, p.dbs[i], slices.Collect(maps.Keys(numbers)))
		if err != nil {
			return nil, err
		}
		for key, set := range part.Agents {
			if all[key] == nil {
				all[key] = map[int64]struct{}{}
			}
			for n := range set {
				all[key][shared[n]] = struct{}{}
			}
		}
	}
	counts := map[string]int64{}
	for key, set := range all {
		counts[key] = int64(len(set))
	}
	return counts, nil
}

// seen says which keys a record with an earlier timestamp has.
func (p *parts) seen(ctx context.Context, key sqlstore.TopKey, keys []string, timestamp uint64) ([]bool, error) {
	found, err := each(ctx, p, func(ctx context.Context, i int, db *DB) ([]bool, error) {
		return db.sql.SeenBefore(ctx, key, keys, int64(min(timestamp, MaxTimestamp)), indexOf(p.asOf[i]))
	})
	if err != nil {
		return nil, err
	}
	for _, part := range found[1:] {
		for i := range part {
			found[0][i] = found[0][i] || part[i]
		}
	}
	return found[0], nil
}

func (p *parts) top(ctx context.Context, t *TopList, f Filter, o *TopOptions, limit int) error {
	// The records are read twice: for the order, and for the figures of the first entries. Both times are of one moment.
	p, err := p.now(ctx)
	if err != nil {
		return err
	}
	key := o.By.key()
	rank := map[TopRank]sqlstore.Rank{RankAnswers: sqlstore.RankAnswers, RankAgents: sqlstore.RankAgents}[o.Rank]
	if rank == sqlstore.RankAnswers && !o.By.OfEvidence() {
		rank = sqlstore.RankCount // records are answers
	}
	looking := o.Budget.lower().Part(3, 4).Start() // the rest is for what follows about the entries
	found, counted, err := p.frequencies(ctx, o.By, f, rank, o.Budget)
	if err != nil {
		return err
	}
	t.Total, t.Without, t.Missed, t.Incomplete = uint64(found.Total), uint64(found.Without), uint64(found.Missed), found.Cut
	var keys []string
	for some := range slices.Chunk(found.Top, seenAtOnce) {
		candidates, seen := make([]string, len(some)), make([]bool, len(some))
		for i, c := range some {
			candidates[i] = c.Key
		}
		if o.NewSince != nil {
			if o.Budget.Time > 0 && looking.Spent(0) {
				t.Incomplete = true
				break
			}
			var err error
			if seen, err = p.seen(ctx, key, candidates, *o.NewSince); err != nil {
				return err
			}
		}
		for i, key := range candidates {
			if !seen[i] {
				keys = append(keys, key)
			}
		}
		if t.More = len(keys) > limit; t.More {
			keys = keys[:limit]
			break
		}
	}
	// What follows about the entries is of the records that were counted.
	figures, _, err := p.figures(ctx, key, keys, counted, int64(t.Total), Budget{})
	if err != nil {
		return err
	}
	for i, key := range keys {
		e := TopEntry{}
		e.Hash, e.Text = o.By.named(key)
		e.figure(&figures[i])
		t.Entries = append(t.Entries, e)
	}
	return nil
}

// seenAtOnce is of how many things one query finds out whether they are new. The budget is looked at in between.
const seenAtOnce = 64

// figure fills in what is known of an entry.
func (e *TopEntry) figure(f *sqlstore.Figures) {
	// In the order of ImpactTotals, so that both sums of floats are equal to the last digit, every time.
	slices.SortFunc(f.ByAgent, func(a, b sqlstore.AgentUses) int {
		return compareAgents((*Hash)(a.Agent), (*Hash)(b.Agent), uint64(a.Answers), uint64(b.Answers))
	})
	e.Answers, e.Agents, e.Weight = 0, 0, 0
	for _, a := range f.ByAgent {
		e.Answers += uint64(a.Answers)
		e.Weight += a.Weight
		if a.Agent != nil {
			e.Agents++
		}
	}
	e.Count, e.First, e.Last = uint64(f.Count), uint64(f.First), uint64(f.Last)
	e.Subjects, e.MoreSubjects = uint64(len(f.Subjects)), f.MoreSubjects
	if e.Answers > 0 {
		e.Confidence = float32(f.Confidence / float64(e.Answers))
	}
}
