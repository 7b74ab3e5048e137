package web

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// What can be ranked, with the words for one and for several.
var ranked = []struct {
	by        audit.TopBy
	one, many string
}{
	{audit.TopSources, "source", "Sources"},
	{audit.TopAssertions, "assertion", "Assertions"},
	{audit.TopLifecycles, "lifecycle", "Lifecycles"},
	{audit.TopAgents, "agent", "Agents"},
	{audit.TopSubjects, "subject", "Subjects"},
	{audit.TopPredicates, "predicate", "Predicates"},
	{audit.TopLenses, "lens", "Lenses"},
}

// rankedMany is the word for several of what is ranked.
func rankedMany(by audit.TopBy) string {
	if key, ok := by.Attribute(); ok {
		return "Values of " + key
	}
	for _, r := range ranked {
		if r.by == by {
			return r.many
		}
	}
	return string(by)
}

// choiceOf is a field that asks what is ranked.
func choiceOf(by audit.TopBy) pages.Field {
	choice := pages.Field{Name: "by", Label: "what", Kind: "select", Value: string(by)}
	for _, r := range ranked {
		choice.Choices = append(choice.Choices, pages.Choice{Value: string(r.by), Label: r.many})
	}
	if _, ok := by.Attribute(); ok {
		choice.Choices = append(choice.Choices, pages.Choice{Value: string(by), Label: rankedMany(by)})
	}
	return choice
}

// topPage ranks what records have in common.
func (s *Server) topPage(ctx context.Context, p *sheet) error {
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	by, err := p.q.rankedBy()
	if err != nil {
		return err
	}
	o := audit.TopOptions{By: by}
	if o.Rank, err = p.q.rank(); err != nil {
		return err
	}
	if o.Figures, err = p.q.isSet(figuresName); err != nil {
		return err
	}
	given := f.From != nil || f.To != nil
	stale, err := p.lately(ctx, &f, time.Hour)
	if err != nil {
		return err
	}
	if f.From == nil {
		f.From = new(uint64)
	}
	narrowed := uint64(0)
	unfiltered := len(p.q.filter) == 0 || len(p.q.filter) == 1 && p.q.filter["limit"] != nil // so the counts of its minutes are stored
	if unfiltered && by != audit.TopAgents && !p.q.values.Has("new-since") {
		if f, narrowed, err = p.latest(ctx, f, rankedRead); err != nil {
			return err
		}
	}
	if since := p.q.own("new-since", ""); since != "" {
		span, err := p.clock.Parse(since)
		if err != nil {
			return problem(kindParameter, "new-since: %v", err).at("new-since")
		}
		o.NewSince = &span.First
		if !given {
			// Something new is looked for from then on, and not in the last hour alone.
			f.From = o.NewSince
		}
	}
	o.Filter = f
	p.fix(&f)
	p.absolute.Set("by", string(by))
	if o.NewSince != nil {
		p.absolute.Set("new-since", p.clock.Format(*o.NewSince))
	}
	heading := rankedMany(by) + " that were used most"
	switch {
	case by == audit.TopAgents:
		heading = "Agents that asked most"
	case by == audit.TopSubjects:
		heading = "Subjects that were asked about most"
	}
	if o.NewSince != nil {
		heading = rankedMany(by) + " that are new since"
	}
	p.page.Kind = "What is unusual?"
	p.page.Title = heading
	p.page.Heading = line(pages.Words(heading))
	if o.NewSince != nil {
		p.page.Heading = append(p.page.Heading, p.when(*o.NewSince))
	}
	if stale != nil && !p.frozen && !given {
		p.page.Notes = append(p.page.Notes, "Nothing was recorded in the last hour. The time ends with the newest record.")
	}
	if narrowed > 0 {
		p.page.Notes = append(p.page.Notes, "The hour has more records than can be looked at while you wait. These are its newest "+humanize.Comma(int64(narrowed))+". Name a time to have others counted.")
	}
	words := []string{"top", "--by", string(by)}
	if o.Figures {
		words = append(words, "--figures")
	}
	p.command(words, nil, p.absolute, "rank", "new-since")
	p.page.SQL = phrase.Top(by, o.NewSince, limited(p.spoken(f), limitOf(f)))
	p.forms("/v1/top", p.absolute, "json", "ndjson", "csv")

	form := p.filterForm("/go/top", "Rank", true)
	rank := pages.Field{Name: rankName, Label: "ranked by", Kind: "select", Value: string(o.Rank), Choices: []pages.Choice{
		{Value: string(audit.RankPieces), Label: "pieces or records"}, {Value: string(audit.RankAnswers), Label: "answers"}, {Value: string(audit.RankAgents), Label: "agents"},
	}}
	form.Fields = append([]pages.Field{choiceOf(by), rank, {Name: "new-since", Label: "only what is new since", Value: p.values.Get("new-since"), Hint: "2026-11-23T10:00"}}, form.Fields...)
	about := pages.Section{Form: form, About: line(pages.Words("From"), p.when(*f.From), pages.Words("to"), p.end(f.To))}
	for _, r := range ranked {
		if r.by != by {
			about.Links = append(about.Links, pages.To(p.again("by", string(r.by)), r.many))
		}
	}
	if o.NewSince == nil {
		about.Links = append(about.Links, pages.To(p.withValues("/top", with(without(p.absolute, "from", "to"), "new-since", p.clock.Format(*f.From))), "Only what is new in this time"))
	}
	if !f.Unapproved {
		only := "In records with evidence that nobody approved"
		if by.OfEvidence() {
			only = "Only what nobody approved"
		}
		about.Links = append(about.Links, pages.To(p.again("unapproved", "true"), only))
	}
	end := max(p.nowTimestamp(), *f.From)
	if f.To != nil {
		end = *f.To
	}
	if length := end - *f.From + 1; length <= *f.From {
		values := with(without(p.absolute, rankName, "new-since", figuresName), "to", p.clock.Format(end), withName, p.clock.Format(*f.From-length))
		about.Links = append(about.Links, pages.To(p.withValues("/compare", values), "Compared with the same time before"))
	}
	p.page.Sections = append([]pages.Section{about}, p.together(ctx, func(ctx context.Context) (pages.Section, error) {
		return p.ranked(ctx, "", o, p.absolute)
	})...)
	return nil
}

