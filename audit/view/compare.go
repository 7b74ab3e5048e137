package view

import (
	"context"

	"github.com/auditsql/auditsql/audit"
)

// A Comparison is what came, went, grew and shrank between two windows of time. See audit.Comparison.
type Comparison struct {
	ComparisonHead
	Entries []Compared `json:"entries"`
	ComparisonTail
}

// A ComparisonHead says what is compared.
type ComparisonHead struct {
	By     audit.TopBy `json:"by"`
	Before Window      `json:"before"` // the earlier window
	After  Window      `json:"after"`
}

// A Window is a period, both ends included.
type Window struct {
	From     uint64 `json:"from"`
	FromTime string `json:"from_time"`
	To       uint64 `json:"to"`
	ToTime   string `json:"to_time"`
}

// A Compared is an agent, subject, predicate, lens, value of an attribute, assertion, source or lifecycle.
type Compared struct {
	Change audit.Change `json:"change"`
	Hash   *audit.Hash  `json:"hash"`
	Label  *string      `json:"label"`
	Text   *string      `json:"text"`   // of what is no hash
	Before uint64       `json:"before"` // records, or pieces of evidence
	After  uint64       `json:"after"`
}

// A ComparisonTail says what was counted, and what was cut.
type ComparisonTail struct {
	Came          uint64     `json:"came"` // how many of them in all, those that the limit left out included
	Went          uint64     `json:"went"`
	Grew          uint64     `json:"grew"`
	Shrank        uint64     `json:"shrank"`
	Same          uint64     `json:"same"`
	TotalBefore   uint64     `json:"total_before"`
	TotalAfter    uint64     `json:"total_after"`
	WithoutBefore uint64     `json:"without_before"` // records that have no such thing
	WithoutAfter  uint64     `json:"without_after"`
	More          bool       `json:"more"`       // the limit cut the entries
	Missed        uint64     `json:"missed"`     // a count may be too small by up to this number
	Incomplete    bool       `json:"incomplete"` // the budget ended the count
	Lag           *audit.Lag `json:"lag"`
}

// Compare compares what the options select.
func (v *Viewer) Compare(ctx context.Context, o audit.CompareOptions) (*Comparison, error) {
	if o.Budget == (audit.Budget{}) {
		o.Budget = v.Budget
	}
	found, err := v.store.CompareWindows(ctx, o)
	if err != nil {
		return nil, err
	}
	window := func(w audit.Window) Window { return Window{w.From, v.time(w.From), w.To, v.time(w.To)} }
	n := found.Changes
	c := &Comparison{ComparisonHead{o.By, window(o.Before), window(o.After)}, make([]Compared, len(found.Entries)), ComparisonTail{
		n[audit.Came], n[audit.Went], n[audit.Grew], n[audit.Shrank], n[audit.Same], found.Before, found.After, found.WithoutBefore, found.WithoutAfter,
		found.More, found.Missed, found.Incomplete, v.lag(o.Filter.AsOf),
	}}
	for i := range found.Entries {
		e := &found.Entries[i]
		c.Entries[i] = Compared{e.Change, e.Hash, v.label(e.Hash), e.Text, e.Before, e.After}
	}
	return c, nil
}

// NextAfterCompare returns commands that look at the first entry.
func (v *Viewer) NextAfterCompare(ctx context.Context, c *Comparison) []Step {
	if len(c.Entries) == 0 {
		return nil
	}
	return v.nextAfterEntry(ctx, c.By, c.Entries[0].Hash, c.Entries[0].Text)
}
