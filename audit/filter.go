package audit

import (
	"context"
	"fmt"
	"math"
	"reflect"

	"github.com/auditsql/auditsql/sqlstore"
)

// Filter selects records. The zero value selects all. A record must meet every condition that is set.
//
// Where pieces of evidence are counted (Impact, and Top and CompareWindows by assertion, source or lifecycle), Lifecycle, Assertion, Source
// and Unapproved are conditions of the piece that is counted, and Lifecycle is that of the piece.
type Filter struct {
	Agent         *AgentID
	Anonymous     bool    // records of no agent
	From, To      *uint64 // timestamps, in the store's unit, both inclusive
	Subject       *string // exactly
	SubjectGlob   *string // * ? […] and [!…], as in a shell; case matters, and \ is an ordinary character
	Predicate     *string
	Lens          *string
	Lifecycle     *Lifecycle // of the question
	Result        *Hash
	Assertion     *Hash // somewhere in the evidence
	Source        *Hash // of at least one piece of evidence
	Unapproved    bool  // at least one piece of evidence is neither Approved nor Unstated
	Attributes    []Attribute
	MinConfidence *float32
	MaxConfidence *float32

	// AnyOf are lists of alternatives: of each list a record must meet one filter or more. NoneOf are filters of which a record must
	// meet none. A record that lacks what a filter names does not meet the filter: one without a subject is selected where NoneOf
	// names a subject. Of these filters only the conditions count, and not AsOf, After, Limit and the order.
	AnyOf  [][]Filter
	NoneOf []Filter

	// AsOf selects the records that the store had when it had so many: those that were admitted first. Every answer is then
	// that of the store at that moment, whatever was admitted since. If the store does not have so many, the error is an
	// *AsOfError.
	AsOf *uint64

	// After leaves out the records up to a place in the order of the filter, so that a list goes on after the last record that a
	// reader has seen. By time that record need not exist. By admission its id says where it is, and ErrNotFound means that no
	// such record is stored. Like Limit it belongs to a list (Audits, RawAudits, Impact, Answers). What counts, ranks or looks
	// for one record ignores it.
	After *Cursor

	Limit       int // 0: no limit
	Descending  bool
	ByAdmission bool // in the order of admission; otherwise by (timestamp, query id)
}

// Attribute is a key and a value as text: a string unchanged, a number in canonical JSON, true or false.
type Attribute struct {
	Key, Value string
}

// lower returns the filter as package sqlstore has it, without After: see DB.lower.
func (f Filter) lower() sqlstore.Filter {
	g := sqlstore.Filter{
		Agent: bytesOf(f.Agent), Anonymous: f.Anonymous, From: timestampOf(f.From), To: timestampOf(f.To),
		Subject: f.Subject, SubjectGlob: sqlGlobOf(f.SubjectGlob), Predicate: f.Predicate, Lens: f.Lens,
		Result: bytesOf(f.Result), Assertion: bytesOf(f.Assertion), Source: bytesOf(f.Source), Unapproved: f.Unapproved,
		MinConfidence: shortestOf(f.MinConfidence), MaxConfidence: shortestOf(f.MaxConfidence), AsOf: indexOf(f.AsOf),
		Limit: f.Limit, Descending: f.Descending, ByAdmission: f.ByAdmission,
	}
	if f.Lifecycle != nil {
		l := uint8(*f.Lifecycle)
		g.Lifecycle = &l
	}
	for _, a := range f.Attributes {
		g.Attributes = append(g.Attributes, sqlstore.Attribute(a))
	}
	for _, list := range f.AnyOf {
		g.AnyOf = append(g.AnyOf, lowerAll(list))
	}
	g.NoneOf = lowerAll(f.NoneOf)
	return g
}

// lowerAll returns the filters of a list as package sqlstore has them.
func lowerAll(list []Filter) []sqlstore.Filter {
	var all []sqlstore.Filter
	for _, f := range list {
		f.AsOf, f.After, f.Limit, f.Descending, f.ByAdmission = nil, nil, 0, false, false
		g := f.lower()
		if f.none() {
			g.AnyOf = append(g.AnyOf, nil) // no alternative: no record meets it
		}
		all = append(all, g)
	}
	return all
}

// lowerPieces is lower for a question that counts pieces of evidence.
func (f Filter) lowerPieces() sqlstore.Filter {
	g := f.lower()
	g.OnePiece = true
	return g
}

// lower returns the filter of a list as package sqlstore has it. SQLite has what the list is to show.
func (db *DB) lower(ctx context.Context, f Filter) (sqlstore.Filter, error) {
	g := f.lower()
	if f.After == nil {
		return g, nil
	}
	g.After = &sqlstore.Place{Timestamp: int64(min(f.After.Timestamp, MaxTimestamp)), QueryID: f.After.ID}
	if !f.ByAdmission {
		return g, nil
	}
	var err error
	if g.After.Index, err = db.sql.IndexOf(ctx, f.After.ID); err == nil && g.After.Index < 0 {
		err = fmt.Errorf("go on after %s: %w", f.After.ID, ErrNotFound)
	}
	return g, err
}

// all reports whether a filter selects everything in the order of admission, or everything that was admitted up to some
// moment. That needs no forensic table.
func (f Filter) all() bool {
	return f.ByAdmission && !f.Descending && f.After == nil && f.onlyAsOf()
}

// bare reports whether a filter selects everything.
func (f Filter) bare() bool {
	f.Limit, f.After, f.Descending, f.ByAdmission = 0, nil, false, false
	return reflect.DeepEqual(f, Filter{})
}

// onlyAsOf reports whether a filter selects everything that there was at some moment, or is.
func (f Filter) onlyAsOf() bool {
	f.AsOf = nil
	return f.bare()
}

// timed reports whether a filter selects by time only, of all records or of those that there were at some moment.
func (f Filter) timed() bool {
	f.From, f.To = nil, nil
	return f.onlyAsOf()
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

// indexOf limits an AsOf to the indexes that SQLite can have.
func indexOf(asOf *uint64) *int64 {
	if asOf == nil {
		return nil
	}
	n := int64(min(*asOf, math.MaxInt64))
	return &n
}

func shortestOf(f *float32) *float64 {
	if f == nil {
		return nil
	}
	d := shortest(*f)
	return &d
}
