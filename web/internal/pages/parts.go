package pages

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// Parts and the rows of tables are written here and not by a template: a page has thousands of them, and a template takes ten times as
// long. Every text goes through text or attribute, and what is stored through stored.

// A markup is HTML that is being written.
type markup struct{ strings.Builder }

// fixed writes markup that is written in this file.
func (m *markup) fixed(all ...string) {
	for _, s := range all {
		m.WriteString(s)
	}
}

// text writes a text of ours.
func (m *markup) text(s string) { m.WriteString(template.HTMLEscapeString(s)) }

// stored writes a text that may contain anything.
func (m *markup) stored(s string) {
	m.fixed("<bdi>")
	m.text(legible.Visible(s))
	m.fixed("</bdi>")
}

// attribute writes an attribute that has a text.
func (m *markup) attribute(name, value string) {
	m.fixed(" ", name, `="`)
	m.text(value)
	m.fixed(`"`)
}

// link writes the attribute of a link. An address is written by package phrase alone, and is a path.
func (m *markup) link(a phrase.Address) { m.attribute("href", string(a)) }

// described writes the attributes of a part, which are the same for links and others.
func (m *markup) described(p *Part) {
	if p.Full != "" {
		m.attribute("title", legible.Visible(p.Full))
	}
	if p.Style != "" {
		m.attribute("class", string(p.Style))
	}
}

const (
	sign     = `<span class="sign" aria-hidden="true">!</span><span class="unseen">attention: </span>`
	copySign = `<svg width="13" height="13" viewBox="0 0 13 13" aria-hidden="true" focusable="false"><rect x="4" y="4" width="8" height="8" rx="1.5"/>` +
		`<path d="M2.500 9H2A1 1 0 0 1 1 8V2a1 1 0 0 1 1-1h6a1 1 0 0 1 1 1v.5"/></svg>`
)

// part writes a part.
func (m *markup) part(p *Part) {
	if p.Mark {
		m.fixed(sign)
	}
	switch {
	case p.Link != "":
		m.fixed("<a")
		m.link(p.Link)
		if p.Rel != "" {
			m.attribute("rel", p.Rel)
		}
		m.described(p)
		m.fixed(">")
		m.shown(p)
		m.fixed("</a>")
	case p.Time != "":
		m.fixed("<time")
		m.attribute("datetime", p.Time)
		m.attribute("title", p.Time)
		m.fixed(">")
		m.shown(p)
		m.fixed("</time>")
	case p.Full != "" || p.Style != "":
		m.fixed("<span")
		m.described(p)
		m.fixed(">")
		m.shown(p)
		m.fixed("</span>")
	default:
		m.shown(p)
	}
	if p.Copy {
		m.fixed(`<button class="copy" type="button"`)
		m.attribute("data-copy", p.Full)
		m.fixed(` hidden><span class="unseen">Copy `)
		m.text(legible.Visible(p.Full))
		m.fixed("</span>", copySign, "</button>")
	}
	if p.Bar != "" {
		m.fixed(` <span class="bar-place">`, string(p.Bar), "</span>")
	}
}

// shown writes what a part shows.
func (m *markup) shown(p *Part) {
	switch {
	case p.Bar != "":
		m.fixed(`<span class="num">`)
		m.text(p.Text)
		m.fixed("</span>")
	case p.Stored:
		m.stored(p.Text)
	default:
		m.text(p.Text)
	}
	if p.Faint != "" {
		m.fixed(`<span class="dim">`)
		m.text(p.Faint)
		m.fixed("</span>")
	}
	if p.Short != "" {
		if p.Text != "" {
			m.fixed(" ")
		}
		m.fixed(`<code class="hash">`)
		m.text(p.Short)
		m.fixed("</code>")
	}
}

// parts writes parts with blanks between them.
func (m *markup) parts(all []Part) {
	for i := range all {
		if i > 0 {
			m.fixed(" ")
		}
		m.part(&all[i])
	}
}

// row writes a row of a table.
func (m *markup) row(t *Table, r *Row) error {
	if len(r.Cells) > len(t.Columns) {
		return fmt.Errorf("a row has %d cells, and the table %d columns", len(r.Cells), len(t.Columns))
	}
	m.fixed(`<tr role="row"`)
	if r.Marked || r.Current {
		classes := ""
		if r.Marked {
			classes = "marked"
		}
		if r.Current {
			classes += " current"
		}
		m.attribute("class", classes)
	}
	if r.Current {
		m.fixed(` aria-current="true"`)
	}
	m.fixed(">")
	for i, cell := range r.Cells {
		c := &t.Columns[i]
		element, open := "td", `<td role="cell"`
		if i == t.Head {
			element, open = "th", `<th role="rowheader" scope="row"`
		}
		m.fixed(open)
		classes := ""
		if c.Right {
			classes = "right"
		}
		if c.Wide {
			classes += " wide"
		}
		m.attribute("class", classes)
		m.attribute("data-name", c.Name)
		m.fixed(">")
		if i == t.Head && r.Marked {
			m.fixed(sign, " ")
		}
		m.parts(cell)
		m.fixed("</", element, ">")
	}
	m.fixed("</tr>\n")
	return nil
}

// html is what was written.
func (m *markup) html() template.HTML { return template.HTML(m.String()) }

// partsOf and partOf write parts for a template, and rowsOf the rows of a table.
func partsOf(all []Part) template.HTML {
	var m markup
	m.parts(all)
	return m.html()
}

func partOf(p Part) template.HTML { return partsOf([]Part{p}) }

func rowsOf(t *Table) (template.HTML, error) {
	var m markup
	for i := range t.Rows {
		if err := m.row(t, &t.Rows[i]); err != nil {
			return "", err
		}
	}
	return m.html(), nil
}
