package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A page of a list, as GET /v1/audits gives it.
type page struct {
	Audits []json.RawMessage `json:"audits"`
	Next   *string           `json:"next"`
	AsOf   uint64            `json:"as_of"`
}

// pages reads a list by following its links.
func (r *rig) pages(path string, between func()) (all []string, n int) {
	r.t.Helper()
	for path != "" {
		a := r.do(http.MethodGet, path, "")
		if a.StatusCode != http.StatusOK {
			r.t.Fatalf("GET %s: %d %s", path, a.StatusCode, a.body)
		}
		var p page
		if err := json.Unmarshal([]byte(a.body), &p); err != nil {
			r.t.Fatal(err)
		}
		for _, raw := range p.Audits {
			all = append(all, string(raw))
		}
		n++
		path = ""
		if link := a.Header.Get("Link"); link != "" {
			target, rel, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
			if rel != `; rel="next"` || p.Next == nil {
				r.t.Fatalf("Link %q, and next %v", link, p.Next)
			}
			path = target
		} else if p.Next != nil {
			r.t.Fatalf("no Link, and next %s", *p.Next)
		}
		if between != nil {
			between()
		}
	}
	return all, n
}

func TestTheLinksOfAListLeadThroughTheListAsItWasAtItsBeginning(t *testing.T) {
	r := serve(t)
	for i := range 23 {
		r.put(record("abc"[i%3], i/2, attribute("i", i))) // two records have each timestamp
	}
	r.applied()
	later := 100
	for _, filter := range []string{"", "desc&", "order=admission&", "agent=" + hash('a').String() + "&", "from=2026-11-23T10:00:02Z&attr=i%3D7&", "subject=nobody&"} {
		whole, pages := r.pages("/v1/audits?"+filter+"limit=1000", nil)
		if pages != 1 {
			t.Fatalf("%q: %d pages of 1000", filter, pages)
		}
		got, n := r.pages("/v1/audits?"+filter+"limit=5", func() {
			later++
			r.put(record('a', later%7, attribute("i", later)))
			r.applied()
		})
		if !slices.Equal(got, whole) {
			t.Errorf("%q: %d records in %d pages, want %d", filter, len(got), n, len(whole))
		}
		if want := max(1, (len(whole)+4)/5); n != want {
			t.Errorf("%q: %d pages, want %d", filter, n, want)
		}
	}
}

