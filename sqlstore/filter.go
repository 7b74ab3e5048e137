package sqlstore

import (
	"math"
	"slices"
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
	Unapproved                   bool      // some of the evidence is neither Approved nor Unstated
	Attributes                   []Attribute
	MinConfidence, MaxConfidence *float64 // both inclusive
	AsOf                         *int64   // an Entry.Index: only records with a lower one

	// Conditions that this package adds for itself.
	since  *int64 // an Entry.Index: only records with it or a higher one
	fromOn *Place // only records with its timestamp and its or a higher index, and records of later timestamps

	// AnyOf are lists of alternatives: a record must meet one filter of each list. NoneOf are filters of which a record must
	// meet none. The filters in them have conditions alone: no AsOf, After, OnePiece, limit or order.
	AnyOf  [][]Filter
	NoneOf []Filter

	// OnePiece makes Lifecycle, Assertion, Source and Unapproved, also those in AnyOf and NoneOf, conditions of one piece of
	// evidence: where there are any, a record must have a piece that meets all of them. Lifecycle is then that of the piece.
	OnePiece bool

	// After is where Select goes on: only records that come after this place in the order of the filter. Counts ignore it, as
	// they ignore the order.
	After *Place

	Limit       int  // 0: no limit
	Descending  bool // the newest first
	ByAdmission bool // by Entry.Index; otherwise by (timestamp, query id)

	numbers numbers // of the hashes that the filter names, see resolve
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

// or joins alternatives, in a tree that is as flat as it can be: SQLite limits its depth. Without any it returns a condition
// that no row meets.
func or(cs []clause) clause {
	switch n := len(cs); n {
	case 0:
		return clause{sql: "FALSE"}
	case 1:
		return cs[0]
	default:
		a, b := or(cs[:n/2]), or(cs[n/2:])
		return clause{"(" + a.sql + " OR " + b.sql + ")", slices.Concat(a.args, b.args)}
	}
}

const (
	// unapproved is the condition that some evidence of row a of table audit is neither Approved nor Unstated.
	unapproved = `EXISTS (SELECT 1 FROM contribution e WHERE e.audit = a.idx AND ` + unapprovedPiece + `)`
	// unapprovedPiece is the condition that row e of table contribution is neither Approved (2) nor Unstated (5).
	unapprovedPiece = `e.lifecycle NOT IN (2, 5)`
)

// someEvidence is the condition that row a of table audit has evidence, as e, that meets a condition. The evidence is found by
// the record's number.
func someEvidence(c clause) clause {
	return clause{`EXISTS (SELECT 1 FROM contribution e WHERE e.audit = a.idx AND ` + c.sql + `)`, c.args}
}

// conditions are the filter's conditions for row a of table audit.
func (f *Filter) conditions() []clause {
	cs := f.ofRecord()
	if f.OnePiece {
		cs = append(cs, f.ofLists(func(evidence bool) bool { return !evidence }, (*Filter).conditions)...)
		if piece := f.ofPiece(); len(piece) > 0 {
			cs = append(cs, someEvidence(and(piece)))
		}
		return cs
	}
	if f.Lifecycle != nil {
		cs = append(cs, clause{`a.lifecycle = ?`, []any{int64(*f.Lifecycle)}})
	}
	for _, c := range f.ofEvidence() {
		cs = append(cs, someEvidence(c))
	}
	return append(cs, f.ofLists(func(bool) bool { return true }, (*Filter).conditions)...)
}

// ofPiece are the conditions of a filter with OnePiece for row e of table contribution, which belongs to row a of table audit.
// Any other filter has none.
func (f *Filter) ofPiece() []clause {
	if !f.OnePiece {
		return nil
	}
	return append(f.ofOnePiece(), f.ofLists(func(evidence bool) bool { return evidence }, (*Filter).whole)...)
}

// whole are the conditions of a filter in a list, for a record and the one piece of evidence.
func (f *Filter) whole() []clause {
	return slices.Concat(f.ofRecord(), f.ofOnePiece(), f.ofLists(func(bool) bool { return true }, (*Filter).whole))
}

// ofOnePiece are the conditions that a filter itself has for the one piece of evidence.
func (f *Filter) ofOnePiece() []clause {
	cs := f.ofEvidence()
	if f.Lifecycle != nil {
		cs = append(cs, clause{`e.lifecycle = ?`, []any{int64(*f.Lifecycle)}})
	}
	return cs
}

// ofLists are the conditions of AnyOf and NoneOf. wanted says which of them, by whether they name evidence. of has the conditions
// of one filter in them.
//
// The IS keeps SQLite from searching an index for each alternative: which index is read is planned (see plan.go). Where a
// column is NULL a condition is NULL too, and what is not TRUE is not met.
func (f *Filter) ofLists(wanted func(evidence bool) bool, of func(*Filter) []clause) (cs []clause) {
	all := func(list []Filter) clause {
		parts := make([]clause, len(list))
		for i := range list {
			parts[i] = and(of(&list[i]))
			parts[i].sql = "(" + parts[i].sql + ")"
		}
		return or(parts)
	}
	for _, list := range f.AnyOf {
		if wanted(slices.ContainsFunc(list, Filter.namesEvidence)) {
			c := all(list)
			cs = append(cs, clause{"(" + c.sql + ") IS TRUE", c.args})
		}
	}
	var none []Filter
	for _, g := range f.NoneOf {
		if wanted(g.namesEvidence()) {
			none = append(none, g)
		}
	}
	if len(none) > 0 {
		c := all(none)
		cs = append(cs, clause{"(" + c.sql + ") IS NOT TRUE", c.args})
	}
	return cs
}

// namesEvidence reports whether a filter in a list has conditions that are of evidence where OnePiece is set.
func (f Filter) namesEvidence() bool {
	return f.Lifecycle != nil || f.Assertion != nil || f.Source != nil || f.Unapproved || slices.ContainsFunc(f.NoneOf, Filter.namesEvidence) ||
		slices.ContainsFunc(f.AnyOf, func(list []Filter) bool { return slices.ContainsFunc(list, Filter.namesEvidence) })
}

// ofEvidence are the filter's conditions for rows e of table contribution, which need not be the same row. The + keeps SQLite
// from using an index: the evidence of a record is found by the record's number.
func (f *Filter) ofEvidence() (cs []clause) {
	if f.Assertion != nil {
		cs = append(cs, f.has(`+e.assertion`, f.Assertion))
	}
	if f.Source != nil {
		cs = append(cs, f.has(`+e.source`, f.Source))
	}
	if f.Unapproved {
		cs = append(cs, clause{unapprovedPiece, nil})
	}
	return cs
}

// ofRecord are the filter's conditions for row a of table audit, without those that may be of evidence and those in lists.
func (f *Filter) ofRecord() []clause {
	var cs []clause
	add := func(sql string, args ...any) { cs = append(cs, clause{sql, args}) }
	if agent, ok := f.agent(); ok {
		cs = append(cs, agent)
	}
	if f.Agent != nil && f.Anonymous {
		add(`FALSE`)
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
	if f.Result != nil {
		cs = append(cs, f.has(`a.result`, f.Result))
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
		add(`(a.timestamp, a.idx) >= (?, ?)`, f.fromOn.Timestamp, f.fromOn.Index)
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
