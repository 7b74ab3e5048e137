package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/web/internal/chart"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// countedAnswers is how many answers the figures of an impact are counted from without a count in the address. More take longer than
// somebody likes to wait.
const countedAnswers = 20_000

// mostLanes is how many agents a picture of an impact shows, and shownAnswers how many answers the page has without a limit in its address.
const (
	mostLanes    = 10
	shownAnswers = 100
)

// impactPage shows where an assertion or a source went.
func (s *Server) impactPage(ctx context.Context, p *sheet) error {
	typed := p.r.PathValue("hash")
	source, err := p.q.isSet("source")
	if err != nil {
		return err
	}
	kind := audit.AssertionHash
	if source {
		kind = audit.SourceHash
	}
	found, err := ask.Hash(ctx, s.store, typed, kind, p.q.asOf)
	if err != nil {
		return err
	}
	h := found.Hash
	if typed != h.String() {
		p.redirect = p.withValues("/impact/"+h.String(), p.values)
		return nil
	}
	var not *view.NotEvidenceError
	switch err := p.viewer.CheckEvidence(ctx, h, source, p.moment()); {
	case errors.As(err, &not) && not.IsOther && !p.q.values.Has("source"):
		// Somebody pasted a hash, and did not say what it is.
		p.redirect = p.again("source", "true")
		return nil
	case err != nil:
		return err
	}
	if p.q.own(depthName, "") != "" || p.q.values.Has(anyOrderName) {
		return s.downstreamPage(ctx, p, h, source)
	}
	p.q.limitOr(shownAnswers)
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	capped(&f)
	count, err := p.q.count("count", countedAnswers, 0, math.MaxInt32)
	if err != nil {
		return err
	}
	o := audit.ImpactOptions{Source: source, Filter: f, Budget: audit.Budget{Records: uint64(count), Time: p.viewer.Budget.Time}}
	head := p.viewer.ImpactHead(h, o)
	brief := h.String()[:briefHash]
	p.page.Kind = "Where did it go?"
	p.page.Title = "Impact of " + head.Kind + " " + shortName(h, head.Label)
	p.page.Heading = line(pages.Words("Impact of "+head.Kind), named(h, head.Label))
	words := []string{"impact"}
	if source {
		words = append(words, "--source")
	}
	p.command(words, []string{brief}, without(p.values, "source"), "count")
	p.page.SQL = phrase.Impact(h, source, p.spoken(f))
	p.forms("/v1/impact/"+h.String(), p.absolute, "json", "ndjson", "csv")

	i := impact{head: head, options: o}
	list := make(chan struct{})
	p.page.Sections = append([]pages.Section{{Form: p.filterForm("/go/impact/"+h.String(), "Filter", true, "assertion", "source")}}, p.together(ctx,
		func(ctx context.Context) (pages.Section, error) {
			defer close(list)
			return i.read(ctx, p, h)
		},
		func(ctx context.Context) (pages.Section, error) { return i.totals(ctx, p, h) },
		func(ctx context.Context) (pages.Section, error) { return i.onward(ctx, p, h) },
		func(ctx context.Context) (pages.Section, error) {
			<-list
			return i.table(p), nil
		},
	)...)
	p.page.Sections = append(p.page.Sections, pages.Section{Heading: "Look further", Links: i.further(p, h)})
	return nil
}

// An impact is the answer to one question about an impact.
type impact struct {
	head    view.ImpactHead
	options audit.ImpactOptions

	answers []view.ImpactedAnswer
	pieces  map[audit.QueryID][]audit.ImpactedEvidence // of each answer
	more    bool
	damaged [][]pages.Part
}

