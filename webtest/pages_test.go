package webtest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// shown is a page of a store, under a name that can be part of a file's.
type shown struct {
	name, path string
	status     int
}

// found returns the records of a list, as they are stored.
func (s *site) found(query string) (records []audit.QueryAudit) {
	s.t.Helper()
	for raw := range bytes.Lines(s.get("/v1/audits?format=ndjson&" + query)) {
		q, err := audit.ParseAudit(bytes.TrimSpace(raw))
		if err != nil {
			s.t.Fatal(err)
		}
		records = append(records, q)
	}
	return records
}

// pagesOf returns every page about a record and what it names. The record must have an agent, a subject, a predicate, evidence and
// attributes.
func pagesOf(q, other *audit.QueryAudit) []shown {
	of := url.Values{"subject": {*q.Params.Subject}, "predicate": {*q.Params.Predicate}}.Encode()
	fact := q.ContributingAssertions[0].AssertionHash.String()
	return []shown{
		{"home", "/", 200},
		{"timeline", "/timeline?by=minute&from=2026-11-23T10:09&to=2026-11-23T10:28", 200},
		{"list", "/list", 200},
		{"list-nothing", "/list?predicate=nothing", 200},
		{"query", "/q/" + q.QueryID.String(), 200},
		{"record", "/q/" + q.QueryID.String() + "/record", 200},
		{"impact", "/impact/" + fact, 200},
		{"downstream", "/impact/" + fact + "?depth=all", 200},
		{"answers", "/answers?" + of, 200},
		{"diff", "/diff/" + q.QueryID.String() + "/" + other.QueryID.String(), 200},
		{"agents", "/agents", 200},
		{"agent", "/agents/" + q.AgentID.String(), 200},
		{"top", "/top", 200},
		{"compare", "/compare?by=source", 200},
		{"find", "/find?q=" + url.QueryEscape(*q.Params.Subject), 200},
		{"find-nothing", "/find?q=nothing-at-all", 200},
		{"tail", "/tail", 200},
		{"case", "/case?" + url.Values{"u": {"/q/" + q.QueryID.String(), "/impact/" + fact}}.Encode(), 200},
		{"health", "/health", 200},
		{"api", "/api", 200},
		{"login", "/login", 200},
		{"no-record", "/q/" + strings.Repeat("f", 64), 404},
		{"no-page", "/nothing", 404},
		{"wrong-filter", "/list?from=yesterdayish", 400},
		{"wrong-name", "/list?agent=plannr&subject=supplier*", 404},
		{"find-digits", "/find?q=4058", 200},
		{"problems", "/problems", 200},
	}
}

// demoPages are the pages of the demo's payment.
func (s *site) demoPages() []shown {
	s.t.Helper()
	paid, known := s.payment()
	return pagesOf(paid, known)
}

// payment returns the record of the payment, and what the same agent was answered before.
func (s *site) payment() (paid, known *audit.QueryAudit) {
	s.t.Helper()
	payments := s.found("attr=trace_id%3Dpay-20931")
	if len(payments) != 1 {
		s.t.Fatalf("%d records of the payment", len(payments))
	}
	paid = &payments[0]
	for _, q := range s.found("agent=" + paid.AgentID.String() + "&predicate=payment_account") {
		if q.QueryID != paid.QueryID {
			return paid, &q
		}
	}
	s.t.Fatal("no earlier answer")
	return nil, nil
}

// looks are the ways in which every page is checked.
func looks() []look {
	return []look{wide, narrow, wide.inTheDark(), narrow.inTheDark()}
}

// Every page, light and dark, wide and narrow: axe has nothing to say, nothing is wider than the window, the console stays
// empty, and there is one heading of the first order.
func TestPages(t *testing.T) {
	s := serve(t, demo(t))
	pages := s.demoPages()
	for _, l := range looks() {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			b := s.as(t).visit(l)
			for _, p := range pages {
				b.visitPage(s, p)
				b.accessible(p.name)
				b.wellMade(p.name)
			}
		})
	}
}

// as returns the site for a subtest.
func (s *site) as(t testing.TB) *site {
	of := *s
	of.t = t
	return &of
}

