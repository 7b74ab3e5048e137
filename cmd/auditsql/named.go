package main

import (
	"context"
	"embed"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// The named queries, a file each. A file begins with comments: what the query answers, then a line for each
// parameter, "-- :name kind: what it is", or "-- :name kind = value: what it is" when it may be left out.
//
//go:embed queries/*.sql
var queryFiles embed.FS

type namedQuery struct {
	name       string
	about      string
	parameters []parameter
	text       string
}

type parameter struct {
	name, kind string
	usual      string // when no value is given
	optional   bool
	about      string
}

// What a parameter can be: a time becomes its first instant, an end its last, a duration a number of the
// store's units. An id, an agent, an assertion, a source or a hash (any of these three) may be cut to its first
// digits, and all but an id be given by label: what fits nothing because it is short would look as if nothing
// had been recorded. That a value is an int or a real is said by -p alone, in a statement that somebody typed.
const (
	kindTextParam     = "text"
	kindNumberParam   = "number"
	kindIntParam      = "int"
	kindRealParam     = "real"
	kindTimeParam     = "time"
	kindEndParam      = "end"
	kindDurationParam = "duration"
	kindIDParam       = "id"
)

// hashKinds are the kinds of hashes that parameters can be.
var hashKinds = map[string]audit.HashKind{
	"agent": audit.AgentHash, "assertion": audit.AssertionHash, "source": audit.SourceHash, "hash": audit.AnyHash,
}

// isHash reports whether a parameter is an id or another hash.
func (p *parameter) isHash() bool {
	_, ok := hashKinds[p.kind]
	return ok || p.kind == kindIDParam
}

// namedQueries reads them all, in the order of their names.
func namedQueries() ([]namedQuery, error) {
	files, err := queryFiles.ReadDir("queries")
	if err != nil {
		return nil, err
	}
	var queries []namedQuery
	for _, f := range files {
		text, err := queryFiles.ReadFile("queries/" + f.Name())
		if err != nil {
			return nil, err
		}
		queries = append(queries, parseNamed(strings.TrimSuffix(path.Base(f.Name()), ".sql"), string(text)))
	}
	return queries, nil
}

func parseNamed(name, text string) namedQuery {
	q := namedQuery{name: name, text: text}
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		if !ok {
			break
		}
		if rest, ok := strings.CutPrefix(comment, ":"); ok {
			q.parameters = append(q.parameters, parseParameter(rest))
		} else {
			q.about = strings.TrimSpace(q.about + " " + comment)
		}
	}
	return q
}

func parseParameter(s string) parameter {
	head, about, _ := strings.Cut(s, ":")
	head, usual, optional := strings.Cut(head, "=")
	name, kind, _ := strings.Cut(strings.TrimSpace(head), " ")
	return parameter{name: name, kind: kind, usual: strings.TrimSpace(usual), optional: optional, about: strings.TrimSpace(about)}
}

