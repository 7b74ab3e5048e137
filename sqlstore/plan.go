package sqlstore

import "slices"

// How a Select finds its records is planned here, by functions that do not touch the database. They get the filter and
// what was found out so far, and return what to do next.
//
//	one read   the filter is a stretch of an index in the right order, and one page can hold all records
//	look up    few records share something that the filter names: they are found by its index and sorted in memory
//	walk       otherwise: an index in the right order is read, a stretch of rows at a time
//
// A count needs no order, so it can also go through the evidence generation by generation.

// action is what to do next.
type action uint8

const (
	doFinish     action = iota // no record can match
	doReadOnce                 // read one page of the path: it is the answer, unless it is cut
	doLearn                    // learn what there is: statistics.newest and agentKnown
	doProbe                    // look up a few records by plan.lookup
	doCount                    // count the rows that plan.lookup finds in its index
	doLookUp                   // look up the records by plan.lookup, and sort them
	doNarrow                   // learn between which records the evidence is
	doWalk                     // read the path
	doByEvidence               // go through the evidence, to count
)

// question is a filter with the ways to its records.
type question struct {
	*Filter
	to      purpose
	path    path
	lookups []lookup // the most promising first
}

func newQuestion(f *Filter, to purpose) question {
	return question{f, to, f.path(), f.lookups()}
}

// purpose is what the records are wanted for.
type purpose uint8

const (
	toRead  purpose = iota // in the order of the filter
	toCount                // in any order
)

// plan is the next step to the records of a question.
type plan struct {
	action action
	lookup int // of the question's lookups
}

// statistics are what was found out about the records so far.
type statistics struct {
	triedOnce bool // one page was read, and was not all

	learned    bool
	newest     int64 // index of the newest record that the answer can have; -1: there is none
	agentKnown bool  // the filter's agent has records, or it names none

	shares   []share // of the lookups, in their order, as far as they were tried
	narrowed bool
}

// share is how many rows of an index share what a lookup asks for.
type share struct {
	rows  int
	exact bool // they were counted, up to sizes.lookup + 1; otherwise there may be more
}

// planNext returns the next step.
func planNext(q *question, z *sizes, s *statistics) plan {
	switch {
	case q.Agent != nil && q.Anonymous:
		return plan{action: doFinish}
	case q.to == toRead && !s.triedOnce && q.Limit > 0 && q.Limit <= z.selectPage && !q.path.selective:
		// One read sees one state, so no query is needed before to fix what is seen.
		return plan{action: doReadOnce}
	case !s.learned:
		return plan{action: doLearn}
	case s.newest < 0 || !s.agentKnown:
		return plan{action: doFinish}
	}
	for i := range q.lookups {
		switch {
		case i >= len(s.shares):
			return plan{doProbe, i}
		case !s.shares[i].exact:
			// The index alone tells how many there are. For too many that takes a tenth of the time.
			return plan{doCount, i}
		case s.shares[i].rows <= z.lookup:
			return plan{doLookUp, i}
		}
	}
	switch {
	case q.to == toCount && !q.bounded() && q.evidence() != nil:
		return plan{action: doByEvidence}
	case q.evidence() != nil && !s.narrowed:
		return plan{action: doNarrow}
	}
	return plan{action: doWalk}
}

// probe is how many records a probe finds at most, if it finds all.
func (z *sizes) probe() int { return min(z.few, z.lookup) }

// lookup is a way to find records by an index of something that few records share. A record may come more than
// once.
type lookup struct {
	index *hashIndex // read generation by generation; nil: an index of table audit, which from names
	from  string
	where string
	args  []any
}

