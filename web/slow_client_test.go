package web_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
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

// walked is a store that has twenty answers from source c, with subjects so long that they are a long answer, and one more that follows from them.
func walked(t *testing.T) *audit.DB {
	t.Helper()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	var all []*audit.QueryAudit
	for i := range 21 {
		body := strings.Replace(record('a', i, ""), "Northwind", strings.Repeat("x", 40<<10), 1)
		if i == 20 {
			body = strings.NewReplacer(hash('b').String(), hash('e').String(), hash('c').String(), hash('f').String()).Replace(record('a', i, ""))
			body = strings.Replace(body, `"assertion_hash":"`+hash('e').String(), `"assertion_hash":"`+hash('b').String(), 1)
		}
		q, err := audit.ParseAudit([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &q)
	}
	if _, err := db.PutAudits(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

var walk = "/v1/impact/" + hash('c').String() + "?source&depth=all&format=ndjson"

// The two seconds that a walk along answers may take are for the search. A client that reads slowly gets as many steps as any other.
func TestAWalkIsNotCutByAClientThatReadsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := walked(t)
		defer db.Close()
		h := web.Handler(db, web.Options{Trusted: &web.Principal{ID: "owner", Scopes: web.AllScopes}})
		for _, pace := range []time.Duration{0, 10 * time.Second} {
			w := &slowClient{httptest.NewRecorder(), func() { time.Sleep(pace) }}
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost"+walk, nil))
			if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, `"distance":2`) || w.Header().Get("Auditsql-More") != "" {
				t.Errorf("a client that takes %s for each part: status %d, %d lines, %v", pace, w.Code, strings.Count(body, "\n"), w.Header())
			}
		}
	})
}

// What a walk may reach counts for what long answers may keep.
func TestAWalkThatMayReachMuchNeedsMuchRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := walked(t)
		defer db.Close()
		h := web.Handler(db, web.Options{Trusted: &web.Principal{ID: "owner", Scopes: web.AllScopes}, Limits: web.Limits{AnswerBytes: 80 << 20}})
		read, got := make(chan struct{}), make(chan string)
		go func() { got <- ask(h, walk+"&limit=100000", func() { <-read }) }()
		synctest.Wait()
		for path, want := range map[string]string{walk + "&limit=100000": "429 1", walk: "200 21"} {
			if got := ask(h, path, func() {}); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		close(read)
		if got := <-got; got != "200 21" {
			t.Error(got)
		}
		if got := ask(h, walk+"&limit=100000", func() {}); got != "200 21" {
			t.Error(got)
		}
	})
}

// An openLists is a store that knows how many of its lists are being read.
type openLists struct {
	listed
	open, most atomic.Int64
}

func (l *openLists) RawAudits(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error] {
	rows := l.listed.RawAudits(ctx, f)
	return func(yield func([]byte, error) bool) {
		l.most.Store(max(l.most.Load(), l.open.Add(1)))
		defer l.open.Add(-1)
		rows(yield)
	}
}

// However many clients do not read, what their answers keep has a bound. Whoever comes then is told at once to come back, and short answers
// are for everybody.
func TestAnswersThatNobodyReadsKeepABoundedMemory(t *testing.T) {
	row := record('a', 0, `,"query_id":"`+hash('d').String()+`","attributes":{"a":"`+strings.Repeat("x", 4<<10)+`"}`)
	for _, path := range []string{"/v1/audits?format=ndjson", "/v1/audits?format=ndjson&limit=1000", "/v1/audits?limit=1000&order=admission", "/v1/audits?format=csv&min-confidence=0.1&limit=1000"} {
		synctest.Test(t, func(t *testing.T) {
			l := &openLists{listed: listed{row: []byte(row), rows: 1000}}
			h := web.Handler(l, web.Options{Trusted: &web.Principal{ID: "owner", Scopes: web.AllScopes}})
			began := time.Now()
			read, answers := make(chan struct{}), make(chan string, 200)
			for range 200 {
				go func() { answers <- ask(h, path, func() { <-read })[:3] }()
				synctest.Wait()
			}
			if most := l.most.Load(); most > 65 {
				t.Errorf("%s: %d lists are being read at the same time", path, most)
			}
			if got := ask(h, path, func() {}); got != "429 1" {
				t.Errorf("%s: one more gets %s", path, got)
			}
			if got := ask(h, "/v1/audits?format=ndjson&limit=10", func() {}); got != "200 10" {
				t.Errorf("%s: a short answer is %s", path, got)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("%s: somebody has waited for %s", path, took)
			}
			close(read)
			got := map[string]int{}
			for range 200 {
				got[<-answers]++
			}
			if got["200"] != 64 || got["429"] != 136 {
				t.Errorf("%s: %v", path, got)
			}
			if got := ask(h, path, func() {}); !strings.HasPrefix(got, "200") {
				t.Errorf("%s: when all have read, one more gets %s", path, got)
			}
		})
	}
}

