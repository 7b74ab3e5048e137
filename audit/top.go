package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/auditsql/auditsql/sqlstore"
)

// TopBy says what Top ranks.
type TopBy string

// What Top can rank.
const (
	TopAgents     TopBy = "agent"
	TopSubjects   TopBy = "subject"
	TopAssertions TopBy = "assertion"
	TopSources    TopBy = "source"
	TopLenses     TopBy = "lens"
)

// ParseTopBy reads "agent", "subject", "assertion", "source" or "lens". Anything else is ErrInvalid.
func ParseTopBy(s string) (TopBy, error) {
	switch by := TopBy(s); by {
	case TopAgents, TopSubjects, TopAssertions, TopSources, TopLenses:
		return by, nil
	}
	return "", invalid("unknown %s: want agent, subject, assertion, source or lens", excerpt(s))
}

// DefaultTop is how many entries Top returns when the filter's limit is 0.
const DefaultTop = 20

// TopOptions say what to rank.
type TopOptions struct {
	By     TopBy
	Filter Filter // which records count; its Limit counts entries, 0 is DefaultTop; its order has no effect

	// NewSince, if set, leaves out what any record of the store with an earlier timestamp has.
	NewSince *uint64

	// Budget can end the count. Then the figures are those of the newest records, as many as could be counted. It has no effect
	// on agents whose figures are stored. Evidence counts by pieces: a record can have several.
	Budget Budget
}

// TopList is the result of Top.
type TopList struct {
	Entries []TopEntry // descending by Count, then by hash or text
	More    bool       // there are more entries than the limit

	// Total is how many records were counted, or for assertions and sources how many contributions. Without
	// counts the records that have no such thing: anonymous ones, or those without a subject or lens.
	Total, Without uint64

	// Missed is 0 unless there were too many different things to count in memory. Then things with a count up to Missed
	// may be missing, and counts of subjects and lenses may be too low by up to Missed.
	Missed uint64

	// Incomplete says that the budget ended the count. The figures are of the records that were counted until then: the newest
	// ones, except for agents. With NewSince it also says that the time was over before all that was counted had been looked up.
	Incomplete bool
}

// TopEntry is an agent, subject, assertion, source or lens.
type TopEntry struct {
	Hash *Hash   // of an agent, assertion or source
	Text *string // a subject or lens

	Count       uint64  // records; of an assertion or source: contributions, of which one record can have several
	Share       float64 // Count as a part of TopList.Total
	Answers     uint64  // records
	Agents      uint64  // different agents; anonymous records are no agent
	First, Last uint64  // timestamps of the records counted
	Weight      float64 // the sum of the weights of an assertion's or source's contributions
}

