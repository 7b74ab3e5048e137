package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A partly store answers everything but timelines: those fail, or take for ever.
type partlyStore struct {
	*audit.DB
	timeline func(context.Context) error
}

func (s *partlyStore) Timeline(ctx context.Context, o audit.TimelineOptions) (*audit.Timeline, error) {
	return nil, s.timeline(ctx)
}

// A part of a page that fails, or takes too long, says so in its place. The rest is shown.
func TestAPartThatFailsLeavesTheRest(t *testing.T) {
	t.Parallel()
	for name, timeline := range map[string]func(context.Context) error{
		"could not be shown: The server has failed": func(context.Context) error { return errors.New("/secret/path: broken") },
		"could not be shown: it would have taken longer than 50ms": func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Second):
				return errors.New("nobody has ended it")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openPages(t, incident())
			p.h = pageHandler(&partlyStore{p.db, timeline}, func(o *web.Options) { o.Limits.Part = 50 * time.Millisecond })
			_, page := p.open("/")
			main := text(elements(page, "main")[0])
			// Only the timeline is sure to fail: under load another part may be late too.
			if !strings.Contains(strings.ToLower(main), strings.ToLower(name)) || !strings.Contains(main, "Answers that changed") || !strings.Contains(main, "The newest records") {
				t.Errorf("the page says %s", main)
			}
			if strings.Contains(main, "/secret") {
				t.Error("the page tells a path of the server")
			}
		})
	}
}

// A busy store counts two thousand times as many records as it has, and notes what it is asked to rank.
type busyStore struct {
	*audit.DB
	ranked chan audit.TopOptions
}

func (s *busyStore) Newest(ctx context.Context, f audit.Filter, n int) (from, records uint64, ok bool, err error) {
	const times = 2_000
	from, records, ok, err = s.DB.Newest(ctx, f, (n+times-1)/times)
	return from, records * times, ok, err
}

func (s *busyStore) Top(ctx context.Context, o audit.TopOptions) (*audit.TopList, error) {
	s.ranked <- o
	return s.DB.Top(ctx, o)
}

// The first page looks for new sources in the newest records alone when an hour has many, and says so.
func TestNewSourcesOfABusyHour(t *testing.T) {
	t.Parallel()
	records := incident()
	p := openPages(t, records)
	_, page := p.open("/")
	if main := text(elements(page, "main")[0]); strings.Contains(main, "were looked at, those from") {
		t.Errorf("few records are said to be too many: %s", main)
	}
	s := &busyStore{p.db, make(chan audit.TopOptions, 8)}
	p.h = pageHandler(s)
	_, page = p.open("/")
	main := text(elements(page, "main")[0])
	if !strings.Contains(main, "Only the newest 2,000 records were looked at, those from") {
		t.Errorf("the page says %s", main)
	}
	o := <-s.ranked
	times := []uint64{}
	for _, q := range records {
		times = append(times, q.Timestamp)
	}
	slices.Sort(times)
	newest, second := times[len(times)-1], times[len(times)-2]
	if from := *o.Filter.From; from != newest || *o.NewSince >= from {
		t.Errorf("ranked from %d, new since %d; the newest record is of %d", from, *o.NewSince, newest)
	}
	// So does the ranking, unless somebody names a time.
	for address, narrowed := range map[string]bool{"/top?by=source": true, "/top?by=source&limit=3": true, "/top?by=source&from=24h": false, "/top?by=agent": false} {
		_, page := p.open(address)
		if got := strings.Contains(text(page), "These are its newest 4,000"); got != narrowed {
			t.Errorf("%s says that it is about a part of the hour: %v", address, got)
		}
		if ranked := <-s.ranked; narrowed && *ranked.Filter.From != second {
			t.Errorf("%s is about what came since %d; the second newest record is of %d", address, *ranked.Filter.From, second)
		}
	}
}

