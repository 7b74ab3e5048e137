package sqlstore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The way to the records depends on the filter and on what was found out, and on nothing else.
func TestPlan(t *testing.T) {
	t.Parallel()
	var (
		hash    [32]byte
		seven   = int64(7)
		exactly = "revenue"
		glob    = "reven*"
		open    = "*"
		lens    = "Recency"
	)
	z := sizes{selectPage: 256, lookup: 1000, few: 100}
	fresh := statistics{}
	learned := statistics{triedOnce: true, learned: true, newest: 50_000, agentKnown: true}
	tried := func(shares ...share) statistics {
		s := learned
		s.shares = shares
		return s
	}
	narrowed := func(s statistics) statistics {
		s.narrowed = true
		return s
	}
	weighed := func(s statistics, rare bool) statistics {
		s.weighed, s.rare = true, rare
		return s
	}
	few, unknown, rare, frequent := share{3, true}, share{101, false}, share{1000, true}, share{1001, true}
	for _, c := range []struct {
		name string
		f    Filter
		to   purpose
		s    statistics
		want plan
	}{
		{"an agent, and nobody", Filter{Agent: &hash, Anonymous: true}, toRead, fresh, plan{action: doFinish}},
		{"a page of the newest", Filter{Limit: 256, Descending: true}, toRead, fresh, plan{action: doReadOnce}},
		{"a page of an agent's", Filter{Limit: 10, Agent: &hash, From: &seven, To: &seven}, toRead, fresh, plan{action: doReadOnce}},
		{"a page of a subject's", Filter{Limit: 10, Subject: &exactly}, toRead, fresh, plan{action: doReadOnce}},
		{"a page by admission", Filter{Limit: 10, ByAdmission: true}, toRead, fresh, plan{action: doReadOnce}},
		{"a page that was cut", Filter{Limit: 10}, toRead, statistics{triedOnce: true}, plan{action: doLearn}},
		{"more than a page", Filter{Limit: 257}, toRead, fresh, plan{action: doLearn}},
		{"all", Filter{}, toRead, fresh, plan{action: doLearn}},
		{"a page to count", Filter{Limit: 10}, toCount, fresh, plan{action: doLearn}},
		{"a page of what the path passes over", Filter{Limit: 10, Lens: &lens}, toRead, fresh, plan{action: doLearn}},
		{"a page of an agent's, by admission", Filter{Limit: 10, Agent: &hash, ByAdmission: true}, toRead, fresh, plan{action: doLearn}},
		{"a page of two subjects", Filter{Limit: 10, Subject: &exactly, SubjectGlob: &exactly}, toRead, fresh, plan{action: doLearn}},

		{"no records", Filter{}, toRead, statistics{learned: true, newest: -1, agentKnown: true}, plan{action: doFinish}},
		{"an agent that nobody knows", Filter{Agent: &hash}, toRead, statistics{learned: true, newest: 7}, plan{action: doFinish}},
		{"one record", Filter{}, toRead, statistics{learned: true, newest: 0, agentKnown: true}, plan{action: doWalk}},

		{"all, by time", Filter{}, toRead, learned, plan{action: doWalk}},
		{"an agent, by time", Filter{Agent: &hash}, toRead, learned, plan{action: doWalk}},
		{"an agent, by admission", Filter{Agent: &hash, ByAdmission: true}, toRead, learned, plan{doProbe, 0}},
		{"an agent and a subject, by time", Filter{Agent: &hash, Subject: &exactly}, toRead, learned, plan{doProbe, 0}},
		{"an agent and a subject that many share", Filter{Agent: &hash, Subject: &exactly}, toRead, tried(frequent), plan{action: doWalk}},
		{"an agent and a subject that few share", Filter{Agent: &hash, Subject: &exactly}, toRead, tried(few), plan{doLookUp, 0}},
		{"an agent and a subject that as many share as may be", Filter{Agent: &hash, Subject: &exactly}, toRead, tried(rare), plan{doWalkSubject, 0}},
		{"an agent and a subject, to count", Filter{Agent: &hash, Subject: &exactly}, toCount, tried(rare), plan{doLookUp, 0}},
		{"an agent and a subject, by admission", Filter{Agent: &hash, Subject: &exactly, ByAdmission: true}, toRead, tried(rare), plan{doLookUp, 0}},
		{"a subject, by time", Filter{Subject: &exactly}, toRead, learned, plan{action: doWalk}},
		{"a subject, by admission", Filter{Subject: &exactly, ByAdmission: true}, toRead, learned, plan{doProbe, 0}},
		{"the first letters of a subject", Filter{SubjectGlob: &glob}, toRead, learned, plan{doProbe, 0}},
		{"any subject", Filter{SubjectGlob: &open}, toRead, learned, plan{action: doWalk}},
		{"a lens", Filter{Lens: &lens}, toRead, learned, plan{action: doWalk}},

		{"a result", Filter{Result: &hash}, toRead, learned, plan{doProbe, 0}},
		{"a result that few have", Filter{Result: &hash}, toRead, tried(few), plan{doLookUp, 0}},
		{"a result that more have", Filter{Result: &hash}, toRead, tried(unknown), plan{doCount, 0}},
		{"a result that as many have as may be", Filter{Result: &hash}, toRead, tried(rare), plan{doLookUp, 0}},
		{"a result that too many have", Filter{Result: &hash}, toRead, tried(frequent), plan{action: doWalk}},
		{"an attribute that too many have, and a result", Filter{Result: &hash, Attributes: []Attribute{{}}}, toRead, tried(frequent), plan{doProbe, 1}},
		{"an attribute that too many have, and a result that few have", Filter{Result: &hash, Attributes: []Attribute{{}}}, toRead, tried(frequent, few), plan{doLookUp, 1}},
		{"three that too many have", Filter{Result: &hash, Attributes: []Attribute{{}, {}}}, toRead, tried(frequent, frequent, frequent), plan{action: doWalk}},

		{"no agent of a list", Filter{NoneOf: []Filter{{Agent: &hash}, {Result: &hash}}}, toRead, learned, plan{action: doWalk}},
		{"a negation and a result", Filter{Result: &hash, NoneOf: []Filter{{Agent: &hash}}}, toRead, learned, plan{doProbe, 0}},
		{"a list of results", Filter{AnyOf: [][]Filter{{{Result: &hash}, {Result: &hash}}}}, toRead, learned, plan{doProbe, 0}},
		{"a list of results that few have", Filter{AnyOf: [][]Filter{{{Result: &hash}, {Result: &hash}}}}, toRead, tried(few), plan{doLookUp, 0}},
		{"a list of agents, by time", Filter{AnyOf: [][]Filter{{{Agent: &hash}, {Anonymous: true}}}}, toRead, learned, plan{doProbe, 0}},
		{"a list of agents that have too many records", Filter{AnyOf: [][]Filter{{{Agent: &hash}, {Anonymous: true}}}}, toRead, tried(frequent), plan{action: doWalk}},
		{"a list with a lens, which has no index", Filter{AnyOf: [][]Filter{{{Result: &hash}, {Lens: &lens}}}}, toRead, learned, plan{action: doWalk}},
		{"a list with a negation", Filter{AnyOf: [][]Filter{{{Result: &hash}, {NoneOf: []Filter{{Result: &hash}}}}}}, toRead, learned, plan{action: doWalk}},
		{"an empty list", Filter{AnyOf: [][]Filter{{}}}, toRead, learned, plan{action: doWalk}},
		{"too long a list", Filter{AnyOf: [][]Filter{slices.Repeat([]Filter{{Result: &hash}}, mostWays+1)}}, toRead, learned, plan{action: doWalk}},

		{"evidence that too many have", Filter{Assertion: &hash}, toRead, tried(frequent), plan{action: doNarrow}},
		{"evidence that too many have, narrowed", Filter{Source: &hash}, toRead, narrowed(tried(frequent)), plan{action: doWalk}},
		{"evidence that too many have, to count", Filter{Source: &hash}, toCount, tried(frequent), plan{action: doByEvidence}},
		{"evidence in a time, to count", Filter{Source: &hash, From: &seven}, toCount, tried(frequent), plan{action: doWeigh}},
		{"evidence in a time that has few records, to count", Filter{Source: &hash, From: &seven}, toCount, weighed(tried(frequent), false), plan{action: doNarrow}},
		{"evidence in a time that has many records, to count", Filter{Source: &hash, From: &seven}, toCount, weighed(tried(frequent), true), plan{action: doByEvidence}},
		{"evidence in a time, narrowed", Filter{Source: &hash, From: &seven}, toRead, narrowed(tried(frequent)), plan{action: doWalk}},
		{"evidence of a subject, to count", Filter{Source: &hash, Subject: &exactly}, toCount, tried(frequent), plan{action: doNarrow}},
		{"evidence in a time, to count, narrowed", Filter{Source: &hash, From: &seven}, toCount, narrowed(weighed(tried(frequent), false)), plan{action: doWalk}},
		{"evidence that few have, to count", Filter{Source: &hash}, toCount, tried(few), plan{doLookUp, 0}},
	} {
		q := newQuestion(&c.f, c.to)
		if got := planNext(&q, &z, &c.s); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// A path has the order that the filter asks for, and its bounds say as much of the filter as an index can.
func TestPath(t *testing.T) {
	t.Parallel()
	var hash [32]byte
	seven, subject, lens := int64(7), "revenue", "Recency"
	for _, c := range []struct {
		name        string
		f           Filter
		from, order string
		bounds      int
		selective   bool
		bySubject   bool
	}{
		{"all", Filter{}, "audit_by_time", "a.timestamp, a.idx", 0, false, false},
		{"the newest", Filter{Descending: true}, "audit_by_time", "a.timestamp DESC, a.idx DESC", 0, false, false},
		{"a time", Filter{From: &seven, To: &seven}, "audit_by_time", "a.timestamp, a.idx", 2, false, false},
		{"an agent in a time", Filter{Agent: &hash, From: &seven}, "audit_by_agent", "a.timestamp, a.idx", 2, false, false},
		{"nobody", Filter{Anonymous: true}, "audit_by_agent", "a.timestamp, a.idx", 1, false, false},
		{"a subject", Filter{Subject: &subject, To: &seven}, "audit_by_subject", "a.timestamp, a.idx", 2, false, false},
		{"a pattern that is a subject", Filter{SubjectGlob: &subject}, "audit_by_subject", "a.timestamp, a.idx", 1, false, false},
		{"an agent and a subject", Filter{Agent: &hash, Subject: &subject}, "audit_by_agent", "a.timestamp, a.idx", 1, true, false},
		{"an agent and a subject, by the subject", Filter{Agent: &hash, Subject: &subject, To: &seven}, "audit_by_subject", "a.timestamp, a.idx", 2, true, true},
		{"an agent, by a subject that there is not", Filter{Agent: &hash, Subject: nil}, "audit_by_agent", "a.timestamp, a.idx", 1, false, true},
		{"a lens", Filter{Lens: &lens}, "audit_by_time", "a.timestamp, a.idx", 0, true, false},
		{"by admission", Filter{ByAdmission: true, Descending: true}, "NOT INDEXED", "a.idx DESC", 0, false, false},
		{"an agent by admission", Filter{ByAdmission: true, Agent: &hash}, "NOT INDEXED", "a.idx", 0, true, false},
		{"a time by admission", Filter{ByAdmission: true, From: &seven}, "NOT INDEXED", "a.idx", 0, true, false},
		{"as of a moment", Filter{AsOf: &seven}, "audit_by_time", "a.timestamp, a.idx", 0, true, false},
		{"as of a moment by admission", Filter{ByAdmission: true, Descending: true, AsOf: &seven}, "NOT INDEXED", "a.idx DESC", 1, false, false},
	} {
		p := c.f.path(c.bySubject)
		bounds := len(p.equal) + len(p.span.of(p.first))
		if !strings.HasSuffix(p.from, c.from) || p.order != c.order || bounds != c.bounds || p.selective() != c.selective {
			t.Errorf("%s: %s by %s, %d bounds, selective %v", c.name, p.from, p.order, bounds, p.selective())
		}
		if want := len(c.f.conditions()); bounds+len(p.conditions) != want {
			t.Errorf("%s: %d conditions and %d bounds of a filter of %d", c.name, len(p.conditions), bounds, want)
		}
		if got := strings.Count(p.marks, "?"); got != len(p.place(&auditRow{})) || got != strings.Count(p.keys, "a.") {
			t.Error(c.name, fmt.Sprint(p.keys, p.marks))
		}
	}
}

// Of two bounds at one end of a stretch SQLite may search the index by the one that is far away, and read all in between.
func TestAStretchHasOneBoundAtEachEnd(t *testing.T) {
	t.Parallel()
	from, to, asOf := int64(5), int64(9), int64(8)
	for _, f := range []Filter{
		{From: &from, To: &to}, {From: &from, To: &to, Descending: true},
		{ByAdmission: true, AsOf: &asOf}, {ByAdmission: true, AsOf: &asOf, Descending: true},
	} {
		for _, after := range []*Place{nil, {Timestamp: 1, Index: 1}, {Timestamp: 6, Index: 6}, {Timestamp: 100, Index: 100}} {
			for _, edge := range []*auditRow{nil, {Timestamp: 7, Idx: 7}} {
				f.After = after
				s := newSelection(&DB{}, &f, toRead)
				s.stats.newest, s.between = 20, span{2, 30}
				sql := and(newWalk(s).stretchTo(edge)).sql
				if strings.Count(sql, ">") != 1 || strings.Count(sql, "<") != 1 {
					t.Errorf("%+v after %+v: %s", f, after, sql)
				}
			}
		}
	}
}
