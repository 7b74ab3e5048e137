package main

import (
	"strings"

	"github.com/auditsql/auditsql/audit/queries"
)

func (a *app) listQueries(all []queries.Query) error {
	if a.form("") == formTable {
		return a.pageQueries(all)
	}
	out := a.rows(a.form(""), column{name: "name"}, column{name: "parameters"}, column{name: "about"})
	for i := range all {
		q := &all[i]
		parameters := describe(q)
		if out.form == formPlain {
			parameters = text(q.Synopsis())
		}
		if err := out.add(text(q.Name), parameters, text(q.About)); err != nil {
			return err
		}
	}
	return out.end()
}

// describe is what --list says of the parameters, for programs.
func describe(q *queries.Query) cell {
	type described struct {
		Name    string       `json:"name"`
		Kind    queries.Kind `json:"kind"`
		Default *string      `json:"default"`
		About   string       `json:"about"`
	}
	list := []described{}
	for _, p := range q.Parameters {
		d := described{Name: p.Name, Kind: p.Kind, About: p.About}
		if p.Optional {
			d.Default = &p.Default
		}
		list = append(list, d)
	}
	return cell{kind: kindJSON, text: string(toJSON(list))}
}

// pageQueries is the list for people: sentences fold where a table would cut them.
func (a *app) pageQueries(all []queries.Query) error {
	longest := 0
	for i := range all {
		longest = max(longest, displayWidth(all[i].Name))
	}
	p := a.page(nil)
	margin := strings.Repeat(" ", longest+len(gap))
	for i := range all {
		q := &all[i]
		p.out.WriteString(a.strong(pad(q.Name, longest, false)) + gap + p.fold(q.About, len(margin), margin) + "\n")
		if s := q.Synopsis(); s != "" {
			p.out.WriteString(margin + p.fold(s, len(margin), margin) + "\n")
		}
	}
	p.head("next", "")
	for _, line := range []string{"auditsql sql NAME -p k=v  runs one; what is in brackets may be left out", "auditsql sql --show NAME  prints it"} {
		p.out.WriteString(indent + p.fold(line, len(indent), indent) + "\n")
	}
	return p.end()
}

func (a *app) showQuery(args []string) error {
	if len(args) == 0 {
		return usage("--show wants the name of a query")
	}
	q, ok := queries.Find(args[0])
	if !ok {
		return unknownQuery(args[0])
	}
	return a.copyOut(q.Text)
}

func unknownQuery(name string) error {
	var names []string
	for _, q := range queries.All() {
		names = append(names, q.Name)
	}
	err := usage("%q is neither SQL nor a named query: %s", name, strings.Join(names, ", "))
	if near := nearest(names, name); near != "" {
		return trying(err, "auditsql sql %s", near)
	}
	return err
}
