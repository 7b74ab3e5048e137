package web_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/hostile"
	"github.com/auditsql/auditsql/web"
)

// The incident of these tests: a mail brings a false account, planner pays into it, and support tells it to somebody.
var incidentBegins = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

func pageHash(kind, name string) audit.Hash { return sha256.Sum256([]byte(kind + " " + name)) }

func evidenceOf(fact string, weight float32, source string, l audit.Lifecycle) audit.ContributingAssertion {
	return audit.ContributingAssertion{AssertionHash: pageHash("assertion", fact), Weight: weight, SourceHash: pageHash("source", source), Lifecycle: l}
}

// asks is a record of the incident; the first piece of evidence is its answer.
func asks(after time.Duration, agent, subject, predicate, lens string, evidence ...audit.ContributingAssertion) *audit.QueryAudit {
	id := pageHash("agent", agent)
	q := &audit.QueryAudit{
		AgentID: &id, Timestamp: uint64(incidentBegins.Add(after).UnixMilli()),
		Params: audit.QueryParams{Subject: &subject, Predicate: &predicate, Lens: &lens}, ContributingAssertions: evidence,
	}
	if len(evidence) > 0 {
		result := evidence[0].AssertionHash
		q.ResultHash, q.ResultConfidence = &result, evidence[0].Weight
	}
	return q
}

func incident() []*audit.QueryAudit {
	const supplier, account = "supplier/Northwind", "payment_account"
	right := evidenceOf("right", 0.97, "contract", audit.Approved)
	known := asks(11*time.Minute, "planner", supplier, account, "Consensus", right)
	approved := audit.Approved
	known.Params.Lifecycle = &approved
	filed := asks(42*time.Minute, "mailbot", supplier, account, "Recency", evidenceOf("false", 0.41, "mail 7731", audit.Proposed))
	filed.Attributes = map[string]any{"sender": "billing@northw1nd.example"}
	paid := asks(49*time.Minute, "planner", supplier, account, "Recency", evidenceOf("false", 0.62, "mail 7731", audit.Proposed), evidenceOf("right", 0.38, "contract", audit.Approved))
	paid.Attributes = map[string]any{"trace_id": "pay-20931", "amount": 48200, "urgent": true}
	told := asks(52*time.Minute, "support", supplier, account, "Recency", evidenceOf("false", 0.62, "mail 7731", audit.Proposed))
	anonymous := asks(53*time.Minute, "nobody", "product/A100", "stock_level", "Recency", evidenceOf("stock", 0.9, "shop", audit.Unstated))
	anonymous.AgentID = nil
	records := []*audit.QueryAudit{known, filed, paid, told, anonymous}
	for i := range 24 {
		records = append(records, asks(time.Duration(i)*2*time.Minute+time.Duration(i)*137*time.Millisecond, []string{"planner", "support", "analyst"}[i%3],
			fmt.Sprintf("product/%d", i%4), "stock_level", "Recency", evidenceOf(fmt.Sprint("stock ", i/4), float32(70+i)/100, "shop", audit.Approved)))
	}
	return records
}

// hostileTexts are texts that could be taken for markup, addresses, flags, or other texts.
func hostileTexts() []string {
	texts := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `' onmouseover='x`, "a\u202eb\u202cc", "\x1b[31mred",
		strings.Repeat("very-long-", 300), "{{.}}", "a&amp;b", "'); DROP TABLE audit;--", "שלום עולם", "line\nbreak\ttab", "-n", "--flag", "$(id)", "`id`", "e\u0301\u0301\u0301\u0301\u0301",
		"data:text/html,x", "//evil.example/x", "?a=b&c=d#e", "*[?", " lead", "trail ", "", "%2e%2e", "a\\b",
	}
	for i := range 30 {
		texts = append(texts, hostile.Text().Example(i))
	}
	return texts
}

func hostileRecords() []*audit.QueryAudit {
	texts := hostileTexts()
	var records []*audit.QueryAudit
	for i, s := range texts {
		q := asks(time.Duration(i)*31*time.Second, fmt.Sprint("agent", i%5), s, texts[(i+3)%len(texts)], texts[(i+7)%len(texts)],
			evidenceOf(fmt.Sprint("fact", i%6), 0.5, fmt.Sprint("source", i%3), audit.Lifecycle(i%6)), evidenceOf("shared", -3, "source0", audit.Approved))
		q.Attributes = map[string]any{s: texts[(i+1)%len(texts)], "trace_id": s}
		records = append(records, q)
	}
	return records
}

var pageLabels = []audit.Label{
	{Hash: pageHash("agent", "planner"), Label: "planner"}, {Hash: pageHash("agent", "mailbot"), Label: "mailbot"}, {Hash: pageHash("source", "mail 7731"), Label: "mail 7731"},
	{Hash: pageHash("agent", "agent0"), Label: `<b>bold</b> & "q"`}, {Hash: pageHash("source", "source0"), Label: "javascript:alert(1)"}, {Hash: pageHash("assertion", "fact1"), Label: "שלום"},
}

// A browser without a script looks at the pages of a store.
type pageReader struct {
	t  *testing.T
	db *audit.DB
	h  http.Handler

	now time.Time
}

// present is the time of these tests: the newest record of the incident is half an hour old.
var present = incidentBegins.Add(85 * time.Minute)

