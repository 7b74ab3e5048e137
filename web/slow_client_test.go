package web_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A listed is a store that has nothing but a long list.
type listed struct {
	web.Store
	row  []byte
	rows int
}

func (l *listed) RawAudits(_ context.Context, f audit.Filter) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for n := 0; n < l.rows && (f.Limit == 0 || n < f.Limit); n++ {
			if !yield(l.row, nil) {
				return
			}
		}
	}
}
func (l *listed) Labels(context.Context) (*audit.Labels, error) { return &audit.Labels{}, nil }
func (l *listed) AwaitShown(context.Context) error              { return nil }
func (l *listed) Progress() audit.Progress                      { return audit.Progress{} }
func (l *listed) Moment() uint64                                { return 0 }
func (l *listed) TimeUnit() audit.TimeUnit                      { return audit.Milliseconds }
func (l *listed) Err() error                                    { return nil }

// A slowClient takes nothing before take has returned.
type slowClient struct {
	*httptest.ResponseRecorder
	take func()
}

func (c *slowClient) Write(p []byte) (int, error) {
	c.take()
	return c.ResponseRecorder.Write(p)
}

// ask makes a request, and returns how many lines its answer has, or what is wrong with it.
func ask(h http.Handler, path string, take func()) (result string) {
	defer func() {
		if thrown := recover(); thrown != nil {
			result = fmt.Sprint("broken off: ", thrown)
		}
	}()
	w := &slowClient{httptest.NewRecorder(), take}
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
	return fmt.Sprint(w.Code, " ", strings.Count(w.Body.String(), "\n"))
}

func longList(limits web.Limits) http.Handler {
	row := record('a', 0, `,"query_id":"`+hash('d').String()+`","attributes":{"a":"`+strings.Repeat("x", 4<<10)+`"}`)
	return web.Handler(&listed{row: []byte(row), rows: 1000}, web.Options{Trusted: &web.Principal{ID: "owner", Scopes: web.AllScopes}, Limits: limits})
}

// The budget of a question is for the server. The time in which a client does not read is not part of it.
func TestAClientThatReadsSlowlyGetsTheWholeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := longList(web.Limits{Budget: time.Second})
		for _, path := range []string{"/v1/audits?format=ndjson&limit=1000", "/v1/audits?format=ndjson&limit=1000&min-confidence=0.1"} {
			if got := ask(h, path, func() { time.Sleep(100 * time.Millisecond) }); got != "200 1000" {
				t.Errorf("%s: %s", path, got)
			}
		}
	})
}

// Clients that do not read hold no slot.
func TestClientsThatDoNotReadKeepNobodyFromAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := longList(web.Limits{ReadWait: time.Second})
		read, answers := make(chan struct{}), make(chan string)
		for _, path := range []string{"/v1/audits?format=ndjson&limit=1000&min-confidence=0.1", "/v1/audits?format=ndjson"} {
			for range 3 {
				go func() { answers <- ask(h, path, func() { <-read }) }()
			}
			synctest.Wait()
			if got := ask(h, path, func() {}); got != "200 1000" {
				t.Errorf("%s: %s", path, got)
			}
		}
		close(read)
		for range 6 {
			if got := <-answers; got != "200 1000" {
				t.Error(got)
			}
		}
	})
}

// The two seconds that a walk along answers may take are for the search. A client that reads slowly gets as many steps as any other.
func TestAWalkIsNotCutByAClientThatReadsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		put := func(body string) {
			t.Helper()
			q, err := audit.ParseAudit([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.PutAudit(t.Context(), &q); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 20 {
			put(strings.Replace(record('a', i, ""), "Northwind", strings.Repeat("x", 40<<10), 1))
		}
		put(fmt.Sprintf(`{"timestamp":%d,"params":{"subject":"payment"},"result_hash":"%s","result_confidence":0.5,"contributing_assertions":[{"assertion_hash":"%s","weight":1,"source_hash":"%s","lifecycle":"Approved"}]}`, at(100), hash('e'), hash('b'), hash('f')))
		if err := db.AwaitApplied(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := web.Handler(db, web.Options{Trusted: &web.Principal{ID: "owner", Scopes: web.AllScopes}})
		for _, pace := range []time.Duration{0, 10 * time.Second} {
			w := &slowClient{httptest.NewRecorder(), func() { time.Sleep(pace) }}
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/v1/impact/"+hash('c').String()+"?source&depth=all&format=ndjson", nil))
			if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, `"distance":2`) || w.Header().Get("Auditsql-More") != "" {
				t.Errorf("a client that takes %s for each part: status %d, %d lines, %v", pace, w.Code, strings.Count(body, "\n"), w.Header())
			}
		}
	})
}