// The first page looks at so many answers in all. Of a few questions it sees every answer of the hour, and of many the newest ones; then it
// says so.
func TestAnswersThatChangedEarlyInTheHour(t *testing.T) {
	t.Parallel()
	asked := func(questions int) []*audit.QueryAudit {
		var records []*audit.QueryAudit
		for at := time.Minute; at < time.Hour; at += time.Minute {
			for i := range questions {
				result := "first"
				if at > 10*time.Minute {
					result = "second"
				}
				records = append(records, asks(present.Sub(incidentBegins)-time.Hour+at, "planner", "s", fmt.Sprintf("p%d", i), "l", evidenceOf(result, 0.9, "doc", audit.Approved)))
			}
		}
		return records
	}
	for questions, seen := range map[int]bool{1: true, 4: true, 30: false} {
		_, page := openPages(t, asked(questions)).open("/")
		main := text(elements(page, "main")[0])
		if got := strings.Contains(main, "Another answer than before") && !strings.Contains(main, "None."); got != seen {
			t.Errorf("%d questions: a change 50 minutes ago is shown: %v, want %v: %s", questions, got, seen, main)
		}
		if told := strings.Contains(main, "and the newest 250 answers to 25 questions in them"); told == seen {
			t.Errorf("%d questions: the page says that it has not looked at all: %v: %s", questions, told, main)
		}
	}
}

// Of very many answers, those whose answer the assertion was are one link away.
func TestAnImpactLeadsToThoseItWasTheAnswerOf(t *testing.T) {
	t.Parallel()
	p := openPages(t, incident())
	hash := pageHash("assertion", "right").String()
	find := func(page *html.Node) (to string) {
		for _, a := range elements(page, "a") {
			if strings.Contains(text(a), "Show these alone") {
				to, _ = attributeOf(a, "href")
			}
		}
		return to
	}
	_, page := p.open("/impact/" + hash)
	to := find(page)
	if main := text(elements(page, "main")[0]); to == "" || !strings.Contains(main, "2 answers of 1 agent") {
		t.Fatalf("the link leads to %q; the page says %s", to, main)
	}
	_, page = p.open(to)
	if main := text(elements(page, "main")[0]); find(page) != "" || !strings.Contains(main, "1 answer of 1 agent") {
		t.Errorf("%s says %s", to, main)
	}
}

// An early store says that it has fewer records than it has: more have come since it was asked.
type earlyStore struct {
	*audit.DB
	records uint64
}

func (s *earlyStore) Progress() audit.Progress { return audit.Progress{Records: s.records} }
func (s *earlyStore) Moment() uint64           { return s.records }

// All parts of a page are about the moment at which it was asked for, so that the link to copy shows what was seen.
func TestAPageIsAboutOneMoment(t *testing.T) {
	t.Parallel()
	records := incident()
	p := openPages(t, records)
	p.h = pageHandler(&earlyStore{p.db, 4})
	for address, want := range map[string]string{
		"/list": "4 records,", "/timeline": "4 records of 3 agents.", "/": "3 records of 3 agents.", "/impact/" + pageHash("assertion", "right").String(): "2 answers of 1 agent",
		"/top?by=subject": "Of 3 records.", "/agents/" + records[2].AgentID.String(): "2 records of 1 agent.",
	} {
		_, page := p.open(address)
		if main := text(elements(page, "main")[0]); !strings.Contains(main, want) {
			t.Errorf("%s does not say %q: %s", address, want, main)
		}
	}
}

// A list goes on from page to page. All pages together have every record once, in order, also when records come in between.
func TestAListGoesOn(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"", "&desc=true"} {
		records := incident()
		p := openPages(t, records)
		var seen []string
		at := "/list?limit=7" + order
		for range 20 {
			_, page := p.open(at)
			for _, tr := range elements(elements(page, "tbody")[0], "tr") {
				seen = append(seen, text(elements(tr, "th")[0]))
			}
			at = ""
			for _, a := range elements(page, "a") {
				if rel, _ := attributeOf(a, "rel"); rel == "next" {
					at, _ = attributeOf(a, "href")
				}
			}
			if at == "" {
				break
			}
		}
		if at != "" {
			t.Fatal("the list has no end")
		}
		sorted := slices.Clone(seen)
		slices.Sort(sorted)
		if len(seen) != len(records) || len(slices.Compact(sorted)) != len(records) {
			t.Errorf("%s: the pages have %d records, %d of them different, and there are %d", order, len(seen), len(sorted), len(records))
		}
	}
}

