package main

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/web"
)

// What a page says that one can type for the same is a command with flags that it has, on a page about the present and on one as of a
// moment.
func TestTheCommandsOfPagesCanBeTyped(t *testing.T) {
	sequential.Test(t)
	dir := filepath.Join(t.TempDir(), "incident")
	story := &demoStory{records: demoRecords(), labels: demoLabels(demoAgents, demoSources)}
	if err := makeDemo(t.Context(), dir, story); err != nil {
		t.Fatal(err)
	}
	db, err := audit.Open(dir, audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	handler := web.Handler(db, web.Options{
		Trusted: &web.Principal{ID: "test", Scopes: web.AllScopes}, ReadOnly: true, Now: func() time.Time { return noon },
	})
	payment := demoPayment()
	id, err := payment.ID()
	if err != nil {
		t.Fatal(err)
	}
	other, err := story.records[0].ID()
	if err != nil {
		t.Fatal(err)
	}
	evidence := payment.ContributingAssertions[0]
	assertion, source, agent := evidence.AssertionHash.String(), evidence.SourceHash.String(), payment.AgentID.String()
	question := url.Values{"subject": {*payment.Params.Subject}, "predicate": {*payment.Params.Predicate}}.Encode()
	pages := []string{
		"/", "/timeline", "/timeline?by=hour&from=2026-11-22&to=2026-11-24", "/timeline?by=quarter", "/list", "/list?desc=true&limit=7&unapproved=true&not-agent=planner", "/q/" + id.String(),
		"/q/" + id.String() + "?up=true", "/q/" + id.String() + "?low-confidence=0.9", "/q/" + id.String() + "/record", "/impact/" + assertion,
		"/impact/" + source + "?source=true&count=7", "/impact/" + assertion + "?depth=all&any-order=true", "/answers", "/answers?" + question, "/answers?flips=true&" + question,
		"/diff/" + other.String() + "/" + id.String(), "/agents", "/agents/" + agent, "/top", "/top?by=assertion&new-since=2026-11-23T10:00&rank=agents", "/top?by=agent&figures=true",
		"/compare", "/compare?by=source&not-agent=" + agent, "/tail", "/health", "/case?u=/q/" + id.String(),
	}
	for _, page := range pages {
		for _, moment := range []string{"", "as_of=40", "tz=Europe/Berlin", "as_of=40&tz=Asia/Tokyo"} {
			separator := "?"
			if strings.Contains(page, "?") {
				separator = "&"
			}
			address := strings.TrimRight(page+separator+moment, "?&")
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
			r.Host = "127.0.0.1:7070"
			r.Header.Set("Accept", "text/html")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Errorf("%s: status %d", address, w.Code)
				continue
			}
			shown := asCommand.FindStringSubmatch(w.Body.String())
			if shown == nil {
				t.Errorf("%s names no command", address)
				continue
			}
			typed := html.UnescapeString(shown[1])
			if err := typeable(typed); err != nil {
				t.Errorf("%s is auditsql %s: %v", address, typed, err)
			}
			if moments := strings.Contains(moment, "as_of") && page != "/health"; moments != strings.Contains(typed, "--as-of 40") {
				t.Errorf("%s is auditsql %s", address, typed)
			}
		}
	}
}

// typeable reports what is wrong with a command as a page shows it. None of those in this test has a quote in a word.
func typeable(typed string) error {
	root := new(app).root()
	words := strings.Fields(strings.ReplaceAll(typed, "'", ""))
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}
