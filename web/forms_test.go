package web_test

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// Whoever prefers HTML gets what the description says, on each path.
func TestEachFormOfAnAnswerIsDescribed(t *testing.T) {
	r := serve(t)
	var described struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]json.RawMessage `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(r.get("/v1/openapi.json")), &described); err != nil {
		t.Fatal(err)
	}
	html := 0
	for path, operations := range described.Paths {
		get, has := operations["get"]
		if !has || path == "/v1/tail" { // which has no end
			continue
		}
		for _, accept := range []string{"text/html", "text/html,application/xhtml+xml,*/*;q=0.8"} {
			a := r.do(http.MethodGet, strings.Replace(path, "{type}", "conflict", 1), "", "Accept", accept)
			if a.StatusCode != http.StatusOK {
				continue
			}
			form, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
			if _, is := get.Responses["200"].Content[form]; !is {
				t.Errorf("%s with Accept %s answers %s (%v), which is not described", path, accept, form, err)
			}
			if form == "text/html" {
				html++
			}
		}
	}
	if html != 4 {
		t.Errorf("%d answers are HTML", html)
	}
}

// A list whose elements are no labels is refused at the first of them. It takes no memory for the rest.
func TestAListThatHasNoLabelsTakesNoMemory(t *testing.T) {
	r := serve(t)
	body := "[" + strings.Repeat("1,", 2<<20-2) + "1]"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p := r.fails(http.StatusUnprocessableEntity, "invalid", http.MethodPut, "/v1/labels", body)
	runtime.ReadMemStats(&after)
	if p.Field != "[0]" {
		t.Errorf("%+v", p)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 40<<20 {
		t.Errorf("%d MiB were allocated for a body of 4 MiB", got>>20)
	}
}

// An unknowing store is one that only reads, and does not know what was acknowledged.
type unknowing struct {
	web.Store
	least uint64
}

func (s *unknowing) Progress() audit.Progress {
	return audit.Progress{Records: 1, LagBytes: s.least, Unknown: true}
}

// A lag that is not known is not said to be none.
func TestALagThatIsNotKnownIsNotCalledNone(t *testing.T) {
	r := serve(t)
	r.put(record('a', 0, ""))
	r.applied()
	lag := func(r *rig) string {
		_, rest, _ := strings.Cut(r.get("/metrics"), "\nauditsql_store_lag_bytes ")
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
	if body, value := r.get("/health", "Accept", "text/html"), lag(r); !strings.Contains(body, "all applied") || !strings.Contains(body, ">nothing<") || value != "0" {
		t.Errorf("a store that has everything lacks %s bytes", value)
	}
	for least, want := range map[uint64]string{0: "not known", 3 << 20: "at least 3.0 MiB"} {
		reader := serveStore(t, &unknowing{r.db, least})
		for _, path := range []string{"/list", "/health"} {
			body := reader.get(path, "Accept", "text/html")
			if strings.Contains(body, "all applied") || strings.Contains(body, ">nothing<") || !strings.Contains(body, want) {
				t.Errorf("%s does not say that the lag is %s", path, want)
			}
		}
		if value := lag(reader); value != "NaN" {
			t.Errorf("the metric is %s", value)
		}
		if a := reader.do(http.MethodGet, "/v1/count", ""); a.Header.Get("Auditsql-Lag-Bytes") != "" {
			t.Errorf("the header says %s", a.Header.Get("Auditsql-Lag-Bytes"))
		}
	}
}

// What the page of the health says to do about a verify that was never run is what changes what it says.
func TestTheAdviceOfTheHealthPageHelps(t *testing.T) {
	r := serve(t)
	r.put(record('a', 0, ""))
	r.applied()
	_, rest, found := strings.Cut(r.get("/health", "Accept", "text/html"), "not by this server since it began; ")
	advice := strings.Fields(rest)
	if !found || len(advice) < 2 {
		t.Fatal("the page gives no advice")
	}
	if a := r.do(advice[0], advice[1], ""); a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: status %d", advice[0], advice[1], a.StatusCode)
	}
	if body := r.get("/health", "Accept", "text/html"); !strings.Contains(body, "consistent in itself; held against nothing from outside") {
		t.Error(fmt.Sprint("after ", advice[:2], " the page does not say that there was a verify"))
	}
}