func TestAFrozenAnswerStaysTheSame(t *testing.T) {
	r := serve(t)
	ids := make([]string, 6)
	for i := range ids {
		ids[i] = r.put(record("ab"[i%2], i, ""))
	}
	n := r.records()
	const later = "5a17e500" // begins a record, an assertion and a source that come later
	comes := later + strings.Repeat("0", 56)
	paths := []string{"/v1/audits?", "/v1/audits?format=csv&", "/v1/recent?", "/v1/agents?", "/v1/timeline?by=minute&", "/v1/top?by=source&",
		"/v1/impact/" + hash('b').String() + "?", "/v1/answers?subject=supplier/Northwind&predicate=account&",
		"/v1/diff/" + ids[0] + "/" + ids[1][:9] + "?", "/v1/resolve?q=" + ids[0][:8] + "&", "/v1/resolve?q=" + hash('b').String() + "&"}
	before := map[string]string{}
	for _, path := range paths {
		before[path] = r.get(path + "as_of=" + fmt.Sprint(n))
	}
	// What comes later, and what is not there yet, are one and the same to an answer as of a moment.
	absent := func() {
		t.Helper()
		for _, path := range []string{"/v1/diff/" + ids[0] + "/" + comes, "/v1/diff/" + comes + "/" + ids[0], "/v1/diff/" + later + "/" + ids[0],
			"/v1/impact/" + comes, "/v1/impact/" + comes + "?depth=all", "/v1/impact/" + comes + "?source=true", "/v1/audits/" + comes + "/trace"} {
			separator := "?"
			if strings.Contains(path, "?") {
				separator = "&"
			}
			r.fails(http.StatusNotFound, "not-found", http.MethodGet, path+separator+"as_of="+fmt.Sprint(n), "")
		}
		for _, typed := range []string{later, comes} {
			want := `{"q":"` + typed + `","query_ids":[],"hashes":[],"more":false}`
			if got := strings.TrimSpace(r.get("/v1/resolve?q=" + typed + "&as_of=" + fmt.Sprint(n))); got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
		}
		for _, path := range []string{"/q/" + comes, "/q/" + comes + "/record", "/diff/" + comes + "/" + ids[0], "/diff/" + ids[0] + "/" + comes,
			"/impact/" + comes, "/agents/" + comes} {
			if a := r.do(http.MethodGet, path+"?as_of="+fmt.Sprint(n), "", "Accept", "text/html"); a.StatusCode != http.StatusNotFound {
				t.Errorf("%s: status %d", path, a.StatusCode)
			}
		}
	}
	absent()
	for i := range 4 {
		r.put(record("abc"[i%3], i, attribute("later", i)))
	}
	body := record('a', 0, "")
	for _, digit := range "abc" {
		body = strings.ReplaceAll(body, strings.Repeat(string(digit), 64), comes)
	}
	if a := r.do(http.MethodPut, "/v1/audits/"+comes, body); a.StatusCode != http.StatusCreated {
		t.Fatal(a.body)
	}
	r.applied()
	absent()
	for _, path := range []string{"/v1/impact/" + comes, "/v1/diff/" + later + "/" + ids[0], "/agents/" + comes, "/q/" + comes + "/record", "/diff/" + comes + "/" + ids[0]} {
		r.get(path, "Accept", "*/*")
	}
	for _, path := range paths {
		if got := r.get(path + "as_of=" + fmt.Sprint(n)); got != before[path] {
			t.Errorf("%s\n%s\nwas\n%s", path, got, before[path])
		}
	}
	p := r.fails(http.StatusNotFound, "beyond-the-store", http.MethodGet, "/v1/audits?as_of=12", "")
	if p.Records == nil || *p.Records != 11 {
		t.Errorf("%+v", p)
	}
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodGet, "/v1/audits?as_of=-1", "")
}

func TestARecordIsImmutable(t *testing.T) {
	r := serve(t)
	id := r.put(record('a', 0, ""))
	a := r.do(http.MethodGet, "/v1/audits/"+id, "")
	tag := a.Header.Get("ETag")
	if a.StatusCode != http.StatusOK || tag != `"`+id+`"` || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") || a.Header.Get("Content-Encoding") != "" {
		t.Fatalf("status %d, %v", a.StatusCode, a.Header)
	}
	for _, value := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if again := r.do(http.MethodGet, "/v1/audits/"+id, "", "If-None-Match", value); again.StatusCode != http.StatusNotModified || again.body != "" {
			t.Errorf("If-None-Match %s: status %d, %q", value, again.StatusCode, again.body)
		}
	}
	if head := r.do(http.MethodHead, "/v1/audits/"+id, ""); head.StatusCode != http.StatusOK || head.body != "" || head.ContentLength != int64(len(a.body)) {
		t.Errorf("HEAD: status %d, length %d", head.StatusCode, head.ContentLength)
	}
	r.applied()
	if short := r.do(http.MethodGet, "/v1/audits/"+id[:9], ""); short.Request.URL.Path != "/v1/audits/"+id || short.body != a.body {
		t.Errorf("the first digits lead to %s", short.Request.URL)
	}
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/audits/"+hash('e').String(), "")
	r.fails(http.StatusNotFound, "no-such-path", http.MethodGet, "/assets/style.css", "") // an asset has its hash in its name
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/audits/"+hash('e').String()[:12], "")
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodGet, "/v1/audits/xyz", "")
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodGet, "/v1/audits/"+id[:7], "")
}

