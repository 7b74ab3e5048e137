package web_test

import (
	"bufio"
	"context"
	"database/sql"
	"html"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// held opens a store whose applier can be held. release lets it go on.
func held(t *testing.T) (dir string, db *audit.DB, hold func() (release func())) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir, audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return dir, db, func() func() {
		s, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "audit.db"))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := s.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		do := func(statement string) {
			if _, err := conn.ExecContext(context.Background(), statement); err != nil {
				t.Fatal(err)
			}
		}
		do("PRAGMA busy_timeout = 10000")
		do("BEGIN IMMEDIATE") // nothing can be applied
		released := false
		release := func() {
			if released {
				return
			}
			released = true
			do("ROLLBACK")
			conn.Close()
			s.Close()
		}
		t.Cleanup(release)
		return release
	}
}

// waits sets how long a question waits for SQLite.
func waits(d time.Duration) func(*web.Options) {
	return func(o *web.Options) { o.Limits.ReadWait = d }
}

// A server that only reads waits for what another process has acknowledged, or says that it lacks it.
func TestAServerThatReadsBesideAWriter(t *testing.T) {
	dir, db, hold := held(t)
	writer := serveStore(t, db)
	writer.put(record('b', 0, ""))
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	copied, err := audit.Open(dir, audit.ReadOnly(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { copied.Close() })
	readOnly := func(o *web.Options) { o.ReadOnly = true }
	impatient, patient := serveStore(t, copied, readOnly, waits(time.Millisecond)), serveStore(t, copied, readOnly, waits(time.Minute))
	count := func(r *rig, want, lag string) {
		t.Helper()
		a := r.do(http.MethodGet, "/v1/count?consistency=acknowledged", "")
		if a.StatusCode != http.StatusOK || a.body != want+"\n" || a.Header.Get("Auditsql-Lag-Bytes") != lag {
			t.Errorf("status %d, lag %q, %s", a.StatusCode, a.Header.Get("Auditsql-Lag-Bytes"), a.body)
		}
	}
	count(patient, `{"count":1,"cut":false,"lag":null}`, "0")
	release := hold()
	id := writer.put(record('a', 0, ""))
	for range 2 {
		impatient.fails(http.StatusServiceUnavailable, "behind", http.MethodGet, "/v1/count?consistency=acknowledged", "")
		impatient.fails(http.StatusServiceUnavailable, "behind", http.MethodGet, "/v1/audits/"+id, "")
		a := impatient.do(http.MethodGet, "/v1/count", "")
		if lag := a.Header.Get("Auditsql-Lag-Bytes"); a.StatusCode != http.StatusOK || lag == "0" || lag == "" {
			t.Errorf("status %d, lag %q", a.StatusCode, lag)
		}
	}
	release()
	patient.get("/v1/audits/" + id)
	count(patient, `{"count":2,"cut":false,"lag":null}`, "0")
	patient.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/audits/"+hash('f').String(), "")
}

// A page of a list that names nothing but an agent and a time has what was acknowledged before it. If that takes long it says what it lacks.
func TestAPageOfAListHasWhatWasAcknowledged(t *testing.T) {
	_, db, hold := held(t)
	impatient, patient := serveStore(t, db, waits(time.Millisecond)), serveStore(t, db, waits(5*time.Minute))
	release := hold()
	id := patient.put(record('a', 0, ""))
	agent := hash('a').String()
	paths := []string{"/v1/audits?agent=" + agent + "&from=2026-11-23&to=2026-11-24", "/v1/agents/" + agent + "/audits", "/v1/audits?desc&limit=1"}
	for _, path := range paths {
		a := impatient.do(http.MethodGet, path, "")
		if lag := a.Header.Get("Auditsql-Lag-Bytes"); a.StatusCode != http.StatusOK || lag == "" || lag == "0" || strings.Contains(a.body, id) {
			t.Errorf("%s: %d, lag %q, %s", path, a.StatusCode, lag, a.body)
		}
	}
	for _, path := range []string{"/v1/audits?consistency=applied", "/v1/audits?as_of=0", "/v1/audits?unapproved"} {
		patient.get(path) // does not wait
	}
	if got := patient.get("/v1/audits?format=ndjson"); !strings.Contains(got, id) {
		t.Errorf("as NDJSON: %s", got)
	}
	release()
	for _, path := range paths {
		a := patient.do(http.MethodGet, path, "")
		if lag := a.Header.Get("Auditsql-Lag-Bytes"); lag != "0" || !strings.Contains(a.body, id) {
			t.Errorf("%s: lag %q, %s", path, lag, a.body)
		}
	}
}

// What is acknowledged after the page of the tail was made, or is not in SQLite by then, is in the stream that its script opens. So it is in
// one of them, however long the page takes to load.
func TestTheStreamOfTheTailHasWhatThePageLacks(t *testing.T) {
	_, db, hold := held(t)
	r := serveStore(t, db, waits(time.Millisecond))
	live := func() (page, address string) {
		t.Helper()
		page = r.get("/tail?tz=Asia/Tokyo", "Accept", "text/html")
		_, address, found := strings.Cut(page, `data-live="`)
		if !found {
			t.Fatalf("the page has no stream: %s", page)
		}
		address, _, _ = strings.Cut(address, `"`)
		if strings.Count(page, "<tbody") != 1 {
			t.Errorf("the page has no table to which rows could be added: %s", page)
		}
		return page, html.UnescapeString(address)
	}
	shows := func(address, id string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // only a test that fails waits so long
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.http.URL+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer all")
		answer, err := r.http.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "/q/"+id) {
				return
			}
		}
		t.Errorf("%s has no row of %s: %v", address, id[:8], lines.Err())
	}
	_, empty := live()
	first := r.put(record('a', 0, ""))
	shows(empty, first)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := hold()
	second := r.put(record('a', 1, ""))
	page, address := live()
	if !strings.Contains(page, "/q/"+first) || strings.Contains(page, "/q/"+second) {
		t.Errorf("the page has not the first record alone: %s", page)
	}
	third := r.put(record('a', 2, ""))
	shows(address, second)
	shows(address, third)
	release()
}

