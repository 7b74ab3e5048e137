package web

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// pageRoutes are the pages.
func (s *Server) pageRoutes() []route {
	page := func(path string, t takes, fill func(context.Context, *sheet) error) route {
		t.zone = true
		t.own = append(t.own, asOfName)
		return route{method: http.MethodGet, path: path, scope: ScopeRead, page: true, takes: t, handle: s.shown(fill)}
	}
	part := func(path string, t takes, fill func(context.Context, *sheet) error) route {
		r := page(path, t, fill)
		r.part = true
		return r
	}
	filtered := takes{filter: true}
	routes := []route{
		part("/{$}", only("from", "to"), s.nowPage),
		part("/timeline", takes{filter: true, without: []string{"limit", "desc"}, own: []string{"by"}}, s.timelinePage),
		part("/list", takes{filter: true, own: []string{afterName}}, s.listPage),
		part("/q/{id}", takes{own: []string{"low-confidence", upName}}, s.tracePage),
		part("/q/{id}/record", takes{}, s.recordPage),
		part("/impact/{hash}", takes{filter: true, without: []string{"assertion", "source"}, own: []string{"source", "count", depthName, anyOrderName}}, s.impactPage),
		part("/answers", takes{filter: true, without: []string{"subject", "predicate", "not-subject", "not-predicate"}, own: []string{"subject", "predicate", "flips"}}, s.answersPage),
		part("/diff/{a}/{b}", takes{}, s.diffPage),
		part("/agents", filtered, s.agentsPage),
		part("/agents/{id}", only("from", "to"), s.agentPage),
		part("/top", takes{filter: true, own: []string{"by", "rank", "new-since", figuresName}}, s.topPage),
		part("/compare", takes{filter: true, without: []string{"desc"}, own: []string{"by", withName, andName}}, s.comparePage),
		page("/find", takes{own: []string{"q"}}, s.findPage),
		page("/tail", takes{}, s.tailPage),
		page("/case", takes{own: []string{"title", caseName}, many: []string{caseName}}, s.casePage),
		page("/health", takes{}, s.healthPage),
		page("/api", takes{}, s.apiPage),
		{method: http.MethodGet, path: "/tail/rows", scope: ScopeRead, page: true, takes: takes{zone: true, own: []string{afterName}}, handle: s.tailRows},
		{method: http.MethodGet, path: "/go/{page...}", scope: ScopeRead, page: true, takes: takes{own: formNames(), many: manyNames()}, handle: s.goTo},
		{method: http.MethodGet, path: pages.AssetsPath, open: true, alive: true, takes: takes{}, handle: func(w http.ResponseWriter, r *http.Request, _ *question) error {
			if !pages.ServeAsset(w, r) {
				return problem(kindNoRoute, "there is nothing under %s", pathShown(r))
			}
			return nil
		}},
	}
	return routes
}

// pageParts is how many expensive parts of pages run at the same time.
const pageParts = 4

// only is the filter of a page that takes a few of its parameters.
func only(names ...string) takes {
	t := takes{filter: true}
	for _, p := range ask.Parameters() {
		if !slices.Contains(names, p.Name) && parameterName(p.Name) != asOfName {
			t.without = append(t.without, p.Name)
		}
	}
	return t
}

// shown makes the handler of a page from a function that fills it in.
func (s *Server) shown(fill func(context.Context, *sheet) error) func(http.ResponseWriter, *http.Request, *question) error {
	return func(w http.ResponseWriter, r *http.Request, q *question) error {
		p, err := s.sheet(r, q)
		if err != nil {
			return err
		}
		if err := fill(r.Context(), p); err != nil {
			refused := s.problemOf(err)
			refused.sheet = p
			return refused
		}
		if errors.Is(context.Cause(r.Context()), errEnding) {
			return errEnding // its parts have failed because of that
		}
		if p.redirect != "" {
			if c := collectorOf(r.Context()); c != nil {
				c.redirect = p.redirect
				return nil
			}
			http.Redirect(w, r, string(p.redirect), http.StatusFound)
			return nil
		}
		p.finish(r.Context())
		if c := collectorOf(r.Context()); c != nil {
			c.page = &p.page
			return nil
		}
		return writePage(w, http.StatusOK, &p.page)
	}
}

// writePage sends a page. Nothing of it is kept by a browser or a proxy: it may show what not everybody may see, and the present.
func writePage(w http.ResponseWriter, status int, p *pages.Page) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return pages.Render(&whole{w: w, status: status}, p)
}

// A whole sends a status with the first bytes. A page that cannot be rendered has none, so its error can still have a status of its own.
type whole struct {
	w      http.ResponseWriter
	status int
}

func (w *whole) Write(b []byte) (int, error) {
	w.w.WriteHeader(w.status)
	return w.w.Write(b)
}

