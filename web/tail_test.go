package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// An event is one line of a tail.
type event struct {
	ID    string          `json:"id"`
	Audit json.RawMessage `json:"audit"`
	Begin bool            `json:"begin"`
	Idle  bool            `json:"idle"`
	Bye   bool            `json:"bye"`
	Gap   bool            `json:"gap"`
	First string          `json:"first"`
}

// A follower reads a tail.
type follower struct {
	t    *testing.T
	body *bufio.Reader
	stop func()
	last string // id of the last event
}

func (r *rig) follow(path string, h ...string) *follower {
	r.t.Helper()
	response := r.start(http.MethodGet, path, nil, append([]string{"Accept", "application/x-ndjson"}, h...)...)
	if response.StatusCode != http.StatusOK {
		r.t.Fatalf("GET %s: %s", path, response.Status)
	}
	var once sync.Once
	f := &follower{t: r.t, body: bufio.NewReader(response.Body), stop: func() { once.Do(func() { response.Body.Close() }) }}
	r.t.Cleanup(f.stop)
	if e := f.next(); !e.Begin {
		r.t.Fatalf("the first line is %+v", e)
	}
	return f
}

func (f *follower) next() event {
	f.t.Helper()
	for {
		line, err := f.body.ReadBytes('\n')
		if err != nil {
			f.t.Fatalf("after %q: %v", line, err)
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			f.t.Fatalf("%q: %v", line, err)
		}
		if f.last = e.ID; !e.Idle {
			return e
		}
	}
}

// ids are the ids of the next n records.
func (f *follower) ids(n int) []string {
	f.t.Helper()
	var ids []string
	for range n {
		e := f.next()
		q, err := audit.ParseCanonical(e.Audit)
		if err != nil {
			f.t.Fatalf("%+v: %v", e, err)
		}
		ids = append(ids, q.QueryID.String())
	}
	return ids
}

func TestATailGoesOnWhereItWasCutWithoutAHoleOrADouble(t *testing.T) {
	r := serve(t)
	var want []string
	put := func(n int) {
		for range n {
			want = append(want, r.put(record('a', len(want), "")))
		}
	}
	put(3)
	now := r.follow("/v1/tail")
	all := r.follow("/v1/tail?after=0")
	put(4)
	if got := now.ids(4); fmt.Sprint(got) != fmt.Sprint(want[3:]) {
		t.Errorf("from now on:\n%v\nwant\n%v", got, want[3:])
	}
	var got []string
	for len(got) < 20 {
		got = append(got, all.ids(min(3, 20-len(got)))...)
		all.stop()
		put(3)
		all = r.follow("/v1/tail?after="+all.last, "Last-Event-ID", all.last)
	}
	if fmt.Sprint(got) != fmt.Sprint(want[:20]) {
		t.Errorf("in parts:\n%v\nwant\n%v", got, want[:20])
	}
	// The header counts before the parameter, with which a browser began.
	again := r.follow("/v1/tail?after=0", "Last-Event-ID", all.last)
	if got := again.ids(1)[0]; got != want[20] {
		t.Errorf("the first after the header is %s, want %s", got, want[20])
	}
}

func TestServerSentEvents(t *testing.T) {
	r := serve(t)
	response := r.start(http.MethodGet, "/v1/tail", nil, "Accept", "text/event-stream")
	defer response.Body.Close()
	body := bufio.NewReader(response.Body)
	line := func(prefix string) string {
		t.Helper()
		text, err := body.ReadString('\n')
		if err != nil || !strings.HasPrefix(text, prefix) {
			t.Fatalf("%q, %v; want %q", text, err, prefix)
		}
		return strings.TrimSuffix(strings.TrimPrefix(text, prefix), "\n")
	}
	line("retry: ")
	begin := line("id: ")
	line("\n")
	id := r.put(record('a', 0, ""))
	if next := line("id: "); next == begin {
		t.Errorf("the id is that of the beginning, %s", next)
	}
	line("event: audit\n")
	if data := line("data: "); data != r.get("/v1/audits/"+id) {
		t.Errorf("%s", data)
	}
	line("\n")
	r.server.Drain()
	line("event: bye\n")
	line("data: {")
	line("\n")
	if rest, err := body.ReadString('\n'); err == nil {
		t.Errorf("after bye: %q", rest)
	}
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("%s", got)
	}
	if len(response.TransferEncoding) > 0 || !response.Close {
		t.Errorf("Transfer-Encoding: %v, Connection: close is %v", response.TransferEncoding, response.Close)
	}
}

func TestATailFromAPlaceThatIsNotThere(t *testing.T) {
	r := serve(t)
	r.put(record('a', 0, ""))
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodGet, "/v1/tail?after=99999999", "")
	r.fails(http.StatusBadRequest, "bad-parameter", http.MethodGet, "/v1/tail", "", "Last-Event-ID", "x")
	r.fails(http.StatusNotAcceptable, "not-acceptable", http.MethodGet, "/v1/tail", "", "Accept", "application/json")
}

// A trimmed has a journal that begins later, and a tail that finds out late.
type trimmed struct {
	web.Store
	first audit.Offset
	late  bool
}

