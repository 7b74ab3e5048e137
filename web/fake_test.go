package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A fake is a store of which a test replaces parts.
type fake struct {
	web.Store
	put    func(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
	raw    func(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error]
	get    func(ctx context.Context, id audit.QueryID) ([]byte, error)
	top    func(ctx context.Context, o audit.TopOptions) (*audit.TopList, error)
	await  func(ctx context.Context) error
	failed error
	stats  error // of Stats
	labels error // of PutLabels
}

func (f *fake) Err() error {
	if f.failed != nil {
		return f.failed
	}
	return f.Store.Err()
}

func (f *fake) PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	if f.put != nil {
		return f.put(ctx, records)
	}
	return f.Store.PutAudits(ctx, records)
}

func (f *fake) RawAudits(ctx context.Context, filter audit.Filter) iter.Seq2[[]byte, error] {
	if f.raw != nil {
		return f.raw(ctx, filter)
	}
	return f.Store.RawAudits(ctx, filter)
}

func (f *fake) GetRaw(ctx context.Context, id audit.QueryID) ([]byte, error) {
	if f.get != nil {
		return f.get(ctx, id)
	}
	return f.Store.GetRaw(ctx, id)
}

func (f *fake) Top(ctx context.Context, o audit.TopOptions) (*audit.TopList, error) {
	if f.top != nil {
		return f.top(ctx, o)
	}
	return f.Store.Top(ctx, o)
}

func (f *fake) Stats(ctx context.Context) (audit.Stats, error) {
	if f.stats != nil {
		return audit.Stats{}, f.stats
	}
	return f.Store.Stats(ctx)
}

func (f *fake) PutLabels(ctx context.Context, labels []audit.Label) error {
	if f.labels != nil {
		return f.labels
	}
	return f.Store.PutLabels(ctx, labels)
}

func (f *fake) AwaitApplied(ctx context.Context) error {
	if f.await != nil {
		return f.await(ctx)
	}
	return f.Store.AwaitApplied(ctx)
}

// faked serves a store with other parts.
func faked(t *testing.T, f *fake, change ...func(*web.Options)) *rig {
	t.Helper()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	f.Store = db
	r := serveStore(t, f, change...)
	r.db = db
	return r
}

// Each error of a store has its status, and says what is stored.
func TestTheErrorsOfAStore(t *testing.T) {
	busy := fmt.Errorf("%w: %w", audit.ErrBusy, context.DeadlineExceeded)
	for name, c := range map[string]struct {
		err    error
		status int
		kind   string
		stored string
	}{
		"busy":     {busy, 503, "backlog-full", "nothing"},
		"open":     {context.DeadlineExceeded, 503, "outcome-open", "unknown"},
		"closed":   {fmt.Errorf("x: %w", audit.ErrClosed), 503, "draining", "nothing"},
		"readonly": {audit.ErrReadOnly, 403, "read-only", "nothing"},
		"failed":   {errors.New("the disk at /secret/path is gone"), 503, "failed", "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{put: func(context.Context, []*audit.QueryAudit) ([]audit.PutResult, error) { return nil, c.err }}
			r := faked(t, f)
			p := r.fails(c.status, c.kind, http.MethodPost, "/v1/audits", record('a', 0, ""))
			if p.Stored != c.stored || strings.Contains(p.Detail, "secret") {
				t.Errorf("%+v", p)
			}
			a := r.do(http.MethodPost, "/v1/audits", record('a', 0, "")+"\n"+record('a', 1, "")+"\n", "Content-Type", "application/x-ndjson")
			if got := lines(t, a.body); len(got) != 1 || got[0]["line"] != 1.0 || got[0]["status"] != float64(c.status) || got[0]["stored"] != c.stored {
				t.Errorf("lines: %s", a.body)
			}
		})
	}
	for name, c := range map[string]struct {
		err    error
		status int
		kind   string
	}{
		"conflict": {audit.ErrConflict, 409, "conflict"},
		"invalid":  {&audit.FieldError{Field: "timestamp", Reason: "no"}, 422, "invalid"},
		"damaged":  {&audit.RecordError{}, 500, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{put: func(_ context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
				return []audit.PutResult{{Err: c.err}}, nil
			}}
			if p := faked(t, f).fails(c.status, c.kind, http.MethodPost, "/v1/audits", record('a', 0, "")); p.Stored != "nothing" {
				t.Errorf("%+v", p)
			}
		})
	}
	failed := &fake{failed: errors.New("the disk is gone")}
	r := faked(t, failed)
	if p := r.fails(503, "failed", http.MethodPost, "/v1/audits", record('a', 0, "")); p.Stored != "nothing" {
		t.Errorf("%+v", p)
	}
	if p := r.fails(503, "failed", http.MethodGet, "/readyz", ""); len(p.Reasons) != 1 || strings.Contains(p.Detail, "disk") {
		t.Errorf("%+v", p)
	}
	for kind, err := range map[string]error{"reindexing": audit.ErrReindexing, "draining": audit.ErrClosed, "internal": errors.New("secret")} {
		f := &fake{top: func(context.Context, audit.TopOptions) (*audit.TopList, error) { return nil, err }}
		status := 503
		if kind == "internal" {
			status = 500
		}
		if p := faked(t, f).fails(status, kind, http.MethodGet, "/v1/top", ""); strings.Contains(p.Detail, "secret") {
			t.Errorf("%+v", p)
		}
	}
}