// synopsis is how the parameters are given on the command line.
func (q *namedQuery) synopsis() string {
	var parts []string
	for _, p := range q.parameters {
		s := p.name + "=" + strings.ToUpper(p.kind)
		if p.optional {
			s = "[" + p.name + "=" + p.usual + "]"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

// A finder finds the hash that somebody meant, as hex digits.
type finder func(p *parameter, typed string) (string, error)

// shaped is the finder for what is checked before a store is open: it refuses what no store has.
func shaped(p *parameter, typed string) (string, error) {
	if p.kind == kindIDParam {
		return typed, checkPrefix(typed)
	}
	return typed, checkTyped("-p "+p.name+"=", typed)
}

// finder finds what is in the store.
func (r *reading) finder(ctx context.Context) finder {
	return func(p *parameter, typed string) (string, error) {
		if p.kind != kindIDParam {
			h, err := r.find(ctx, "-p "+p.name+"=", typed, hashKinds[p.kind])
			return h.String(), err
		}
		id, err := resolve(ctx, r.DB, typed)
		switch {
		case err != nil:
			return "", err
		case id == nil:
			return "", notFound("-p %s=%s: no such audit", p.name, typed)
		}
		return id.String(), nil
	}
}

// value reads what was given for a parameter, or takes what is usual.
func (p *parameter) value(given string, ok bool, c when.Clock, find finder) (any, error) {
	if !ok {
		if !p.optional {
			return nil, usage("-p %s=… is missing: %s", p.name, p.about)
		}
		given = p.usual
	}
	if p.isHash() {
		return find(p, given)
	}
	switch p.kind {
	case kindNumberParam:
		if n, err := strconv.ParseInt(given, 10, 64); err == nil {
			return n, nil
		}
		n, err := strconv.ParseFloat(given, 64)
		if err != nil {
			return nil, usage("-p %s=%s: want a number", p.name, given)
		}
		return n, nil
	case kindIntParam:
		n, err := strconv.ParseInt(given, 10, 64)
		if err != nil {
			return nil, usage("-p %s:int=%s: want a whole number from -2^63 to 2^63-1", p.name, given)
		}
		return n, nil
	case kindRealParam:
		n, err := strconv.ParseFloat(given, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, usage("-p %s:real=%s: want a number, as in 1.5 or 1e-7", p.name, given)
		}
		return n, nil
	case kindTimeParam, kindEndParam:
		if !ok && given == "ever" {
			// The usual end of time.
			if p.kind == kindTimeParam {
				return int64(0), nil
			}
			return int64(audit.MaxTimestamp), nil
		}
		at, err := c.Parse(given)
		if err != nil {
			return nil, usage("-p %s: %w", p.name, err)
		}
		if p.kind == kindEndParam {
			return int64(at.Last), nil
		}
		return int64(at.First), nil
	case kindDurationParam:
		d, err := when.ParseDuration(given)
		if err != nil {
			return nil, usage("-p %s: %w", p.name, err)
		}
		return int64(when.Units(d, c.Unit)), nil
	}
	return given, nil
}

// A given is the value of a parameter as -p has it.
type given struct {
	text string
	kind string // text, int or real, if it was said
}

// givenParameters reads what follows each -p, NAME=VALUE or NAME:TYPE=VALUE.
func givenParameters(params []string) (map[string]given, error) {
	all := map[string]given{}
	for _, p := range params {
		name, value, found := strings.Cut(p, "=")
		name, kind, typed := strings.Cut(strings.TrimLeft(name, ":@$"), ":")
		switch _, twice := all[name]; {
		case !found || name == "":
			return nil, usage("--param %q: want NAME=VALUE", p)
		case twice:
			return nil, usage("-p %s=… was given before", name)
		case typed && kind != kindTextParam && kind != kindIntParam && kind != kindRealParam:
			return nil, usage("-p %s:%s=…: want text, int or real as a type", name, kind)
		}
		all[name] = given{value, kind}
	}
	return all, nil
}

// bind gives each parameter of a statement its value, in the order of names. A statement that somebody
// typed has no parameters described: what kind they are is said by -p, or shows in the value.
func bind(names []string, described []parameter, all map[string]given, c when.Clock, find finder) ([]any, error) {
	used := map[string]bool{}
	var values []any
	for _, name := range names {
		p := parameter{name: name, kind: kindTextParam, about: "the statement has a parameter :" + name}
		for _, d := range described {
			if d.name == name {
				p = d
			}
		}
		value, ok := all[name]
		switch {
		case value.kind != "" && len(described) > 0:
			return nil, usage("-p %s:%s=…: a named query has its own kinds of parameters; write -p %s=…", name, value.kind, name)
		case value.kind != "":
			p.kind = value.kind
		case len(described) == 0 && ok && isNumberAgain(value.text):
			p.kind = kindNumberParam
		}
		v, err := p.value(value.text, ok, c, find)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		used[name] = true
	}
	for name := range all {
		if !used[name] {
			return nil, usage("-p %s=…: there is no parameter :%s", name, name)
		}
	}
	return values, nil
}

// isNumberAgain reports whether SQLite would write s if it were a number: only then can nothing get lost by
// taking it for one. 1.10 would find 1.1, and a hash may have no letter among its digits. SQLite
// writes a fraction below 0.0001 with an exponent, and its digits without change up to 13 of them.
func isNumberAgain(s string) bool {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return strconv.FormatInt(n, 10) == s
	}
	f, err := strconv.ParseFloat(s, 64)
	digits := strings.TrimLeft(strings.ReplaceAll(strings.TrimPrefix(s, "-"), ".", ""), "0")
	return err == nil && strings.Contains(s, ".") && math.Abs(f) >= 1e-4 && len(digits) <= 13 &&
		strconv.FormatFloat(f, 'f', -1, 64) == s
}

// describe is what --list tells of the parameters, for programs.
func (q *namedQuery) describe() tui.Cell {
	type described struct {
		Name    string  `json:"name"`
		Kind    string  `json:"kind"`
		Default *string `json:"default"`
		About   string  `json:"about"`
	}
	list := []described{}
	for i := range q.parameters {
		p := &q.parameters[i]
		d := described{Name: p.name, Kind: p.kind, About: p.about}
		if p.optional {
			d.Default = &p.usual
		}
		list = append(list, d)
	}
	return tui.Cell{Kind: tui.Composite, Text: string(tui.ToJSON(list))}
}

func unknownQuery(name string, queries []namedQuery) error {
	names := make([]string, len(queries))
	for i, q := range queries {
		names[i] = q.name
	}
	err := usage("%q is neither SQL nor a named query: %s", name, strings.Join(names, ", "))
	if near := nearest(names, name); near != "" {
		return trying(err, "auditsql sql %s", near)
	}
	return err
}
