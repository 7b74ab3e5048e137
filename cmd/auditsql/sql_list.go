package main

import (
	"strings"

	"github.com/auditsql/auditsql/audit/queries"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) listQueries(all []queries.Query) error {
	if a.form("") == tui.Table {
		return a.pageQueries(all)
	}
	out := a.rows(a.form(""), tui.Column{Name: "name"}, tui.Column{Name: "parameters"}, tui.Column{Name: "about"})
	for i := range all {
		q := &all[i]
		parameters := describe(q)
		if out.Form == tui.Plain {
			parameters = tui.Text(q.Synopsis())
		}
		if err := out.Add(tui.Text(q.Name), parameters, tui.Text(q.About)); err != nil {
			return err
		}
	}
	return out.End()
}

// describe is what --list says of the parameters, for programs.
func describe(q *queries.Query) tui.Cell {
	type described struct {
		Name    string       `json:"name"`
		Kind    queries.Kind `json:"kind"`
		Choices []string     `json:"choices"`
		Default *string      `json:"default"`
		About   string       `json:"about"`
	}
	list := []described{}
	for _, p := range q.Parameters {
		d := described{Name: p.Name, Kind: p.Kind, Choices: p.Choices, About: p.About}
		if p.Optional {
			d.Default = &p.Default
		}
		list = append(list, d)
	}
	return tui.Cell{Kind: tui.Composite, Text: string(tui.ToJSON(list))}
}

// pageQueries is the list for people: sentences fold where a table would cut them.
func (a *app) pageQueries(all []queries.Query) error {
	var entries []tui.Entry
	for i := range all {
		q := &all[i]
		about := q.About
		if s := q.Synopsis(); s != "" {
			about += "\n" + s
		}
		entries = append(entries, tui.Entry{Name: q.Name, About: about})
	}
	p := a.screen().Page()
	p.List(entries)
	p.Head("next", "")
	p.Note("auditsql sql NAME -p k=v  runs one; what is in brackets may be left out")
	p.Note("auditsql sql --show NAME  prints it")
	return p.End()
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