// lookups are the lookups that there are for the filter, the most promising first.
func (f *Filter) lookups() []lookup {
	var ls []lookup
	add := func(x *hashIndex, args ...any) {
		ls = append(ls, lookup{x, x.from(x.alias()), x.match(x.alias()), args})
	}
	for _, at := range f.Attributes {
		add(&byAttribute, at.Key, at.Value)
	}
	if f.Result != nil {
		add(&byResult, hexOf(f.Result))
	}
	if f.Assertion != nil {
		add(&byAssertion, hexOf(f.Assertion))
	}
	if f.Source != nil {
		add(&bySource, hexOf(f.Source))
	}
	const bySubject = `audit a INDEXED BY audit_by_subject`
	if name, exact := f.subject(); exact {
		if f.ByAdmission { // else there is a walk in order
			ls = append(ls, lookup{from: bySubject, where: `a.subject = ?`, args: []any{name}})
		}
	} else if f.SubjectGlob != nil {
		if prefix, _ := literal(*f.SubjectGlob); prefix != "" {
			// Text is compared byte by byte, and no UTF-8 has a byte of 0xff.
			ls = append(ls, lookup{from: bySubject, where: `a.subject >= ? AND a.subject < ?`, args: []any{prefix, prefix + "\xff"}})
		}
	}
	if f.ByAdmission { // else there is a walk in order
		if agent, ok := f.agent(); ok {
			ls = append(ls, lookup{from: `audit a INDEXED BY audit_by_agent`, where: agent.sql, args: agent.args})
		}
	}
	return ls
}

// find is a query for the places of the records up to the newest, at most limit of them; -1 is no limit.
func (l *lookup) find(newest int64, limit int) (query string, args []any) {
	with, join, args := l.begin(newest)
	return with + `SELECT a.idx, a.timestamp, a.query_id FROM ` + l.from + join + ` WHERE ` + l.where + ` AND a.idx <= ? LIMIT ?`,
		append(args, newest, limit)
}

// count is a query for the number of rows that the index has, up to most.
func (l *lookup) count(newest int64, most int) (query string, args []any) {
	with, _, args := l.begin(newest)
	return with + `SELECT count(*) FROM (SELECT 1 FROM ` + l.from + ` WHERE ` + l.where + ` LIMIT ?)`, append(args, most)
}

func (l *lookup) begin(newest int64) (with, join string, args []any) {
	if l.index == nil {
		return ``, ``, slices.Clone(l.args)
	}
	return generationsTo, l.index.join(), append([]any{generationOf(newest)}, l.args...)
}

// path is an index of table audit in the order that a filter asks for, and the stretch of it that the filter bounds.
type path struct {
	from  string // table, as a, and index
	order string
	keys  string // what the order is by
	marks string // placeholders for values of keys
	place func(*auditRow) []any

	bounds     []clause // the conditions that bound the stretch
	selective  bool     // the filter says more than that: rows on the path can fail it
	conditions []clause // the whole filter, if selective
}

// path returns the way to walk.
func (f *Filter) path() path {
	p := path{
		order: `a.timestamp, a.query_id`,
		keys:  `(a.timestamp, a.query_id)`,
		marks: `(?, ?)`,
		place: func(r *auditRow) []any { return []any{r.Timestamp, r.QueryID} },
	}
	if f.Descending {
		p.order = `a.timestamp DESC, a.query_id DESC`
	}
	agent, ofAgent := f.agent()
	switch name, exact := f.subject(); {
	case f.ByAdmission:
		p.from, p.order, p.keys, p.marks = `audit a NOT INDEXED`, `a.idx`, `a.idx`, `?`
		p.place = func(r *auditRow) []any { return []any{r.Idx} }
		if f.Descending {
			p.order = `a.idx DESC`
		}
	case ofAgent:
		p.from = `audit a INDEXED BY audit_by_agent`
		p.bounds = append(p.bounds, agent)
	case exact:
		p.from = `audit a INDEXED BY audit_by_subject`
		p.bounds = append(p.bounds, clause{`a.subject = ?`, []any{name}})
	default:
		p.from = `audit a INDEXED BY audit_by_time`
	}
	if !f.ByAdmission {
		if f.From != nil {
			p.bounds = append(p.bounds, clause{`a.timestamp >= ?`, []any{*f.From}})
		}
		if f.To != nil {
			p.bounds = append(p.bounds, clause{`a.timestamp <= ?`, []any{*f.To}})
		}
	}
	conditions := f.conditions()
	if p.selective = len(conditions) > len(p.bounds); p.selective { // each bound is a condition
		p.conditions = conditions
	}
	return p
}

// bounded reports whether the filter names what an index of table audit has in the order of time.
func (f *Filter) bounded() bool {
	_, exact := f.subject()
	return f.From != nil || f.To != nil || f.Agent != nil || f.Anonymous || exact
}