func openPages(t *testing.T, records []*audit.QueryAudit, change ...func(*web.Options)) *pageReader {
	t.Helper()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p := &pageReader{t: t, db: db, now: present}
	p.put(records)
	if err := db.PutLabels(t.Context(), pageLabels); err != nil {
		t.Fatal(err)
	}
	p.h = pageHandler(db, append([]func(*web.Options){func(o *web.Options) { o.Now = func() time.Time { return p.now } }}, change...)...)
	return p
}

func pageHandler(store web.Store, change ...func(*web.Options)) http.Handler {
	o := web.Options{
		Trusted: &web.Principal{ID: "reader", Scopes: web.ScopeRead}, Now: func() time.Time { return present }, Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	return web.Handler(store, o)
}

// put stores records and waits until questions see them.
func (p *pageReader) put(records []*audit.QueryAudit) {
	p.t.Helper()
	results, err := p.db.PutAudits(p.t.Context(), records)
	if err != nil {
		p.t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil && !strings.Contains(r.Err.Error(), "NUL") {
			p.t.Fatalf("record %d: %v", i, r.Err)
		}
		records[i].QueryID = r.ID
	}
	if err := p.db.AwaitApplied(context.WithoutCancel(p.t.Context())); err != nil {
		p.t.Fatal(err)
	}
}

// fetch asks for an address as a browser does.
func (p *pageReader) fetch(address string) *httptest.ResponseRecorder {
	p.t.Helper()
	r := httptest.NewRequestWithContext(p.t.Context(), http.MethodGet, address, nil)
	r.Host = "127.0.0.1:7070"
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	return w
}

// parse is what a browser gets for an address, a page or an error.
func (p *pageReader) parse(address string) *html.Node {
	p.t.Helper()
	page, err := html.Parse(strings.NewReader(p.fetch(address).Body.String()))
	if err != nil {
		p.t.Fatal(err)
	}
	return page
}

// open asks for a page, and follows where it leads.
func (p *pageReader) open(address string) (shown string, page *html.Node) {
	p.t.Helper()
	for range 4 {
		w := p.fetch(address)
		if to := w.Header().Get("Location"); to != "" {
			if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
				p.t.Fatalf("%s leads to %s", address, to)
			}
			address = to
			continue
		}
		if w.Code != http.StatusOK {
			p.t.Fatalf("%s: status %d: %s", address, w.Code, w.Body)
		}
		page, err := html.Parse(w.Body)
		if err != nil {
			p.t.Fatal(err)
		}
		return address, page
	}
	p.t.Fatalf("%s leads from page to page", address)
	return "", nil
}

// The addresses of all pages, for a record of a store.
func pageAddresses(q *audit.QueryAudit, other *audit.QueryAudit) []string {
	id, assertion, source := q.QueryID.String(), q.ContributingAssertions[0].AssertionHash.String(), q.ContributingAssertions[0].SourceHash.String()
	question := url.Values{"subject": {*q.Params.Subject}, "predicate": {*q.Params.Predicate}}.Encode()
	list := url.Values{"subject": {"*"}, "attr": {"trace_id=x"}, "unapproved": {"true"}, "tz": {"Europe/Berlin"}}.Encode()
	return []string{
		"/", "/timeline", "/timeline?by=hour&from=2026-11-22&to=2026-11-24", "/timeline?by=quarter&from=2026-11-23T09:07", "/list", "/list?desc=true&limit=7", "/list?" + list, "/q/" + id, "/q/" + id + "?up=true", "/q/" + id + "/record",
		"/impact/" + assertion, "/impact/" + source + "?source=true", "/impact/" + assertion + "?depth=all", "/impact/" + source + "?source=true&depth=2&any-order=true&" + list, "/answers", "/answers?" + question, "/answers?flips=true&" + question,
		"/diff/" + id + "/" + other.QueryID.String(), "/agents", "/agents/" + q.AgentID.String(), "/top", "/top?by=subject", "/top?by=assertion&new-since=2026-11-23T10:00",
		"/top?by=agent", "/top?by=lens", "/top?by=attr:trace_id", "/top?by=lifecycle", "/compare", "/compare?by=source&not-agent=" + q.AgentID.String(), "/find", "/find?" + url.Values{"q": {*q.Params.Subject}}.Encode(), "/find?q=nothing-like-this", "/tail", "/health", "/api", "/login",
		"/case", "/case?" + url.Values{"title": {*q.Params.Subject}, "u": {"/q/" + id, "/impact/" + assertion, "/answers?" + question, "/q/00000000"}}.Encode(),
	}
}

// The parts of a page that tests look at.

func nodes(n *html.Node, want func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if want(d) {
			found = append(found, d)
		}
	}
	return found
}

func elements(n *html.Node, name string) []*html.Node {
	return nodes(n, func(d *html.Node) bool { return d.Type == html.ElementNode && d.Data == name })
}

// valueOf is an attribute, "" where there is none.
func valueOf(n *html.Node, name string) string {
	value, _ := attributeOf(n, name)
	return value
}

func attributeOf(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func text(n *html.Node) string {
	var b strings.Builder
	for _, d := range nodes(n, func(d *html.Node) bool { return d.Type == html.TextNode }) {
		b.WriteString(d.Data)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func markup(t *testing.T, n *html.Node) string {
	t.Helper()
	var b strings.Builder
	if err := html.Render(&b, n); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
