package sqlstore

import (
	"math"
	"slices"
)

// How a Select finds its records is planned here, by functions that do not touch the database. They get the filter and
// what was found out so far, and return what to do next.
//
//	one read   the filter selects one stretch of an index in the right order, and one page can hold all records
//	look up    few records share a value that the filter names: its index finds them, and they are sorted in memory
//	walk       otherwise: an index in the right order is read, a stretch of rows at a time. With an agent and a subject, that is the index of
//	           subjects if it has at most sizes.lookup rows of the subject and the time, and else that of agents
//
// A count needs no order, so it can also go through the evidence generation by generation (see hashindex.go), where that is shorter
// (see weigh.go).

// action is what to do next.
type action uint8

const (
	doFinish      action = iota // no record can match
	doReadOnce                  // read one page of the path: it is the answer, unless more records follow
	doLearn                     // learn what there is: statistics.newest and agentKnown
	doProbe                     // look up a few records by plan.lookup
	doCount                     // count the rows that plan.lookup finds in its index
	doLookUp                    // look up the records by plan.lookup, and sort them
	doWeigh                     // learn whether it is shorter to go through the evidence than through the time
	doNarrow                    // learn the first and the last record that have the evidence
	doWalk                      // read the path
	doByEvidence                // go through the evidence, to count
	doWalkSubject               // read the path of the subject in place of that of the agent, if it is not longer
)

// question is a filter with the ways to its records.
type question struct {
	*Filter
	to      purpose
	path    path
	lookups []lookup // the most promising first
}