// rankedRead is how many of the newest records of an hour are ranked when nobody has asked for a time, more or less: as many as can be
// looked at while somebody waits for a page.
const rankedRead = 4_000

func limitOf(f audit.Filter) int {
	if f.Limit == 0 {
		return audit.DefaultTop
	}
	return f.Limit
}

// end is the end of a time that may be open.
func (p *sheet) end(to *uint64) pages.Part {
	if to == nil {
		return pages.Words("the present")
	}
	return p.when(*to)
}

// ranked is a ranking. values are the filter of it, for the links of its entries.
func (p *sheet) ranked(ctx context.Context, heading string, o audit.TopOptions, values url.Values) (pages.Section, error) {
	section := pages.Section{Heading: heading}
	var t *view.Ranking
	err := p.expensive(ctx, func() (err error) {
		t, err = p.viewer.Top(ctx, o)
		return err
	})
	if err != nil {
		return section, err
	}
	counts := "records"
	if o.By.OfEvidence() {
		counts = "pieces"
	}
	caption := "The most frequent first"
	if heading != "" {
		caption = heading
	}
	table := &pages.Table{Caption: caption, Named: heading != "", Empty: "There is none.", Columns: []pages.Column{
		{Name: keyName(o.By)}, {Name: counts, Right: true}, {Name: "share"}, {Name: "answers", Right: true, Wide: true}, {Name: "agents", Right: true},
		{Name: "subjects", Right: true, Wide: true}, {Name: "confidence", Right: true, Wide: true}, {Name: "first"}, {Name: "last"},
	}}
	for i := range t.Entries {
		e := &t.Entries[i]
		table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
			line(p.entry(o.By, e.Hash, e.Label, e.Text, values)), line(pages.Count(e.Count)), bar(fmt.Sprintf("%.1f %%", 100*e.Share), e.Share, false),
			line(pages.Count(e.Answers)), line(pages.Count(e.Agents)), subjectsOf(e), confidenceOf(e), line(p.at(e.First)), line(p.at(e.Last)),
		}})
	}
	section.Table = table
	note := "Of " + countedOf(o.By, t.Total) + "."
	if t.Without > 0 {
		note += fmt.Sprintf(" %s more have none.", counted(t.Without, "record", "records"))
	}
	if t.More {
		note += " There are more entries than are shown."
	}
	if t.Unfigured && len(t.Entries) > 0 {
		note += fmt.Sprintf(" Subjects and confidence are left out: they need a look at each of more than %d records, or took too long.", audit.MostFigured)
	}
	if t.Missed > 0 {
		note += fmt.Sprintf(" There were too many to count exactly: a count may be too small by up to %d.", t.Missed)
	}
	section.Notes = append(section.Notes, line(pages.Words(note)))
	if t.Incomplete {
		which := "The figures are of those that were counted until then, the newest ones. "
		if o.By == audit.TopAgents {
			which = "The figures are of those that were counted until then. "
		}
		section.Notes = append(section.Notes, line(pages.Part{Mark: true,
			Text: "These are too many records to count in the time that a page has. " + which + "Ask about a shorter period."}))
	}
	return section, nil
}

// subjectsOf is how many different subjects an entry has, or the least number that it can be.
func subjectsOf(e *view.Ranked) []pages.Part {
	switch {
	case e.Subjects == nil:
		return none()
	case e.MoreSubjects:
		return line(pages.Count(*e.Subjects), pages.Words("or more"))
	}
	return line(pages.Count(*e.Subjects))
}

func confidenceOf(e *view.Ranked) []pages.Part {
	if e.Confidence == nil {
		return none()
	}
	return line(pages.Words(fmt.Sprintf("%.3g", *e.Confidence)))
}

// countedOf is a number of what a ranking by this counts.
func countedOf(by audit.TopBy, n uint64) string {
	one, many := view.CountedBy(by)
	return counted(n, one, many)
}

// keyName heads the column of what is ranked.
func keyName(by audit.TopBy) string {
	if key, ok := by.Attribute(); ok {
		return key
	}
	return string(by)
}

// entry is a link to what an entry of a ranking is about.
func (p *sheet) entry(by audit.TopBy, hash *audit.Hash, label, text *string, values url.Values) pages.Part {
	switch by {
	case audit.TopAgents:
		return p.agent(hash, label)
	case audit.TopAssertions:
		return p.assertion(*hash, label)
	case audit.TopSources:
		return p.source(*hash, label)
	}
	to := without(values, "by", rankName, figuresName, "new-since", "limit", withName, andName)
	if by == audit.TopLifecycles {
		return linked(*text, p.withValues("/top", with(to, "by", string(audit.TopSources), "lifecycle", *text)))
	}
	name, value := string(by), *text
	switch key, ok := by.Attribute(); {
	case by == audit.TopSubjects:
		value = globbed(*text)
	case ok:
		// The other attributes of the filter stay: the entries are of records that have them.
		to = with(to)
		to["attr"] = append(slices.Clone(to["attr"]), pair(key, *text))
		return linked(*text, p.withValues("/list", with(to, "desc", "true")))
	}
	return linked(*text, p.withValues("/list", with(to, name, value, "desc", "true")))
}
