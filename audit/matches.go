package audit

import "slices"

// matchesPiece reports whether a piece of a record's evidence meets the conditions of a filter where pieces of evidence are counted.
// It tells what sqlstore.Filter.OnePiece selects.
func (f *Filter) matchesPiece(q *QueryAudit, c *ContributingAssertion) bool {
	text := func(want, have *string) bool { return want == nil || have != nil && *have == *want }
	hash := func(want, have *Hash) bool { return want == nil || have != nil && *have == *want }
	switch p := &q.Params; {
	case !hash(f.Agent, q.AgentID), f.Anonymous && q.AgentID != nil,
		f.From != nil && q.Timestamp < *f.From, f.To != nil && q.Timestamp > *f.To,
		!text(f.Subject, p.Subject), !text(f.Predicate, p.Predicate), !text(f.Lens, p.Lens), !hash(f.Result, q.ResultHash),
		f.SubjectGlob != nil && (p.Subject == nil || !globMatches(*f.SubjectGlob, *p.Subject)),
		f.MinConfidence != nil && shortest(q.ResultConfidence) < shortest(*f.MinConfidence),
		f.MaxConfidence != nil && shortest(q.ResultConfidence) > shortest(*f.MaxConfidence),
		f.Lifecycle != nil && c.Lifecycle != *f.Lifecycle, f.Assertion != nil && c.AssertionHash != *f.Assertion,
		f.Source != nil && c.SourceHash != *f.Source, f.Unapproved && !c.Lifecycle.Unapproved():
		return false
	}
	for _, a := range f.Attributes {
		if value, has := q.Attributes[a.Key]; !has || attributeText(value) != a.Value {
			return false
		}
	}
	for _, list := range f.AnyOf {
		if !slices.ContainsFunc(list, func(g Filter) bool { return g.matchesPiece(q, c) }) {
			return false
		}
	}
	return !slices.ContainsFunc(f.NoneOf, func(g Filter) bool { return g.matchesPiece(q, c) })
}
