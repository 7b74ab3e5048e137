package web

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// agentsPage lists the agents that have records.
func (s *Server) agentsPage(ctx context.Context, p *sheet) error {
	p.q.limitOr(usualRows)
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	capped(&f)
	p.page.Kind = "Who asked?"
	p.page.Title, p.page.Heading = "Agents, the busiest first", line(pages.Words("Agents, the busiest first"))
	p.command([]string{"agents"}, nil, p.values)
	p.page.SQL = phrase.Agents(p.spoken(f))
	p.forms("/v1/agents", p.absolute, "json", "ndjson", "csv")
	p.page.Sections = append([]pages.Section{{Form: p.filterForm("/go/agents", "Filter", true)}}, p.together(ctx, func(ctx context.Context) (pages.Section, error) {
		section := pages.Section{ID: "agents"}
		table := &pages.Table{Caption: "Agents with records that fit", Empty: "No agent has a record that fits.",
			Columns: []pages.Column{{Name: "agent"}, {Name: "records", Right: true}, {Name: "share of the busiest", Hidden: true}, {Name: "first"}, {Name: "last"}}}
		agents := p.viewer.Agents(ctx, f)
		var most uint64
		for a, err := range agents.Rows() {
			if err != nil {
				return section, err
			}
			most = max(most, a.Audits)
			table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
				line(p.agent(a.AgentID, a.AgentLabel)), line(pages.Count(a.Audits)), bar("", float64(a.Audits)/float64(most), false), line(p.at(a.First)), line(p.at(a.Last)),
			}})
		}
		section.Table = table
		if agents.More() {
			section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("The busiest %d are shown; there are more.", f.Limit))))
		}
		return section, nil
	})...)
	return nil
}

// agentPage is about one agent: what it asked over time, about what, and on which sources.
func (s *Server) agentPage(ctx context.Context, p *sheet) error {
	typed := p.r.PathValue("id")
	found, err := ask.Hash(ctx, s.store, typed, audit.AgentHash, p.q.asOf)
	if err != nil {
		return err
	}
	id := found.Hash
	if typed != id.String() {
		p.redirect = p.withValues("/agents/"+id.String(), p.values)
		return nil
	}
	label := p.labelOf(&id)
	is, err := s.store.IdentifyAsOf(ctx, id, p.moment())
	if err != nil {
		return err
	}
	if is.Agent == nil {
		return problem(kindNotFound, "%s is no agent in any stored record", id)
	}
	name := shortName(id, label)
	p.page.Kind = "Who is it?"
	p.page.Title = "Agent " + name
	p.page.Heading = line(pages.Words("Agent"), named(id, label))
	brief := id.String()[:briefHash]
	p.command([]string{"list", "--agent", brief}, nil, nil)
	shown, err := p.filter(ctx)
	if err != nil {
		return err
	}
	f := audit.Filter{Agent: &id, AsOf: &p.asOf}
	shown.Agent = &id
	p.page.SQL = phrase.Records(p.spoken(f))
	p.forms("/v1/audits", with(nil, "agent", id.String()), "ndjson", "csv")
	if _, err := p.lately(ctx, &shown, 24*time.Hour); err != nil {
		return err
	}
	if err := p.close(ctx, &shown); err != nil {
		return err
	}
	p.fix(&shown)
	values := with(nil, "agent", id.String(), "from", p.clock.Format(*shown.From), "to", p.clock.Format(*shown.To))
	p.page.Sections = p.together(ctx,
		func(ctx context.Context) (pages.Section, error) {
			section := pages.Section{ID: "about", Facts: []pages.Fact{}}
			for a, err := range p.s.store.Agents(ctx, f) {
				if err != nil {
					return section, err
				}
				section.Facts = append(section.Facts,
					pages.Fact{Name: "records", Value: line(pages.Count(a.Audits))}, pages.Fact{Name: "first", Value: line(p.at(a.First))}, pages.Fact{Name: "last", Value: line(p.at(a.Last))})
			}
			section.Links = line(
				pages.To(p.to("/list", "agent", id.String(), "desc", "true"), "All of its records"),
				pages.To(p.to("/list", "agent", id.String(), "unapproved", "true", "desc", "true"), "Those with evidence that nobody approved"),
				pages.To(p.to("/list", "agent", id.String(), "max-confidence", "0.5", "desc", "true"), "Those of low confidence"))
			return section, nil
		},
		func(ctx context.Context) (pages.Section, error) {
			section, _, err := p.timeline(ctx, p.sizeFor(&shown), shown, values)
			section.ID, section.Heading = "time", "Over time"
			section.Sections = nil // silent agents are others
			return section, err
		},
		func(ctx context.Context) (pages.Section, error) { return p.habits(ctx, f) },
		func(ctx context.Context) (pages.Section, error) {
			p := *p
			p.absolute = values
			return p.newest(ctx, "Its newest records", f, 25)
		},
	)
	return nil
}