// A form leads to an address without the fields that were left empty, and nowhere else.
func TestAFormLeadsToAnAddress(t *testing.T) {
	t.Parallel()
	p := openPages(t, incident())
	for from, want := range map[string]string{
		"/go/list?subject=&agent=planner&from=&attr=a%3Db&attr=":  "/list?agent=planner&attr=a%3Db",
		"/go/list?attr=a%3Db&attr=c%3Dd":                          "/list?attr=a%3Db&attr=c%3Dd",
		"/go/timeline?by=hour&from=6h":                            "/timeline?by=hour&from=6h",
		"/go/answers?subject=a&predicate=":                        "/answers?subject=a",
		"/go/health":                                              "",
		"/go//evil.example/":                                      "",
		"/go/impact/../../x":                                      "",
		"/go/impact/" + strings.Repeat("ab", 32) + "?source=true": "/impact/" + strings.Repeat("ab", 32) + "?source=true",
	} {
		w := p.fetch(from)
		if got := w.Header().Get("Location"); want != "" && (w.Code != http.StatusSeeOther || got != want) || want == "" && w.Code == http.StatusSeeOther {
			t.Errorf("%s: status %d, to %s, want %s", from, w.Code, got, want)
		}
	}
}

// One box finds everything that can be typed. What can only be one thing is opened at once.
func TestFind(t *testing.T) {
	t.Parallel()
	records := incident()
	p := openPages(t, records)
	id := records[2].QueryID.String()
	planner, mail, wrong := pageHash("agent", "planner").String(), pageHash("source", "mail 7731").String(), pageHash("assertion", "false").String()
	for typed, want := range map[string]string{
		id[:8]: "/q/" + id, " " + id + " ": "/q/" + id, strings.ToUpper(id[:10]): "/q/" + id,
		planner[:12]: "/agents/" + planner, "planner": "/agents/" + planner, wrong: "/impact/" + wrong, "mail 7731": "/impact/" + mail + "?source=true",
		"pay-20931": "/list?attr=trace_id%3Dpay-20931&desc=true", "trace_id=pay-20931": "/list?attr=trace_id%3Dpay-20931&desc=true", "amount=48200": "/list?attr=amount%3D48200&desc=true",
		"2026-11-23T10:19": "/timeline?around=2026-11-23T10%3A19%3A00.000Z&window=15m", "2026-11-23": "/timeline?from=2026-11-23T00%3A00%3A00.000Z&to=2026-11-23T23%3A59%3A59.999Z",
	} {
		w := p.fetch("/find?" + url.Values{"q": {typed}}.Encode())
		if got := w.Header().Get("Location"); w.Code != http.StatusFound || got != want {
			t.Errorf("%q: status %d, to %s, want %s", typed, w.Code, got, want)
		}
	}
	_, page := p.open("/find?q=" + url.QueryEscape("supplier/Northwind"))
	if main := text(elements(page, "main")[0]); !strings.Contains(main, "2 things") || !strings.Contains(main, "the questions about this subject") {
		t.Errorf("a subject: %s", main)
	}
	// As of an earlier moment only what was there then is found.
	for typed, since := range map[string]int{id[:8]: 3, planner[:12]: 1, wrong: 2, "mail 7731": 2, "pay-20931": 3} {
		for _, n := range []int{since - 1, since} {
			w := p.fetch("/find?" + url.Values{"q": {typed}, "as_of": {fmt.Sprint(n)}}.Encode())
			if found := w.Code == http.StatusFound; found != (n == since) {
				t.Errorf("%q as of %d records: status %d", typed, n, w.Code)
			}
		}
	}
	_, page = p.open("/find?q=10:19")
	if main := text(elements(page, "main")[0]); !strings.Contains(main, "Nothing in the store has this") || !strings.Contains(main, "A time is written as 2026-11-23T10:19") {
		t.Errorf("a time without a day: %s", main)
	}
}

// Digits that are too few for a command may still be the beginning of an id, even if they are a number that could be a time.
func TestFindTakesAFewDigitsForAnID(t *testing.T) {
	t.Parallel()
	q := asks(0, "planner", "a", "b", "c")
	copy(q.QueryID[:], "\x40\x58\xe5\x93")
	other := asks(time.Minute, "planner", "a", "b", "c")
	copy(other.QueryID[:], "\x9e\xab\xc0\x01")
	p := openPages(t, []*audit.QueryAudit{q, other})
	_, page := p.open("/find?q=4058")
	main := text(elements(page, "main")[0])
	for _, want := range []string{"2 things", "a record", "4058e593", "a time", "1970-01-01T00:00:04.058Z"} {
		if !strings.Contains(main, want) {
			t.Errorf("no %q in %s", want, main)
		}
	}
	if w := p.fetch("/find?q=9EAB"); w.Header().Get("Location") != "/q/"+other.QueryID.String() {
		t.Errorf("an id by four digits: status %d, to %s", w.Code, w.Header().Get("Location"))
	}
	if _, page = p.open("/find?q=2026"); !strings.Contains(text(elements(page, "main")[0]), "1970-01-01T00:00:02.026Z") {
		t.Error("a number that is no id leads to a time at once")
	}
}