// Top ranks agents, subjects, assertions, sources or lenses by how often they occur. Figures of agents are stored, see Timeline. For
// anything else it reads each record that the
// filter selects (a million take some seconds, for assertions and sources about ten). A time in the filter makes them
// few, and a budget ends the count.
func (db *DB) Top(ctx context.Context, o TopOptions) (*TopList, error) {
	t := &TopList{Entries: []TopEntry{}}
	limit := orDefault(o.Filter.Limit, DefaultTop)
	f := o.Filter
	f.Limit = 0
	if o.NewSince != nil && *o.NewSince > deref(f.From, 0) {
		f.From = o.NewSince // something new has no earlier record
	}
	_, err := ParseTopBy(string(o.By))
	if err == nil && !f.none() {
		err = db.ask(ctx, f.AsOf, func() error {
			if o.By == TopAgents {
				return db.topAgents(ctx, t, f, &o, limit)
			}
			return db.top(ctx, t, f, &o, limit)
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

func (db *DB) topAgents(ctx context.Context, t *TopList, f Filter, o *TopOptions, limit int) error {
	agents, cut, err := db.agents(ctx, f, o.Budget)
	if err != nil {
		return err
	}
	t.Incomplete = cut
	for _, a := range agents {
		if a.AgentID == nil {
			t.Without = a.Audits
			continue
		}
		t.Total += a.Audits
		if o.NewSince != nil {
			seen, err := db.seenBefore(ctx, *a.AgentID, *o.NewSince, f.AsOf)
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
		t.Entries = append(t.Entries, TopEntry{Hash: a.AgentID, Count: a.Audits, Answers: a.Audits, Agents: 1, First: a.First, Last: a.Last})
	}
	return nil
}

// seenBefore reports whether an agent has a record with a timestamp before this one.
func (db *DB) seenBefore(ctx context.Context, agent AgentID, timestamp uint64, asOf *uint64) (seen bool, err error) {
	if timestamp == 0 {
		return false, nil
	}
	_, seen, err = db.sql.LastBefore(ctx, agent, int64(min(timestamp-1, MaxTimestamp)), indexOf(asOf))
	return seen, err
}

func (db *DB) top(ctx context.Context, t *TopList, f Filter, o *TopOptions, limit int) error {
	key := map[TopBy]sqlstore.TopKey{
		TopSubjects: sqlstore.BySubject, TopLenses: sqlstore.ByLens, TopAssertions: sqlstore.ByAssertion, TopSources: sqlstore.BySource,
	}[o.By]
	looking := Budget{Time: o.Budget.Time}.lower().Part(3, 4).Start() // the rest is for what follows about the entries
	found, err := db.sql.Frequencies(ctx, key, f.lower(), o.Budget.lower())
	if err != nil {
		return err
	}
	t.Total, t.Without, t.Missed, t.Incomplete = uint64(found.Total), uint64(found.Without), uint64(found.Missed), found.Cut
	for _, c := range found.Top {
		if o.NewSince != nil {
			if looking.Spent(0) {
				t.Incomplete = true
				break
			}
			seen, err := db.sql.SeenBefore(ctx, key, c.Key, int64(min(*o.NewSince, MaxTimestamp)), indexOf(f.AsOf))
			if err != nil {
				return err
			}
			if seen {
				continue
			}
		}
		if len(t.Entries) == limit {
			t.More = true
			break
		}
		e := TopEntry{Text: &c.Key, Count: uint64(c.Count)}
		if o.By == TopAssertions || o.By == TopSources {
			h := Hash([]byte(c.Key))
			e.Hash, e.Text = &h, nil
		}
		t.Entries = append(t.Entries, e)
	}
	// What follows about the entries is of the records that were counted.
	switch o.By {
	case TopLenses:
		return db.topLenses(ctx, t, found.Counted)
	case TopSubjects:
		for i := range t.Entries {
			if err := db.topSubject(ctx, &t.Entries[i], found.Counted); err != nil {
				return err
			}
		}
		return nil
	}
	return db.topEvidence(ctx, t, o.By == TopSources, found.Counted)
}

// topLenses fills in the rest about lenses. There are few lenses with many records each, and no index on them.
func (db *DB) topLenses(ctx context.Context, t *TopList, f sqlstore.Filter) error {
	var lenses []string
	for _, e := range t.Entries {
		lenses = append(lenses, *e.Text)
	}
	users, err := db.sql.LensUsers(ctx, f, lenses)
	if err != nil {
		return err
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		u := users[*e.Text]
		e.Answers, e.Agents, e.First, e.Last = uint64(u.Audits), uint64(len(u.Agents)), uint64(u.First), uint64(u.Last)
	}
	return nil
}

// topSubject fills in the rest about a subject.
func (db *DB) topSubject(ctx context.Context, e *TopEntry, f sqlstore.Filter) error {
	f.Subject = e.Text
	agents, _, err := db.sql.AgentCounts(ctx, f, sqlstore.Budget{})
	if err != nil {
		return err
	}
	var first, last *uint64
	for _, a := range agents {
		e.add(a.Agent != nil, uint64(a.Audits))
		widen(&first, &last, uint64(a.First), uint64(a.Last))
	}
	e.First, e.Last = deref(first, 0), deref(last, 0)
	return nil
}

// topEvidence fills in the rest about assertions or sources.
func (db *DB) topEvidence(ctx context.Context, t *TopList, sources bool, f sqlstore.Filter) error {
	hashes := make([]*[32]byte, len(t.Entries))
	for i := range t.Entries {
		hashes[i] = bytesOf(t.Entries[i].Hash)
	}
	each, err := db.sql.CountEach(ctx, sources, hashes, f, int64(t.Total))
	if err != nil {
		return err
	}
	for i := range t.Entries {
		e, byAgent := &t.Entries[i], each[i].ByAgent
		var first, last *uint64
		// In the order of ImpactTotals, so that both sums of floats are equal to the last digit, every time.
		slices.SortFunc(byAgent, func(a, b sqlstore.AgentUses) int {
			return compareAgents((*Hash)(a.Agent), (*Hash)(b.Agent), uint64(a.Answers), uint64(b.Answers))
		})
		for _, a := range byAgent {
			e.add(a.Agent != nil, uint64(a.Answers))
			e.Weight += a.Weight
			widen(&first, &last, uint64(a.First), uint64(a.Last))
		}
		e.First, e.Last = deref(first, 0), deref(last, 0)
	}
	return nil
}

func (e *TopEntry) add(agent bool, answers uint64) {
	e.Answers += answers
	if agent {
		e.Agents++
	}
}
