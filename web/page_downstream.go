package web

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// downstreamPage shows what came of an assertion or a source: the answers that it went into, and the answers that these went into.
func (s *Server) downstreamPage(ctx context.Context, p *sheet, h audit.Hash, source bool) error {
	o, _, err := p.q.follow(shownAnswers, false)
	if err != nil {
		return err
	}
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	o.Source, o.Filter = source, f
	// What the page cannot wait for is left out, and it says so.
	o.Budget.Time = min(o.Budget.Time, p.viewer.Budget.Time)
	head := p.viewer.DownstreamHead(h, o)
	brief := h.String()[:briefHash]
	p.page.Kind = "What came of it?"
	p.page.Title = "What came of " + head.Kind + " " + shortName(h, head.Label)
	p.page.Heading = line(pages.Words("What came of "+head.Kind), named(h, head.Label))
	words := []string{"impact"}
	if source {
		words = append(words, "--source")
	}
	if o.AnyOrder {
		words = append(words, "--"+anyOrderName)
	}
	p.command(words, []string{brief}, without(p.values, "source", anyOrderName), depthName)
	p.page.SQL = phrase.Downstream(h, source, o.Depth, o.AnyOrder, p.spoken(f))
	p.forms("/v1/impact/"+h.String(), p.absolute, "json", "ndjson", "csv", string(show.Dot))

	d := downstream{impact: impact{head: head.ImpactHead, pieces: map[audit.QueryID][]audit.ImpactedEvidence{}}}
	d.show = show.Downstream{Viewer: p.viewer, Hash: h, Options: o}
	p.page.Sections = append([]pages.Section{{Form: p.filterForm("/go/impact/"+h.String(), "Filter", true, "assertion", "source")}},
		p.together(ctx, func(ctx context.Context) (pages.Section, error) { return d.read(ctx, p) })...)
	if len(d.rows) > 0 {
		p.page.Sections = append(p.page.Sections, d.totals(p), d.list(p))
	}
	p.page.Sections = append(p.page.Sections, pages.Section{Heading: "Look further", Links: line(
		pages.To(p.to("/impact/"+h.String(), "source", strconv.FormatBool(source)), "The answers that have it in their evidence"))})
	return nil
}

// A downstream is the answer to one question about chains.
type downstream struct {
	impact // the answers that are shown, for their picture
	show   show.Downstream
	rows   []view.DownstreamAnswer
	left   int // answers that the list has no room for
}

// read takes the steps, and draws the answers.
func (d *downstream) read(ctx context.Context, p *sheet) (pages.Section, error) {
	section := pages.Section{ID: "reach"}
	err := p.expensive(ctx, func() error {
		return d.show.Walk(ctx, func(_ *view.DownstreamWalk, answers iter.Seq2[view.DownstreamAnswer, error]) error {
			for a, err := range readable(answers, func(e *audit.RecordError) { d.damaged = append(d.damaged, p.damaged(e)) }) {
				if err != nil {
					return err
				}
				if len(d.rows) == mostRows {
					d.left++
					continue
				}
				d.rows, d.answers = append(d.rows, a), append(d.answers, a.ImpactedAnswer)
				d.pieces[a.QueryID] = a.Pieces
			}
			return nil
		})
	})
	if err != nil {
		return section, err
	}
	for _, bound := range d.show.Bounds() {
		section.Notes = append(section.Notes, line(pages.Part{Text: "Not all of it: " + bound + ".", Mark: true}))
	}
	if len(d.rows) == 0 {
		section.About = line(pages.Words("No answer that fits the filters came of it."))
		return section, nil
	}
	picture, left, err := d.picture(p)
	section.Picture = picture
	if left > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("The picture has at most %d lanes of each kind, those used first; %d more are left out.", mostLanes, left))))
	}
	section.Legend = [][]pages.Part{
		line(pages.Words("● it repeated the assertion")), line(pages.Words("○ it was another answer")), line(pages.Part{Text: "□ not approved then", Mark: true}), line(pages.Words("Each mark is a record.")),
	}
	return section, err
}

func (d *downstream) totals(p *sheet) pages.Section {
	t := &d.show.Tail.Totals
	section := pages.Section{ID: "totals", Heading: "In all"}
	agents := counted(t.Agents, "agent", "agents")
	if t.Anonymous > 0 {
		agents += fmt.Sprintf(" (and %d anonymous)", t.Anonymous)
	}
	section.Facts = []pages.Fact{{Name: "came of it", Value: line(pages.Words(atLeastOf(t.Cut != nil) + counted(t.Answers, "answer", "answers") + " of " + agents))}}
	if t.First != nil {
		section.Facts = append(section.Facts, pages.Fact{Name: "first", Value: line(p.at(*t.First))}, pages.Fact{Name: "last", Value: line(p.at(*t.Last))})
	}
	for _, step := range t.Steps {
		if step.Answers > 0 {
			section.Facts = append(section.Facts, pages.Fact{Name: counted(step.Distance, "step away", "steps away"),
				Value: line(pages.Words(counted(step.Answers, "answer", "answers") + " of " + counted(step.Agents, "agent", "agents")))})
		}
	}
	table := &pages.Table{Caption: "By agent, those with the most answers first", Columns: []pages.Column{{Name: "agent"}, {Name: "answers", Right: true}, {Name: "share", Hidden: true}, {Name: "nearest", Right: true}, {Name: "first"}, {Name: "last"}}}
	for n := range t.ByAgent {
		if n == show.ShownEvidence {
			section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%d more agents are left out. JSON has all.", len(t.ByAgent)-n))))
			break
		}
		a := &t.ByAgent[n]
		table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
			line(p.agent(a.AgentID, a.AgentLabel)), line(pages.Count(a.Answers)), bar("", float64(a.Answers)/float64(t.Answers), false),
			line(pages.Count(a.Nearest)), line(p.at(a.First)), line(p.at(a.Last)),
		}})
	}
	section.Table = table
	return section
}

// list is the answers, the nearest first, each with the record by whose answer it was reached.
func (d *downstream) list(p *sheet) pages.Section {
	section := pages.Section{ID: "answers", Heading: "The answers", Notes: d.damaged}
	table := &pages.Table{Caption: counted(len(d.rows), "answer", "answers") + ", the nearest first", Head: 2, Columns: []pages.Column{
		{Name: "steps", Right: true}, {Name: "time"}, {Name: "record"}, {Name: "agent"}, {Name: "subject / predicate"}, {Name: "answer"}, {Name: "because of"}, {Name: "weight"}, {Name: "lifecycle then"},
	}}
	most := 1.0
	for n := range d.rows {
		most = max(most, d.rows[n].Weight)
	}
	for n := range d.rows {
		a := &d.rows[n]
		by := line(pages.Dimmed("directly"))
		if a.By != nil {
			by = line(p.record(*a.By), pages.Dimmed("of"), p.agent(a.ByAgentID, a.ByAgentLabel))
		}
		table.Rows = append(table.Rows, pages.Row{Marked: a.Unapproved, Cells: [][]pages.Part{
			line(pages.Count(a.Distance)), line(p.at(a.Timestamp)), line(p.record(a.QueryID)), line(p.agent(a.AgentID, a.AgentLabel)), p.question(a.Subject, a.Predicate),
			p.answer(a.ResultHash, a.ResultLabel), by, bar(show.Weight(a.Weight), a.Weight/most, a.Unapproved), line(pages.Words(a.Lifecycle)),
		}})
	}
	section.Table = table
	if d.left > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("The list and the picture have the first %d; %d more are left out. JSON has all.", len(d.rows), d.left))))
	}
	return section
}