// An answer as of more records than SQLite has waits for them as one about what was acknowledged does, and no longer: whatever its form,
// and beside a writer in another process. Nobody waits for records that the store does not have.
func TestAMomentThatSQLiteDoesNotHaveYet(t *testing.T) {
	dir, db, hold := held(t)
	copied, err := audit.Open(dir, audit.ReadOnly(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { copied.Close() })
	readOnly := func(o *web.Options) { o.ReadOnly = true }
	impatient, patient := serveStore(t, db, waits(time.Millisecond)), serveStore(t, db, waits(time.Minute))
	beside, waiting := serveStore(t, copied, readOnly, waits(time.Millisecond)), serveStore(t, copied, readOnly, waits(time.Minute))
	release := hold()
	id := patient.put(record('a', 0, ""))
	paths := []string{"/v1/audits?as_of=1", "/v1/audits?as_of=1&format=ndjson", "/v1/audits?as_of=1&format=csv", "/v1/count?as_of=1", "/v1/audits/" + id + "/trace?as_of=1", "/v1/resolve?q=planner&as_of=1"}
	for _, path := range paths {
		impatient.fails(http.StatusServiceUnavailable, "behind", http.MethodGet, path, "")
		beside.fails(http.StatusServiceUnavailable, "behind", http.MethodGet, path, "")
		later := strings.Replace(path, "as_of=1", "as_of=2", 1)
		patient.fails(http.StatusNotFound, "beyond-the-store", http.MethodGet, later, "")
	}
	release()
	for _, path := range paths {
		patient.get(path)
		waiting.get(path)
		waiting.fails(http.StatusNotFound, "beyond-the-store", http.MethodGet, strings.Replace(path, "as_of=1", "as_of=2", 1), "")
	}
}
