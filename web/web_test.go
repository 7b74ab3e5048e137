package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// noon is the present time of these tests.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// A rig is a store that is served, with a log that a test can look into.
type rig struct {
	t      *testing.T
	db     *audit.DB
	server *web.Server
	http   *httptest.Server
	log    *logged
}

// tokens are the tokens of these tests: the secret names what it may do.
type tokens map[string]web.Principal

func (t tokens) Lookup(secret string) (web.Principal, bool) {
	p, ok := t[secret]
	return p, ok
}

var usual = tokens{
	"all":     {ID: "all", Scopes: web.AllScopes},
	"read":    {ID: "read", Scopes: web.ScopeRead},
	"write":   {ID: "write", Scopes: web.ScopeWrite},
	"label":   {ID: "label", Scopes: web.ScopeLabel},
	"ops":     {ID: "ops", Scopes: web.ScopeOps},
	"metrics": {ID: "metrics", Scopes: web.ScopeMetrics},
	"bound":   {ID: "bound", Scopes: web.ScopeWrite, Agent: ptr(hash('a'))},
}

// serve opens a new store and serves it.
func serve(t *testing.T, change ...func(*web.Options)) *rig {
	t.Helper()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	r := serveStore(t, db, change...)
	r.db = db
	return r
}

// serveStore serves a store that the caller closes.
func serveStore(t *testing.T, store web.Store, change ...func(*web.Options)) *rig {
	t.Helper()
	r := &rig{t: t, log: &logged{}}
	o := web.Options{Tokens: usual, Now: func() time.Time { return noon }, Logger: slog.New(slog.NewJSONHandler(r.log, nil)), Metrics: web.NewMetrics()}
	for _, c := range change {
		c(&o)
	}
	r.server = web.Handler(store, o)
	r.http = httptest.NewServer(r.server)
	t.Cleanup(func() {
		r.server.Drain()
		r.http.Close()
	})
	return r
}

// A logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// An answered is a response with its body.
type answered struct {
	*http.Response
	body string
}

// problem reads the problem document of an answer.
func (a *answered) problem(t *testing.T) web.Problem {
	t.Helper()
	var p web.Problem
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d has Content-Type %q and the body %q", a.StatusCode, got, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("problem %q: %v", a.body, err)
	}
	if p.Status != a.StatusCode || p.RequestID == "" || p.RequestID != a.Header.Get("X-Request-Id") || !strings.HasPrefix(p.Type, "/problems/") {
		t.Fatalf("status %d, request id %q, and the problem %+v", a.StatusCode, a.Header.Get("X-Request-Id"), p)
	}
	return p
}

// header is a list of header fields and values.
type header []string

// do makes a request with all scopes, unless a header says otherwise.
func (r *rig) do(method, path, body string, h ...string) *answered {
	r.t.Helper()
	return r.doWith(method, path, strings.NewReader(body), h...)
}

func (r *rig) doWith(method, path string, body io.Reader, h ...string) *answered {
	r.t.Helper()
	response := r.start(method, path, body, h...)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v\n%s%s", method, path, err, text, r.log)
	}
	return &answered{response, string(text)}
}

func (r *rig) start(method, path string, body io.Reader, h ...string) *http.Response {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.http.URL+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer all")
	if method == http.MethodPost || method == http.MethodPut {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(h); i += 2 {
		if h[i] == "Host" {
			request.Host = h[i+1]
		}
		request.Header.Del(h[i])
		if h[i+1] != "" {
			request.Header.Set(h[i], h[i+1])
		}
	}
	response, err := r.http.Client().Do(request)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return response
}

// get makes a request that must succeed.
func (r *rig) get(path string, h ...string) string {
	r.t.Helper()
	a := r.do(http.MethodGet, path, "", h...)
	if a.StatusCode != http.StatusOK {
		r.t.Fatalf("GET %s: status %d, %s", path, a.StatusCode, a.body)
	}
	return a.body
}

// fails makes a request that must fail so, and returns the problem.
func (r *rig) fails(status int, kind, method, path, body string, h ...string) web.Problem {
	r.t.Helper()
	a := r.do(method, path, body, h...)
	p := a.problem(r.t)
	if a.StatusCode != status || p.Type != "/problems/"+kind {
		r.t.Fatalf("%s %s: status %d, %+v; want %d %s", method, path, a.StatusCode, p, status, kind)
	}
	return p
}

// applied waits until SQLite has everything.
func (r *rig) applied() {
	r.t.Helper()
	if err := r.db.AwaitApplied(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// records is how many records the store has.
func (r *rig) records() uint64 {
	r.t.Helper()
	r.applied()
	return r.db.Progress().Records
}

// put stores the record of a JSON and returns its id.
func (r *rig) put(body string) string {
	r.t.Helper()
	a := r.do(http.MethodPost, "/v1/audits", body)
	if a.StatusCode != http.StatusCreated {
		r.t.Fatalf("put %s: status %d, %s", body, a.StatusCode, a.body)
	}
	var stored struct {
		QueryID string `json:"query_id"`
	}
	if err := json.Unmarshal([]byte(a.body), &stored); err != nil {
		r.t.Fatal(err)
	}
	return stored.QueryID
}

func hash(digit byte) audit.Hash {
	h, err := audit.ParseHash(strings.Repeat(string(digit), 64))
	if err != nil {
		panic(err)
	}
	return h
}

func ptr[T any](v T) *T { return &v }

// at is the timestamp so many seconds after ten o'clock.
func at(seconds int) int64 { return noon.Add(-2*time.Hour).UnixMilli() + 1000*int64(seconds) }

// record is the JSON of a small record of an agent, who is a hex digit.
func record(agent byte, seconds int, more string) string {
	return fmt.Sprintf(`{"agent_id":"%s","timestamp":%d,"params":{"subject":"supplier/Northwind","predicate":"account"},"result_hash":"%s","result_confidence":0.5,`+
		`"contributing_assertions":[{"assertion_hash":"%[3]s","weight":0.5,"source_hash":"%[4]s","lifecycle":"Proposed"}]%[5]s}`,
		hash(agent), at(seconds), hash('b'), hash('c'), more)
}

// attribute is the rest of a record with one attribute.
func attribute(key string, value any) string {
	v, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`,"attributes":{%q:%s}`, key, v)
}

// lines are the JSON objects of an NDJSON.
func lines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(text) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		list = append(list, object)
	}
	return list
}

func sorted[T any](list []T, compare func(a, b T) int) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, compare)
	return list
}
