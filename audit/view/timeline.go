package view

import (
	"context"

	"github.com/auditsql/auditsql/audit"
)

// A Timeline says how many records there were in each bucket of time. See audit.Timeline.
type Timeline struct {
	TimelineHead
	Buckets []Bucket `json:"buckets"`
	TimelineTail
}

// A TimelineHead says what the buckets are.
type TimelineHead struct {
	By string `json:"by"` // minute, quarter, hour or day
}

// A Bucket is a minute, a quarter of an hour, an hour or a day.
type Bucket struct {
	Start      uint64 `json:"start"`
	StartTime  string `json:"start_time"`
	End        uint64 `json:"end"`
	EndTime    string `json:"end_time"`
	Audits     uint64 `json:"audits"`
	Agents     uint64 `json:"agents"`
	Anonymous  uint64 `json:"anonymous"`
	Unapproved uint64 `json:"unapproved"` // records with evidence that is not Approved
}

// A TimelineTail has the totals.
type TimelineTail struct {
	Audits     uint64        `json:"audits"`
	Agents     uint64        `json:"agents"`
	Anonymous  uint64        `json:"anonymous"`
	Sparse     bool          `json:"sparse"`     // buckets without records are left out
	Cut        bool          `json:"cut"`        // the earliest buckets are left out
	Incomplete bool          `json:"incomplete"` // the budget ended the count
	Silent     []SilentAgent `json:"silent"`
	MoreSilent bool          `json:"more_silent"`
	Lag        *audit.Lag    `json:"lag"`

	Unapproved uint64 `json:"-"` // of the buckets
}

// A SilentAgent is an agent that has stopped asking.
type SilentAgent struct {
	AgentID    audit.AgentID `json:"agent_id"`
	AgentLabel *string       `json:"agent_label"`
	Last       uint64        `json:"last"`
	LastTime   string        `json:"last_time"`
	Audits     uint64        `json:"audits"`   // in the time shown
	Expected   uint64        `json:"expected"` // how many records it would have had since, at its rate
}

// Timeline counts the records that a filter selects. The filter's limit is the greatest number of buckets;
// 0 is audit.DefaultMaxBuckets.
func (v *Viewer) Timeline(ctx context.Context, by audit.BucketSize, f audit.Filter) (*Timeline, error) {
	o := audit.TimelineOptions{By: by, Zone: v.clock.Zone, Filter: f, Unapproved: true, MaxBuckets: f.Limit, Budget: v.Budget}
	if f.AsOf == nil || v.Live {
		o.Now = v.Now // any other answer as of a moment must be the same next year
	}
	found, err := v.store.Timeline(ctx, o)
	if err != nil {
		return nil, err
	}
	t := &Timeline{TimelineHead{by.String()}, make([]Bucket, len(found.Buckets)), TimelineTail{
		Audits: found.Audits, Agents: found.Agents, Anonymous: found.Anonymous, Sparse: found.Sparse, Cut: found.Cut, Incomplete: found.Incomplete,
		Silent: make([]SilentAgent, len(found.Silent)), MoreSilent: found.MoreSilent, Lag: v.lag(f.AsOf),
	}}
	for i, b := range found.Buckets {
		t.Buckets[i] = Bucket{b.Start, v.time(b.Start), b.End, v.time(b.End), b.Audits, b.Agents, b.Anonymous, b.Unapproved}
		t.Unapproved += b.Unapproved
	}
	for i, s := range found.Silent {
		t.Silent[i] = SilentAgent{s.AgentID, v.label(&s.AgentID), s.Last, v.time(s.Last), s.Shown, s.Expected}
	}
	return t, nil
}
