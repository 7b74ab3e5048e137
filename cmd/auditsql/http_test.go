package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/web"
)

// GET /v1/… gives byte for byte what the command prints, in each form.
func TestTheAPIGivesTheBytesOfTheCommands(t *testing.T) {
	sequential.Test(t)
	dir := filepath.Join(t.TempDir(), "incident")
	records := demoRecords()
	// Records in which what may be null is null.
	records = append(records,
		&audit.QueryAudit{Timestamp: records[0].Timestamp},
		&audit.QueryAudit{Timestamp: records[0].Timestamp, ContributingAssertions: records[1].ContributingAssertions, Attributes: map[string]any{"a": "=1", "b": 2.5, "c": true}})
	if err := makeDemo(t.Context(), dir, &demoStory{records: records, labels: demoLabels(demoAgents, demoSources)}); err != nil {
		t.Fatal(err)
	}
	// Nobody writes. So the figures of stats are the same in both.
	db, err := audit.Open(dir, audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := noon
	server := httptest.NewServer(web.Handler(db, web.Options{
		Trusted: &web.Principal{ID: "test", Scopes: web.AllScopes}, ReadOnly: true, Now: func() time.Time { return now },
	}))
	defer server.Close()

	find := func(id audit.QueryID, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id.String()
	}
	first, last := find(records[0].ID()), find(demoPayment().ID())
	nameless := find(records[len(records)-1].ID())
	proposal := demoPayment().ContributingAssertions[0]
	for _, c := range []struct{ command, path string }{
		{"list", "/v1/audits"},
		{"list --limit 5 --desc", "/v1/audits?limit=5&desc"},
		{"list --limit 0 --agent planner --unapproved", "/v1/audits?limit=0&agent=planner&unapproved"},
		{"list --as-of 7 --tz Europe/Berlin", "/v1/audits?as_of=7&tz=Europe/Berlin"},
		{"list --anonymous", "/v1/audits?anonymous"},
		{"list --subject nobody", "/v1/audits?subject=nobody"},
		{"export", "/v1/audits?order=admission&limit=0"},
		{"export --subject supplier/Northwind", "/v1/audits?order=admission&subject=supplier/Northwind"},
		{"list --agent planner", "/v1/agents/planner/audits"},
		{"recent", "/v1/recent"},
		{"recent 3", "/v1/recent?limit=3"},
		{"agents", "/v1/agents"},
		{"agents --limit 1 --unapproved", "/v1/agents?limit=1&unapproved=true"},
		{"trace " + last, "/v1/audits/" + last + "/trace"},
		{"trace --neighbours 1 --low-confidence 0.99 --tz Asia/Tokyo " + first, "/v1/audits/" + first + "/trace?neighbours=1&low-confidence=0.99&tz=Asia/Tokyo"},
		{"trace " + nameless[:12], "/v1/audits/" + nameless[:12] + "/trace"},
		{"trace --agent planner", "/v1/trace?agent=planner"},
		{"trace --subject supplier/Northwind --limit 2 --neighbours 0", "/v1/trace?subject=supplier/Northwind&limit=2&neighbours=0"},
		{"trace --around 2026-11-23T10:19 --window 15m", "/v1/trace?around=2026-11-23T10:19&window=15m"},
		{"trace --around 2026-11-23T10:19 --window 15m --limit 3 --as-of 40", "/v1/trace?around=2026-11-23T10:19&window=15m&limit=3&as_of=40"},
		{"impact " + proposal.AssertionHash.String(), "/v1/impact/" + proposal.AssertionHash.String()},
		{"impact --limit 1 --desc " + proposal.AssertionHash.String()[:8], "/v1/impact/" + proposal.AssertionHash.String()[:8] + "?limit=1&desc=1"},
		{"impact --source " + proposal.SourceHash.String() + " --from 2026-11-23", "/v1/impact/" + proposal.SourceHash.String() + "?source&from=2026-11-23"},
		{"impact " + proposal.AssertionHash.String() + " --to 2000-01-01", "/v1/impact/" + proposal.AssertionHash.String() + "?to=2000-01-01"},
		{"impact --depth all " + proposal.AssertionHash.String(), "/v1/impact/" + proposal.AssertionHash.String() + "?depth=all"},
		{"impact --depth 1 --any-order --source --agent support " + proposal.SourceHash.String(), "/v1/impact/" + proposal.SourceHash.String() + "?depth=1&any-order&source&agent=support"},
		{"impact --depth all --limit 2 " + proposal.AssertionHash.String(), "/v1/impact/" + proposal.AssertionHash.String() + "?depth=all&limit=2"},
		{"trace --up " + last, "/v1/audits/" + last + "/trace?up"},
		{"trace --up --as-of 44 " + last, "/v1/audits/" + last + "/trace?up=true&as_of=44"},
		{"answers supplier/Northwind payment_account", "/v1/answers?subject=supplier/Northwind&predicate=payment_account"},
		{"answers --flips --limit 1 supplier/Northwind payment_account", "/v1/answers?subject=supplier/Northwind&predicate=payment_account&flips&limit=1"},
		{"answers nobody asked", "/v1/answers?subject=nobody&predicate=asked"},
		{"diff " + first + " " + last, "/v1/diff/" + first + "/" + last},
		{"diff " + last[:8] + " " + nameless, "/v1/diff/" + last[:8] + "/" + nameless},
		{"diff --as-of 47 " + first + " " + last, "/v1/diff/" + first + "/" + last + "?as_of=47"},
		{"timeline", "/v1/timeline"},
		{"timeline --by minute --agent planner", "/v1/timeline?by=minute&agent=planner"},
		{"timeline --by quarter --tz Asia/Kolkata", "/v1/timeline?by=quarter&tz=Asia/Kolkata"},
		{"timeline --by day --limit 1 --tz Europe/Berlin", "/v1/timeline?by=day&limit=1&tz=Europe/Berlin"},
		{"top", "/v1/top"},
		{"top --by source --unapproved", "/v1/top?by=source&unapproved"},
		{"top --by subject --limit 2", "/v1/top?by=subject&limit=2"},
		{"top --by attr:trace_id --rank agents --not-agent planner", "/v1/top?by=attr:trace_id&rank=agents&not-agent=planner"},
		{"top --by agent --figures --agent planner --agent mailbot", "/v1/top?figures&agent=planner&agent=mailbot"},
		{"compare --by source --from 2026-11-23T10:00 --to 2026-11-23T10:30 --with 2026-11-23T09:00", "/v1/compare?by=source&from=2026-11-23T10:00&to=2026-11-23T10:30&with=2026-11-23T09:00"},
		{"top --by assertion --new-since 2026-11-23T10:10", "/v1/top?by=assertion&new-since=2026-11-23T10:10"},
		{"name", "/v1/labels"},
		{"stats", "/v1/stats"},
	} {
		forms := []string{"json", "ndjson", "csv"}
		if strings.Contains(c.command, "--depth") || strings.Contains(c.command, "--up") {
			forms = append(forms, "dot")
		}
		for _, form := range forms {
			want := printed(t, now, append([]string{"-d", dir, "-o", form}, strings.Fields(c.command)...)...)
			separator := "?"
			if strings.Contains(c.path, "?") {
				separator = "&"
			}
			path := c.path + separator + "format=" + form
			page := strings.HasPrefix(path, "/v1/audits?") || strings.Contains(path, "/audits?")
			if page && form == "json" {
				if strings.Contains(path, "limit=0") {
					continue // a page has a limit
				}
				want = strings.TrimSuffix(want, "\n")
			}
			got, limited := fetched(t, server.URL+path)
			if page && form == "json" {
				list, rest, found := strings.Cut(strings.TrimPrefix(got, `{"audits":`), `,"next":`)
				if !found || !strings.HasSuffix(rest, "}\n") {
					t.Errorf("%s is no page: %s", path, got)
				}
				got = list
			}
			if got != want {
				t.Errorf("GET %s\n%s\nauditsql %s -o %s\n%s", path, got, c.command, form, want)
			}
			if cut := strings.Contains(c.command, "--limit 1") && strings.HasPrefix(c.command, "agents"); limited != cut && strings.HasPrefix(c.command, "agents") {
				t.Errorf("GET %s: whether the limit cut it is said as %v", path, limited)
			}
		}
	}
}

// printed is what a command prints on standard output. It must end well, or find nothing.
func printed(t *testing.T, now time.Time, args ...string) string {
	t.Helper()
	var out, said bytes.Buffer
	code := run(context.WithoutCancel(t.Context()), args, streams{in: strings.NewReader(""), out: &out, err: &said, now: func() time.Time { return now }})
	if code != exitDone {
		t.Fatalf("auditsql %s: exit code %d, %s", strings.Join(args, " "), code, said.String())
	}
	return out.String()
}

// fetched is the body of an answer, and whether the answer says that its limit has cut it.
func fetched(t *testing.T, url string) (body string, limited bool) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %s, %v", url, response.Status, text, err)
	}
	more := fmt.Sprint(response.Header.Get("Auditsql-More"), response.Trailer.Get("Auditsql-More"))
	return string(text), more == "true"
}
