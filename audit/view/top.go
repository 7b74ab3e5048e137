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

// A RankingHead says what is ranked.
type RankingHead struct {
	By audit.TopBy `json:"by"`
}

// A Ranked is an agent, subject, assertion, source or lens.
type Ranked struct {
	Hash      *audit.Hash `json:"hash"`
	Label     *string     `json:"label"`
	Text      *string     `json:"text"` // a subject or lens
	Count     uint64      `json:"count"`
	Share     float64     `json:"share"`
	Answers   uint64      `json:"answers"`
	Agents    uint64      `json:"agents"`
	Weight    *float64    `json:"weight"` // of an assertion or source
	First     uint64      `json:"first"`
	FirstTime string      `json:"first_time"`
	Last      uint64      `json:"last"`
	LastTime  string      `json:"last_time"`
}

// A RankingTail says what was counted, and what was cut.
type RankingTail struct {
	Total      uint64     `json:"total"`
	Without    uint64     `json:"without"`    // records that have no such thing
	More       bool       `json:"more"`       // the limit cut the entries
	Missed     uint64     `json:"missed"`     // a count may be too small by up to this number
	Incomplete bool       `json:"incomplete"` // the budget ended the count
	Lag        *audit.Lag `json:"lag"`
}

// OfEvidence reports whether pieces of evidence are counted, and not records.
func (h RankingHead) OfEvidence() bool {
	return h.By == audit.TopAssertions || h.By == audit.TopSources
}

// OfTexts reports whether the entries are texts, and not hashes.
func (h RankingHead) OfTexts() bool { return h.By == audit.TopSubjects || h.By == audit.TopLenses }

// Top ranks what the options select.
func (v *Viewer) Top(ctx context.Context, o audit.TopOptions) (*Ranking, error) {
	if o.Budget == (audit.Budget{}) {
		o.Budget = v.Budget
	}
	found, err := v.store.Top(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &Ranking{RankingHead{o.By}, make([]Ranked, len(found.Entries)), RankingTail{found.Total, found.Without, found.More, found.Missed, found.Incomplete, v.lag(o.Filter.AsOf)}}
	for i := range found.Entries {
		e := &found.Entries[i]
		r.Entries[i] = Ranked{
			Hash: e.Hash, Label: v.label(e.Hash), Text: e.Text, Count: e.Count, Share: e.Share, Answers: e.Answers, Agents: e.Agents,
			First: e.First, FirstTime: v.time(e.First), Last: e.Last, LastTime: v.time(e.Last),
		}
		if r.OfEvidence() {
			r.Entries[i].Weight = &e.Weight
		}
	}
	return r, nil
}

// NextAfterTop returns commands that look at the first entry.
func (v *Viewer) NextAfterTop(ctx context.Context, r *Ranking) []Step {
	if len(r.Entries) == 0 || r.Entries[0].Hash == nil {
		return nil
	}
	first := *r.Entries[0].Hash
	switch r.By {
	case audit.TopAgents:
		return []Step{{[]string{"list", "--agent", v.Name(ctx, first, audit.AgentHash)}, "what the first asked"}}
	case audit.TopAssertions:
		return []Step{{[]string{"impact", v.Name(ctx, first, audit.AssertionHash)}, "where the first went"}}
	case audit.TopSources:
		return []Step{{[]string{"impact", "--source", v.Name(ctx, first, audit.SourceHash)}, "what came from the first"}}
	}
	return nil
}
