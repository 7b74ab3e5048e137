package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// tailed is how many records the page of the tail shows.
const tailed = 50

// tailPage shows the records that came last, and with a script those that come.
func (s *Server) tailPage(ctx context.Context, p *sheet) error {
	p.page.Kind = "What comes in?"
	p.page.Title, p.page.Heading = "Records as they come", line(pages.Words("Records as they come"))
	p.command([]string{"tail", "-n", "50", "--follow"}, nil, nil)
	f := audit.Filter{AsOf: &p.asOf, Descending: true, ByAdmission: true, Limit: tailed}
	p.page.SQL = phrase.Records(f)
	p.page.Forms = line(pages.To(phrase.To("/v1/audits", with(nil, "desc", "true", "limit", "50")), "JSON"))
	section := pages.Section{ID: "tail", Table: &pages.Table{Caption: "The record that came last first. Its time is that of the agent's clock", Columns: recordColumns, Head: 0, Empty: "There are no records."}}
	for q, err := range s.store.Audits(ctx, f) {
		var broken *audit.RecordError
		if errors.As(err, &broken) {
			section.Notes = append(section.Notes, p.damaged(broken))
			continue
		}
		if err != nil {
			return err
		}
		r := p.viewer.Record(&q)
		section.Table.Rows = append(section.Table.Rows, p.row(&r))
	}
	if !p.frozen {
		section.Live = &pages.Live{Address: p.to("/tail/rows"), Most: tailed}
		section.Links = line(pages.To(p.again(), "Show the present"))
	}
	p.page.Sections = []pages.Section{section}
	return nil
}

// tailRows sends the rows of records as they come, as server-sent events. Their texts are legible already, so the script of the page need
// not know how.
func (s *Server) tailRows(w http.ResponseWriter, r *http.Request, q *question) error {
	return problem(kindNoRoute, "not here")
}
