package web_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// someTokens are tokens that a test can take away.
type someTokens struct {
	mu sync.Mutex
	of map[string]web.Principal
}

func (s *someTokens) Lookup(secret string) (web.Principal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.of[secret]
	return p, ok
}

func (s *someTokens) revoke(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, secret)
}

// A clock is the time of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A site is a server with tokens of a test.
type site struct {
	*web.Server
	t      *testing.T
	tokens *someTokens
	clock  *clock
	log    *strings.Builder
}

func newSite(t *testing.T) *site {
	t.Helper()
	db, err := audit.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &site{
		t: t, clock: &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, log: new(strings.Builder),
		tokens: &someTokens{of: map[string]web.Principal{
			"asql_reader": {ID: "reader", Scopes: web.ScopeRead},
			"asql_writer": {ID: "writer", Scopes: web.ScopeWrite},
			"asql_all":    {ID: "all", Scopes: web.AllScopes},
		}},
	}
	s.Server = web.Handler(db, web.Options{Tokens: s.tokens, Now: s.clock.Now, Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	return s
}

// visit sends a request as a browser on this machine does.
func (s *site) visit(method, target, body string, change ...func(*http.Request)) *http.Response {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = "127.0.0.1:7070", "127.0.0.1:50000"
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func cookieOf(t *testing.T, resp *http.Response) *http.Cookie {
	t.Helper()
	cookies := resp.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("status %d, cookies %v", resp.StatusCode, cookies)
	}
	return cookies[0]
}

// in reports whether a cookie is good for reading.
func (s *site) in(c *http.Cookie) bool {
	s.t.Helper()
	switch resp := s.visit(http.MethodGet, "/v1/recent", "", func(r *http.Request) { r.AddCookie(c) }); resp.StatusCode {
	case http.StatusOK:
		return true
	case http.StatusUnauthorized:
		return false
	default:
		s.t.Fatalf("status %d", resp.StatusCode)
		return false
	}
}

func form(token, next string) string { return url.Values{"token": {token}, "next": {next}}.Encode() }

// Who has a token that may read logs in with it; the cookie is for reading alone, is not for scripts and other sites, and ends with
// the token, with its time and with a logout.
func TestLoggingInWithAToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for token, status := range map[string]int{"": http.StatusUnauthorized, "asql_wrong": http.StatusUnauthorized, "asql_writer": http.StatusForbidden} {
		resp := s.visit(http.MethodPost, "/login", form(token, "/"))
		if resp.StatusCode != status || len(resp.Cookies()) > 0 {
			t.Errorf("%q: status %d, cookies %v", token, resp.StatusCode, resp.Cookies())
		}
	}
	login := func(token string) *http.Cookie {
		return cookieOf(t, s.visit(http.MethodPost, "/login", form(token, "/")))
	}
	c := login("asql_all")
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" || c.Domain != "" || c.Name != "auditsql_7070" || strings.Contains(c.Value, "asql_") {
		t.Errorf("the cookie is %v", c)
	}
	if !s.in(c) {
		t.Error("it is not good for reading")
	}
	if resp := s.visit(http.MethodPost, "/v1/audits", `{"timestamp":1,"params":{},"result_confidence":1}`, func(r *http.Request) { r.AddCookie(c) },
		with("Content-Type", "application/json")); resp.StatusCode != http.StatusForbidden {
		t.Errorf("it writes: status %d", resp.StatusCode)
	} else if said, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(said), "the log-in of a browser is for reading only") {
		t.Errorf("it says of the log-in, not of its token: %s, %v", said, err)
	}
	if s.in(&http.Cookie{Name: c.Name, Value: c.Value + "A"}) || s.in(&http.Cookie{Name: c.Name, Value: ""}) {
		t.Error("another value is good")
	}
	s.clock.forward(13 * time.Hour)
	if s.in(c) {
		t.Error("it is good for ever")
	}
	first, second := login("asql_all"), login("asql_reader")
	s.tokens.revoke("asql_all")
	if s.in(first) || !s.in(second) {
		t.Error("a log-in does not end with its token, or with another one")
	}
	if resp := s.visit(http.MethodPost, "/logout", "", func(r *http.Request) { r.AddCookie(second) }); resp.StatusCode != http.StatusSeeOther || cookieOf(t, resp).MaxAge >= 0 {
		t.Errorf("logout: status %d, %v", resp.StatusCode, resp.Cookies())
	}
	if s.in(second) {
		t.Error("it is good after the logout")
	}
	for _, secret := range []string{"asql_", c.Value, first.Value} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log has %s in it", secret)
		}
	}
}

// Under TLS, of this server or of a proxy, the cookie is for TLS alone.
func TestTheCookieUnderTLS(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := cookieOf(t, s.visit(http.MethodPost, "/login", form("asql_reader", "/"), with("X-Forwarded-Proto", "https")))
	if !c.Secure || !strings.HasPrefix(c.Name, "__Host-") {
		t.Errorf("the cookie is %v", c)
	}
}

