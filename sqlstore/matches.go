package sqlstore

import (
	"slices"
	"unicode/utf8"
)

// Matches reports whether a record meets the conditions of the filter, as conditions says it in SQL. A record that SQLite does
// not have yet can be tested so. What is about a list (AsOf, After, the limit and the order) counts for nothing here.
//
// A condition that is added to conditions belongs here too: TestSelectFindsWhatLookingAtEveryRecordFinds compares the two.
func (f *Filter) Matches(r *Record) bool {
	if !f.matchesRecord(r) {
		return false
	}
	if f.OnePiece {
		return f.matchesLists(func(evidence bool) bool { return !evidence }, func(g *Filter) bool { return g.Matches(r) }) &&
			(len(f.ofPiece()) == 0 || slices.ContainsFunc(r.Contributions, func(c Contribution) bool { return f.MatchesPiece(r, &c) }))
	}
	return meets(r.Lifecycle, f.Lifecycle) &&
		(f.Assertion == nil || slices.ContainsFunc(r.Contributions, func(c Contribution) bool { return c.AssertionHash == *f.Assertion })) &&
		(f.Source == nil || slices.ContainsFunc(r.Contributions, func(c Contribution) bool { return c.SourceHash == *f.Source })) &&
		(!f.Unapproved || r.unapproved()) &&
		f.matchesLists(func(bool) bool { return true }, func(g *Filter) bool { return g.Matches(r) })
}

// MatchesPiece reports whether a record and a piece of its evidence meet all conditions of a filter with OnePiece, as ofPiece says
// it in SQL of the piece.
func (f *Filter) MatchesPiece(r *Record, c *Contribution) bool {
	return f.matchesRecord(r) && meets(&c.Lifecycle, f.Lifecycle) && meets(&c.AssertionHash, f.Assertion) && meets(&c.SourceHash, f.Source) &&
		(!f.Unapproved || c.unapproved()) &&
		f.matchesLists(func(bool) bool { return true }, func(g *Filter) bool { return g.MatchesPiece(r, c) })
}

// matchesRecord tells it of the conditions that ofRecord has.
func (f *Filter) matchesRecord(r *Record) bool {
	return meets(r.AgentID, f.Agent) && (!f.Anonymous || r.AgentID == nil) &&
		(f.From == nil || r.Timestamp >= *f.From) && (f.To == nil || r.Timestamp <= *f.To) &&
		meets(r.Subject, f.Subject) && (f.SubjectGlob == nil || r.Subject != nil && glob(*f.SubjectGlob, *r.Subject)) &&
		meets(r.Predicate, f.Predicate) && meets(r.Lens, f.Lens) && meets(r.ResultHash, f.Result) &&
		!slices.ContainsFunc(f.Attributes, func(a Attribute) bool { return !slices.Contains(r.Attributes, a) }) &&
		(f.MinConfidence == nil || r.ResultConfidence >= *f.MinConfidence) && (f.MaxConfidence == nil || r.ResultConfidence <= *f.MaxConfidence)
}

// matchesLists tells it of the lists that ofLists has.
func (f *Filter) matchesLists(wanted func(evidence bool) bool, matches func(*Filter) bool) bool {
	one := func(g Filter) bool { return matches(&g) }
	for _, list := range f.AnyOf {
		if wanted(slices.ContainsFunc(list, Filter.namesEvidence)) && !slices.ContainsFunc(list, one) {
			return false
		}
	}
	return !slices.ContainsFunc(f.NoneOf, func(g Filter) bool { return wanted(g.namesEvidence()) && matches(&g) })
}

// meets reports whether a column has the value that is wanted. NULL is equal to nothing.
func meets[T comparable](value, wanted *T) bool {
	return wanted == nil || value != nil && *value == *wanted
}

// glob reports whether a text fits a pattern, as SQLite's GLOB does: * is any text, ? any character, [a-z] one of some characters
// and [^a-z] any other one. A ] that comes first in brackets is one of the characters. A bracket that is not closed fits
// nothing.
//
// When something after a * does not fit, only that * takes one character more: an earlier one need not be tried again, since
// whatever it would take the later one can take too. So a pattern with many * costs no more than the lengths multiplied.
func glob(pattern, text string) bool {
	star, taken := -1, 0 // where the pattern goes on after the last *, and where the text does when that takes no more
	p, t := 0, 0
	for t < len(text) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, taken = p, t
			continue
		}
		if p < len(pattern) {
			c, size := utf8.DecodeRuneInString(text[t:])
			if length, fits := globOne(pattern[p:], c); fits {
				p, t = p+length, t+size
				continue
			}
		}
		if star < 0 {
			return false
		}
		_, size := utf8.DecodeRuneInString(text[taken:])
		taken += size
		p, t = star, taken
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// globOne reports whether a character fits the beginning of a pattern, which is no *, and returns the length of that beginning.
func globOne(pattern string, c rune) (length int, fits bool) {
	one, size := utf8.DecodeRuneInString(pattern)
	switch one {
	case '?':
		return size, true
	case '[':
		return globSet(pattern, c)
	}
	return size, one == c
}

// globSet is globOne for a pattern that begins with a bracket.
func globSet(pattern string, c rune) (length int, fits bool) {
	at := 1
	next := func() (r rune, ok bool) {
		if at >= len(pattern) {
			return 0, false
		}
		r, size := utf8.DecodeRuneInString(pattern[at:])
		at += size
		return r, true
	}
	r, ok := next()
	other := ok && r == '^'
	if other {
		r, ok = next()
	}
	found := false
	before := rune(-1) // the character that a range can begin with
	if ok && r == ']' {
		found, before = c == ']', -1
		r, ok = next()
	}
	for ; ok && r != ']'; r, ok = next() {
		if r == '-' && before >= 0 && at < len(pattern) && pattern[at] != ']' {
			last, _ := next()
			found = found || before <= c && c <= last
			before = -1
			continue
		}
		found = found || r == c
		before = r
	}
	return at, ok && found != other
}