// An error of a label says whether it was set.
func TestTheErrorsOfLabels(t *testing.T) {
	f := &fake{}
	r := faked(t, f)
	h := hash('a').String()
	for stored, errs := range map[string][]error{
		"unknown": {errors.New("the disk at /secret/path is gone"), fmt.Errorf("x: %w", context.Canceled)},
		"nothing": {fmt.Errorf("x: %w", audit.ErrClosed), audit.ErrReadOnly, &audit.FieldError{Field: "label", Reason: "no"}},
	} {
		for _, f.labels = range errs {
			for _, a := range []*answered{
				r.do(http.MethodPut, "/v1/labels/"+h, `{"label":"planner"}`), r.do(http.MethodDelete, "/v1/labels/"+h, ""),
				r.do(http.MethodPut, "/v1/labels", `[{"hash":"`+h+`","label":"planner"}]`),
			} {
				if p := a.problem(t); p.Stored != stored || strings.Contains(p.Detail, "secret") {
					t.Errorf("%v: %+v", f.labels, p)
				}
			}
		}
	}
}

// When the figures of the store cannot be read, the other metrics are there, and the answer says nothing of why.
func TestMetricsWithoutFigures(t *testing.T) {
	f := &fake{}
	r := faked(t, f)
	for _, failed := range []bool{false, true, false} {
		f.stats = nil
		if failed {
			f.stats = errors.New("/secret/path cannot be read")
		}
		got := r.get("/metrics")
		has := func(metric string) bool { return strings.Contains(got, "\n"+metric) }
		if !has("auditsql_store_ready 1\n") || !has("auditsql_store_lag_bytes 0\n") || has("auditsql_store_agents ") == failed || has("auditsql_stats_failed 1\n") != failed ||
			strings.Contains(got, "secret") || strings.Contains("\n"+got, "\ngo_") || !has("auditsql_go_goroutines ") {
			t.Errorf("failed %v: %s", failed, got)
		}
	}
	if !strings.Contains(r.log.String(), "/secret/path cannot be read") {
		t.Error("the log does not say why")
	}
}

func TestAPanicIsAProblemAndALineInTheLog(t *testing.T) {
	f := &fake{get: func(context.Context, audit.QueryID) ([]byte, error) { panic("secret") }}
	r := faked(t, f)
	if p := r.fails(500, "internal", http.MethodGet, "/v1/audits/"+hash('a').String(), ""); strings.Contains(p.Detail, "secret") {
		t.Errorf("%+v", p)
	}
	if log := r.log.String(); !strings.Contains(log, "a handler has panicked") {
		t.Errorf("%s", log)
	}
	r.get("/healthz")
}

// An answer that fails after its beginning was sent is broken off: it never looks whole.
func TestAnAnswerThatFailsInTheMiddleIsBrokenOff(t *testing.T) {
	row := []byte(record('a', 0, `,"query_id":"`+hash('d').String()+`","attributes":{"a":"`+strings.Repeat("x", 4<<10)+`"}`))
	rows := func(n int, end error) func(context.Context, audit.Filter) iter.Seq2[[]byte, error] {
		return func(context.Context, audit.Filter) iter.Seq2[[]byte, error] {
			return func(yield func([]byte, error) bool) {
				for range n {
					if !yield(row, nil) {
						return
					}
				}
				if end != nil {
					yield(nil, end)
				}
			}
		}
	}
	f := &fake{raw: rows(1000, errors.New("the disk is gone"))}
	r := faked(t, f)
	for _, encoding := range []string{"identity", "gzip"} {
		response := r.start(http.MethodGet, "/v1/audits?format=ndjson", nil, "Accept-Encoding", encoding)
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err == nil || response.StatusCode != http.StatusOK || len(text) == 0 {
			t.Errorf("%s: status %d, %d bytes, %v", encoding, response.StatusCode, len(text), err)
		}
	}
	// One that fails before that has a problem for an answer.
	f.raw = rows(3, errors.New("the disk is gone"))
	r.fails(500, "internal", http.MethodGet, "/v1/audits?format=ndjson", "")
	r.fails(500, "internal", http.MethodGet, "/v1/audits", "")
	// Without one damaged record it goes on, and says so.
	f.raw = func(ctx context.Context, filter audit.Filter) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			_ = yield(row, nil) && yield(nil, &audit.RecordError{ID: hash('e')}) && yield(row, nil)
		}
	}
	for _, path := range []string{"/v1/audits?format=ndjson", "/v1/audits"} {
		a := r.do(http.MethodGet, path, "")
		if want := "1 " + hash('e').String(); a.Header.Get("Auditsql-Left-Out") != want || strings.Count(a.body, hash('d').String()) != 2 {
			t.Errorf("%s: %q, %s", path, a.Header.Get("Auditsql-Left-Out"), a.body)
		}
	}
	f.raw = rows(500, nil)
	if a := r.do(http.MethodGet, "/v1/audits?format=ndjson", ""); strings.Count(a.body, "\n") != 500 {
		t.Errorf("%d lines", strings.Count(a.body, "\n"))
	}
}