// A link logs in once, for a quarter of an hour, and not when a browser only prepares to open it.
func TestALinkIsGoodOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	link := s.LoginLink()
	for name, c := range map[string]func() *http.Response{
		"a look at the header": func() *http.Response { return s.visit(http.MethodHead, link, "") },
		"a prefetch": func() *http.Response {
			return s.visit(http.MethodGet, link, "", with("Sec-Purpose", "prefetch;prerender"))
		},
	} {
		if resp := c(); len(resp.Cookies()) > 0 {
			t.Errorf("%s uses the link", name)
		}
	}
	c := cookieOf(t, s.visit(http.MethodGet, link, ""))
	if !s.in(c) {
		t.Error("it does not log in")
	}
	if resp := s.visit(http.MethodGet, link, ""); resp.StatusCode != http.StatusUnauthorized || len(resp.Cookies()) > 0 {
		t.Errorf("the second time: status %d, cookies %v", resp.StatusCode, resp.Cookies())
	}
	if resp := s.visit(http.MethodGet, link, "", func(r *http.Request) { r.AddCookie(c) }); resp.StatusCode != http.StatusOK || resp.Header.Get("Refresh") != "0; url=/" {
		t.Errorf("again by the same person: status %d, %v", resp.StatusCode, resp.Header)
	}
	late := s.LoginLink()
	s.clock.forward(16 * time.Minute)
	if resp := s.visit(http.MethodGet, late, ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("too late: status %d", resp.StatusCode)
	}
	if s.visit(http.MethodGet, "/login?once=", "").StatusCode != http.StatusUnauthorized {
		t.Error("an empty link logs in")
	}
}

// After a log-in the person gets to the page that was asked for, and never to another site.
func TestWhereALogInLeads(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for next, want := range map[string]string{
		"/":                        "/",
		"/list?from=2026-11-23T10": "/list?from=2026-11-23T10",
		"":                         "/",
		"///evil.example/":         "/",
		"//evil.example/":          "/",
		"https://evil.example/":    "/",
		`/\evil.example`:           "/",
		"/\tevil":                  "/",
		"javascript:alert(1)":      "/",
		"list":                     "/",
		"/x\r\nSet-Cookie: a=b":    "/",
	} {
		resp := s.visit(http.MethodPost, "/login", form("asql_reader", next))
		if got := resp.Header.Get("Refresh"); got != "0; url="+want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
	resp := s.visit(http.MethodGet, "/login?next="+url.QueryEscape(`/"><script>alert(1)</script>`), "")
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || strings.Contains(string(page), "<script>") {
		t.Errorf("status %d, %v: %s", resp.StatusCode, err, page)
	}
}

// A page of another site can neither log somebody in nor out.
func TestOtherSitesDoNotLogIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/login", "/logout"} {
		if resp := s.visit(http.MethodPost, path, form("asql_reader", "/"), with("Origin", "https://evil.example"), with("Sec-Fetch-Site", "cross-site")); resp.StatusCode != http.StatusForbidden || len(resp.Cookies()) > 0 {
			t.Errorf("%s: status %d, cookies %v", path, resp.StatusCode, resp.Cookies())
		}
	}
}

// Who sends many wrong tokens is slowed down, from that address alone; a valid token from there is still good.
func TestManyWrongTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	get := func(token, from string) int {
		return s.visit(http.MethodGet, "/v1/recent", "", with("Authorization", "Bearer "+token), func(r *http.Request) { r.RemoteAddr = from }).StatusCode
	}
	last := 0
	for range 50 {
		last = get("asql_wrong", "192.0.2.1:1000")
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the last of many has status %d", last)
	}
	if got := get("asql_wrong", "192.0.2.2:1000"); got != http.StatusUnauthorized {
		t.Errorf("another address: status %d", got)
	}
	if got := get("asql_reader", "192.0.2.1:1001"); got != http.StatusOK {
		t.Errorf("a valid token: status %d", got)
	}
	if resp := s.visit(http.MethodPost, "/login", form("asql_wrong", "/"), func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1002" }); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the form: status %d, %v", resp.StatusCode, resp.Header)
	}
	s.clock.forward(time.Minute)
	if got := get("asql_wrong", "192.0.2.1:1000"); got != http.StatusUnauthorized {
		t.Errorf("a minute later: status %d", got)
	}
	for range 30 {
		get("asql_wrong", "[2001:db8::1]:1000")
	}
	if got := get("asql_wrong", "[2001:db8::2]:1000"); got != http.StatusTooManyRequests {
		t.Errorf("a neighbour in the same network: status %d", got)
	}
}
