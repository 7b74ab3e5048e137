package web_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/auditsql/auditsql/internal/when"
	"github.com/auditsql/auditsql/web"
)

// clocked serves a store at a time that a test moves on.
func clocked(t *testing.T) (r *rig, pass func(time.Duration)) {
	var after atomic.Int64
	r = serve(t, func(o *web.Options) { o.Now = func() time.Time { return noon.Add(time.Duration(after.Load())) } })
	return r, func(d time.Duration) { after.Add(int64(d)) }
}

// The next page of a list selects what the first one did, however late it is asked for, and whatever a name or some digits mean then.
func TestTheNextPageSelectsWhatTheFirstOneDid(t *testing.T) {
	another := func(r *rig, _ func(time.Duration)) {
		r.get("/healthz")
		r.do(http.MethodDelete, "/v1/labels/"+hash('a').String(), "")
		r.do(http.MethodPut, "/v1/labels/"+hash('d').String(), `{"label":"planner"}`)
	}
	for name, c := range map[string]struct {
		path    string
		between func(r *rig, pass func(time.Duration))
	}{
		"a relative time": {"/v1/audits?from=2h&limit=2", func(_ *rig, pass func(time.Duration)) { pass(3 * time.Second) }},
		"a window":        {"/v1/audits?around=2h&window=10s&limit=2", func(_ *rig, pass func(time.Duration)) { pass(12 * time.Second) }},
		"what is left out": {"/v1/audits?not-around=1h&window=1m&limit=2", func(_ *rig, pass func(time.Duration)) {
			pass(-time.Hour)
		}},
		"a label":                        {"/v1/audits?agent=planner&limit=2", another},
		"a label in the path":            {"/v1/agents/planner/audits?limit=2", another},
		"digits":                         {"/v1/audits?agent=aaaaaaaa&limit=2", anotherAgent},
		"digits in the path":             {"/v1/agents/aaaaaaaa/audits?limit=2", anotherAgent},
		"a label that is a negation":     {"/v1/audits?not-agent=planner&limit=1", anotherAgent},
		"a time by a zone that is named": {"/v1/audits?from=2026-11-23T11:00&tz=Europe/Berlin&limit=2", anotherAgent},
	} {
		t.Run(name, func(t *testing.T) {
			r, pass := clocked(t)
			for i := range 5 {
				r.put(record('a', i, ""))
				r.put(record('d', i, ""))
			}
			if a := r.do(http.MethodPut, "/v1/labels/"+hash('a').String(), `{"label":"planner"}`); a.StatusCode != http.StatusOK {
				t.Fatal(a.body)
			}
			r.applied()
			whole, _ := r.pages(strings.Replace(c.path, "limit=", "limit=10", 1), nil)
			first := true
			got, _ := r.pages(c.path, func() {
				if first {
					c.between(r, pass)
				}
				first = false
			})
			ids := func(list []string) string {
				var all []string
				for _, one := range list {
					all = append(all, one[:80])
				}
				return strings.Join(all, "\n")
			}
			if len(whole) < 5 || ids(got) != ids(whole) {
				t.Errorf("%d records, want %d\n%s", len(got), len(whole), ids(got))
			}
		})
	}
}

// anotherAgent stores a record of an agent whose hash begins as that of agent a.
func anotherAgent(r *rig, _ func(time.Duration)) {
	r.put(strings.Replace(record('a', 2, ""), hash('a').String(), strings.Repeat("a", 32)+strings.Repeat("b", 32), 1))
	r.applied()
}

// The address of the next page of /list has absolute times, whole hashes and the zone.
func TestTheNextPageOfAListThatIsShown(t *testing.T) {
	r, _ := clocked(t)
	for i := range 5 {
		r.put(record('a', i, ""))
	}
	r.applied()
	body := r.get("/list?from=2h&agent=aaaaaaaa&limit=2", "Accept", "text/html")
	_, next, _ := strings.Cut(body, `rel="next"`)
	if before := strings.LastIndex(body[:strings.Index(body, `rel="next"`)], "<a "); before >= 0 {
		next = body[before:]
	}
	next, _, _ = strings.Cut(next, "</a>")
	for _, want := range []string{"after=", "from=" + url.QueryEscape("2026-11-23T10:00:00.000Z"), "agent=" + hash('a').String(), "tz=UTC"} {
		if !strings.Contains(next, want) {
			t.Errorf("%s is missing in %s", want, next)
		}
	}
}