// Large records make a page end early, with a link to the rest.
func TestAPageOfLargeRecordsEndsEarly(t *testing.T) {
	r := serve(t)
	for i := range 5 {
		r.put(record('a', i, attribute("a", strings.Repeat("x", 3<<20))))
	}
	r.applied()
	all, n := r.pages("/v1/audits", nil)
	if len(all) != 5 || n != 3 {
		t.Errorf("%d records in %d pages", len(all), n)
	}
}

// A third expensive question waits, and then is told to come back. Others are answered meanwhile.
func TestExpensiveQuestionsRunTwoAtATime(t *testing.T) {
	running, end := make(chan struct{}), make(chan struct{})
	f := &fake{top: func(context.Context, audit.TopOptions) (*audit.TopList, error) {
		running <- struct{}{}
		<-end
		return &audit.TopList{}, nil
	}}
	r := faked(t, f, func(o *web.Options) { o.Limits.ReadWait = time.Millisecond; o.Limits.Budget = time.Minute })
	answers := make(chan *answered)
	for range 2 {
		go func() { answers <- r.do(http.MethodGet, "/v1/top", "") }()
		<-running
	}
	a := r.do(http.MethodGet, "/v1/top", "")
	if p := a.problem(t); p.Type != "/problems/busy" || a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("%+v", p)
	}
	r.get("/v1/audits")
	close(end)
	for range 2 {
		if a := <-answers; a.StatusCode != http.StatusOK || a.Header.Get("Auditsql-Budget") != "60" {
			t.Errorf("status %d, budget %q", a.StatusCode, a.Header.Get("Auditsql-Budget"))
		}
	}
}

func TestAQuestionThatTakesTooLongIsEnded(t *testing.T) {
	f := &fake{
		top: func(ctx context.Context, _ audit.TopOptions) (*audit.TopList, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		await: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	}
	r := faked(t, f, func(o *web.Options) { o.Limits.Budget, o.Limits.ReadWait = time.Millisecond, time.Millisecond })
	r.fails(503, "over-budget", http.MethodGet, "/v1/top", "")
	r.fails(503, "behind", http.MethodGet, "/v1/audits?consistency=acknowledged", "")
}

// A put whose records are on their way to the disk when the wait for room ends still gets its outcome.
func TestAPutThatIsSlowToSyncIsNotRefused(t *testing.T) {
	calls := 0
	f := &fake{}
	f.put = func(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
		if calls++; calls == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return f.Store.PutAudits(ctx, records)
	}
	r := faked(t, f, func(o *web.Options) { o.Limits.PutWait = time.Millisecond })
	r.put(record('a', 0, ""))
}

// All bodies that are held together have a limit: one that does not fit waits for a while, and then nothing of it is stored.
func TestBodiesShareALimit(t *testing.T) {
	holding, end := make(chan struct{}), make(chan struct{})
	var held atomic.Bool
	var ended sync.Once
	goOn := func() { ended.Do(func() { close(end) }) }
	f := &fake{}
	f.put = func(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
		if held.CompareAndSwap(false, true) { // a put that should not get here does not wait
			close(holding)
			<-end
		}
		return f.Store.PutAudits(context.WithoutCancel(ctx), records)
	}
	r := faked(t, f, func(o *web.Options) { o.Limits.BodyBytes, o.Limits.PutWait = 640<<10, time.Millisecond })
	t.Cleanup(goOn) // before the server is closed, which waits for the stream
	large := record('a', 0, attribute("a", strings.Repeat("x", 150<<10)))
	larger := record('a', 1, attribute("a", strings.Repeat("x", 480<<10)))
	answer := make(chan *answered, 1)
	// A stream holds its lines until they are stored.
	go func() {
		answer <- r.do(http.MethodPost, "/v1/audits", large+"\n", "Content-Type", "application/x-ndjson")
	}()
	<-holding
	a := r.do(http.MethodPost, "/v1/audits", larger)
	if p := a.problem(t); p.Type != "/problems/backlog-full" || p.Stored != "nothing" || a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%+v", p)
	}
	if got := r.do(http.MethodPost, "/v1/audits", strings.Repeat("x", 10<<10)); got.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", got.StatusCode)
	}
	goOn()
	if a := <-answer; !strings.Contains(a.body, `"status":201`) {
		t.Errorf("%s", a.body)
	}
	if a := r.do(http.MethodPost, "/v1/audits", larger); a.StatusCode != http.StatusCreated {
		t.Errorf("status %d, %s", a.StatusCode, a.body)
	}
}
