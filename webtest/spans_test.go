package webtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
)

// freeAddress returns an address of this machine on which nobody listens. A server that is started again takes the same one.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// trace returns the spans of trace no as a request in JSON, and the id of the record of its one retrieval.
func trace(no int) ([]byte, audit.QueryID) {
	id := otlp.TraceID{0: 0x5b}
	binary.BigEndian.PutUint64(id[8:], uint64(no))
	span := func(n, parent int, name string, attributes ...string) string {
		pairs := make([]string, len(attributes)/2)
		for i := range pairs {
			pairs[i] = fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, attributes[2*i], attributes[2*i+1])
		}
		above := ""
		if parent > 0 {
			above = fmt.Sprintf(`"parentSpanId":"%016x",`, parent)
		}
		return fmt.Sprintf(`{"traceId":"%s","spanId":"%016x",%s"name":%q,"startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[%s]}`,
			id, n, above, name, incidentDay*1_000_000+int64(no), incidentDay*1_000_000+int64(no)+1000, strings.Join(pairs, ","))
	}
	spans := []string{
		span(3, 1, "ChatModel", "openinference.span.kind", "LLM", "output.value", "an answer"),
		span(2, 1, "KnowledgeBase", "openinference.span.kind", "RETRIEVER", "input.value", "refund window",
			"retrieval.documents.0.document.id", fmt.Sprint("policy-", no%50), "retrieval.documents.0.document.content", fmt.Sprint("Policy ", no%50)),
		span(1, 0, "SupportAgent", "openinference.span.kind", "AGENT", "session.id", fmt.Sprint("s-", no)),
	}
	return fmt.Appendf(nil, `{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}`, strings.Join(spans, ",")), otlp.QueryID(id, otlp.SpanID{7: 2})
}

// toSpans prepares a request with spans.
func (s *site) toSpans(address string, body []byte) *http.Request {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+address+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// figure returns a metric of the server.
func (s *site) figure(name string) float64 {
	s.t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(s.get("/metrics"))
	if found == nil {
		s.t.Fatalf("there is no metric %s", name)
	}
	v, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// settled waits until all spans that the server has got have settled.
func (s *site) settled() {
	s.t.Helper()
	await(s.t, "all traces to settle", func() bool {
		return s.figure("auditsql_otlp_replaying") == 0 && s.figure("auditsql_otlp_held_spans") == 0
	})
}

// However often the server is killed under senders of spans: each trace whose spans were answered with 200 has its record after settling,
// with all that its other spans say. Nothing that was not sent is there.
func TestKillUnderSendersOfSpans(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	auditsql(t, dir, "init")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	address := freeAddress(t)
	flags := []string{"--otlp", address, "--settle", "1s"}
	var next, given atomic.Int64
	var mu sync.Mutex
	answered := map[int]bool{}
	for range *spanKills {
		s := serve(t, dir, flags...)
		before := len(answered)
		var senders sync.WaitGroup
		for i := range 8 {
			senders.Go(func() {
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				for {
					no := int(next.Add(1))
					body, _ := trace(no)
					r := s.toSpans(address, body)
					if i%2 == 0 {
						var packed bytes.Buffer
						z := gzip.NewWriter(&packed)
						z.Write(body)
						z.Close()
						r = s.toSpans(address, packed.Bytes())
						r.Header.Set("Content-Encoding", "gzip")
					}
					given.Add(1)
					answer, err := client.Do(r)
					if err != nil {
						return // it is gone
					}
					if answer.StatusCode == http.StatusOK {
						mu.Lock()
						answered[no] = true
						mu.Unlock()
					}
					said, err := io.ReadAll(answer.Body)
					answer.Body.Close()
					if answer.StatusCode != http.StatusOK && s.running() {
						t.Errorf("status %d: %s", answer.StatusCode, said)
					}
					if err != nil {
						return
					}
				}
			})
		}
		enough := before + 20 + random.IntN(800)
		await(t, "answered traces", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(answered) >= enough
		})
		s.stop(syscall.SIGKILL)
		senders.Wait()
	}
	s := serve(t, dir, flags...)
	s.settled()
	missing, poor := 0, 0
	for no := range answered {
		_, id := trace(no)
		status, body, _ := s.ask(s.request(http.MethodGet, "/v1/audits/"+id.String(), nil))
		var q struct {
			Attributes map[string]any `json:"attributes"`
		}
		if status != http.StatusOK {
			missing++
			continue
		}
		if err := json.Unmarshal(body, &q); err != nil {
			t.Fatal(err)
		}
		if q.Attributes["agent"] != "SupportAgent" || q.Attributes["session"] != fmt.Sprint("s-", no) || q.Attributes["answer_hash"] == nil {
			poor++
		}
	}
	records := int64(s.figure("auditsql_store_records"))
	t.Logf("%d kills, %d traces sent, %d answered, %d records", *spanKills, given.Load(), len(answered), records)
	if missing > 0 || poor > 0 || records > given.Load() {
		t.Errorf("%d answered traces have no record, %d records lack what other spans say", missing, poor)
	}
	s.stop(syscall.SIGTERM)
	auditsql(t, dir, "verify")
}
