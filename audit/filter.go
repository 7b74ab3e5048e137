package audit

import (
	"reflect"

	"github.com/auditsql/auditsql/sqlstore"
)

// Filter selects records. The zero value selects all. A record must meet every condition that is set.
type Filter struct {
	Agent         *AgentID
	Anonymous     bool    // records of no agent
	From, To      *uint64 // timestamps, in the store's unit, both inclusive
	Subject       *string // exactly
	SubjectGlob   *string // * ? and […], case matters
	Predicate     *string
	Lens          *string
	Lifecycle     *Lifecycle // of the question
	Result        *Hash
	Assertion     *Hash // somewhere in the evidence
	Source        *Hash // of at least one piece of evidence
	Unapproved    bool  // at least one piece of evidence is not Approved
	Attributes    []Attribute
	MinConfidence *float32
	MaxConfidence *float32

	Limit       int // 0: no limit
	Descending  bool
	ByAdmission bool // in the order of admission; otherwise by (timestamp, query id)
}

// Attribute is a key and a value as text: a string unchanged, a number in canonical JSON, true or false.
type Attribute struct {
	Key, Value string
}

// lower returns the filter as package sqlstore has it.
func (f Filter) lower() sqlstore.Filter {
	g := sqlstore.Filter{
		Agent: bytesOf(f.Agent), Anonymous: f.Anonymous, From: timestampOf(f.From), To: timestampOf(f.To),
		Subject: f.Subject, SubjectGlob: f.SubjectGlob, Predicate: f.Predicate, Lens: f.Lens,
		Result: bytesOf(f.Result), Assertion: bytesOf(f.Assertion), Source: bytesOf(f.Source), Unapproved: f.Unapproved,
		MinConfidence: shortestOf(f.MinConfidence), MaxConfidence: shortestOf(f.MaxConfidence),
		Limit: f.Limit, Descending: f.Descending, ByAdmission: f.ByAdmission,
	}
	if f.Lifecycle != nil {
		l := uint8(*f.Lifecycle)
		g.Lifecycle = &l
	}
	for _, a := range f.Attributes {
		g.Attributes = append(g.Attributes, sqlstore.Attribute(a))
	}
	return g
}

// all reports whether a filter selects everything in the order of admission. That needs no forensic table.
func (f Filter) all() bool {
	return f.ByAdmission && !f.Descending && f.bare()
}

// bare reports whether a filter selects everything.
func (f Filter) bare() bool {
	f.Limit, f.Descending, f.ByAdmission = 0, false, false
	return reflect.DeepEqual(f, Filter{})
}

// timed reports whether a filter selects by time only.
func (f Filter) timed() bool {
	f.From, f.To = nil, nil
	return f.bare()
}

// none reports whether no record can match: From is after the latest possible timestamp.
func (f Filter) none() bool { return f.From != nil && *f.From > MaxTimestamp }

// timestampOf limits a bound to the latest possible timestamp.
func timestampOf(t *uint64) *int64 {
	if t == nil {
		return nil
	}
	cut := int64(min(*t, MaxTimestamp))
	return &cut
}

func shortestOf(f *float32) *float64 {
	if f == nil {
		return nil
	}
	d := shortest(*f)
	return &d
}
