package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// spansInJSON is a request with an agent, a retrieval that contains a document, and a model's answer.
const spansInJSON = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[
{"traceId":"000000000000000000000000000000b1","spanId":"0000000000000001","name":"SupportAgent","startTimeUnixNano":"1795424400000000000","attributes":[{"key":"openinference.span.kind","value":{"stringValue":"AGENT"}}]},
{"traceId":"000000000000000000000000000000b1","spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"KnowledgeBase","startTimeUnixNano":"1795424401000000000","attributes":[{"key":"openinference.span.kind","value":{"stringValue":"RETRIEVER"}},{"key":"input.value","value":{"stringValue":"what may nobody know?"}},{"key":"retrieval.documents.0.document.id","value":{"stringValue":"policy-7"}},{"key":"retrieval.documents.0.document.content","value":{"stringValue":"Refunds within 30 days."}},{"key":"retrieval.documents.0.document.metadata","value":{"stringValue":"{\"source\": \"policy.pdf\"}"}}]},
{"traceId":"000000000000000000000000000000b1","spanId":"0000000000000003","parentSpanId":"0000000000000001","name":"ChatModel","startTimeUnixNano":"1795424402000000000","attributes":[{"key":"openinference.span.kind","value":{"stringValue":"LLM"}},{"key":"output.value","value":{"stringValue":"You have 30 days."}}]}]}]}]}`

// otlpURL is where a server takes spans.
func (s *servedDir) otlpURL(t *testing.T) string {
	t.Helper()
	var told struct {
		OTLP string `json:"otlp"`
	}
	if err := json.Unmarshal([]byte(s.told), &told); err != nil || told.OTLP == "" {
		t.Fatalf("%v: %s", err, s.told)
	}
	return told.OTLP
}

// Spans that are sent to a server become the record that an import makes of them. Who may send is decided as for other requests. With
// --text none the question is in no file.
func TestServeTakesSpans(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t, "--otlp", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--settle", "1ms", "--text", "none")
	url := s.otlpURL(t) + "/v1/traces"
	writer, reader := s.token(t, "writer", "--scope", "write"), s.token(t, "reader", "--scope", "read")
	bound := s.token(t, "bound", "--scope", "write", "--agent", strings.Repeat("0a", 32))
	for _, c := range []struct {
		token, host string
		status      int
		says        string
	}{
		{"", "", http.StatusUnauthorized, "no token"},
		{"asql_wrong", "", http.StatusUnauthorized, "not known"},
		{reader, "", http.StatusForbidden, "needs write"},
		{bound, "", http.StatusForbidden, "one agent only"},
		{writer, "evil.example.com", http.StatusMisdirectedRequest, "other names"},
		{writer, "", http.StatusOK, "{}"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(spansInJSON))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		r.Host = c.host
		status, answer := askRequest(t, http.DefaultClient, r)
		if status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("token %q, host %q: status %d: %s", c.token, c.host, status, answer)
		}
	}
	const id = "e00e518b"
	for found, limit := false, time.After(time.Minute); !found; {
		select {
		case <-limit:
			t.Fatal("the trace did not become a record")
		default:
			_, _, code := auditsql("-d", s.dir, "get", id)
			found = code == exitDone
		}
	}
	s.stop(t)
	got, said, code := auditsql("-d", s.dir, "get", id, "-o", "json")
	if code != exitDone {
		t.Fatal(said)
	}
	spans := filepath.Join(t.TempDir(), "spans.json")
	if err := os.WriteFile(spans, []byte(spansInJSON), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "imported")
	if _, said, code := auditsql("-d", other, "import", "--format", "otlp", "--text", "none", spans); code != exitDone {
		t.Fatal(said)
	}
	if want, _, _ := auditsql("-d", other, "get", id, "-o", "json"); got != want {
		t.Errorf("received\n%s\nimported\n%s", got, want)
	}
	if _, said, code := auditsql("-d", s.dir, "import", "--format", "otlp", "--text", "none", spans); code != exitDone {
		t.Errorf("importing what was received: exit code %d: %s", code, said)
	}
	for _, text := range []string{"Refunds within", "You have 30", "what may nobody know"} {
		err := filepath.WalkDir(s.dir, func(name string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(name)
			if strings.Contains(string(b), text) {
				t.Errorf("%s has the text %q", name, text)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(s.said.String(), "what may nobody know") {
		t.Error("the log has the question")
	}
}

// Spans that have not settled when a server ends become records when it is started again, also without --otlp: they were acknowledged.
func TestSpansThatHaveNotSettled(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t, "--otlp", "127.0.0.1:0", "--settle", "1h")
	status, answer := askWith(t, http.DefaultClient, s.token(t, "writer", "--scope", "write"), http.MethodPost, s.otlpURL(t)+"/v1/traces", strings.NewReader(spansInJSON))
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, answer)
	}
	s.stop(t)
	out, said, code := auditsql("-d", s.dir, "stats")
	if code != exitDone || !strings.Contains(out, "inbox") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	dump, said, code := auditsql("-d", s.dir, "wal", "dump", "--inbox")
	if code != exitDone || strings.Count(dump, "\n") != 3 || strings.Contains(dump, "Refunds") {
		t.Errorf("exit code %d: %s%s", code, dump, said)
	}
	if _, said, code := auditsql("-d", s.dir, "backup", filepath.Join(t.TempDir(), "copy")); code != exitDone || !strings.Contains(said, "the inbox was left out") {
		t.Errorf("exit code %d: %s", code, said)
	}
	db, err := audit.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if stats, err := db.Stats(t.Context()); err != nil || stats.Audits != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = serveDir(t, s.dir)
	s.stop(t)
	if !strings.Contains(s.said.String(), "spans of an earlier run") {
		t.Errorf("the server says %s", s.said)
	}
}

// A server with --otlp is ready while it takes spans, and not when its inbox is damaged. A server without it has nothing to say of that.
func TestReadyWithSpans(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t, "--otlp", "127.0.0.1:0", "--settle", "1h")
	ready := func(status int, says string) {
		t.Helper()
		if got, answer := s.ask(t, "", http.MethodGet, "/readyz", nil); got != status || !strings.Contains(answer, says) {
			t.Errorf("status %d: %s", got, answer)
		}
	}
	ready(http.StatusOK, `"spans":"taken"`)
	writer := s.token(t, "writer", "--scope", "write")
	if status, answer := askWith(t, http.DefaultClient, writer, http.MethodPost, s.otlpURL(t)+"/v1/traces", strings.NewReader(spansInJSON)); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, answer)
	}
	s.stop(t)
	// A segment is missing between the first and another one.
	if err := os.WriteFile(filepath.Join(audit.InboxDir(s.dir), "000000000000ffff.wal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = serveDir(t, s.dir)
	ready(http.StatusOK, `"writes":true}`)
	s.stop(t)
	s = serveDir(t, s.dir, "--otlp", "127.0.0.1:0")
	ready(http.StatusServiceUnavailable, "/problems/no-spans")
	ready(http.StatusServiceUnavailable, "the inbox is damaged")
	s.stop(t)
}

// The flags for spans that do not go together are refused, each with a word about what to do.
func TestTheFlagsForSpans(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	if _, said, code := auditsql("-d", dir, "init"); code != exitDone {
		t.Fatal(said)
	}
	for want, args := range map[string][]string{
		"--settle goes with --otlp":              {"--settle", "1s"},
		"--map goes with --otlp":                 {"--map", "x"},
		"--otlp names no address":                {"--otlp", ""},
		"--settle must be above 0":               {"--otlp", "127.0.0.1:0", "--settle", "0s"},
		"--otlp :4318 can be reached from other": {"--otlp", ":4318"},
		"--otlp-grpc 10.0.0.1:1 can be reached":  {"--otlp-grpc", "10.0.0.1:1"},
		"--otlp nonsense":                        {"--otlp", "nonsense"},
		"--read-only and --otlp cannot":          {"--read-only", "--otlp", "127.0.0.1:0"},
		"want keep, hash or none":                {"--otlp", "127.0.0.1:0", "--text", "all"},
		"no such file":                           {"--otlp", "127.0.0.1:0", "--map", "missing.json"},
	} {
		if _, said, code := auditsql(append([]string{"-d", dir, "serve", "--listen", "127.0.0.1:0"}, args...)...); code == exitDone || !strings.Contains(said, want) {
			t.Errorf("%q: exit code %d: %s", args, code, said)
		}
	}
}
