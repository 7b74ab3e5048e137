package web

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// comparePage says what came, went, grew and shrank between two periods.
func (s *Server) comparePage(ctx context.Context, p *sheet) error {
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	by, err := p.q.rankedBy()
	if err != nil {
		return err
	}
	if _, err := p.lately(ctx, &f, time.Hour); err != nil {
		return err
	}
	if f.From == nil {
		f.From = new(uint64)
	}
	if f.To == nil {
		now := max(p.nowTimestamp(), *f.From)
		f.To = &now
	}
	// Without another time it is the one of the same length right before.
	begin := p.q.own(withName, p.clock.Format(*f.From-min(*f.From, *f.To-*f.From+1)))
	o := audit.CompareOptions{By: by, Filter: f}
	var notes []ask.Note
	o.Before, o.After, notes, err = ask.Windows(&f, p.clock.Unit, begin, p.q.own(andName, ""), p.q.askOptions())
	if err != nil {
		return err
	}
	for _, n := range notes {
		p.page.Notes = append(p.page.Notes, n.Parameter+": "+n.Text)
	}
	other := o.Before
	if other.From == *f.From {
		other = o.After
	}
	p.fix(&f)
	p.absolute.Set("by", string(by))
	p.absolute.Set(withName, p.clock.Format(other.From))
	p.absolute.Set(andName, p.clock.Format(other.To))

	p.page.Kind = "What has changed?"
	p.page.Title = rankedMany(by) + " that came, went, grew and shrank"
	p.page.Heading = line(pages.Words(p.page.Title))
	p.command([]string{"compare", "--by", string(by)}, nil, p.absolute, withName, andName)
	before, after, _ := o.Counted()
	p.page.SQL = phrase.Compare(by, before, after, p.spoken(f))
	p.forms("/v1/compare", p.absolute, "json", "ndjson", "csv")

	form := p.filterForm("/go/compare", "Compare", true)
	form.Fields = append([]pages.Field{
		choiceOf(by), {Name: withName, Label: "compare with what begins at", Value: p.values.Get(withName), Hint: "2026-11-22T10:00"},
		{Name: andName, Label: "and ends at", Value: p.values.Get(andName), Hint: "as long as the other"},
	}, form.Fields...)
	about := pages.Section{Form: form, About: line(
		pages.Words("Before: from"), p.when(o.Before.From), pages.Words("to"), p.when(o.Before.To),
		pages.Words("– after: from"), p.when(o.After.From), pages.Words("to"), p.when(o.After.To))}
	for _, r := range ranked {
		if r.by != by {
			about.Links = append(about.Links, pages.To(p.again("by", string(r.by)), r.many))
		}
	}
	p.page.Sections = append([]pages.Section{about}, p.together(ctx, func(ctx context.Context) (pages.Section, error) {
		return p.compared(ctx, o, p.absolute)
	})...)
	return nil
}

// compared is the table of a comparison. values are the filter of it, for the links of its entries.
func (p *sheet) compared(ctx context.Context, o audit.CompareOptions, values url.Values) (pages.Section, error) {
	var section pages.Section
	err := p.expensive(ctx, func() error {
		c, err := p.viewer.Compare(ctx, o)
		if err != nil {
			return err
		}
		table := &pages.Table{Caption: "The greatest differences first", Empty: "There is none.", Columns: []pages.Column{
			{Name: "change"}, {Name: keyName(o.By)}, {Name: "before", Right: true}, {Name: "after", Right: true},
		}}
		for i := range c.Entries {
			e := &c.Entries[i]
			// The link leads to the records of the time in which there are any.
			before, at, _ := o.Counted()
			if e.Change == audit.Went {
				at = before
			}
			to := with(values, "from", p.clock.Format(at.From), "to", p.clock.Format(at.To))
			table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
				line(pages.Words(string(e.Change))), line(p.entry(o.By, e.Hash, e.Label, e.Text, to)), line(pages.Count(e.Before)), line(pages.Count(e.After)),
			}})
		}
		section.Table = table
		var all []string
		for _, n := range []struct {
			n    uint64
			what string
		}{{c.Came, "came"}, {c.Went, "went"}, {c.Grew, "grew"}, {c.Shrank, "shrank"}, {c.Same, "stayed the same"}} {
			if n.n > 0 {
				all = append(all, fmt.Sprintf("%d %s", n.n, n.what))
			}
		}
		note := fmt.Sprintf("Before there were %s, and after %s.", countedOf(o.By, c.TotalBefore), countedOf(o.By, c.TotalAfter))
		if len(all) > 0 {
			note = "In all " + strings.Join(all, ", ") + ". " + note
		}
		if o.Before.To-o.Before.From != o.After.To-o.After.From {
			note += " The periods have different lengths: growth is that of the number in the same length of time."
		}
		if o.Before.To == o.After.From {
			note += " The instant at which one period ends and the other begins counts in the later one."
		}
		if c.More {
			note += " There are more entries than are shown."
		}
		if c.Missed > 0 {
			note += fmt.Sprintf(" There were too many to count exactly: a count may be too small by up to %d.", c.Missed)
		}
		if c.Incomplete {
			note += " The count took too long and ended early: the figures are of what was counted until then."
		}
		section.Notes = append(section.Notes, line(pages.Words(note)))
		return nil
	})
	return section, err
}
