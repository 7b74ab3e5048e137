package web

import (
	"context"
	"fmt"
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
	if f.Limit == 0 || f.Limit > mostRows {
		f.Limit = mostRows
	}
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
	found, err := ask.Hash(ctx, s.store, typed, audit.AgentHash)
	if err != nil {
		return err
	}
	id := found.Hash
	if typed != id.String() {
		p.redirect = p.withValues("/agents/"+id.String(), p.values)
		return nil
	}
	label := p.labelOf(&id)
	is, err := s.store.Identify(ctx, id)
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
		func(ctx context.Context) (pages.Section, error) {
			return p.ranked(ctx, "What it asked about in that time", audit.TopOptions{By: audit.TopSubjects, Filter: limited(shown, 10)}, values)
		},
		func(ctx context.Context) (pages.Section, error) {
			return p.ranked(ctx, "The sources of its evidence in that time", audit.TopOptions{By: audit.TopSources, Filter: limited(shown, 10)}, values)
		},
		func(ctx context.Context) (pages.Section, error) {
			p := *p
			p.absolute = values
			return p.newest(ctx, "Its newest records", f, 25)
		},
	)
	return nil
}

func limited(f audit.Filter, n int) audit.Filter {
	f.Limit = n
	return f
}