// read reads the answers, and draws them.
func (i *impact) read(ctx context.Context, p *sheet, h audit.Hash) (pages.Section, error) {
	section := pages.Section{ID: "reach"}
	// The view has what the table shows, and the store says which evidence it was: the picture needs both.
	i.pieces = map[audit.QueryID][]audit.ImpactedEvidence{}
	options := i.options
	options.Filter.Limit++
	broken := func(e *audit.RecordError) { i.damaged = append(i.damaged, p.damaged(e)) }
	for a, err := range readable(p.s.store.Impact(ctx, h, options), broken) {
		if err != nil {
			return section, err
		}
		if len(i.answers) == i.options.Filter.Limit {
			i.more = true
			break
		}
		i.answers = append(i.answers, p.viewer.Impacted(&a))
		i.pieces[a.Audit.QueryID] = a.Evidence
	}
	if len(i.answers) == 0 {
		section.About = line(pages.Words("No answer that fits the filters has it in its evidence."))
		return section, nil
	}
	picture, left, err := i.picture(p)
	section.Picture = picture
	if left > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("The picture has at most %d lanes of each kind, those used first; %d more are left out.", mostLanes, left))))
	}
	section.Legend = [][]pages.Part{
		line(pages.Words("● it was the answer")), line(pages.Words("○ it was evidence for another answer")), line(pages.Part{Text: "□ not approved then", Mark: true}), line(pages.Words("Each mark is a record.")),
	}
	return section, err
}

// picture has a lane for each source, each assertion and each agent. left is how many lanes it has no room for.
func (i *impact) picture(p *sheet) (drawn template.HTML, left int, err error) {
	first, last := &i.answers[0], &i.answers[0]
	for n := range i.answers {
		a := &i.answers[n]
		if a.Timestamp < first.Timestamp {
			first = a
		}
		if a.Timestamp > last.Timestamp {
			last = a
		}
	}
	picture := chart.Lanes{
		Label: fmt.Sprintf("%s with this %s, from %s to %s", counted(len(i.answers), "answer", "answers"), i.head.Kind, first.Time, last.Time),
		Span:  chart.Span{From: first.Timestamp, To: last.Timestamp},
	}
	picture.Ticks = chart.Ticks(picture.Span, p.clock.Unit, p.clock.Zone)
	type group struct {
		lane  *chart.Lane
		order int
	}
	lanes := map[string]*group{}
	add := func(order int, kind, key, name string, address phrase.Address, a *view.ImpactedAnswer, dot bool) {
		g := lanes[key]
		if g == nil {
			g = &group{&chart.Lane{Kind: kind, Name: name, Address: address, First: a.Timestamp, Last: a.Timestamp}, order}
			lanes[key] = g
		}
		g.lane.First, g.lane.Last = min(g.lane.First, a.Timestamp), max(g.lane.Last, a.Timestamp)
		if !dot {
			return
		}
		what := "evidence"
		if a.Result {
			what = "the answer"
		}
		text := fmt.Sprintf("%s, record %s, %s", a.Time, a.QueryID.String()[:briefHash], what)
		if a.Unapproved {
			text += ", not approved"
		}
		g.lane.Dots = append(g.lane.Dots, chart.Dot{At: a.Timestamp, Address: p.to("/q/" + a.QueryID.String()), Name: text, Full: a.Result, Marked: a.Unapproved})
	}
	for n := range i.answers {
		a := &i.answers[n]
		for _, e := range i.pieces[a.QueryID] {
			s := e.SourceHash
			add(0, "source", "s"+s.String(), laneName(s, p.labelOf(&s)), p.to("/impact/"+s.String(), "source", "true"), a, false)
			b := e.AssertionHash
			add(1, "assertion", "a"+b.String(), laneName(b, p.labelOf(&b)), p.to("/impact/"+b.String()), a, false)
		}
		if a.AgentID == nil {
			add(2, "agent", "anonymous", "anonymous", "", a, true)
		} else {
			add(2, "agent", a.AgentID.String(), laneName(*a.AgentID, a.AgentLabel), p.to("/agents/"+a.AgentID.String()), a, true)
		}
	}
	var groups []*group
	for _, g := range lanes {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.lane.First, b.lane.First), cmp.Compare(len(b.lane.Dots), len(a.lane.Dots)), cmp.Compare(a.lane.Name, b.lane.Name))
	})
	count := map[int]int{}
	for _, g := range groups {
		count[g.order]++
		if count[g.order] > mostLanes {
			left++
			continue
		}
		if n := len(g.lane.Dots); n > 0 {
			g.lane.About = counted(n, "answer", "answers")
		}
		picture.Lanes = append(picture.Lanes, *g.lane)
	}
	drawn, err = picture.SVG()
	return drawn, left, err
}