// The link to copy has no time that depends on when it is followed, nor the zone of the machine.
func TestTheLinkToCopyHasAbsoluteTimes(t *testing.T) {
	r, pass := clocked(t)
	r.put(record('a', 0, ""))
	r.applied()
	pass(500 * time.Microsecond) // between two timestamps
	for _, typed := range []string{"now", "2h"} {
		body := r.get("/list?tz=local&not-around="+typed, "Accept", "text/html")
		_, link, _ := strings.Cut(body, "as_of=1&")
		link, _, _ = strings.Cut(link, `"`)
		if !strings.Contains(link, "not-around=2026-11-23T") {
			t.Errorf("%s: %s", typed, link)
		}
		if zone := when.ZoneName(time.Local); !strings.Contains(link, "tz="+url.QueryEscape(zone)) {
			t.Errorf("want the zone %s: %s", zone, link)
		}
	}
}

// A page about a time takes one bound of it.
func TestATimeWithOneBound(t *testing.T) {
	r := serve(t)
	for i := range 3 {
		r.put(record('a', i, ""))
	}
	r.applied()
	for _, path := range []string{"/", "/timeline", "/agents", "/top", "/compare", "/agents/" + hash('a').String()} {
		for _, bound := range []string{"from=now", "to=now", "from=2026-11-23T10:00", "to=2026-11-23T10:00", "from=2027-01-01", "to=1970-01-01"} {
			if a := r.do(http.MethodGet, fmt.Sprintf("%s?%s", path, bound), "", "Accept", "text/html"); a.StatusCode >= 500 {
				t.Errorf("%s?%s: status %d", path, bound, a.StatusCode)
			}
		}
	}
}

// Digits in an address that is as of a moment mean what they meant then, also when later records share them.
func TestDigitsGoOnToMeanWhatTheyMeant(t *testing.T) {
	r := serve(t)
	id := r.put(record('a', 0, ""))
	asOf := fmt.Sprint("as_of=", r.records())
	paths := []string{"/v1/audits/" + id[:8] + "/trace?", "/v1/audits/" + id[:8] + "/trace?up&", "/v1/count?agent=aaaaaaaa&", "/v1/impact/bbbbbbbb?", "/v1/impact/cccccccc?source&",
		"/v1/audits?result=bbbbbbbb&", "/v1/audits?source=cccccccc&assertion=bbbbbbbb&", "/v1/agents/aaaaaaaa/audits?"}
	pages := []string{"/q/" + id[:8] + "?", "/impact/bbbbbbbb?", "/agents/aaaaaaaa?", "/list?agent=aaaaaaaa&"}
	before := map[string]string{}
	for _, path := range paths {
		before[path] = r.get(path + asOf)
	}
	// More than a store shows as candidates, and all of them come before the one that was meant.
	for i := range 20 {
		rest := fmt.Sprintf("%056x", i)
		body := record('a', 1+i, "")
		for _, digit := range "abc" {
			body = strings.ReplaceAll(body, strings.Repeat(string(digit), 64), strings.Repeat(string(digit), 8)+rest)
		}
		if a := r.do(http.MethodPut, "/v1/audits/"+id[:8]+rest, body); a.StatusCode != http.StatusCreated {
			t.Fatal(a.body)
		}
	}
	r.applied()
	for _, path := range paths {
		r.fails(http.StatusBadRequest, "ambiguous", http.MethodGet, path, "")
		if got := r.get(path + asOf); got != before[path] {
			t.Errorf("%s\n%s\nwas\n%s", path, got, before[path])
		}
	}
	for _, path := range pages {
		r.get(path+asOf, "Accept", "text/html")
	}
}

// When so many ids or hashes begin with the same digits that a store does not look at all of them, the digits are ambiguous. They mean
// nothing else than what they meant, and not nothing.
func TestDigitsThatTooManyShareAreAmbiguous(t *testing.T) {
	r := serve(t)
	const digits = "d2b17211"
	put := func(rest string) string {
		id := digits + rest
		body := record('a', 0, "")
		for _, digit := range "abc" {
			body = strings.ReplaceAll(body, strings.Repeat(string(digit), 64), id)
		}
		return fmt.Sprintf(`{"query_id":"%s",%s`, id, body[1:])
	}
	store := func(bodies string) {
		t.Helper()
		if a := r.do(http.MethodPost, "/v1/audits", bodies, "Content-Type", "application/x-ndjson"); strings.Contains(a.body, "rejected\":1") || !strings.Contains(a.body, `"done":true`) {
			t.Fatal(a.body)
		}
		r.applied()
	}
	was := put(strings.Repeat("f", 56))
	store(was + "\n")
	var later strings.Builder
	for i := range 1023 {
		later.WriteString(put(fmt.Sprintf("%056x", i)) + "\n")
	}
	store(later.String())
	paths := []string{"/v1/audits/" + digits + "/trace?as_of=1", "/v1/impact/" + digits + "?as_of=1", "/v1/audits?source=" + digits + "&as_of=1", "/v1/audits?agent=" + digits + "&as_of=1"}
	for _, path := range paths {
		r.get(path)
	}
	find := fmt.Sprintf("/find?q=%s&as_of=1", digits)
	if body := r.get(find, "Accept", "text/html"); !strings.Contains(body, "/q/"+digits+strings.Repeat("f", 56)) {
		t.Error("the record that was there is not found")
	}
	store(put(strings.Repeat("e", 56)) + "\n")
	for _, path := range paths {
		r.fails(http.StatusBadRequest, "ambiguous", http.MethodGet, path, "")
	}
	if body := r.get(find, "Accept", "text/html"); !strings.Contains(body, "Type more of them") {
		t.Error("the page does not say that there may be others")
	}
}

