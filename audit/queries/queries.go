// Package queries has SQL for questions that people ask often, each under a name, and runs SQL for reading.
//
//	q, _ := queries.Find("around")
//	s, err := q.Statement()
//	values, notes, err := s.Bind(ctx, db, map[string]queries.Given{"at": {Text: "yesterday"}}, ask.Options{Now: time.Now()})
//	cut, err := queries.Run(ctx, dir, s, values, queries.Limits{Rows: queries.DefaultRows}, result)
//
// A named query is a file in sql/. It begins with comments: what it answers, then a line for each parameter,
//
//	-- :name kind: what it is
//	-- :name kind = value: what it is; the value is used when none is given
//	-- :name one|other = one: what it is; it takes these texts
//
// Parse takes SQL that somebody typed instead. Values are always bound, never pasted into the text. Nothing is written:
// the database is opened for reading, and SQLite refuses statements that would write to it or to another file.
package queries

import (
	"embed"
	"path"
	"strings"
	"sync"

	"github.com/auditsql/auditsql/audit"
)

//go:embed sql/*.sql
var files embed.FS

// A Query is SQL under a name.
type Query struct {
	Name       string
	About      string // what it answers
	Text       string // the file, with its comments
	Parameters []Parameter
}

// A Parameter is one parameter of a named query.
type Parameter struct {
	Name     string
	Kind     Kind
	Choices  []string // of Kind Choice: the values that it takes
	Default  string   // the value when none is given, if Optional
	Optional bool
	About    string
}

// A Kind is how the value of a parameter is read.
type Kind string

// The kinds of parameters. An id or another hash may be cut to its first 8 or more digits, and all but an id may be
// given by label. A shortened hash is refused if no stored hash begins with it: an empty result would look as if nothing
// had been recorded.
const (
	Text      Kind = "text"
	Choice    Kind = "choice"    // one of a few texts
	Count     Kind = "count"     // how many at most; 0 is no limit
	Real      Kind = "real"      // a number
	Int       Kind = "int"       // a whole number, only for SQL that somebody typed
	Time      Kind = "time"      // a time, of which the first instant counts
	End       Kind = "end"       // a time, of which the last instant counts
	Duration  Kind = "duration"  // becomes a number of the store's units
	ID        Kind = "id"        // of a record
	Agent     Kind = "agent"     // a hash
	Assertion Kind = "assertion" // a hash
	Source    Kind = "source"    // a hash
	Hash      Kind = "hash"      // of an agent, an assertion or a source
)

// hashKinds are what the hash of each kind of parameter stands for.
var hashKinds = map[Kind]audit.HashKind{
	Agent: audit.AgentHash, Assertion: audit.AssertionHash, Source: audit.SourceHash, Hash: audit.AnyHash,
}

// IsHash reports whether a parameter of this kind is an id or another hash.
func (k Kind) IsHash() bool { return k == ID || hashKinds[k] != 0 }

// Synopsis is how the parameters are given, as in "agent=AGENT [limit=100]".
func (q *Query) Synopsis() string {
	var parts []string
	for _, p := range q.Parameters {
		s := p.Name + "=" + strings.ToUpper(string(p.Kind))
		if p.Kind == Choice {
			s = p.Name + "=" + strings.Join(p.Choices, "|")
		}
		if p.Optional {
			s = "[" + p.Name + "=" + p.Default + "]"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

// Statement is the query as a statement to run.
func (q *Query) Statement() (*Statement, error) {
	s, err := Parse(q.Text)
	if err != nil {
		return nil, err
	}
	s.described = q.Parameters
	return s, nil
}

// All returns the named queries in the order of their names.
func All() []Query { return read() }

// Find returns the query with a name, and false if there is none.
func Find(name string) (*Query, bool) {
	for _, q := range read() {
		if q.Name == name {
			return &q, true
		}
	}
	return nil, false
}

// read reads the files. They are part of the program, so reading them does not fail.
var read = sync.OnceValue(func() []Query {
	entries, err := files.ReadDir("sql")
	if err != nil {
		panic("queries: " + err.Error())
	}
	var all []Query
	for _, e := range entries {
		text, err := files.ReadFile(path.Join("sql", e.Name()))
		if err != nil {
			panic("queries: " + err.Error())
		}
		all = append(all, parseQuery(strings.TrimSuffix(e.Name(), ".sql"), string(text)))
	}
	return all
})

func parseQuery(name, text string) Query {
	q := Query{Name: name, Text: text}
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		if !ok {
			break
		}
		if rest, ok := strings.CutPrefix(comment, ":"); ok {
			q.Parameters = append(q.Parameters, parseParameter(rest))
		} else {
			q.About = strings.TrimSpace(q.About + " " + comment)
		}
	}
	return q
}

func parseParameter(s string) Parameter {
	head, about, _ := strings.Cut(s, ":")
	head, usual, optional := strings.Cut(head, "=")
	name, kind, _ := strings.Cut(strings.TrimSpace(head), " ")
	p := Parameter{Name: name, Kind: Kind(kind), Default: strings.TrimSpace(usual), Optional: optional, About: strings.TrimSpace(about)}
	if choices := strings.Split(kind, "|"); len(choices) > 1 {
		p.Kind, p.Choices = Choice, choices
	}
	return p
}