func (s trimmed) TailRange(ctx context.Context) (first, end audit.Offset, err error) {
	_, end, err = s.Store.TailRange(ctx)
	if s.late {
		return 0, end, err
	}
	return s.first, end, err
}

func (s trimmed) TailAfter(ctx context.Context, after audit.Offset) iter.Seq2[audit.TailRecord, error] {
	if after < s.first {
		return func(yield func(audit.TailRecord, error) bool) {
			yield(audit.TailRecord{}, fmt.Errorf("tail: %w", &audit.TrimmedError{After: after, First: s.first}))
		}
	}
	return s.Store.TailAfter(ctx, after)
}

func TestATailThatHasMissedRecordsSaysSo(t *testing.T) {
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	q, err := audit.ParseAudit([]byte(record('a', 0, "")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.PutAudit(t.Context(), &q); err != nil {
		t.Fatal(err)
	}
	_, end, err := db.TailRange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	early := serveStore(t, trimmed{db, end, false})
	if p := early.fails(http.StatusGone, "trimmed", http.MethodGet, "/v1/tail?after=1", ""); p.First != fmt.Sprint(uint64(end)) {
		t.Errorf("%+v", p)
	}
	f := serveStore(t, trimmed{db, end, true}).follow("/v1/tail?after=1")
	if e := f.next(); !e.Gap || e.First != fmt.Sprint(uint64(end)) || e.ID != "1" {
		t.Errorf("%+v", e)
	}
	if rest, err := f.body.ReadString('\n'); err == nil {
		t.Errorf("after the gap: %q", rest)
	}
}

// Many tails see every record, in order, while many clients put.
func TestManyTailsSeeEverything(t *testing.T) {
	r := serve(t)
	const tails, writers, each = 12, 4, 40
	var followers []*follower
	for range tails {
		followers = append(followers, r.follow("/v1/tail"))
	}
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				r.put(record("abcd"[w], i, attribute("i", i)))
			}
		})
	}
	wait.Wait()
	want := followers[0].ids(writers * each)
	for i, f := range followers[1:] {
		if got := f.ids(writers * each); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("tail %d sees another order", i+1)
		}
	}
	late := r.follow("/v1/tail?after=0")
	if got := late.ids(writers * each); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error("a tail from the beginning sees another order")
	}
}

func TestTailsHaveALimit(t *testing.T) {
	r := serve(t, func(o *web.Options) { o.Limits.Tails = 2 })
	first := r.follow("/v1/tail")
	r.follow("/v1/tail")
	r.fails(http.StatusTooManyRequests, "busy", http.MethodGet, "/v1/tail", "")
	// A look at the header alone takes no place, so it ends by itself.
	for range 3 {
		if a := r.do(http.MethodHead, "/v1/tail", "", "Accept", "text/event-stream"); a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("status %d, %s", a.StatusCode, a.Header.Get("Content-Type"))
		}
	}
	first.stop()
	for {
		response := r.start(http.MethodGet, "/v1/tail", nil)
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
	}
}

// A panicking store fails to tail the first time, and answers everything else.
type panickingStore struct {
	web.Store
	tails atomic.Int64
}

func (s *panickingStore) TailAfter(ctx context.Context, after audit.Offset) iter.Seq2[audit.TailRecord, error] {
	if s.tails.Add(1) == 1 {
		panic("secret")
	}
	return s.Store.TailAfter(ctx, after)
}

// A panic in what all tails read together ends them, and nothing else.
func TestAPanicInTheReaderOfTheTails(t *testing.T) {
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := serveStore(t, &panickingStore{Store: db})
	r.db = db
	f := r.follow("/v1/tail")
	if rest, err := f.body.ReadString('\n'); err == nil {
		t.Fatalf("after the panic: %q", rest)
	}
	if log := r.log.String(); !strings.Contains(log, "has panicked") {
		t.Errorf("the log has %s", log)
	}
	// Its place is free again a moment later, and then the next tail has a reader that works.
	f = r.follow("/v1/tail")
	id := r.put(record('a', 0, ""))
	if got := f.ids(1)[0]; got != id {
		t.Errorf("%s, want %s", got, id)
	}
}

// A tail that is further behind than the hub remembers reads the journal by itself, and misses nothing.
func TestATailThatIsBehindReadsTheJournal(t *testing.T) {
	r := serve(t)
	slow := r.follow("/v1/tail") // takes nothing for now
	fast := r.follow("/v1/tail")
	const n = 9000 // more than the hub holds
	var body strings.Builder
	for i := range n {
		body.WriteString(record('a', 0, attribute("i", i)) + "\n")
	}
	answers := lines(t, r.do(http.MethodPost, "/v1/audits", body.String(), "Content-Type", "application/x-ndjson").body)
	for name, f := range map[string]*follower{"fast": fast, "slow": slow} {
		for i, id := range f.ids(n) {
			if want := answers[i]["query_id"]; id != want {
				t.Fatalf("%s: record %d is %s, want %s", name, i, id, want)
			}
		}
	}
}