// A sparseList has some records, and then searches for more until a test ends that.
type sparseList struct {
	listed
	searching, most atomic.Int64
	until           chan struct{}
}

func (s *sparseList) RawAudits(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error] {
	rows := s.listed.RawAudits(ctx, f)
	return func(yield func([]byte, error) bool) {
		rows(yield)
		s.most.Store(max(s.most.Load(), s.searching.Add(1)))
		<-s.until
		s.searching.Add(-1)
	}
}

// Answers that have begun and then search for long are only a few at a time.
func TestAnswersThatHaveBegunRunAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := record('a', 0, `,"query_id":"`+hash('d').String()+`","attributes":{"a":"`+strings.Repeat("x", 4<<10)+`"}`)
		s := &sparseList{listed: listed{row: []byte(row), rows: 100}, until: make(chan struct{})}
		h := web.Handler(s, web.Options{Trusted: &web.Principal{ID: "owner", Scopes: web.AllScopes}})
		goOn, got := make(chan struct{}), make(chan string, 40)
		for range 40 {
			go func() { got <- ask(h, "/v1/audits?format=ndjson", func() { <-goOn }) }()
			synctest.Wait()
		}
		close(goOn)
		time.Sleep(time.Hour)
		if most := s.most.Load(); most != 10 {
			t.Errorf("%d of 40 search at the same time", most)
		}
		close(s.until)
		for range 40 {
			if answer := <-got; answer != "200 100" {
				t.Error(answer)
			}
		}
	})
}

// A searching store searches for the records of a lens until a test ends that, and finds none.
type searching struct {
	listed
	until chan struct{}
}

func (s *searching) RawAudits(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error] {
	if f.Lens == nil {
		return s.listed.RawAudits(ctx, f)
	}
	return func(func([]byte, error) bool) { <-s.until }
}

// An answer that has begun comes to its end beside others that search for long and have taken its slot.
func TestAnAnswerThatHasBegunGoesOnBesideOthersThatSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := record('a', 0, `,"query_id":"`+hash('d').String()+`","attributes":{"a":"`+strings.Repeat("x", 4<<10)+`"}`)
		s := &searching{listed{row: []byte(row), rows: 1000}, make(chan struct{})}
		h := web.Handler(s, web.Options{Trusted: &web.Principal{ID: "owner", Scopes: web.AllScopes}})
		goOn, got := make(chan struct{}), make(chan string, 1)
		go func() { got <- ask(h, "/v1/audits?format=ndjson", func() { <-goOn }) }()
		synctest.Wait() // it has begun, and is paused
		for range 2 {
			go ask(h, "/v1/audits?format=csv&lens=none", func() {})
		}
		synctest.Wait()
		close(goOn)
		select {
		case answer := <-got:
			if answer != "200 1000" {
				t.Error(answer)
			}
		case <-time.After(time.Minute):
			t.Error("the answer that had begun has stood still for a minute")
		}
		if got := ask(h, "/v1/audits?format=ndjson", func() {}); got != "429 1" {
			t.Errorf("beside two that search, a third export gets %s", got)
		}
		close(s.until)
		synctest.Wait()
		if got := ask(h, "/v1/audits?format=ndjson", func() {}); got != "200 1000" {
			t.Errorf("when the others have ended, an export gets %s", got)
		}
	})
}