func newQuestion(f *Filter, to purpose) question {
	return question{f, to, f.path(false), f.lookups()}
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

// noLookup is the lookup of a plan that needs none.
const noLookup = -1

// lastAnswers reports whether the question is for a few records of an agent about a subject, as for its last answer to a question. The
// index of subjects has the agents too, so a walk along it passes over the records of others without reading anything else.
func (q *question) lastAnswers() bool {
	const few = 10
	_, exact := q.subject()
	return q.to == toRead && !q.ByAdmission && exact && q.Agent != nil && q.evidence() == nil && q.Result == nil && 0 < q.Limit && q.Limit <= few
}

// statistics are what was found out about the records so far.
type statistics struct {
	triedOnce bool // one page was read, and did not hold all records

	learned    bool
	newest     int64 // index of the newest record that the answer can have; -1: there is none
	agentKnown bool  // the filter's agent has records, or it names none

	shares   []share // of the lookups, in their order, as far as they were tried
	narrowed bool    // doNarrow was done

	weighed bool // doWeigh was done
	rare    bool // and few records have the evidence, compared with those of the time
}

// share is how many rows of an index have the value that a lookup asks for.
type share struct {
	rows  int
	exact bool // they were counted, up to sizes.lookup + 1; otherwise there may be more
}

// planNext returns the next step.
func planNext(q *question, z *sizes, s *statistics) plan {
	switch {
	case q.Agent != nil && q.Anonymous:
		return plan{action: doFinish}
	case q.to == toRead && !s.triedOnce && q.Limit > 0 && q.Limit <= z.selectPage && !q.path.selective() && (q.ByAdmission || q.After == nil):
		// One read sees one state of the database. So doLearn need not fix first which records the answer can have.
		return plan{action: doReadOnce}
	case !s.learned:
		return plan{action: doLearn}
	case s.newest < 0 || !s.agentKnown:
		return plan{action: doFinish}
	case q.lastAnswers():
		return plan{doWalkSubject, noLookup}
	}
	for i := range q.lookups {
		switch {
		case i >= len(s.shares):
			return plan{doProbe, i}
		case !s.shares[i].exact:
			// A count reads only the index. If there are too many to look up, that shows in a tenth of the time of a lookup.
			return plan{doCount, i}
		case s.shares[i].rows <= z.lookup && s.shares[i].rows > z.probe() && q.to == toRead && !q.ByAdmission && q.lookups[i].ofSubject():
			// Not all were found by the probe. The indexes of subjects and of agents have them in the right order, so a walk may end early.
			return plan{doWalkSubject, i}
		case s.shares[i].rows <= z.lookup:
			return plan{doLookUp, i}
		}
	}
	_, ofSubject := q.subject()
	switch {
	case q.evidence() == nil:
	case q.to == toCount && (!q.bounded() || s.rare):
		return plan{action: doByEvidence}
	case q.to == toCount && !ofSubject && !s.weighed: // nothing counts the records of a subject
		return plan{action: doWeigh}
	case !s.narrowed:
		return plan{action: doNarrow}
	}
	return plan{action: doWalk}
}

// probe returns a limit: a probe that finds no more records than this has found all of them.
func (z *sizes) probe() int { return min(z.few, z.lookup) }

// lookup finds records by an index of something that few records share, or by several of them. A record may come more
// than once.
type lookup []way

// ofSubject reports whether it finds the records of one subject.
func (l lookup) ofSubject() bool { return len(l) == 1 && l[0].subject }

// way is one index of a lookup.
type way struct {
	byGeneration bool   // it needs table gen, see generationsIn
	subject      bool   // it finds the records of one subject
	from, join   string // join adds table audit, as a, where from does not have it
	where        string
	args         []any
}

// mostWays is how many ways a lookup has at most: SQLite limits how many SELECTs a UNION joins.
const mostWays = 100

// lookups returns the lookups that can find the records of the filter, the most promising first. NoneOf has none: most
// records meet a negation.
func (f *Filter) lookups() []lookup {
	var ls []lookup
	for _, at := range f.Attributes {
		x := &byAttribute
		ls = append(ls, lookup{{byGeneration: true, from: x.from("x"), join: joinAudit(x.table), where: x.match("x"), args: []any{at.Key, at.Value}}})
	}
	add := func(x *numberIndex, h *[32]byte) {
		if h != nil {
			ls = append(ls, lookup{{from: x.listed(x.alias()), join: x.join(), where: x.matchListed(x.alias()), args: []any{f.numbers.list(h)}}})
		}
	}
	add(&byResult, f.Result)
	add(&byAssertion, f.Assertion)
	add(&bySource, f.Source)
	const bySubject = `audit a INDEXED BY audit_by_subject`
	agent, ofAgent := f.agent()
	if name, exact := f.subject(); exact {
		// Without an agent there is a walk in the right order. The walk of an agent would pass all its records about other subjects.
		if f.ByAdmission || ofAgent {
			where := and(append([]clause{{`a.subject = ?`, []any{name}}}, f.times().of(`a.timestamp`)...))
			ls = append(ls, lookup{{subject: true, from: bySubject, where: where.sql, args: where.args}})
		}
	} else if f.SubjectGlob != nil {
		if prefix, _ := literal(*f.SubjectGlob); prefix != "" {
			// These bounds hold all texts with the prefix: SQLite compares bytes, and UTF-8 never has the byte 0xff.
			ls = append(ls, lookup{{from: bySubject, where: `a.subject >= ? AND a.subject < ?`, args: []any{prefix, prefix + "\xff"}}})
		}
	}
	if f.ByAdmission { // otherwise there is a walk in the right order
		if ofAgent {
			ls = append(ls, lookup{{from: `audit a INDEXED BY audit_by_agent`, where: agent.sql, args: agent.args}})
		}
	}
	for _, list := range f.AnyOf {
		if l, ok := lookupAny(list); ok {
			ls = append(ls, l)
		}
	}
	return ls
}

// lookupAny returns a lookup that finds the records of all alternatives, or false if one of them has none.
func lookupAny(list []Filter) (all lookup, ok bool) {
	for _, g := range list {
		g.ByAdmission = true // no walk has the records of several subjects or agents in the right order
		ls := g.lookups()
		if len(ls) == 0 {
			return nil, false
		}
		all = append(all, ls[0]...)
	}
	return all, len(all) > 0 && len(all) <= mostWays
}

// find is a query for the places of the records up to the newest, at most limit of them; -1 is no limit.
func (l lookup) find(newest int64, limit int) (query string, args []any) {
	query, args = l.begin(newest)
	for i, w := range l {
		if i > 0 {
			query += ` UNION ALL `
		}
		query += `SELECT a.idx, a.timestamp, e.query_id FROM ` + w.from + w.join + withEntry + ` WHERE ` + w.where + ` AND a.idx <= ?`
		args = append(append(args, w.args...), newest)
	}
	return query + ` LIMIT ?`, append(args, limit)
}

// count is a query for the number of rows that the indexes have, up to most.
func (l lookup) count(newest int64, most int) (query string, args []any) {
	query, args = l.begin(newest)
	query += `SELECT count(*) FROM (`
	for i, w := range l {
		if i > 0 {
			query += ` UNION ALL `
		}
		query += `SELECT 1 FROM ` + w.from + ` WHERE ` + w.where
		args = append(args, w.args...)
	}
	return query + ` LIMIT ?)`, append(args, most)
}

// begin returns what find and count have in common: the generations, if they are read, and the first value that is bound.
func (l lookup) begin(newest int64) (with string, args []any) {
	if !slices.ContainsFunc(l, func(w way) bool { return w.byGeneration }) {
		return ``, nil
	}
	return generationsIn, []any{0, generationOf(newest)}
}

// path is an index of table audit in the order that a filter asks for, and the stretch of it that the filter bounds. By time, the records
// of one timestamp are in it by admission, and not by their ids as the filter asks: see timeOrder.
type path struct {
	from  string // table, as a, and index
	order string
	keys  string                // the columns of order
	marks string                // placeholders for values of keys
	place func(*auditRow) []any // the values of keys in a row

	equal []clause // the columns of the index before keys
	first string   // the first of the keys
	span  span     // its values

	// conditions are the rest of the filter. A path that has some is selective: the filter need not select every row on it.
	conditions []clause
}

// stretch selects the stretch of the path.
func (p *path) stretch() clause { return and(slices.Concat(p.equal, p.span.of(p.first))) }

// where selects the stretch of the path, and of that what the rest of the filter selects.
func (p *path) where() clause { return and(slices.Concat(p.equal, p.span.of(p.first), p.conditions)) }

// selective reports whether the filter has conditions that the stretch of the path does not say.
func (p *path) selective() bool { return len(p.conditions) > 0 }

// span is the values from least to most, both inclusive.
type span struct{ least, most int64 }

var everything = span{math.MinInt64, math.MaxInt64}

// within returns the values of s that are in t too.
func (s span) within(t span) span { return span{max(s.least, t.least), min(s.most, t.most)} }

// path returns the way to walk. Of an agent and a subject it takes the agent, or with bySubject the subject.
func (f *Filter) path(bySubject bool) path {
	p := path{
		order: `a.timestamp, a.idx`,
		keys:  `(a.timestamp, a.idx)`,
		marks: `(?, ?)`,
		place: func(r *auditRow) []any { return []any{r.Timestamp, r.Idx} },
		first: `a.timestamp`,
		span:  everything,
	}
	if f.Descending {
		p.order = `a.timestamp DESC, a.idx DESC`
	}
	rest := *f
	agent, ofAgent := f.agent()
	switch name, exact := f.subject(); {
	case f.ByAdmission:
		p.from, p.order, p.keys, p.marks, p.first = `audit a NOT INDEXED`, `a.idx`, `a.idx`, `?`, `a.idx`
		p.place = func(r *auditRow) []any { return []any{r.Idx} }
		if f.Descending {
			p.order = `a.idx DESC`
		}
	case ofAgent && !(exact && bySubject):
		p.from = `audit a INDEXED BY audit_by_agent`
		p.equal = append(p.equal, agent)
		rest.Agent, rest.Anonymous = nil, false
	case exact:
		p.from = `audit a INDEXED BY audit_by_subject`
		p.equal = append(p.equal, clause{`a.subject = ?`, []any{name}})
		if f.Subject != nil {
			rest.Subject = nil
		} else {
			rest.SubjectGlob = nil
		}
	default:
		p.from = `audit a INDEXED BY audit_by_time`
	}
	switch {
	case f.ByAdmission:
		if f.AsOf != nil {
			p.span.most, rest.AsOf = *f.AsOf-1, nil
		}
		if f.since != nil {
			p.span.least, rest.since = *f.since, nil
		}
	default:
		p.span, rest.From, rest.To = f.times(), nil, nil
	}
	p.conditions = rest.conditions()
	return p
}

// times are the timestamps that the filter allows.
func (f *Filter) times() span {
	s := everything
	if f.From != nil {
		s.least = *f.From
	}
	if f.To != nil {
		s.most = *f.To
	}
	return s
}

// bounded reports whether the filter names a time, an agent or a subject. Then an index of table audit has its records in
// one stretch, in the order of time.
func (f *Filter) bounded() bool {
	_, exact := f.subject()
	return f.From != nil || f.To != nil || f.Agent != nil || f.Anonymous || exact
}