func TestParametersThatAreWrongAreNamed(t *testing.T) {
	r := serve(t)
	id := r.put(record('a', 0, ""))
	r.applied()
	for path, field := range map[string]string{
		"/v1/audits?agnet=a":                           "agnet",
		"/v1/audits?as-of=1":                           "as-of",
		"/v1/audits?limit=1001":                        "limit",
		"/v1/audits?limit=0":                           "limit",
		"/v1/audits?limit=x":                           "limit",
		"/v1/audits?limit=1&limit=2":                   "limit",
		"/v1/audits?from=soon":                         "from",
		"/v1/audits?from=2026-11-24&to=2026-11-23":     "from",
		"/v1/audits?window=5m":                         "window",
		"/v1/audits?after=1":                           "after",
		"/v1/audits?order=size":                        "order",
		"/v1/audits?tz=Nowhere":                        "tz",
		"/v1/audits?tz=UTC&tz=UTC":                     "tz",
		"/v1/audits?consistency=eventual":              "consistency",
		"/v1/audits?csv-safe":                          "csv-safe",
		"/v1/audits/" + id + "/trace?neighbours=-1":    "neighbours",
		"/v1/audits/" + id + "/trace?low-confidence=x": "low-confidence",
		"/v1/audits/" + id + "?x=1":                    "x",
		"/v1/answers?subject=x":                        "predicate",
		"/v1/timeline?by=week":                         "by",
		"/v1/top?by=weather":                           "by",
		"/v1/top?new-since=soon":                       "new-since",
		"/v1/top?limit=0":                              "limit",
		"/v1/resolve":                                  "q",
		"/v1/tail?after=x":                             "after",
		"/v1/impact/" + id[:4] + "?source=maybe":       "source",
		"/v1/impact/" + id[:8] + "?depth=0":            "depth",
		"/v1/impact/" + id[:8] + "?depth=all&limit=0":  "limit",
		"/v1/impact/" + id[:8] + "?any-order":          "any-order",
		"/v1/impact/" + id[:8] + "?format=dot":         "format",
		"/v1/impact/" + id[:8] + "?depth=1&desc":       "desc",
		"/v1/audits/" + id + "/trace?up=perhaps":       "up",
		"/v1/audits/" + id + "/trace?format=dot":       "format",
		"/v1/audits/" + id + "/trace?up&neighbours=1":  "neighbours",
		"/v1/audits?a%0Ab=1":                           `"a\nb"`,
		"/healthz?verbose":                             "verbose",
	} {
		if p := r.fails(http.StatusBadRequest, "bad-parameter", http.MethodGet, path, ""); p.Field != field {
			t.Errorf("%s: the field is %q, and the detail %q", path, p.Field, p.Detail)
		}
	}
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodGet, "/v1/audits?agent=%zz", "")
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/audits?agent=nobody", "")
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/impact/"+hash('e').String(), "")
}

