package view

import (
	"context"

	"github.com/auditsql/auditsql/audit"
)

// A Ranking is what is most frequent. See audit.TopList.
type Ranking struct {
	RankingHead
	Entries []Ranked `json:"entries"`
	RankingTail
}

// A RankingHead says what is ranked, and by what.
type RankingHead struct {
	By   audit.TopBy   `json:"by"`
	Rank audit.TopRank `json:"rank"`
}

// A Ranked is an agent, subject, predicate, lens, value of an attribute, assertion, source or lifecycle.
type Ranked struct {
	Hash      *audit.Hash `json:"hash"`
	Label     *string     `json:"label"`
	Text      *string     `json:"text"` // of what is no hash
	Count     uint64      `json:"count"`
	Share     float64     `json:"share"`
	Answers   uint64      `json:"answers"`
	Agents    uint64      `json:"agents"`
	Weight    *float64    `json:"weight"` // of an assertion or source
	First     uint64      `json:"first"`
	FirstTime string      `json:"first_time"`
	Last      uint64      `json:"last"`
	LastTime  string      `json:"last_time"`

	Subjects     *uint64  `json:"subjects"`      // different ones; nil: not counted
	MoreSubjects bool     `json:"more_subjects"` // there are more than were counted
	Confidence   *float32 `json:"confidence"`    // mean of the records'; nil: not counted
}

// A RankingTail says what was counted, and what was cut.
type RankingTail struct {
	Total      uint64     `json:"total"`
	Without    uint64     `json:"without"`    // records that have no such thing
	More       bool       `json:"more"`       // the limit cut the entries
	Missed     uint64     `json:"missed"`     // a count may be too small by up to this number
	Incomplete bool       `json:"incomplete"` // the budget ended the count
	Unfigured  bool       `json:"unfigured"`  // subjects and confidence were not counted
	Lag        *audit.Lag `json:"lag"`
}

// Top ranks what the options select.
func (v *Viewer) Top(ctx context.Context, o audit.TopOptions) (*Ranking, error) {
	if o.Budget == (audit.Budget{}) {
		o.Budget = v.Budget
	}
	found, err := v.store.Top(ctx, o)
	if err != nil {
		return nil, err
	}
	if o.Rank == "" {
		o.Rank = audit.RankPieces
	}
	r := &Ranking{RankingHead{o.By, o.Rank}, make([]Ranked, len(found.Entries)), RankingTail{
		found.Total, found.Without, found.More, found.Missed, found.Incomplete, found.Unfigured, v.lag(o.Filter.AsOf),
	}}
	for i := range found.Entries {
		e := &found.Entries[i]
		row := Ranked{
			Hash: e.Hash, Label: v.label(e.Hash), Text: e.Text, Count: e.Count, Share: e.Share, Answers: e.Answers, Agents: e.Agents,
			First: e.First, FirstTime: v.time(e.First), Last: e.Last, LastTime: v.time(e.Last),
		}
		if o.By.OfEvidence() {
			row.Weight = &e.Weight
		}
		if !found.Unfigured {
			row.Subjects, row.MoreSubjects, row.Confidence = &e.Subjects, e.MoreSubjects, &e.Confidence
		}
		r.Entries[i] = row
	}
	return r, nil
}

// NextAfterTop returns commands that look at the first entry.
func (v *Viewer) NextAfterTop(ctx context.Context, r *Ranking) []Step {
	if len(r.Entries) == 0 {
		return nil
	}
	return v.nextAfterEntry(ctx, r.By, r.Entries[0].Hash, r.Entries[0].Text)
}

// nextAfterEntry returns commands that look at the first entry of a list of what records have in common.
func (v *Viewer) nextAfterEntry(ctx context.Context, by audit.TopBy, hash *audit.Hash, text *string) []Step {
	switch by {
	case audit.TopAgents:
		return []Step{{[]string{"list", "--agent", v.Name(ctx, *hash, audit.AgentHash)}, "what the first asked"}}
	case audit.TopAssertions:
		return []Step{{[]string{"impact", v.Name(ctx, *hash, audit.AssertionHash)}, "where the first went"}}
	case audit.TopSources:
		return []Step{{[]string{"impact", "--source", v.Name(ctx, *hash, audit.SourceHash)}, "what came from the first"}}
	case audit.TopLifecycles:
		return []Step{{[]string{"top", "--by", "source", "--lifecycle", *text}, "where it came from"}}
	}
	return nil
}

// CountedBy is the noun of what a ranking by this counts, for one and for several.
func CountedBy(by audit.TopBy) (one, many string) {
	if by.OfEvidence() {
		return "piece of evidence", "pieces of evidence"
	}
	return "record", "records"
}