// copied is the link that a page offers to copy.
func (r *rig) copied(page string) string {
	r.t.Helper()
	_, link, found := strings.Cut(page, `id="frozen" href="`)
	if !found {
		r.t.Fatalf("no link to copy: %s", page)
	}
	link, _, _ = strings.Cut(link, `"`)
	return html.UnescapeString(link)
}

// A case keeps pages that somebody typed. Its link shows what they show now, whatever their times and names mean later.
func TestTheLinkOfACaseLasts(t *testing.T) {
	r, pass := clocked(t)
	id := r.put(record('a', 0, ""))
	label := func(digit byte) {
		for _, other := range "ad" {
			r.do(http.MethodDelete, "/v1/labels/"+hash(byte(other)).String(), "")
		}
		if a := r.do(http.MethodPut, "/v1/labels/"+hash(digit).String(), `{"label":"planner"}`); a.StatusCode != http.StatusOK {
			t.Fatal(a.body)
		}
	}
	label('a')
	r.applied()
	for _, typed := range []string{"/list?from=2h", "/list?agent=planner", "/timeline?around=2h&window=1m", "/q/" + id[:8]} {
		label('a')
		page := r.get("/case?u="+url.QueryEscape(typed), "Accept", "text/html")
		if !strings.Contains(page, id[:8]) {
			t.Fatalf("%s does not show the record", typed)
		}
		pass(5 * time.Hour)
		label('d')
		if link := r.copied(page); !strings.Contains(r.get(link, "Accept", "text/html"), id[:8]) {
			t.Errorf("%s: %s does not show the record any more", typed, link)
		}
		_, hidden, _ := strings.Cut(page, `name="u" value="`)
		hidden, _, _ = strings.Cut(hidden, `"`)
		if next := "/case?u=" + url.QueryEscape(html.UnescapeString(hidden)); !strings.Contains(r.get(next, "Accept", "text/html"), id[:8]) {
			t.Errorf("%s: with another page %s does not show the record any more", typed, next)
		}
		pass(-5 * time.Hour)
	}
}

// At both ends of time there is no bound that says what is left out.
func TestWhatIsLeftOutStaysLeftOut(t *testing.T) {
	r := serve(t)
	id := r.put(record('a', 0, ""))
	r.put(record('a', 1, ""))
	r.applied()
	for _, filter := range []string{"not-from=1970-01-01", "not-to=9223372036854775807", "not-from=0&not-to=9223372036854775807", "not-from=1970-01-01&to=now", "not-to=9223372036854775807&from=2h"} {
		for _, path := range []string{"/list?", "/timeline?", "/agents?", "/top?", "/answers?subject=supplier/Northwind&predicate=account&", "/impact/" + hash('b').String() + "?"} {
			a := r.do(http.MethodGet, path+filter, "", "Accept", "text/html")
			if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `id="frozen"`) {
				if a.StatusCode >= 500 {
					t.Errorf("%s%s: status %d", path, filter, a.StatusCode)
				}
				continue
			}
			if got := r.get(r.copied(a.body), "Accept", "text/html"); strings.Contains(got, "/q/"+id) {
				t.Errorf("%s%s: %s shows what the page left out", path, filter, r.copied(a.body))
			}
		}
		body := r.get("/list?"+filter, "Accept", "text/html")
		for _, form := range strings.Split(body, `href="/v1/audits?`)[1:] {
			form, _, _ = strings.Cut(form, `"`)
			if got := r.get("/v1/audits?" + html.UnescapeString(form)); strings.Contains(got, id) {
				t.Errorf("%s: %s has what the page left out", filter, form)
			}
		}
	}
}