// laneName is a hash in a picture.
func laneName(h audit.Hash, label *string) string {
	if label == nil {
		return h.String()[:briefHash]
	}
	return legibleCut(*label)
}

// totals says how far it went, whatever the limit of the list.
func (i *impact) totals(ctx context.Context, p *sheet, h audit.Hash) (pages.Section, error) {
	section := pages.Section{ID: "totals", Heading: "In all"}
	var t view.ImpactTotals
	err := p.expensive(ctx, func() (err error) {
		t, err = p.viewer.ImpactTotals(ctx, h, i.options)
		return err
	})
	if err != nil || t.Answers == 0 {
		return section, err
	}
	agents := counted(t.Agents, "agent", "agents")
	if t.Anonymous > 0 {
		agents += fmt.Sprintf(" (and %d anonymous)", t.Anonymous)
	}
	section.Facts = []pages.Fact{
		{Name: "went into", Value: line(pages.Words(atLeastOf(t.Cut) + counted(t.Answers, "answer", "answers") + " of " + agents))},
		{Name: "was the answer", Value: line(pages.Words("in " + strconv.FormatUint(t.Results, 10)))},
		{Name: "first", Value: line(p.at(*t.First))},
		{Name: "last", Value: line(p.at(*t.Last))},
		{Name: "weight in all", Value: line(pages.Words(show.Weight(t.Weight)))},
	}
	if !i.options.Source && i.options.Filter.Result == nil && t.Results > 0 && t.Results < t.Answers {
		// Who was given it as the answer may have acted on it. Among very many answers these are not to be found otherwise.
		section.Facts[1].Value = append(section.Facts[1].Value, pages.To(p.again("result", h.String()), "Show these alone"))
	}
	if t.Cut {
		section.Notes = append(section.Notes, line(pages.Part{Text: "There are more: counting ended at " + counted(t.Answers, "answer", "answers") + ", and the figures are of these.", Mark: true},
			pages.To(p.again("count", "0"), "Count all of them")))
	}
	if i.options.Source {
		n := strconv.Itoa(t.Assertions)
		if t.MoreAssertions {
			n += "+"
		}
		section.Facts = append(section.Facts, pages.Fact{Name: "assertions", Value: line(pages.Words(n))})
	}
	table := &pages.Table{Caption: "By agent, those with the most answers first", Columns: []pages.Column{{Name: "agent"}, {Name: "answers", Right: true}, {Name: "share", Hidden: true}, {Name: "was the answer", Right: true}, {Name: "weight", Right: true}, {Name: "first"}, {Name: "last"}}}
	for n := range t.ByAgent {
		if n == show.ShownEvidence {
			section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%d more agents are left out. JSON has all.", len(t.ByAgent)-n))))
			break
		}
		a := &t.ByAgent[n]
		table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
			line(p.agent(a.AgentID, a.AgentLabel)), line(pages.Count(a.Answers)), bar("", float64(a.Answers)/float64(t.Answers), false),
			line(pages.Count(a.Results)), line(pages.Words(show.Weight(a.Weight))), line(p.at(a.First)), line(p.at(a.Last)),
		}})
	}
	section.Table = table
	return section, nil
}