// The page of an error says in words what was wrong, leads to what was perhaps meant, and has what was typed, to be corrected.
func TestAnErrorPageLeadsOn(t *testing.T) {
	t.Parallel()
	p := openPages(t, incident())
	for address, want := range map[string]struct{ link, field, value string }{
		"/list?agent=plannr&subject=supplier%2F%2A": {"/list?agent=planner&subject=supplier%2F%2A", "agent", "plannr"},
		"/answers?subject=a&predicate=b&from=nver":  {"", "from", "nver"},
		"/top?by=source&new-since=nver":             {"", "new-since", "nver"},
		"/timeline?from=nver&agent=planner":         {"", "agent", "planner"},
	} {
		page := p.parse(address)
		checkPage(t, address, page)
		main := elements(page, "main")[0]
		if words := text(main); strings.Contains(words, "member") || strings.Contains(words, "/v1/") {
			t.Errorf("%s talks to a program: %s", address, words)
		}
		typed := false
		for _, input := range elements(main, "input") {
			typed = typed || valueOf(input, "name") == want.field && valueOf(input, "value") == want.value
		}
		if !typed {
			t.Errorf("%s: the form does not have what was typed as %s", address, want.field)
		}
		if led := slices.ContainsFunc(elements(main, "a"), func(a *html.Node) bool { return valueOf(a, "href") == want.link }); want.link != "" && !led {
			t.Errorf("%s does not lead to %s", address, want.link)
		}
	}
	// A value of the form itself that is wrong does not come back with what is sent next.
	for _, input := range elements(p.parse("/top?by=sorce"), "input") {
		if valueOf(input, "name") == "by" {
			t.Error("the wrong value of by is sent again")
		}
	}
	if page := p.parse("/problems"); len(elements(page, "h1")) != 1 || !strings.Contains(text(page), "The member candidates lists them") {
		t.Errorf("what errors mean: %.300s", text(page))
	}
}

// What nobody approved is marked, and not what changed: the right answer that came back is a change too.
func TestAChangeIsNoAlarm(t *testing.T) {
	t.Parallel()
	p := openPages(t, append(incident(), asks(57*time.Minute, "planner", "supplier/Northwind", "payment_account", "Consensus", evidenceOf("right", 0.97, "contract", audit.Approved))))
	_, page := p.open("/answers?subject=supplier%2FNorthwind&predicate=payment_account")
	right, wrong := 0, 0
	for _, row := range elements(elements(page, "tbody")[0], "tr") {
		words, marked := text(row), strings.Contains(valueOf(row, "class"), "marked")
		if approved := !strings.Contains(words, "0 of") && !strings.Contains(words, "1 of 2"); approved == marked {
			t.Errorf("marked %v: %s", marked, words)
		} else if marked {
			wrong++
		} else if strings.Contains(words, "≠") {
			right++
		}
	}
	if wrong != 3 || right == 0 {
		t.Errorf("%d rows are marked, %d right ones have changed", wrong, right)
	}
}

// A person sees an error as a page, and a program as a problem document.
func TestErrorsArePages(t *testing.T) {
	t.Parallel()
	p := openPages(t, incident())
	for address, want := range map[string]int{
		"/q/00000000": 404, "/q/xyz": 404, "/nothing": 404, "/list?from=never": 400, "/list?sort=x": 400, "/list?as_of=999999": 404, "/list?after=x": 400,
		"/impact/" + strings.Repeat("ab", 32): 404, "/agents/nobody": 404, "/timeline?by=year": 400, "/top?by=x": 400, "/top?new-since=never": 400, "/diff/00000000/11111111": 404,
		"/?tz=Nowhere": 400, "/case?u=" + url.QueryEscape("//evil.example/q/1"): 400, "/case?u=" + url.QueryEscape("javascript:alert(1)"): 400, "/case?u=" + url.QueryEscape("/v1/stats"): 400,
		"/case?u=/tail/rows": 400, "/case?u=/tail": 400, "/case?u=/go/list": 400, "/case?u=/find": 400, "/case?u=/case": 400, "/case?u=/health": 400, "/case?u=/login": 400, "/case?u=/nothing": 400,
	} {
		w := p.fetch(address)
		page, err := html.Parse(strings.NewReader(w.Body.String()))
		if err != nil {
			t.Fatal(err)
		}
		if w.Code != want || len(elements(page, "h1")) != 1 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: status %d, want %d: %.300s", address, w.Code, want, w.Body)
			continue
		}
		checkPage(t, address, page)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/q/00000000", nil)
	r.Host = "127.0.0.1"
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("a program gets status %d, %s", w.Code, w.Header().Get("Content-Type"))
	}
}

