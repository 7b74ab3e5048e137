package web

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// diffPage shows what is different between two records.
func (s *Server) diffPage(ctx context.Context, p *sheet) error {
	a, err := p.idOf(ctx, "a")
	if err != nil {
		return err
	}
	b, err := p.idOf(ctx, "b")
	if err != nil {
		return err
	}
	if p.r.PathValue("a") != a.String() || p.r.PathValue("b") != b.String() {
		p.redirect = p.withValues("/diff/"+a.String()+"/"+b.String(), p.values)
		return nil
	}
	d, err := p.viewer.Diff(ctx, a, b, p.moment())
	if err != nil {
		return err
	}
	p.page.Kind = "What was different?"
	p.page.Title = "From " + a.String()[:briefHash] + " to " + b.String()[:briefHash]
	p.page.Heading = line(pages.Words("From"), p.record(a), pages.Words("to"), p.record(b))
	p.command([]string{"diff"}, []string{a.String()[:briefHash], b.String()[:briefHash]}, nil)
	p.page.SQL = phrase.Diff(a, b)
	p.forms("/v1/diff/"+a.String()+"/"+b.String(), nil, "json", "ndjson", "csv")

	top := pages.Section{ID: "records"}
	if d.Flipped {
		causes := strings.Join(view.CauseTexts(d.Causes), ", ")
		if causes == "" {
			causes = "nothing that is recorded explains it"
		}
		top.About = line(pages.Part{Text: show.ChangedSign + " The answer is another one: " + causes + ".", Style: pages.Strong})
	}
	table := &pages.Table{Caption: "The two records", Columns: recordColumns, Head: 1}
	table.Rows = []pages.Row{p.row(&d.From), p.row(&d.To)}
	top.Table = table
	p.page.Sections = []pages.Section{top}
	if len(d.Fields)+len(d.Evidence)+len(d.Attributes) == 0 {
		same := "There is no difference but in the ids."
		if d.From.QueryID == d.To.QueryID {
			same = "This is one record, named twice."
		}
		p.page.Sections = append(p.page.Sections, pages.Section{About: line(pages.Words(same))})
		return nil
	}
	if section, any := p.changedFields(d); any {
		p.page.Sections = append(p.page.Sections, section)
	}
	p.page.Sections = append(p.page.Sections, p.changedEvidence(d))
	if len(d.Attributes) > 0 {
		changed := &pages.Table{Caption: "Attributes that differ", Columns: []pages.Column{{Name: "attribute"}, {Name: "from"}, {Name: "to"}}}
		for _, c := range d.Attributes {
			changed.Rows = append(changed.Rows, pages.Row{Cells: [][]pages.Part{line(cut(c.Key)), textOr(c.From), textOr(c.To)}})
		}
		p.page.Sections = append(p.page.Sections, pages.Section{ID: "attributes", Heading: "Attributes", Table: changed})
	}
	links := line(pages.To(p.to("/q/"+b.String()), "Why the second was answered so"), pages.To(p.to("/q/"+a.String()), "Why the first was answered so"))
	if q := d.To.Params; q.Subject != nil && q.Predicate != nil {
		links = append(links, pages.To(p.to("/answers", "subject", *q.Subject, "predicate", *q.Predicate), "All answers to the question of the second"))
	}
	p.page.Sections = append(p.page.Sections, pages.Section{Heading: "Look further", Links: links})
	return nil
}

// changedFields shows what changed in question and answer. The time is in the table of the records.
func (p *sheet) changedFields(d *view.Diff) (pages.Section, bool) {
	table := &pages.Table{Caption: "Fields that differ", Columns: []pages.Column{{Name: "field"}, {Name: "from"}, {Name: "to"}}}
	for _, f := range d.Fields {
		name := strings.TrimPrefix(f.Field, "result_")
		from, to, marked := textOr(f.From), textOr(f.To), false
		switch f.Field {
		case "timestamp":
			continue
		case "agent_id":
			name, from, to = "agent", line(p.agent(d.From.AgentID, d.From.AgentLabel)), line(p.agent(d.To.AgentID, d.To.AgentLabel))
		case "result_hash":
			name, from, to, marked = "answer", p.answer(d.From.ResultHash, d.From.ResultLabel), p.answer(d.To.ResultHash, d.To.ResultLabel), true
		case "epoch":
			from, to = none(), none()
			if h := d.From.Params.Epoch; h != nil {
				from = line(hashPart(*h, nil, ""))
			}
			if h := d.To.Params.Epoch; h != nil {
				to = line(hashPart(*h, nil, ""))
			}
		case "lifecycle":
			name = "lifecycle asked"
			from, to = asked(d.From.Params.Lifecycle), asked(d.To.Params.Lifecycle)
		}
		table.Rows = append(table.Rows, pages.Row{Marked: marked, Cells: [][]pages.Part{line(pages.Words(name)), from, to}})
	}
	return pages.Section{ID: "fields", Heading: "Question and answer", Table: table}, len(table.Rows) > 0
}

// changeWords are the changes of a piece of evidence, each with a sign.
var changeWords = map[string]string{view.Added: "+ came", view.Removed: "− went", view.Changed: "~ changed"}

// changedEvidence shows the pieces of evidence that came, went or changed.
func (p *sheet) changedEvidence(d *view.Diff) pages.Section {
	table := &pages.Table{Head: 1, Columns: []pages.Column{{Name: "change"}, {Name: "assertion"}, {Name: "weight"}, {Name: "lifecycle"}, {Name: "source"}}, Empty: "The evidence is the same."}
	var selected show.Selection
	for i := range d.Evidence {
		e := &d.Evidence[i]
		bad := e.Unapproved()
		if !selected.Shows(e.Change, bad) {
			continue
		}
		sources := p.bothSides(e, func(s *view.Side) []pages.Part { return line(p.source(s.SourceHash, s.SourceLabel)) }, func(a, b *view.Side) bool { return a.SourceHash == b.SourceHash })
		table.Rows = append(table.Rows, pages.Row{Marked: bad, Cells: [][]pages.Part{
			line(pages.Words(changeWords[e.Change])), line(p.assertion(e.AssertionHash, e.AssertionLabel)),
			p.bothSides(e, func(s *view.Side) []pages.Part {
				return line(pages.Words(strconv.FormatFloat(float64(s.Weight), 'g', -1, 32)))
			}, func(a, b *view.Side) bool { return a.Weight == b.Weight }),
			p.bothSides(e, func(s *view.Side) []pages.Part { return line(lifecycle(s.Lifecycle)) }, func(a, b *view.Side) bool { return a.Lifecycle == b.Lifecycle }),
			sources,
		}})
	}
	count := show.Changes(d)
	table.Caption = fmt.Sprintf("%d came, %d changed, %d went, %d as before", count[view.Added], count[view.Changed], count[view.Removed], d.Same)
	section := pages.Section{ID: "evidence", Heading: "Evidence", Table: table}
	if selected.Left > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%s are left out, %d of them not approved. JSON has all.", counted(selected.Left, "change", "changes"), selected.LeftUnapproved))))
	}
	return section
}

// bothSides is a value of the evidence in both records, written once where both are equal.
func (p *sheet) bothSides(e *view.EvidenceChange, value func(*view.Side) []pages.Part, same func(a, b *view.Side) bool) []pages.Part {
	switch {
	case e.From == nil:
		return value(e.To)
	case e.To == nil || same(e.From, e.To):
		return value(e.From)
	}
	return append(append(value(e.From), pages.Dimmed("→")), value(e.To)...)
}