// visitPage opens a page. A page of an error makes the browser say so on the console, which is taken from it here.
func (b *tab) visitPage(s *site, p shown) {
	b.t.Helper()
	b.quiet()
	b.open(s.url + p.path)
	if p.status >= 400 {
		for _, said := range b.heard() {
			if !strings.Contains(said, fmt.Sprintf("status of %d", p.status)) {
				b.t.Errorf("%s: on the console: %s", p.name, said)
			}
		}
	}
}

// wellMade checks what must hold on every page.
func (b *tab) wellMade(where string) {
	b.t.Helper()
	if wider := eval[[]string](b, widerThanWindow); len(wider) > 0 {
		b.t.Errorf("%s: wider than the window: %s", where, strings.Join(wider, "\n"))
	}
	if headings := eval[[]string](b, `[...document.querySelectorAll('h1')].map(h => h.innerText)`); len(headings) != 1 || strings.TrimSpace(headings[0]) == "" {
		b.t.Errorf("%s: headings of the first order: %q, want one", where, headings)
	}
	if title := eval[string](b, `document.title`); strings.TrimSpace(title) == "" {
		b.t.Errorf("%s: the page has no title", where)
	}
	if bad := eval[[]string](b, notOurs); len(bad) > 0 {
		b.t.Errorf("%s: what no page may have: %s", where, strings.Join(bad, "\n"))
	}
	for _, said := range b.heard() {
		b.t.Errorf("%s: on the console: %s", where, said)
	}
}

// widerThanWindow are the elements that make the page wider than its window. What scrolls inside of its own box does not.
const widerThanWindow = `(() => {
	const width = document.documentElement.clientWidth
	if (document.documentElement.scrollWidth <= width) return []
	const out = []
	for (const e of document.querySelectorAll('body *')) {
		if (e.getBoundingClientRect().right <= width + 1) continue
		let boxed = false
		for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
			if (getComputedStyle(p).overflowX !== 'visible') boxed = true
		if (!boxed) out.push(e.outerHTML.slice(0, 200) + ' ends at ' + e.getBoundingClientRect().right)
	}
	return out.length ? out.slice(0, 10) : ['the page scrolls to ' + document.documentElement.scrollWidth]
})()`

// notOurs is what only an injection, or a mistake, would bring onto a page: code or styles in the text, and links or resources
// that lead elsewhere.
const notOurs = `[...document.querySelectorAll('*')].flatMap(e => {
	const bad = []
	const say = what => bad.push(what + ': ' + e.outerHTML.slice(0, 200))
	if (['iframe', 'object', 'embed', 'base', 'applet', 'meta[http-equiv]'].some(s => e.matches(s))) say('element')
	if (e.matches('script') && (!e.src || new URL(e.src).origin !== location.origin)) say('script')
	if (e.matches('style')) say('style')
	for (const a of e.attributes) {
		if (/^on/i.test(a.name)) say('handler ' + a.name)
		if (a.name === 'style') say('style')
		if (['href', 'src', 'action', 'formaction', 'xlink:href', 'data', 'poster'].includes(a.name)) {
			const to = new URL(a.value, location.href)
			if (to.origin !== location.origin) say('leads elsewhere')
		}
		if (a.value.includes('ZgotmplZ')) say('a link that the template has refused')
	}
	return bad
})`

// Every page has the headers that keep what is foreign out.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := serve(t, demo(t))
	for _, p := range s.demoPages() {
		status, _, header := s.ask(s.request(http.MethodGet, p.path, nil))
		if status != p.status {
			t.Errorf("%s: status %d, want %d", p.path, status, p.status)
		}
		policy := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy %q has no %s", p.path, policy, want)
			}
		}
		for _, no := range []string{"unsafe", "*", "http:", "https:", "data:"} {
			if strings.Contains(policy, no) {
				t.Errorf("%s: the policy %q has %s", p.path, policy, no)
			}
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "", "Cache-Control": ""} {
			if got := header.Get(name); got == "" || want != "" && got != want {
				t.Errorf("%s: %s is %q, want %q", p.path, name, got, want)
			}
		}
	}
}