// problemPage shows a problem to a person. It reports false when there is no page for it, and then has written nothing.
func (s *Server) problemPage(w http.ResponseWriter, r *http.Request, p *Problem) bool {
	if c := collectorOf(r.Context()); c != nil {
		c.problem = p
		return true
	}
	page := &pages.Page{Frame: pages.Frame{
		Title: p.Title, Kind: fmt.Sprintf("%d", p.Status), Heading: []pages.Part{pages.Words(p.Title)}, Bare: true,
	}}
	s.furnish(r, page)
	section := pages.Section{Facts: []pages.Fact{}}
	if p.Detail != "" {
		section.About = []pages.Part{pages.Value(p.Detail)}
		if p.Field != "" && !strings.HasPrefix(p.Detail, p.Field) {
			section.About = []pages.Part{pages.Value(p.Field + ": " + p.Detail)}
		}
	}
	switch k := p.kind; {
	case k == nil:
	case k.person != "":
		section.Facts = append(section.Facts, pages.Fact{Name: "try", Value: []pages.Part{pages.Words(k.person)}})
	default:
		section.Facts = append(section.Facts,
			pages.Fact{Name: "it means", Value: []pages.Part{pages.Words(k.means)}}, pages.Fact{Name: "try", Value: []pages.Part{pages.Words(k.try)}})
	}
	if p.RequestID != "" {
		section.Facts = append(section.Facts, pages.Fact{Name: "request", Value: []pages.Part{{Text: p.RequestID, Style: pages.Code}}})
	}
	if p.Status == http.StatusUnauthorized {
		section.Links = append(section.Links, pages.To(loginAddress(r), "Log in"))
	}
	page.Sections = []pages.Section{section}
	if len(p.Candidates) > 0 {
		perhaps := pages.Section{Heading: "Perhaps you mean"}
		for _, c := range p.Candidates {
			perhaps.Links = append(perhaps.Links, pages.Part{Text: c, Stored: true, Link: p.with(c)})
		}
		page.Sections = append(page.Sections, perhaps)
	}
	page.Find = r.PathValue("id")
	if typed := s.typed(r, p); typed != nil && !page.Bare {
		if form := typed.typedForm(p.Field); form != nil {
			page.Sections = append(page.Sections, pages.Section{Heading: "What was typed", Form: form})
		}
	}
	return writePage(w, p.Status, page) == nil
}

// typed is the page that was asked for, as far as the form with what was typed needs it. A request whose parameters cannot be read has no page
// yet. It is nil when nothing can be read of them.
func (s *Server) typed(r *http.Request, p *Problem) *sheet {
	if p.sheet != nil {
		return p.sheet
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil
	}
	if p.Field == zoneName || p.Field == asOfName { // every link of a page keeps these: a wrong one must not stay
		delete(values, p.Field)
	}
	typed := &sheet{s: s, r: r, q: &question{values: values}, path: r.URL.Path, values: without(values, zoneName, asOfName)}
	if n, err := strconv.ParseUint(values.Get(asOfName), 10, 64); err == nil {
		typed.asOf, typed.frozen = n, true
	}
	return typed
}

// with is the address of the page that was asked for, with a candidate in place of what was typed. Where no parameter of the page has that, it
// is the page that finds out what the candidate is.
func (p *Problem) with(candidate string) phrase.Address {
	var unknown *audit.UnknownError
	var ambiguous *audit.AmbiguousError
	typed := ""
	switch {
	case errors.As(p.cause, &unknown):
		typed = unknown.Name
	case errors.As(p.cause, &ambiguous):
		typed = ambiguous.Name
	}
	if p.sheet == nil || typed == "" {
		return findAddress(candidate)
	}
	values := maps.Clone(p.sheet.values)
	at := slices.Index(values[p.Field], typed)
	if at < 0 {
		return findAddress(candidate)
	}
	values[p.Field] = slices.Clone(values[p.Field])
	values[p.Field][at] = candidate
	return p.sheet.withValues(p.sheet.path, values)
}

// furnish gives a page that everybody may see what only those get who may read: the navigation, and how many records there are.
func (s *Server) furnish(r *http.Request, page *pages.Page) {
	if s.mayRead(r) {
		page.Bare, page.Status = false, s.status()
	}
}

// kindsPage shows a person what errors mean.
func (s *Server) kindsPage(w http.ResponseWriter, r *http.Request, all []*kind) error {
	page := &pages.Page{Frame: pages.Frame{Title: "What errors mean", Kind: "For programs", Heading: []pages.Part{pages.Words("What errors mean")}, Bare: true}}
	s.furnish(r, page)
	table := &pages.Table{Caption: "A program gets these as JSON, with the type /problems/ and the word in the first column", Columns: []pages.Column{
		{Name: "type"}, {Name: "status", Right: true}, {Name: "title"}, {Name: "it means"}, {Name: "try"}}}
	for _, k := range all {
		table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
			line(pages.Part{Text: k.slug, Style: pages.Code, Link: phrase.To("/problems/"+k.slug, nil)}), line(pages.Words(strconv.Itoa(k.status))),
			line(pages.Words(k.title)), line(pages.Words(k.means)), line(pages.Words(k.try))}})
	}
	page.Sections = []pages.Section{{Table: table}}
	return writePage(w, http.StatusOK, page)
}

// formNames are the names of the fields of all forms.
func formNames() []string {
	names := []string{zoneName, asOfName, "by", "rank", "new-since", "flips", "source", withName, andName, figuresName, depthName, anyOrderName}
	for _, p := range ask.Parameters() {
		names = append(names, parameterName(p.Name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// manyNames are those of them that may be given several times.
func manyNames() []string {
	var names []string
	for _, p := range ask.Parameters() {
		if p.Many {
			names = append(names, parameterName(p.Name))
		}
	}
	return names
}
