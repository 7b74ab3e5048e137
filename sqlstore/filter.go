package sqlstore

import (
	"math"
	"strings"
)

// Filter says which records Select yields, and in what order. A record must meet every condition that is set. Fields that are
// nil, empty or false are no condition.
type Filter struct {
	Agent                        *[32]byte
	Anonymous                    bool    // records of no agent
	From, To                     *int64  // timestamps, both inclusive
	Subject                      *string // exactly
	SubjectGlob                  *string // SQLite's GLOB: * ? [a-z], case counts
	Predicate, Lens              *string // exactly
	Lifecycle                    *uint8  // of the query
	Result                       *[32]byte
	Assertion, Source            *[32]byte // in the evidence
	Unapproved                   bool      // some of the evidence is not Approved
	Attributes                   []Attribute
	MinConfidence, MaxConfidence *float64 // both inclusive
	AsOf                         *int64   // an Entry.Index: only records with a lower one

	// Conditions that this package adds for itself.
	since  *int64 // an Entry.Index: only records with it or a higher one
	fromOn *Place // only records at this place in the order of time or after it

	// After is where Select goes on: only records that come after this place in the order of the filter. Counts ignore it, as
	// they ignore the order.
	After *Place

	Limit       int  // 0: no limit
	Descending  bool // the newest first
	ByAdmission bool // by Entry.Index; otherwise by (timestamp, query id)
}

// Place is that of a record in the order of a Select. By admission only Index counts, and by time only the others.
type Place struct {
	Timestamp int64
	QueryID   [32]byte
	Index     int64
}

// clause is a piece of SQL with the values bound in it.
type clause struct {
	sql  string
	args []any
}

// and joins conditions. Without any it returns a condition that every row meets.
func and(cs []clause) clause {
	if len(cs) == 0 {
		return clause{sql: "TRUE"}
	}
	var all clause
	for i, c := range cs {
		if i > 0 {
			all.sql += " AND "
		}
		all.sql += c.sql
		all.args = append(all.args, c.args...)
	}
	return all
}

// agent is the condition for the agent that the filter names, or for none: false if it names neither.
func (f *Filter) agent() (c clause, ok bool) {
	switch {
	case f.Agent != nil:
		return clause{`a.agent = ` + agentNumber, []any{hexOf(f.Agent)}}, true
	case f.Anonymous:
		return clause{`a.agent = 0`, nil}, true
	}
	return clause{}, false
}

// unapproved is the condition that some evidence of row a of table audit is not Approved (2).
const unapproved = `EXISTS (SELECT 1 FROM contribution e WHERE e.audit = a.idx AND e.lifecycle NOT IN (2, 5))`

// conditions are the filter's conditions for row a of table audit.
func (f *Filter) conditions() []clause {
	var cs []clause
	add := func(sql string, args ...any) { cs = append(cs, clause{sql, args}) }
	if agent, ok := f.agent(); ok {
		cs = append(cs, agent)
	}
	if f.From != nil {
		add(`a.timestamp >= ?`, *f.From)
	}
	if f.To != nil {
		add(`a.timestamp <= ?`, *f.To)
	}
	if f.Subject != nil {
		add(`a.subject = ?`, *f.Subject)
	}
	if f.SubjectGlob != nil {
		add(`a.subject GLOB ?`, *f.SubjectGlob)
	}
	if f.Predicate != nil {
		add(`a.predicate = ?`, *f.Predicate)
	}
	if f.Lens != nil {
		add(`a.lens = ?`, *f.Lens)
	}
	if f.Lifecycle != nil {
		add(`a.lifecycle = ?`, int64(*f.Lifecycle))
	}
	if f.Result != nil {
		add(`a.result_hash = ?`, hexOf(f.Result))
	}
	// The evidence of a record is found by the record's number: the + keeps SQLite from using another index.
	if f.Assertion != nil {
		add(`EXISTS (SELECT 1 FROM contribution e WHERE e.audit = a.idx AND +e.assertion_hash = ?)`, hexOf(f.Assertion))
	}
	if f.Source != nil {
		add(`EXISTS (SELECT 1 FROM contribution e WHERE e.audit = a.idx AND +e.source_hash = ?)`, hexOf(f.Source))
	}
	if f.Unapproved {
		add(unapproved)
	}
	for _, at := range f.Attributes {
		add(`EXISTS (SELECT 1 FROM attribute t WHERE t.audit = a.idx AND t.key = ? AND t.value = ?)`, at.Key, at.Value)
	}
	if f.MinConfidence != nil {
		add(`a.result_confidence >= ?`, *f.MinConfidence)
	}
	if f.MaxConfidence != nil {
		add(`a.result_confidence <= ?`, *f.MaxConfidence)
	}
	if f.AsOf != nil {
		add(`a.idx < ?`, *f.AsOf)
	}
	if f.since != nil {
		add(`a.idx >= ?`, *f.since)
	}
	if f.fromOn != nil {
		add(`(a.timestamp, a.query_id) >= (?, ?)`, f.fromOn.Timestamp, f.fromOn.QueryID[:])
	}
	return cs
}

// orNow is an AsOf that may be nil, as a value to compare an index with.
func orNow(asOf *int64) int64 {
	if asOf == nil {
		return math.MaxInt64
	}
	return *asOf
}

// onlyAsOf reports whether the filter has no condition but AsOf. Then it selects the first records in the order of
// admission.
func (f *Filter) onlyAsOf() bool {
	g := *f
	g.AsOf = nil
	return len(g.conditions()) == 0
}

// evidence returns the evidence that the filter names, or nil. If it names two, this is the assertion: assertions are rarer
// than sources.
func (f *Filter) evidence() *Evidence {
	switch {
	case f.Assertion != nil:
		return &Evidence{Hash: f.Assertion}
	case f.Source != nil:
		return &Evidence{Hash: f.Source, Source: true}
	}
	return nil
}

// subject returns the subject that the filter names exactly, if it does.
func (f *Filter) subject() (name string, exact bool) {
	if f.Subject != nil {
		return *f.Subject, true
	}
	if f.SubjectGlob == nil {
		return "", false
	}
	name, wild := literal(*f.SubjectGlob)
	return name, !wild
}

// literal splits a GLOB pattern into the text before its first wildcard, and whether there is one.
func literal(glob string) (prefix string, wild bool) {
	if i := strings.IndexAny(glob, "*?["); i >= 0 {
		return glob[:i], true
	}
	return glob, false
}