// What came a moment ago, and what SQLite does not have yet, has a page that says why it was answered so.
func TestARecordThatHasJustCome(t *testing.T) {
	t.Parallel()
	p := openPages(t, incident())
	q := asks(80*time.Minute, "planner", "a", "b", "c", evidenceOf("right", 0.5, "contract", audit.Approved))
	id, err := p.db.PutAudit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	_, page := p.open("/q/" + id.String())
	if main := text(elements(page, "main")[0]); !strings.Contains(main, "contract") && !strings.Contains(main, pageHash("source", "contract").String()[:8]) {
		t.Errorf("the page says %s", main)
	}
}

// The page of the tail gets rows that are legible already.
func TestRowsOfATailAreLegible(t *testing.T) {
	t.Parallel()
	p := openPages(t, incident())
	server := httptest.NewServer(p.h)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/tail/rows", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && lines.Text() != "" { // it has begun
	}
	p.put([]*audit.QueryAudit{asks(82*time.Minute, "planner", "a\u202eb\x1b[31m<b>", "p", "l", evidenceOf("false", 0.5, "mail 7731", audit.Proposed))})
	for lines.Scan() {
		line, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData {
			continue
		}
		var row struct {
			Marked bool
			Cells  [][]struct{ Text, Link string }
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, cell := range row.Cells {
			for _, part := range cell {
				all += part.Text + " "
				if part.Link != "" && (!strings.HasPrefix(part.Link, "/") || strings.HasPrefix(part.Link, "//")) {
					t.Errorf("a link to %s", part.Link)
				}
			}
		}
		if !row.Marked || !strings.Contains(all, `a\u202eb\u001b[31m<b>`) {
			t.Errorf("marked %t: %s", row.Marked, all)
		}
		return
	}
	t.Fatal("no row came: ", lines.Err())
}

// A case has its pages one below the other, each as of a number of records, and one that fails says so.
func TestCase(t *testing.T) {
	t.Parallel()
	records := incident()
	p := openPages(t, records)
	id := records[2].QueryID.String()
	_, page := p.open("/case?" + url.Values{"u": {"/q/" + id[:8], "http://127.0.0.1:7070/impact/" + pageHash("assertion", "false").String(), "/q/00000000"}, "title": {"<b>Northwind</b>"}}.Encode())
	checkPage(t, "/case", page)
	main := text(elements(page, "main")[0])
	for _, words := range []string{"<b>Northwind</b>", "Record " + id[:8], "Impact of assertion", "As of 29 records", "could not be shown", "the answer itself is Proposed"} {
		if !strings.Contains(main, words) {
			t.Errorf("the case does not say %q: %s", words, main)
		}
	}
	for _, a := range elements(page, "a") {
		if text(a) == "Open this page" {
			if to, _ := attributeOf(a, "href"); !strings.Contains(to, "as_of=29") {
				t.Errorf("a page of the case is %s", to)
			}
		}
	}
}

