package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// caseName is the parameter with a page of a case; mostCase is how many a case has.
const (
	caseName = "u"
	mostCase = 20
)

// casePage shows several pages as one report. Each is as of a number of records: what an incident was decided on does not change afterwards.
func (s *Server) casePage(ctx context.Context, p *sheet) error {
	links := p.values[caseName]
	title := p.values.Get("title")
	p.page.Kind = "Several pages as one report"
	p.page.Title, p.page.Heading = "Case", line(pages.Words("Case"))
	if title != "" {
		p.page.Title, p.page.Heading = "Case "+pages.Cut(title, longest), line(pages.Words("Case"), cut(title))
	}
	if len(links) > mostCase {
		return problem(kindParameter, "%s: a case has at most %d pages", caseName, mostCase).at(caseName)
	}
	form := &pages.Form{Action: phrase.To("/case", nil), Label: "The case", Submit: "Show", Fields: []pages.Field{{Name: "title", Label: "title", Value: title, Hint: "Northwind, 23 November"}}}
	frozen := make([]phrase.Address, len(links))
	parts := make([]part, len(links))
	lasting := make([]phrase.Address, len(links)) // of each part, "" where it has none
	var records []string                          // that the case has the pages of
	for i, link := range links {
		path, values, err := s.caseLink(link)
		if err != nil {
			return problem(kindParameter, "%s: %v", caseName, err).at(caseName)
		}
		if !values.Has(asOfName) {
			values.Set(asOfName, strconv.FormatUint(p.asOf, 10))
		}
		frozen[i] = phrase.To(path, values)
		if id, ok := strings.CutPrefix(path, "/q/"); ok && ask.CheckID(id) == nil && !slices.Contains(records, id) {
			records = append(records, id)
		}
		parts[i] = func(ctx context.Context) (pages.Section, error) {
			var section pages.Section
			section, lasting[i] = p.casePart(ctx, i, frozen[i])
			return section, nil
		}
	}
	form.Fields = append(form.Fields, pages.Field{Name: caseName, Label: "add a page: its link", Hint: "/q/4058e593 or a whole link", ID: "case-link"})
	if len(records) > 0 {
		// A file that says the same, with the records and their proofs.
		p.command([]string{"report", "-o", "case.zip"}, records, nil)
	}
	sections := p.together(ctx, parts...)
	// Only the page itself knows what its times and names mean. From here on its link has absolute times and whole hashes.
	for i, link := range lasting {
		if link != "" {
			frozen[i] = link
		}
		form.Hidden = append(form.Hidden, pages.Field{Name: caseName, Value: string(frozen[i])})
	}
	p.values[caseName] = texts(frozen)
	about := pages.Section{Form: form}
	if len(links) == 0 {
		about.About = line(pages.Words("Each page has a link that starts a case with it. Add more pages by their links. The address of this page has all of them: keep it, send it, or print the page."))
	}
	for i := range frozen {
		rest := slices.Delete(slices.Clone(frozen), i, i+1)
		tools := line(pages.To(frozen[i], "Open this page"), pages.To(p.caseAddress(title, rest), "Take it out"))
		if i > 0 {
			up := slices.Clone(frozen)
			up[i-1], up[i] = up[i], up[i-1]
			tools = append(tools, pages.To(p.caseAddress(title, up), "Move it up"))
		}
		sections[i].Links = append(sections[i].Links, tools...)
	}
	p.page.Sections = append([]pages.Section{about}, sections...)
	return nil
}

// texts are addresses as values of a parameter.
func texts(addresses []phrase.Address) []string {
	list := make([]string, len(addresses))
	for i, a := range addresses {
		list[i] = string(a)
	}
	return list
}

func (p *sheet) caseAddress(title string, links []phrase.Address) phrase.Address {
	values := url.Values{caseName: texts(links)}
	if title != "" {
		values.Set("title", title)
	}
	return p.withValues("/case", values)
}

// caseLink reads the link of a page: its path and parameters, with or without the name of a server before it.
func (s *Server) caseLink(link string) (string, url.Values, error) {
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil || !strings.HasPrefix(u.EscapedPath(), "/") || strings.HasPrefix(u.EscapedPath(), "//") {
		return "", nil, fmt.Errorf("want the link of a page, as /q/4058e593")
	}
	if u.Host != "" && !s.options.AnyHost && !s.knowsHost(u.Host) {
		return "", nil, fmt.Errorf("the link is one of another server")
	}
	if r, err := http.NewRequest(http.MethodGet, u.EscapedPath(), nil); err != nil || !s.canBePart(r) {
		return "", nil, fmt.Errorf("%s is no page that can be a part of a case", pages.Cut(u.Path, longest))
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", nil, fmt.Errorf("the parameters of the link cannot be read")
	}
	return u.EscapedPath(), values, nil
}

// canBePart reports whether a request is for a page that can be a part of a case.
func (s *Server) canBePart(r *http.Request) bool {
	_, pattern := s.mux.Handler(r)
	route := s.byPath[pattern]
	return route != nil && route.part
}

// casePart is a page of a case, with the link that shows it at any time.
func (p *sheet) casePart(ctx context.Context, i int, link phrase.Address) (section pages.Section, lasts phrase.Address) {
	section = pages.Section{ID: fmt.Sprintf("part-%d", i+1), Part: true}
	c := &collector{}
	// What goes wrong in a part stands in that part. It is no problem of the request, and the parts run at the same time.
	ctx = context.WithValue(ctx, requestKey, &request{id: requestID(p.r)})
	for range 2 { // the beginning of an id leads to the page of the whole one
		r, err := http.NewRequestWithContext(context.WithValue(ctx, collectorKey{}, c), http.MethodGet, string(link), nil)
		if err != nil {
			section.Heading, section.Failed = string(link), "its link cannot be read"
			return section, ""
		}
		r.Header.Set("Accept", "text/html")
		if !p.s.canBePart(r) { // as the page that another one led to
			section.Heading, section.Failed = string(link), "there is no such page"
			return section, ""
		}
		p.s.mux.ServeHTTP(&outline{header: http.Header{}}, r)
		if c.redirect == "" {
			break
		}
		link, c.redirect = c.redirect, ""
	}
	switch {
	case c.problem != nil:
		section.Heading, section.Failed = string(link), c.problem.Error()
	case c.page == nil:
		section.Heading, section.Failed = string(link), "there is no such page"
	default:
		lasts = c.page.Frozen
		section.Heading = c.page.Title
		section.About = append(line(pages.Dimmed(c.page.Kind)), pages.Dimmed("As of "+c.page.AsOf+" records, times in "+c.page.Zone.Name+"."))
		for _, one := range c.page.Sections {
			one.ID = "" // two parts may have the same
			one.Form = nil
			one.Live = nil
			if one.Heading == "Look further" || empty(&one) {
				continue
			}
			section.Sections = append(section.Sections, withoutIDs(one))
		}
	}
	return section, lasts
}

// withoutIDs takes the fragments out of a section, since two parts of a case may have the same.
func withoutIDs(s pages.Section) pages.Section {
	s.ID = ""
	s.Sections = slices.Clone(s.Sections)
	for i := range s.Sections {
		s.Sections[i] = withoutIDs(s.Sections[i])
	}
	return s
}
