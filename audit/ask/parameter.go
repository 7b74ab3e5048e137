package ask

import (
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// A Kind is how the value of a parameter is read.
type Kind string

// The kinds of parameters.
const (
	Text       Kind = "text"
	Pattern    Kind = "pattern"    // * ? [a-z] and [!a-z]; case matters
	Start      Kind = "start"      // a time, of which the first instant counts
	End        Kind = "end"        // a time, of which the last instant counts
	Moment     Kind = "moment"     // a time in the middle of a window
	Duration   Kind = "duration"   // 15m, 6h, 2d
	Agent      Kind = "agent"      // a hash, its first 8 or more digits, or its label
	Assertion  Kind = "assertion"  // likewise
	Source     Kind = "source"     // likewise
	Lifecycle  Kind = "lifecycle"  // Proposed, …
	Pair       Kind = "pair"       // KEY=VALUE
	Confidence Kind = "confidence" // a 32-bit float
	Switch     Kind = "switch"     // true or false; true when it is given without a value
	Count      Kind = "count"      // 0 or more
	Records    Kind = "records"    // a number of records, 0 or more
)

// hashKinds are what a hash of each kind of parameter stands for.
var hashKinds = map[Kind]audit.HashKind{Agent: audit.AgentHash, Assertion: audit.AssertionHash, Source: audit.SourceHash}

// A Parameter is one named value of a filter.
type Parameter struct {
	Name string
	Kind Kind

	// Many says that it may be given several times. Then a record must fit one of the values, or for attributes one of those of each
	// key. A negation leaves out what fits any of them.
	Many bool

	// Negates is the parameter whose negation this is, "" for one that is none.
	Negates string

	// About says what the parameter selects. A word in backquotes is what its value is called.
	About string

	field func(*audit.Filter) any // where the value goes; nil for around and window, which set two fields together
}

// Plain is About without the backquotes.
func (p *Parameter) Plain() string { return strings.ReplaceAll(p.About, "`", "") }

// Choices returns all values of a parameter that takes only a few fixed ones, and nil for any other parameter.
func (p *Parameter) Choices() []string {
	if p.Kind != Lifecycle {
		return nil
	}
	return Lifecycles()
}

// Lifecycles are the names of all lifecycles that a record can state.
func Lifecycles() []string {
	var names []string
	for l := audit.Proposed; l.Valid(); l++ {
		names = append(names, l.String())
	}
	return names
}

// Parameters returns all parameters of a filter, in the order in which help lists them: first those that select records, then their
// negations.
func Parameters() []Parameter {
	all := selecting()
	for _, p := range selecting() {
		if !p.isCondition() {
			continue
		}
		p.Negates, p.Name = p.Name, NegationOf(p.Name)
		p.About = "leaves out what " + p.Negates + p.valueName() + " selects"
		p.Many = p.Many || p.Kind == Moment
		all = append(all, p)
	}
	return all
}

// negation is what the name of a negation begins with.
const negation = "not-"

// NegationOf returns the name of the parameter that negates another one.
func NegationOf(name string) string { return negation + name }

// isCondition reports whether a parameter says which records are selected, so that it has a negation. A moment of the store is
// none: before it there were no other records.
func (p *Parameter) isCondition() bool {
	return p.Kind != Duration && p.Kind != Records && p.Kind != Count && p.Name != "desc"
}

// valueName is what the value is called in About, in backquotes after a space, "" for a switch.
func (p *Parameter) valueName() string {
	if p.Kind == Switch {
		return ""
	}
	if _, rest, found := strings.Cut(p.About, "`"); found {
		name, _, _ := strings.Cut(rest, "`")
		return " `" + name + "`"
	}
	return " `" + p.Name + "`"
}

// selecting are the parameters that are no negations.
func selecting() []Parameter {
	return []Parameter{
		{Name: "agent", Kind: Agent, Many: true, About: "records of one agent: its `id`, the first 8 or more digits of it, or its label",
			field: func(f *audit.Filter) any { return &f.Agent }},
		{Name: "anonymous", Kind: Switch, About: "records of no agent",
			field: func(f *audit.Filter) any { return &f.Anonymous }},
		{Name: "from", Kind: Start, About: "records from this `time` on",
			field: func(f *audit.Filter) any { return &f.From }},
		{Name: "to", Kind: End, About: "records up to this `time`",
			field: func(f *audit.Filter) any { return &f.To }},
		{Name: "around", Kind: Moment, About: "records around this `time`, within the window"},
		{Name: "window", Kind: Duration, About: "how far the window reaches before and after that time"},
		{Name: "subject", Kind: Pattern, Many: true, About: "a `pattern` for the subject, as in 'Tesla*'",
			field: func(f *audit.Filter) any { return &f.SubjectGlob }},
		{Name: "predicate", Kind: Text, Many: true, About: "the `predicate`",
			field: func(f *audit.Filter) any { return &f.Predicate }},
		{Name: "lens", Kind: Text, Many: true, About: "the `lens`",
			field: func(f *audit.Filter) any { return &f.Lens }},
		{Name: "lifecycle", Kind: Lifecycle, Many: true, About: "the `lifecycle` that was asked for: " + strings.Join(Lifecycles(), ", "),
			field: func(f *audit.Filter) any { return &f.Lifecycle }},
		{Name: "result", Kind: Assertion, Many: true, About: "the answer: its `hash`, the first 8 or more digits of it, or its label",
			field: func(f *audit.Filter) any { return &f.Result }},
		{Name: "assertion", Kind: Assertion, Many: true, About: "an assertion in the evidence: its `hash`, digits or label",
			field: func(f *audit.Filter) any { return &f.Assertion }},
		{Name: "source", Kind: Source, Many: true, About: "a source of the evidence: its `hash`, digits or label",
			field: func(f *audit.Filter) any { return &f.Source }},
		{Name: "unapproved", Kind: Switch, About: "records with evidence that is neither Approved nor Unstated",
			field: func(f *audit.Filter) any { return &f.Unapproved }},
		{Name: "attr", Kind: Pair, Many: true, About: "an attribute, `KEY=VALUE`",
			field: func(f *audit.Filter) any { return &f.Attributes }},
		{Name: "min-confidence", Kind: Confidence, About: "the least `confidence`",
			field: func(f *audit.Filter) any { return &f.MinConfidence }},
		{Name: "max-confidence", Kind: Confidence, About: "the greatest `confidence`",
			field: func(f *audit.Filter) any { return &f.MaxConfidence }},
		{Name: "as-of", Kind: Records, About: "the answer as it was when the store had `N` records",
			field: func(f *audit.Filter) any { return &f.AsOf }},
		{Name: "limit", Kind: Count, About: "at most this many; 0 is no limit",
			field: func(f *audit.Filter) any { return &f.Limit }},
		{Name: "desc", Kind: Switch, About: "newest first",
			field: func(f *audit.Filter) any { return &f.Descending }},
	}
}

// contradictions are parameters that cannot be given together.
var contradictions = [][2]string{{"around", "from"}, {"around", "to"}, {"anonymous", "agent"}}
