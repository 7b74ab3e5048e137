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