// onward says whether the answers were evidence elsewhere.
func (i *impact) onward(ctx context.Context, p *sheet, h audit.Hash) (pages.Section, error) {
	section := pages.Section{}
	o, err := p.viewer.Onward(ctx, h, i.options)
	if err != nil || o.More == 0 && !o.Cut {
		return section, err
	}
	section.ID, section.Heading = "onward", "Further on"
	follow := pages.To(p.to("/impact/"+h.String(), "source", strconv.FormatBool(i.options.Source), depthName, allSteps), "Follow them")
	if o.More == 0 {
		section.About = line(pages.Words("Whether the answers with it were evidence elsewhere was not found out: they are too many."), follow)
		return section, nil
	}
	section.Findings = [][]pages.Part{line(pages.Words(fmt.Sprintf("%s with it %s evidence elsewhere: %s%s.", counted(o.Answers, "answer", "answers"),
		plural(o.Answers, "was", "were"), atLeastOf(o.Cut), counted(o.More, "more answer", "more answers"))), follow)}
	return section, nil
}

// atLeastOf is what stands before a count that has ended before all was counted.
func atLeastOf(cut bool) string {
	if cut {
		return "at least "
	}
	return ""
}

func (i *impact) table(p *sheet) pages.Section {
	section := pages.Section{ID: "answers", Heading: "The answers", Notes: i.damaged}
	order := "the oldest first"
	if i.options.Filter.Descending {
		order = "the newest first"
	}
	table := &pages.Table{Caption: counted(len(i.answers), "answer", "answers") + ", " + order, Head: 1, Columns: []pages.Column{
		{Name: "time"}, {Name: "record"}, {Name: "agent"}, {Name: "subject / predicate"}, {Name: "weight"}, {Name: "lifecycle then"}, {Name: "the answer?"}, {Name: "confidence", Right: true},
	}, Empty: "No answer fits."}
	most := 1.0
	for n := range i.answers {
		most = max(most, i.answers[n].Weight)
	}
	for n := range i.answers {
		a := &i.answers[n]
		was := none()
		if a.Result {
			was = line(pages.Part{Text: "yes", Mark: a.Unapproved})
		}
		table.Rows = append(table.Rows, pages.Row{Marked: a.Unapproved, Cells: [][]pages.Part{
			line(p.at(a.Timestamp)), line(p.record(a.QueryID)), line(p.agent(a.AgentID, a.AgentLabel)), p.question(a.Subject, a.Predicate),
			bar(show.Weight(a.Weight), a.Weight/most, a.Unapproved), line(pages.Words(a.Lifecycle)), was, confidence(a.ResultConfidence),
		}})
	}
	section.Table = table
	if i.more {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("The list and the picture have the first %d; there are more. The figures of all are above.", len(i.answers))),
			pages.To(p.again("limit", strconv.Itoa(mostRows)), fmt.Sprintf("Show up to %d", mostRows))))
	}
	return section
}

func (i *impact) further(p *sheet, h audit.Hash) []pages.Part {
	var links []pages.Part
	for n := range i.answers {
		if i.answers[n].Result {
			links = append(links, pages.To(p.to("/q/"+i.answers[n].QueryID.String()), "The first record that gave it as the answer"))
			break
		}
	}
	name := "assertion"
	if i.options.Source {
		name = "source"
	}
	links = append(links, pages.To(p.withValues("/timeline", with(without(p.absolute, "limit", "source"), name, h.String())), "Its answers over time"))
	if !i.options.Source {
		seen := map[audit.Hash]bool{}
		for n := range i.answers {
			for _, e := range i.pieces[i.answers[n].QueryID] {
				if s := e.SourceHash; !seen[s] && len(seen) < 4 {
					seen[s] = true
					links = append(links, pages.Part{Text: "What else came from " + shortName(s, p.labelOf(&s)), Stored: true, Link: p.to("/impact/"+s.String(), "source", "true")})
				}
			}
		}
	}
	return links
}