func TestTheFormOfAnAnswer(t *testing.T) {
	r := serve(t)
	id := r.put(record('a', 0, attribute("a", "=1+1")))
	r.applied()
	for accept, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/*": "application/json", "text/csv": "text/csv",
		"application/x-ndjson, application/json;q=0.5": "application/x-ndjson", "application/jsonl": "application/x-ndjson",
		"text/csv;q=0.1, application/json;q=0": "text/csv", "nonsense": "application/json", "text/html;q=0.2, application/json;q=0.1": "application/json",
	} {
		a := r.do(http.MethodGet, "/v1/audits", "", "Accept", accept)
		if got, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";"); a.StatusCode != http.StatusOK || got != want {
			t.Errorf("Accept %q: status %d, %s", accept, a.StatusCode, got)
		}
	}
	r.fails(http.StatusNotAcceptable, "not-acceptable", http.MethodGet, "/v1/audits", "", "Accept", "image/png")
	r.fails(http.StatusNotAcceptable, "not-acceptable", http.MethodGet, "/v1/audits/"+id, "", "Accept", "text/csv")
	r.fails(http.StatusNotAcceptable, "not-acceptable", http.MethodGet, "/v1/audits?format=table", "")
	if got := r.get("/v1/audits?format=csv&csv-safe&limit=1"); !strings.Contains(got, `supplier/Northwind`) {
		t.Errorf("%s", got)
	}
}

func TestWhatHasNoRoute(t *testing.T) {
	r := serve(t)
	r.fails(http.StatusNotFound, "no-such-path", http.MethodGet, "/v2/audits", "")
	r.fails(http.StatusNotFound, "no-such-path", http.MethodPost, "/v1/", "")
	for path, allow := range map[string]string{"/v1/audits": "GET, HEAD, POST", "/v1/labels/x": "DELETE, GET, HEAD, PUT", "/v1/verify": "POST"} {
		a := r.do(http.MethodPatch, path, "")
		if p := a.problem(t); p.Type != "/problems/method" || a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != allow {
			t.Errorf("%s: status %d, Allow %q, %+v", path, a.StatusCode, a.Header.Get("Allow"), p)
		}
	}
	long := r.fails(http.StatusNotFound, "no-such-path", http.MethodGet, "/"+strings.Repeat("x", 5000), "")
	if len(long.Detail) > 300 {
		t.Errorf("the detail has %d bytes", len(long.Detail))
	}
}

func TestLabelsOverTheAPI(t *testing.T) {
	r := serve(t)
	r.put(record('a', 0, ""))
	r.applied()
	agent := "/v1/labels/" + hash('a').String()
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, agent, "")
	want := `{"hash":"` + hash('a').String() + `","label":"planner"}` + "\n"
	if a := r.do(http.MethodPut, agent[:len(agent)-40], `{"label":"planner"}`); a.StatusCode != http.StatusOK || a.body != want {
		t.Fatalf("status %d, %s", a.StatusCode, a.body)
	}
	if got := r.get("/v1/labels/planner"); got != want {
		t.Errorf("%s", got)
	}
	if got := r.get("/v1/agents"); !strings.Contains(got, `"agent_label":"planner"`) {
		t.Errorf("%s", got)
	}
	if a := r.do(http.MethodHead, "/v1/agents/planner", ""); a.StatusCode != http.StatusOK {
		t.Errorf("status %d", a.StatusCode)
	}
	if a := r.do(http.MethodHead, "/v1/agents/"+hash('b').String(), ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("status %d", a.StatusCode)
	}
	for _, body := range []string{"", "{}", `{"label":""}`, `{"label":1}`, `{"label":"` + strings.Repeat("x", 65) + `"}`, `{"label":"\u001b[2J"}`} {
		a := r.do(http.MethodPut, agent, body)
		if p := a.problem(t); p.Status != http.StatusBadRequest && p.Status != http.StatusUnprocessableEntity {
			t.Errorf("%q: %+v", body, p)
		}
	}
	both := `[{"hash":"` + hash('b').String() + `","label":"fact"},{"hash":"` + hash('c').String() + `","label":"%s"}]`
	if p := r.fails(http.StatusUnprocessableEntity, "invalid", http.MethodPut, "/v1/labels", fmt.Sprintf(both, `\u0007`)); p.Field != "[1].label" {
		t.Errorf("%+v", p)
	}
	if got := lines(t, r.get("/v1/labels?format=ndjson")); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if a := r.do(http.MethodPut, "/v1/labels", fmt.Sprintf(both, "mail")); a.StatusCode != http.StatusOK || a.body != `{"labels":2}`+"\n" {
		t.Errorf("status %d, %s", a.StatusCode, a.body)
	}
	if got := r.get("/v1/resolve?q=mail"); got != `{"q":"mail","query_ids":[],"hashes":[{"hash":"`+hash('c').String()+`","label":"mail","agent":false,"assertion":false,"source":true}],"more":false}`+"\n" {
		t.Errorf("%s", got)
	}
	for range 2 {
		if a := r.do(http.MethodDelete, agent, ""); a.StatusCode != http.StatusNoContent || a.body != "" {
			t.Errorf("status %d, %s", a.StatusCode, a.body)
		}
	}
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/labels/planner", "")
}

func TestWhatATokenMayDo(t *testing.T) {
	r := serve(t)
	id := r.put(record('a', 0, ""))
	requests := []struct {
		scope, method, path string
	}{
		{"read", http.MethodGet, "/v1/audits"}, {"read", http.MethodGet, "/v1/audits/" + id}, {"read", http.MethodGet, "/v1/tail?after=x"},
		{"read", http.MethodGet, "/v1/stats"}, {"read", http.MethodGet, "/v1/labels"}, {"read", http.MethodGet, "/tile/0/000.p/1"},
		{"write", http.MethodPost, "/v1/audits"}, {"write", http.MethodPut, "/v1/audits/" + id},
		{"label", http.MethodPut, "/v1/labels/" + id}, {"label", http.MethodDelete, "/v1/labels/" + id}, {"label", http.MethodPut, "/v1/labels"},
		{"ops", http.MethodPost, "/v1/verify?quick"}, {"metrics", http.MethodGet, "/metrics"},
		{"read", http.MethodGet, "/"}, {"read", http.MethodGet, "/q/" + id}, {"read", http.MethodGet, "/case"}, {"read", http.MethodGet, "/health"},
		{"read", http.MethodGet, "/tail/rows?after=x"}, {"read", http.MethodGet, "/go/list"},
	}
	for i, c := range requests {
		for token := range usual {
			before := len(r.log.String())
			a := r.do(c.method, c.path, "", "Authorization", "Bearer "+token)
			if line := r.log.String()[before:]; a.StatusCode == http.StatusForbidden && !strings.Contains(line, `"token":"`+token+`"`) {
				t.Errorf("%s %s with %s: the log does not name the token: %s", c.method, c.path, token, line)
			}
			may := token == c.scope || token == "all" || token == "bound" && c.scope == "write"
			if refused := a.StatusCode == http.StatusForbidden && strings.Contains(a.body, "/problems/forbidden"); refused == may {
				t.Errorf("%s %s with %s: status %d, %s", c.method, c.path, token, a.StatusCode, a.body)
			}
		}
		headers := []string{""}
		if i == 0 { // more wrong tokens than a few are refused in another way
			headers = []string{"", "Bearer", "Bearer nobody", "Basic YWxsOmFsbA==", "bearer  "}
		}
		for _, header := range headers {
			a := r.do(c.method, c.path, "", "Authorization", header)
			if p := a.problem(t); p.Type != "/problems/unauthorized" || a.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s %s with %q: status %d, %v", c.method, c.path, header, a.StatusCode, p)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/problems", "/problems/conflict"} {
		r.get(path, "Authorization", "")
		r.get(path, "Authorization", "Bearer nobody")
	}
	r.get("/v1/openapi.json", "Authorization", "Bearer write")
	if n := r.records(); n != 1 {
		t.Errorf("%d records", n)
	}
}

func TestOtherHostsAndOtherSites(t *testing.T) {
	r := serve(t, func(o *web.Options) { o.Hosts = []string{"Audit.example.com"} })
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:80", "audit.example.com", "audit.example.com.:443"} {
		r.get("/v1/audits", "Host", host)
	}
	for _, host := range []string{"evil.example.com", "localhost.evil.example.com", "10.0.0.1", "audit.example.com.evil"} {
		r.fails(http.StatusMisdirectedRequest, "host", http.MethodGet, "/healthz", "", "Host", host)
	}
	body := record('a', 0, "")
	r.fails(http.StatusForbidden, "cross-origin", http.MethodPost, "/v1/audits", body, "Sec-Fetch-Site", "cross-site")
	r.fails(http.StatusForbidden, "cross-origin", http.MethodPut, "/v1/labels/x", "{}", "Origin", "https://evil.example.com")
	if a := r.do(http.MethodPost, "/v1/audits", body, "Sec-Fetch-Site", "same-origin"); a.StatusCode != http.StatusCreated {
		t.Errorf("status %d", a.StatusCode)
	}
}

func TestEachAnswerHasTheHeadersThatProtectIt(t *testing.T) {
	r := serve(t)
	ids := map[string]bool{}
	for _, path := range []string{"/v1/audits", "/nothing", "/healthz", "/v1/audits?x=1"} {
		a := r.do(http.MethodGet, path, "")
		policy := a.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
			a.Header.Get("Referrer-Policy") != "no-referrer" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, a.Header)
		}
		if id := a.Header.Get("X-Request-Id"); id == "" || ids[id] {
			t.Errorf("%s: the request id %q", path, id)
		} else {
			ids[id] = true
		}
	}
}

func TestTheLogHasNothingThatSomebodyAskedOrStored(t *testing.T) {
	r := serve(t)
	secret := "s3cr3t"
	r.put(record('a', 0, attribute("k", secret)))
	for _, path := range []string{"/v1/audits?subject=" + secret, "/v1/impact/" + secret, "/" + secret, "/v1/audits?" + secret, "/v1/audits/" + secret} {
		r.do(http.MethodGet, path, "", "Cookie", "a="+secret, "X-Request-Id", secret)
	}
	r.do(http.MethodPost, "/v1/audits", `{"`+secret+`":1}`)
	r.do(http.MethodGet, "/v1/audits", "", "Authorization", "Bearer "+secret)
	r.do(secret, "/v1/audits", "")
	log := r.log.String()
	if strings.Contains(log, secret) {
		t.Errorf("%s", log)
	}
	for _, want := range []string{`"route":"POST /v1/audits"`, `"token":"all"`, `"status":201`, `"problem":"unauthorized"`, `"method":"other"`} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not in the log\n%s", want, log)
		}
	}
	r.applied()
	metrics := r.get("/metrics")
	if strings.Contains(metrics, secret) || !strings.Contains(metrics, `auditsql_http_requests_total{method="POST",route="POST /v1/audits",status="201"} 1`) ||
		!strings.Contains(metrics, `auditsql_put_records_total{outcome="inserted"} 1`) || !strings.Contains(metrics, "auditsql_store_records 1") {
		t.Errorf("%s", metrics)
	}
}

func TestAServerThatReadsAndOneThatEnds(t *testing.T) {
	r := serve(t, func(o *web.Options) { o.ReadOnly = true })
	if p := r.fails(http.StatusForbidden, "read-only", http.MethodPost, "/v1/audits", record('a', 0, "")); p.Stored != "nothing" {
		t.Errorf("%+v", p)
	}
	r.fails(http.StatusForbidden, "read-only", http.MethodDelete, "/v1/labels/x", "")
	if got := r.get("/readyz"); got != `{"ready":true,"writes":false}`+"\n" {
		t.Errorf("%s", got)
	}
	r.server.Drain()
	a := r.do(http.MethodPost, "/v1/audits", record('a', 0, ""))
	if p := a.problem(t); p.Type != "/problems/draining" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%+v", p)
	}
	if p := r.fails(http.StatusServiceUnavailable, "draining", http.MethodGet, "/readyz", ""); len(p.Reasons) != 1 {
		t.Errorf("%+v", p)
	}
	r.get("/healthz")
	r.get("/metrics")
}

// With a receiver of spans, a server is only ready while that takes spans. While it still reads those of an earlier start, readyz says so.
func TestReadyzTellsOfSpans(t *testing.T) {
	var spans *web.Spans
	r := serve(t, func(o *web.Options) { o.Spans = func() *web.Spans { return spans } })
	for want, is := range map[string]*web.Spans{
		`{"ready":true,"writes":true}`:                     nil,
		`{"ready":true,"writes":true,"spans":"taken"}`:     {},
		`{"ready":true,"writes":true,"spans":"replaying"}`: {Replaying: true},
		`{"ready":true,"writes":true,"spans":"waiting"}`:   {Waiting: true, Replaying: true},
	} {
		spans = is
		if got := r.get("/readyz"); got != want+"\n" {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	spans = &web.Spans{Refused: "the inbox is damaged", Replaying: true}
	if p := r.fails(http.StatusServiceUnavailable, "no-spans", http.MethodGet, "/readyz", ""); len(p.Reasons) != 1 || p.Reasons[0] != spans.Refused {
		t.Errorf("%+v", p)
	}
	if got := r.get("/metrics"); !strings.Contains(got, "\nauditsql_store_ready 1\n") {
		t.Error("the metric for the store tells of spans")
	}
	r.server.Drain()
	if p := r.fails(http.StatusServiceUnavailable, "draining", http.MethodGet, "/readyz", ""); len(p.Reasons) != 2 {
		t.Errorf("%+v", p)
	}
}

func TestAcknowledgedAnswersHaveWhatWasPut(t *testing.T) {
	r := serve(t)
	for i := range 30 {
		id := r.put(record('a', i, ""))
		if got := r.get("/v1/audits?consistency=acknowledged&attr=" + url.QueryEscape("i=0")); strings.Contains(got, id) {
			t.Fatal("the filter does not filter")
		}
		a := r.do(http.MethodGet, "/v1/recent?limit=1&consistency=acknowledged", "")
		if !strings.Contains(a.body, id) || a.Header.Get("Auditsql-Lag-Bytes") != "0" {
			t.Fatalf("record %d: lag %q, %s", i, a.Header.Get("Auditsql-Lag-Bytes"), a.body)
		}
		r.get("/v1/audits/" + id) // needs no such thing
	}
}

func TestALongAnswerIsCompressedAndAWholeOne(t *testing.T) {
	r := serve(t)
	for i := range 40 {
		r.put(record('a', i, attribute("long", strings.Repeat("x", 10<<10))))
	}
	r.applied()
	a := r.do(http.MethodGet, "/v1/audits?format=ndjson&limit=30", "")
	if n := strings.Count(a.body, "\n"); n != 30 || !a.Uncompressed {
		t.Errorf("%d lines, compressed: %v", n, a.Uncompressed)
	}
	if a.Trailer.Get("Auditsql-More") != "true" {
		t.Errorf("the trailer %v, header %v", a.Trailer, a.Header)
	}
	short := r.do(http.MethodGet, "/v1/recent?limit=1", "")
	if short.Header.Get("Auditsql-More") != "true" {
		t.Errorf("%v", short.Header)
	}
	if all := r.do(http.MethodGet, "/v1/audits?format=ndjson", ""); strings.Count(all.body, "\n") != 40 || all.Trailer.Get("Auditsql-More") != "" {
		t.Errorf("%d lines, %v", strings.Count(all.body, "\n"), all.Trailer)
	}
}

// inboxStore is a store with an inbox.
type inboxStore struct {
	*audit.DB
	inbox audit.InboxState
}

func (s *inboxStore) Stats(ctx context.Context) (audit.Stats, error) {
	stats, err := s.DB.Stats(ctx)
	stats.Inbox = &s.inbox
	return stats, err
}

// The page about the store says what is wrong with the inbox for spans, or that nobody knows.
func TestThePageOfHealthTellsOfTheInbox(t *testing.T) {
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	none, some := int64(0), int64(7)
	for want, state := range map[string]audit.InboxState{
		"":                                   {Open: true, Lost: &none},
		"no spans are received":              {Damage: "a bit is wrong"},
		"nobody has looked whether":          {Unread: true},
		"that were acknowledged may be lost": {Open: true, Lost: &some},
	} {
		body := serveStore(t, &inboxStore{db, state}).get("/health", "Accept", "text/html")
		for _, finding := range []string{"no spans are received", "nobody has looked whether", "that were acknowledged may be lost"} {
			if strings.Contains(body, finding) != (finding == want) {
				t.Errorf("%+v: %q is there, or is not: want %q", state, finding, want)
			}
		}
	}
}