// A difference with more pieces of evidence than a page shows still says how many there are of each kind.
func TestADifferenceCountsWhatItLeavesOut(t *testing.T) {
	r := serve(t)
	few := audit.QueryAudit{Timestamp: 1, ResultConfidence: 1}
	many := audit.QueryAudit{Timestamp: 2, ResultConfidence: 1}
	const pieces = 25
	for i := range byte(pieces) {
		many.ContributingAssertions = append(many.ContributingAssertions, audit.ContributingAssertion{
			AssertionHash: audit.Hash{1, i}, SourceHash: audit.Hash{2, i}, Weight: 1, Lifecycle: audit.Approved,
		})
	}
	ids := make([]string, 2)
	for i, q := range []*audit.QueryAudit{&few, &many} {
		id, err := r.db.PutAudit(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id.String()
	}
	r.applied()
	page := r.get("/diff/"+ids[0]+"/"+ids[1], "Accept", "text/html")
	for _, want := range []string{"25 came, 0 changed, 0 went, 0 as before", "5 changes are left out, 0 of them not approved"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// An agent is silent when it stopped before the present, not when the time shown goes on after it. On a page about the present that is the
// time of the clock, as in the API; on one that is as of a moment it is the time of the newest record that was there.
func TestNobodyIsSilentBecauseOfWhatHasNotPassed(t *testing.T) {
	t.Parallel()
	var records []*audit.QueryAudit
	for at := time.Duration(0); at <= present.Sub(incidentBegins); at += time.Minute {
		records = append(records, asks(at, "planner", "s", "p", "l"))
		if at < time.Hour {
			records = append(records, asks(at, "mailbot", "s", "p", "l"))
		}
	}
	p := openPages(t, records)
	silentOn := func(address string) (page, api []string) {
		t.Helper()
		for _, table := range elements(p.parse("/timeline?"+address), "table") {
			if strings.Contains(text(table), "and then stopped") {
				for _, name := range []string{"planner", "mailbot"} {
					if strings.Contains(text(table), name) {
						page = append(page, name)
					}
				}
			}
		}
		var answer struct {
			Silent []struct {
				Label string `json:"agent_label"`
			} `json:"silent"`
		}
		if w := p.fetch("/v1/timeline?" + address); json.Unmarshal(w.Body.Bytes(), &answer) != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, one := range answer.Silent {
			api = append(api, one.Label)
		}
		return page, api
	}
	check := func(when string, want map[string][]string) {
		t.Helper()
		for moment, names := range want {
			for _, to := range []string{"2026-11-23", "2026-11-23T10:59:59.999Z", "2027-12-31"} {
				address := "from=2026-11-23T09:30&to=" + to + moment
				if page, api := silentOn(address); !slices.Equal(page, names) || !slices.Equal(api, names) {
					t.Errorf("%s, %s: the page has %v, the API %v; want %v", when, address, page, api, names)
				}
			}
		}
	}
	frozen := fmt.Sprintf("&as_of=%d", len(records))
	check("now", map[string][]string{"": {"mailbot"}, frozen: {"mailbot"}, "&as_of=100": {}})
	p.now = present.Add(2 * time.Minute)
	p.put([]*audit.QueryAudit{asks(86*time.Minute, "mailbot", "s", "p", "l")})
	check("after another record", map[string][]string{"": {}, frozen: {"mailbot"}})
	p.now = present.Add(time.Hour)
	_, page := p.open("/timeline?from=2026-11-23&to=2026-11-23")
	if shown := text(page); !strings.Contains(shown, "Silent agents") {
		t.Errorf("nobody is silent after an hour without records: %s", shown)
	}
	check("an hour later", map[string][]string{frozen: {"mailbot"}})
}

// A time that a page chooses begins with a whole minute, or if it is long with a whole quarter of an hour: the counts of these are stored.
func TestATimeThatAPageChoosesBeginsWhereACountIsStored(t *testing.T) {
	t.Parallel()
	var records []*audit.QueryAudit
	for at := 7*time.Minute + 7*time.Second; at <= present.Sub(incidentBegins); at += 3 * time.Minute {
		records = append(records, asks(at, "planner", "s", "p", "l"))
	}
	p := openPages(t, records)
	p.now = present.Add(38*time.Minute + 41*time.Second)
	check := func(when string) {
		t.Helper()
		for address, whole := range map[string]time.Duration{
			"/": time.Minute, "/top?by=agent": time.Minute, "/top?by=source": time.Minute, "/compare?by=source": time.Minute,
			"/timeline": 15 * time.Minute, "/agents/" + records[0].AgentID.String(): 15 * time.Minute,
		} {
			u, err := url.Parse(frozenLink(p.parse(address)))
			if err != nil {
				t.Fatal(err)
			}
			from, err := time.Parse(time.RFC3339, u.Query().Get("from"))
			if err != nil || !from.Equal(from.Truncate(whole)) {
				t.Errorf("%s, %s begins at %v, not with a whole %v: %v", when, address, from, whole, err)
			}
		}
	}
	check("up to now")
	p.now = present.Add(72 * time.Hour)
	check("up to the newest record")
}