// habitsRead is how many of its newest records tell what an agent usually asks, and on what.
const habitsRead = 500

// habits says what an agent asks about, and from where its evidence comes, in its newest records. A ranking of all of them would read all
// of them.
func (p *sheet) habits(ctx context.Context, f audit.Filter) (pages.Section, error) {
	section := pages.Section{ID: "habits", Heading: "What it asks, and on which sources"}
	f.Descending, f.Limit = true, habitsRead
	read, pieces := 0, 0
	subjects, sources := map[string]int{}, map[audit.Hash]int{}
	for q, err := range readable(p.s.store.Audits(ctx, f), nil) {
		if err != nil {
			return section, err
		}
		read++
		if s := q.Params.Subject; s != nil {
			subjects[*s]++
		}
		for _, c := range q.ContributingAssertions {
			pieces++
			sources[c.SourceHash]++
		}
	}
	section.About = line(pages.Words("In its newest " + counted(read, "record", "records") + ":"))
	table := func(caption, one, many string, rows []pages.Row) pages.Section {
		const most = 10
		t := pages.Section{Table: &pages.Table{Caption: caption, Columns: []pages.Column{{Name: one}, {Name: many, Right: true}, {Name: "share"}}, Rows: rows[:min(len(rows), most)], Empty: "None."}}
		if len(rows) > most {
			t.Notes = [][]pages.Part{line(pages.Words(fmt.Sprintf("%d more are left out.", len(rows)-most)))}
		}
		return t
	}
	var subjectRows, sourceRows []pages.Row
	for _, s := range slices.SortedFunc(maps.Keys(subjects), func(a, b string) int { return cmp.Or(cmp.Compare(subjects[b], subjects[a]), cmp.Compare(a, b)) }) {
		share := float64(subjects[s]) / float64(read)
		subjectRows = append(subjectRows, pages.Row{Cells: [][]pages.Part{
			line(linked(s, p.to("/list", "agent", f.Agent.String(), "subject", globbed(s), "desc", "true"))), line(pages.Count(subjects[s])), bar(fmt.Sprintf("%.1f %%", 100*share), share, false)}})
	}
	for _, h := range slices.SortedFunc(maps.Keys(sources), func(a, b audit.Hash) int { return cmp.Or(cmp.Compare(sources[b], sources[a]), a.Compare(b)) }) {
		share := float64(sources[h]) / float64(pieces)
		sourceRows = append(sourceRows, pages.Row{Cells: [][]pages.Part{
			line(p.source(h, p.labelOf(&h))), line(pages.Count(sources[h])), bar(fmt.Sprintf("%.1f %%", 100*share), share, false)}})
	}
	section.Sections = []pages.Section{table("Subjects", "subject", "records", subjectRows), table("Sources", "source", "pieces", sourceRows)}
	return section, nil
}

func limited(f audit.Filter, n int) audit.Filter {
	f.Limit = n
	return f
}
