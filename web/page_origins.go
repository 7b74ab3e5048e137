package web

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/web/internal/pages"
)

// earlier says which pieces of evidence were answers before, and whose.
func (p *sheet) earlier(t *view.Trace) (pages.Section, bool) {
	section := pages.Section{ID: "earlier", Heading: "Evidence that was an answer before"}
	table := &pages.Table{
		Caption: "Who answered it first",
		Columns: []pages.Column{{Name: "assertion"}, {Name: "answered by"}, {Name: "record"}, {Name: "at"}, {Name: "answers until then", Right: true}},
	}
	list := t.EarlierAnswers()
	for i, e := range list {
		if i == show.ShownEvidence {
			section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%d more are left out. JSON has all.", len(list)-i))))
			break
		}
		a := e.Answered
		table.Rows = append(table.Rows, pages.Row{Marked: e.Lifecycle.Unapproved(), Cells: [][]pages.Part{
			line(p.assertion(e.AssertionHash, e.AssertionLabel)), line(p.agent(a.AgentID, a.AgentLabel)), line(p.record(a.QueryID)), line(p.at(a.Timestamp)),
			line(pages.Words(atLeast(a.Answers, a.More))),
		}})
	}
	section.Table = table
	return section, len(list) > 0
}

// shownPieces is how many pieces of evidence a tree on a page has.
const shownPieces = 200

// origins follows the evidence of a record back.
func (p *sheet) origins(ctx context.Context, t *view.Trace) (pages.Section, error) {
	section := pages.Section{ID: "origins", Heading: "Where its evidence came from"}
	o, err := p.viewer.Origins(ctx, t.Audit.QueryID, audit.OriginsOptions{AsOf: &p.asOf, Budget: audit.Budget{
		Records: audit.DefaultOriginAnswers, Time: min(audit.DefaultOriginTime, p.viewer.Budget.Time),
	}})
	if err != nil {
		return section, err
	}
	for _, damaged := range o.Damaged {
		section.Notes = append(section.Notes, p.damaged(damaged))
	}
	origins := o.Origins()
	bad := 0
	for _, one := range origins {
		if one.Lifecycle.Unapproved() {
			bad++
		}
	}
	about := fmt.Sprintf("It comes to %s that nobody in the store answered before", counted(len(origins), "assertion", "assertions"))
	if bad > 0 {
		about += fmt.Sprintf(", %d of them not approved", bad)
	}
	section.About = line(pages.Words(about + "."))
	table := &pages.Table{
		Caption: "Each piece, and below it the evidence of the answer that it was before", Empty: "There is no evidence.", Head: 1,
		Columns: []pages.Column{{Name: "steps back", Right: true}, {Name: "assertion"}, {Name: "weight", Right: true}, {Name: "lifecycle"}, {Name: "source"}, {Name: "answered first by"}, {Name: "record"}, {Name: "at"}},
	}
	for i := range o.Pieces {
		if i == shownPieces {
			section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%d more pieces are left out. JSON has all.", len(o.Pieces)-i))))
			break
		}
		piece := &o.Pieces[i]
		by, record, at := line(pages.Dimmed("nobody")), none(), none()
		if a := piece.Answered; a != nil {
			by, record, at = line(p.agent(a.AgentID, a.AgentLabel)), line(p.record(a.QueryID)), line(p.at(a.Timestamp))
		}
		switch piece.How {
		case audit.Elsewhere:
			by = append(by, pages.Dimmed("see there"))
		case audit.NotFollowed:
			by = append(by, pages.Dimmed("not traced"))
		}
		table.Rows = append(table.Rows, pages.Row{Marked: piece.Lifecycle.Unapproved(), Cells: [][]pages.Part{
			line(pages.Words(strings.Repeat("· ", min(piece.Distance-1, 12)) + strconv.Itoa(piece.Distance))), line(p.assertion(piece.AssertionHash, piece.AssertionLabel)),
			line(pages.Words(strconv.FormatFloat(float64(piece.Weight), 'g', -1, 32))), line(lifecycle(piece.Lifecycle)), line(p.source(piece.SourceHash, piece.SourceLabel)),
			by, record, at,
		}})
	}
	section.Table = table
	if o.Cut != nil {
		section.Notes = append(section.Notes, line(pages.Part{Text: fmt.Sprintf("Not all of it: the evidence of %s is here, and then it was cut.", counted(o.Answers, "answer", "answers")), Mark: true}))
	}
	if o.Untraced > 0 {
		section.Notes = append(section.Notes, line(pages.Words(counted(o.Untraced, "piece", "pieces")+" of little weight left out.")))
	}
	return section, nil
}
