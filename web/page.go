package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/web/internal/pages"
)

// pageRoutes are the pages.
func (s *Server) pageRoutes() []route {
	page := func(path string, t takes, fill func(context.Context, *sheet) error) route {
		t.zone = true
		t.own = append(t.own, asOfName)
		return route{method: http.MethodGet, path: path, scope: ScopeRead, page: true, takes: t, handle: s.shown(fill)}
	}
	filtered := takes{filter: true}
	routes := []route{
		page("/{$}", only("from", "to"), s.nowPage),
		page("/timeline", takes{filter: true, without: []string{"limit", "desc"}, own: []string{"by"}}, s.timelinePage),
		page("/list", takes{filter: true, own: []string{afterName}}, s.listPage),
		page("/q/{id}", takes{own: []string{"low-confidence"}}, s.tracePage),
		page("/q/{id}/record", takes{}, s.recordPage),
		page("/impact/{hash}", takes{filter: true, without: []string{"assertion", "source"}, own: []string{"source", "count"}}, s.impactPage),
		page("/answers", takes{filter: true, without: []string{"subject", "predicate", "not-subject", "not-predicate"}, own: []string{"subject", "predicate", "flips"}}, s.answersPage),
		page("/diff/{a}/{b}", takes{}, s.diffPage),
		page("/agents", filtered, s.agentsPage),
		page("/agents/{id}", only("from", "to"), s.agentPage),
		page("/top", takes{filter: true, own: []string{"by", "rank", "new-since", figuresName}}, s.topPage),
		page("/compare", takes{filter: true, without: []string{"desc"}, own: []string{"by", withName, andName}}, s.comparePage),
		page("/find", takes{own: []string{"q"}}, s.findPage),
		page("/tail", takes{}, s.tailPage),
		page("/case", takes{own: []string{"title", caseName}, many: []string{caseName}}, s.casePage),
		page("/health", takes{}, s.healthPage),
		page("/api", takes{}, s.apiPage),
		{method: http.MethodGet, path: "/tail/rows", scope: ScopeRead, page: true, takes: takes{zone: true, own: []string{afterName}}, handle: s.tailRows},
		{method: http.MethodGet, path: "/go/{page...}", scope: ScopeRead, page: true, takes: takes{own: formNames(), many: manyNames()}, handle: s.goTo},
		{method: http.MethodGet, path: pages.AssetsPath, open: true, alive: true, takes: takes{}, handle: func(w http.ResponseWriter, r *http.Request, _ *question) error {
			pages.Assets().ServeHTTP(w, r)
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
			return err
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
	// Errors have pages for everybody. How many records there are is for those who may read.
	if s.mayRead(r) {
		page.Bare, page.Status = false, s.status()
	}
	section := pages.Section{Facts: []pages.Fact{}}
	if p.Detail != "" {
		section.About = []pages.Part{pages.Value(p.Detail)}
	}
	if p.Field != "" {
		section.Facts = append(section.Facts, pages.Fact{Name: "where", Value: []pages.Part{pages.Value(p.Field)}})
	}
	if k := p.kind; k != nil {
		section.Facts = append(section.Facts,
			pages.Fact{Name: "it means", Value: []pages.Part{pages.Words(k.means)}}, pages.Fact{Name: "try", Value: []pages.Part{pages.Words(k.try)}})
	}
	if p.RequestID != "" {
		section.Facts = append(section.Facts, pages.Fact{Name: "request", Value: []pages.Part{{Text: p.RequestID, Style: pages.Code}}})
	}
	for _, c := range p.Candidates {
		section.Links = append(section.Links, pages.Part{Text: c, Stored: true, Link: findAddress(c)})
	}
	if p.Status == http.StatusUnauthorized {
		section.Links = append(section.Links, pages.To(loginAddress(r), "Log in"))
	}
	page.Sections = []pages.Section{section}
	return writePage(w, p.Status, page) == nil
}

// formNames are the names of the fields of all forms.
func formNames() []string {
	names := []string{zoneName, asOfName, "by", "rank", "new-since", "flips", "source", withName, andName, figuresName}
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
