package webtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// usesOfTheRumour is how many records of a large store rest on the false account, of a million.
const usesOfTheRumour = 119_743

// The incident of the demo in a large store, solved in the browser by following links: what every page says, and how long a person
// waits for it. It runs on demand: -large 1000000.
func TestTheIncidentInALargeStore(t *testing.T) {
	if *large == 0 {
		t.Skip("-large 1000000 makes a large store")
	}
	dir := demo(t)
	begun := time.Now()
	uses := importLarge(t, dir, *large)
	t.Logf("%d records were made and imported in %s", *large, time.Since(begun).Round(time.Second))
	s := serve(t, dir)
	paid, known := s.payment()
	b := s.visit(wide)
	// step runs what leads to a page, and says how long a person has waited for it.
	step := func(name string, lead func()) {
		t.Helper()
		lead()
		t.Logf("%-60s %5.0f ms, of which the server took %5.0f", name+" ("+strings.SplitN(b.where()[len(s.url):], "?", 2)[0]+")", eval[float64](b, loaded), eval[float64](b, answered))
		if text := b.content(); strings.Contains(text, "could not be shown") {
			t.Errorf("%s: %s", b.where(), text)
		}
	}
	rumour := paid.ContributingAssertions[0].AssertionHash.String()
	mail := paid.ContributingAssertions[0].SourceHash.String()
	step("is something odd?", func() { b.open(s.url + "/") })
	step("the trace id of the alarm", func() { mouse{}.find(b, "trace_id=pay-20931") })
	if !strings.Contains(b.where(), "/q/") {
		step("why did planner think that?", func() { mouse{}.follow(b, `main a[href^="/q/`+paid.QueryID.String()[:12]+`"]`) })
	}
	b.says("planner", "mail 7731", "Proposed", "contract 2024-118")
	trace := b.where()
	step("who else was given the false account?", func() { mouse{}.follow(b, `main a[href^="/impact/`+rumour+`"]`) })
	b.says("mailbot", "planner")
	impact := b.where()
	if n := fmt.Sprintf("%d,%03d answers", uses/1000, uses%1000); uses > 1000 {
		step("how many are they?", func() { b.open(with(impact, "count=0")) })
		b.says(n)
	}
	b.open(trace)
	step("what was answered before?", func() { mouse{}.follow(b, `main a[href^="/answers?"]`) })
	b.says("supplier/Northwind", "payment_account", "treasury")
	b.open(trace)
	step("what was otherwise than at 09:41?", func() { mouse{}.follow(b, `main a[href^="/diff/"]`) })
	b.says("Consensus", "Recency", "Approved")
	for _, one := range []struct{ name, path string }{
		{"the last day", "/timeline"},
		{"what nobody approved", "/timeline?unapproved=true"},
		{"the same, ten days of it", "/timeline?unapproved=true&from=2026-11-13&to=2026-11-24"},
		{"the rumour over time", "/timeline?assertion=" + rumour + "&from=2026-11-23T00:00&to=2026-11-24T00:00"},
		{"the newest records", "/list?desc=true"},
		{"those that rest on the rumour", "/list?desc=true&assertion=" + rumour},
		{"what came from the mail", "/impact/" + mail + "?source=true"},
		{"the agents", "/agents"},
		{"who asked most", "/top"},
		{"which sources were used most", "/top?by=source"},
		{"which are new", "/top?by=source&new-since=2026-11-23T10:00"},
		{"the record before", "/q/" + known.QueryID.String()},
		{"the day, as of a tenth of the records", fmt.Sprintf("/timeline?as_of=%d&from=2026-11-22T12:00&to=2026-11-23T12:00", *large/10)},
		{"health", "/health"},
	} {
		step(one.name, func() { b.open(s.url + one.path) })
	}
	b.quiet()
}

// loaded is how many milliseconds a person has waited until the page was there, and answered how many of them were the server's.
const (
	loaded   = `performance.getEntriesByType('navigation')[0].loadEventEnd`
	answered = `(e => e.responseEnd - e.requestStart)(performance.getEntriesByType('navigation')[0])`
)

// with adds a parameter to an address.
func with(address, parameter string) string {
	if strings.Contains(address, "?") {
		return address + "&" + parameter
	}
	return address + "?" + parameter
}

// importLarge adds n records of other agents to the store of the demo: of the ten days before the payment, and of the hours after it. It
// returns how many records of the store rest on the false account then.
func importLarge(t *testing.T, dir string, n int) (uses int) {
	t.Helper()
	s := serve(t, dir)
	paid, _ := s.payment()
	uses = len(s.found("assertion=" + paid.ContributingAssertions[0].AssertionHash.String()))
	s.stop(os.Interrupt)
	reader, writer := io.Pipe()
	cmd := command(t, dir, "import", "-")
	cmd.Stdin = reader
	ended := make(chan error, 1)
	go func() {
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		reader.CloseWithError(err)
		ended <- err
	}()
	out := bufio.NewWriterSize(writer, 1<<20)
	more := max(0, usesOfTheRumour*n/1_000_000-uses)
	const day = 24 * 3600 * 1000
	for i := range n {
		_, line := record(t, i)
		q, err := audit.ParseAudit([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		agent := audit.Hash{0xa9, byte(i % 211)}
		q.AgentID = &agent
		// The rumour was believed for two hours.
		if first := n - more; i < first {
			q.Timestamp = paid.Timestamp - 10*day + uint64(i)*10*day/uint64(first)
		} else {
			uses++
			q.Timestamp = paid.Timestamp + 1 + uint64(i-first)*2*day/24/uint64(more)
			q.ContributingAssertions = append(paid.ContributingAssertions[:1:1], q.ContributingAssertions...)
			q.ResultHash = &q.ContributingAssertions[0].AssertionHash
		}
		if q.Timestamp < paid.Timestamp && i%500 == 0 {
			q.ContributingAssertions[0].Lifecycle = audit.UnderReview
		}
		if _, err := fmt.Fprintln(out, canonical(t, &q)); err != nil {
			break // the command has ended, and says why
		}
	}
	out.Flush()
	writer.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return uses
}
