package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// tailed is how many records the page of the tail shows.
const tailed = 50

// tailPage shows the records that came last, and with a script those that come.
func (s *Server) tailPage(ctx context.Context, p *sheet) error {
	p.page.Kind = "What comes in?"
	p.page.Title, p.page.Heading = "Records as they come", line(pages.Words("Records as they come"))
	newest := with(nil, "desc", "true", "limit", strconv.Itoa(tailed))
	rows := p.to("/tail/rows")
	if p.frozen {
		p.command([]string{"list"}, nil, newest)
	} else {
		// The stream begins with what the table lacks: what is acknowledged while the page is made and loaded must be in one of them. What is in
		// both is shown once by the script.
		if progress := s.store.Progress(); !progress.Unknown {
			rows = p.to("/tail/rows", afterName, eventID(progress.Applied))
		}
		p.asOf = s.store.Moment()
		p.command([]string{"tail", "-n", strconv.Itoa(tailed), "--follow"}, nil, nil)
	}
	p.passing = true
	f := audit.Filter{AsOf: &p.asOf, Descending: true, ByAdmission: true, Limit: tailed}
	p.page.SQL = phrase.Records(p.spoken(f))
	p.forms("/v1/audits", newest, "json")
	section := pages.Section{ID: "tail", Table: &pages.Table{Caption: "The record that came last first. Its time is that of the agent's clock", Columns: recordColumns, Head: 0, Empty: "There are no records.", Always: true}}
	broken := func(e *audit.RecordError) { section.Notes = append(section.Notes, p.damaged(e)) }
	for q, err := range readable(s.store.Audits(ctx, f), broken) {
		if err != nil {
			return err
		}
		r := p.viewer.Record(&q)
		section.Table.Rows = append(section.Table.Rows, p.row(&r))
	}
	if !p.frozen {
		section.Live = &pages.Live{Address: rows, Most: tailed}
		section.Links = line(pages.To(p.again(), "Show the present"))
	}
	p.page.Sections = []pages.Section{section}
	return nil
}

// tailRows sends the rows of records as they come, as server-sent events. Their texts are legible already, so the script of the page need
// not know how.
func (s *Server) tailRows(w http.ResponseWriter, r *http.Request, q *question) error {
	p, err := s.sheet(r, q)
	if err != nil {
		return err
	}
	return s.follow(w, r, q, &tailAnswer{events: true, row: p.tailRow})
}

// A liveRow is a row for the script of the page.
type liveRow struct {
	Marked bool         `json:"marked"`
	Cells  [][]livePart `json:"cells"`
}

type livePart struct {
	Text  string         `json:"text"`
	Title string         `json:"title,omitempty"`
	Class string         `json:"class,omitempty"`
	Link  phrase.Address `json:"link,omitempty"`
	Mark  bool           `json:"mark,omitempty"`
}

// tailRow is the row of a record, as JSON on one line.
func (p *sheet) tailRow(raw []byte) []byte {
	row := liveRow{Cells: [][]livePart{}}
	if q, err := audit.ParseAudit(raw); err == nil {
		r := p.viewer.Record(&q)
		drawn := p.row(&r)
		row.Marked = drawn.Marked
		for _, cell := range drawn.Cells {
			parts := []livePart{}
			for _, one := range cell {
				text := strings.TrimSpace(legible.Visible(one.Text) + one.Faint + " " + one.Short)
				parts = append(parts, livePart{text, legible.Visible(one.Full), string(one.Style), one.Link, one.Mark})
			}
			row.Cells = append(row.Cells, parts)
		}
	}
	b, _ := json.Marshal(row) // has no value that cannot be encoded
	return b
}
