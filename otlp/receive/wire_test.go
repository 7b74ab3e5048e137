package receive_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/receive"
)

func readFile(name string) ([]byte, error)  { return os.ReadFile(name) }
func writeFile(name string, b []byte) error { return os.WriteFile(name, b, 0o600) }

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

// A span gives the same bytes in whatever form and by whatever protocol it came, and sending it again adds nothing. No file of the store
// has a text of a document or of an answer, nor has the inbox before the trace has settled.
func TestEveryFormGivesTheSame(t *testing.T) {
	t.Parallel()
	var first []string
	for name, send := range map[string]func(t *testing.T, r *receive.Receiver, address string){
		"protobuf": func(t *testing.T, r *receive.Receiver, _ string) { sent(t, r, conversation(1)...) },
		"protobuf, gzip": func(t *testing.T, r *receive.Receiver, _ string) {
			taken(t, r, zipped(inProto(t, request(conversation(1)...))), "Content-Encoding", "gzip")
		},
		"JSON": func(t *testing.T, r *receive.Receiver, _ string) {
			taken(t, r, inJSON(t, request(conversation(1)...)), "Content-Type", "application/json; charset=utf-8")
		},
		"JSON, gzip": func(t *testing.T, r *receive.Receiver, _ string) {
			taken(t, r, zipped(inJSON(t, request(conversation(1)...))), "Content-Type", "application/json", "Content-Encoding", "gzip")
		},
		"a request for each span, the last first": func(t *testing.T, r *receive.Receiver, _ string) {
			for _, s := range []int{3, 2, 1, 0} {
				sent(t, r, conversation(1)[s])
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "store")
				db := openStore(t, dir)
				r := open(t, db, receive.Options{})
				send(t, r, "")
				for _, name := range filesHave(t, dir, secret) {
					t.Errorf("%s has a text of a document", name)
				}
				settle()
				got := stored(t, db)
				for range 2 {
					send(t, r, "")
					settle()
				}
				if again := stored(t, db); fmt.Sprint(again) != fmt.Sprint(got) {
					t.Errorf("sent again:\n%s\nbefore:\n%s", again, got)
				}
				if s := r.State(); s.Inserted != 1 || s.Duplicate != 2 || s.Counts.Wrapped != 3 || s.Held != 0 || s.Err != nil {
					t.Errorf("%+v", s)
				}
				if err := errors.Join(r.Close(), db.Close()); err != nil {
					t.Error(err)
				}
				for _, name := range filesHave(t, dir, secret) {
					t.Errorf("%s has a text of a document", name)
				}
				if len(got) != 1 || !strings.Contains(got[0], `"session":"s-1"`) || !strings.Contains(got[0], `"answer_hash"`) {
					t.Fatalf("stored: %s", got)
				}
				if first == nil {
					first = got
				}
				if got[0] != first[0] {
					t.Errorf("got\n%s\nand from another form\n%s", got[0], first[0])
				}
			})
		})
	}
}

// taken sends a body, whose spans must all be taken.
func taken(t testing.TB, r http.Handler, body []byte, headers ...string) {
	t.Helper()
	a, aborted := post(r, body, headers...)
	want := ""
	if strings.HasPrefix(a.Header().Get("Content-Type"), "application/json") {
		want = "{}"
	}
	if aborted || a.Code != http.StatusOK || a.Body.String() != want {
		t.Fatalf("status %d: %q", a.Code, a.Body)
	}
}

// grpcCall makes a call of OTLP/gRPC, and returns its code, its text, the details and the message of the answer.
func grpcCall(t testing.TB, address, method string, message []byte, headers ...string) (code, text string, answer []byte) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	c.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	defer c.CloseIdleConnections()
	frame := append([]byte{0, 0, 0, 0, 0}, message...)
	binary.BigEndian.PutUint32(frame[1:5], uint32(len(message)))
	q, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+address+method, bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/grpc")
	q.Header.Set("TE", "trailers")
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Grpc-Encoding" {
			frame[0] = 1
		}
	}
	resp, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/grpc" {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
	if len(body) >= 5 {
		answer = body[5:]
	}
	return resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message"), answer
}

// listen serves a receiver by HTTP/1 and by HTTP/2 without TLS.
func listen(t testing.TB, r http.Handler) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: r, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

// A client that says that it sends a body, and sends none, holds its connection for so long only: whatever it asks for, and also when it
// may not send.
func TestABodyThatNeverComes(t *testing.T) {
	t.Parallel()
	strangers := func(q *http.Request) (string, *receive.Refusal) {
		if q.Header.Get("Authorization") == "" {
			return "", &receive.Refusal{Status: http.StatusUnauthorized, Text: "no token"}
		}
		return "", nil
	}
	address := listen(t, open(t, onDisk(t), receive.Options{Allow: strangers, Limits: receive.Limits{Idle: 50 * time.Millisecond}}))
	const token, proto = "Authorization: Bearer x\r\n", "Content-Type: application/x-protobuf\r\n"
	waiting := map[string]net.Conn{}
	for name, head := range map[string]string{
		"no token":       "POST /v1/traces HTTP/1.1\r\nHost: x\r\n" + proto,
		"another form":   "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n" + token,
		"another signal": "POST /v1/logs HTTP/1.1\r\nHost: x\r\n" + proto + token,
		"another method": "PUT /v1/traces HTTP/1.1\r\nHost: x\r\n" + proto + token,
		"spans":          "POST /v1/traces HTTP/1.1\r\nHost: x\r\n" + proto + token,
	} {
		for _, body := range []string{"Content-Length: 9\r\n\r\n", "Content-Length: 9\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n"} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte(head + body)); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second)) // only a test that fails waits so long
			waiting[fmt.Sprintf("%s with %q", name, body)] = c
		}
	}
	for name, c := range waiting {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
}

// The log says where a request is wrong, and has no words of it.
func TestTheLogHasNoWordsOfARequest(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	r := open(t, onDisk(t), receive.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	for _, value := range []string{`{"intValue":"my account is DE89"}`, `{"doubleValue":"my account is DE89"}`, `{"stringValue":"my account`, `{"my account":`, `my account`} {
		body := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"input.value","value":` + value
		if strings.HasSuffix(value, "}") {
			body += `}]}]}]}]}`
		}
		if a, _ := post(r, []byte(body), "Content-Type", "application/json"); a.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d, %s", value, a.Code, a.Body)
		}
	}
	if a, _ := post(r, []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"my account"}]}]}]}`), "Content-Type", "application/json"); a.Code != http.StatusBadRequest {
		t.Errorf("status %d, %s", a.Code, a.Body)
	}
	if text := said.String(); strings.Contains(text, "account") || !strings.Contains(text, "no whole number at byte 99") {
		t.Errorf("%s", text)
	}
}

// A receiver that ends does not wait for requests that have not come whole.
func TestTheEndOfABodyThatIsOnItsWay(t *testing.T) {
	t.Parallel()
	r := open(t, onDisk(t), receive.Options{Limits: receive.Limits{Idle: time.Hour}})
	address := listen(t, r)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // only a test that fails waits so long
	if _, err := io.WriteString(c, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	begins := make([]byte, len("HTTP/1.1 100"))
	if _, err := io.ReadFull(c, begins); err != nil { // the body is being read
		t.Fatal(err)
	}
	r.Drain()
	answer, err := io.ReadAll(c)
	if !strings.Contains(string(answer), "HTTP/1.1 503") || !strings.Contains(string(answer), "Retry-After") {
		t.Errorf("%v: %s", err, answer)
	}
}

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// A row of the table of answers: what is sent, and what is answered over HTTP and over gRPC.
func TestTheTableOfAnswers(t *testing.T) {
	t.Parallel()
	store := onDisk(t)
	first := open(t, store, receive.Options{}) // so that the inbox is not empty
	sent(t, first, conversation(1)...)
	first.Close()
	whole := inProto(t, request(conversation(1)...))
	refuse := func(status int) func(*http.Request) (string, *receive.Refusal) {
		return func(*http.Request) (string, *receive.Refusal) {
			return "", &receive.Refusal{Status: status, Text: "no 100 %"}
		}
	}
	unusable := request(conversation(1)...)
	unusable.ResourceSpans[0].ScopeSpans[0].Spans[0].SpanId = make([]byte, 8)
	unusable.ResourceSpans[0].ScopeSpans[0].Spans[1].TraceId = []byte("short")
	unusable.ResourceSpans[0].ScopeSpans[0].Spans[3].SpanId = nil
	deep := []byte(strings.Repeat(`{"resourceSpans":[`, 10_000))
	for name, c := range map[string]struct {
		body    []byte
		headers []string
		path    string
		options receive.Options
		status  int
		says    string
		grpc    string // the code; "": not asked
	}{
		"all is well":            {body: whole, status: 200, grpc: "0"},
		"nothing":                {body: nil, status: 200, grpc: "0"},
		"no spans in JSON":       {body: []byte(`{}`), headers: []string{"Content-Type", "application/json"}, status: 200, says: "{}"},
		"unknown members alone":  {body: []byte(`{"later":[{"a":1}]}`), headers: []string{"Content-Type", "application/json"}, status: 200, says: "{}"},
		"three of four unusable": {body: inProto(t, unusable), status: 200, says: "3 spans were refused, the first because: span 0000000000000000", grpc: "0"},
		"unusable in JSON":       {body: inJSON(t, unusable), headers: []string{"Content-Type", "application/json"}, status: 200, says: `{"partialSuccess":{"rejectedSpans":"3","errorMessage":"3 spans`},
		"no protobuf":            {body: []byte("\x0a\xff"), status: 400, says: "no export request", grpc: "3"},
		"no JSON":                {body: []byte(`{"resourceSpans":[`), headers: []string{"Content-Type", "application/json"}, status: 400, says: `{"code":3,"message":"the JSON ends too early`},
		"nested too deep":        {body: deep, headers: []string{"Content-Type", "application/json"}, status: 400, says: "too deep"},
		"logs in JSON":           {body: []byte(`{"resourceLogs":[]}`), headers: []string{"Content-Type", "application/json"}, status: 400, says: "resourceLogs"},
		"no gzip":                {body: whole, headers: []string{"Content-Encoding", "gzip"}, status: 400, says: "not compressed as it says"},
		"half of gzip":           {body: zipped(whole)[:40], headers: []string{"Content-Encoding", "gzip"}, status: 400},
		"nothing of gzip":        {body: nil, headers: []string{"Content-Encoding", "gzip"}, status: 400, says: "not compressed as it says"},
		"another encoding":       {body: whole, headers: []string{"Content-Encoding", "zstd"}, status: 415},
		"another type":           {body: whole, headers: []string{"Content-Type", "text/plain"}, status: 415},
		"no type":                {body: whole, headers: []string{"Content-Type", ""}, status: 415},
		"logs":                   {body: whole, path: "/v1/logs", status: 404, says: "only traces", grpc: "12"},
		"another path":           {body: whole, path: "/", status: 404, says: "POST /v1/traces"},
		"a bad token":            {body: whole, options: receive.Options{Allow: refuse(401)}, status: 401, says: "no 100 %", grpc: "16"},
		"a token without rights": {body: whole, options: receive.Options{Allow: refuse(403)}, status: 403, grpc: "7"},
		"another host":           {body: whole, options: receive.Options{Allow: refuse(421)}, status: 421, grpc: "7"},
		"too many bad tokens":    {body: whole, options: receive.Options{Allow: refuse(429)}, status: 429, grpc: "14"},
		"one byte too many":      {body: make([]byte, 1025), options: receive.Options{Limits: receive.Limits{Body: 1024}}, status: 413, grpc: "8"},
		"a bomb":                 {body: zipped(make([]byte, 1<<20)), headers: []string{"Content-Encoding", "gzip"}, options: receive.Options{Limits: receive.Limits{Body: 64 << 10}}, status: 413, says: "more than 65536 bytes"},
		"too many elements":      {body: bytes.Repeat([]byte{0x0a, 0}, 2_000_001), status: 413, says: "more than 2000000", grpc: "8"},
		"at its bound":           {body: whole, options: receive.Options{Limits: receive.Limits{Inbox: 1}}, status: 429, says: "nothing was stored", grpc: "14"},
	} {
		t.Run(name, func(t *testing.T) {
			o := c.options
			if o.Allow == nil {
				o.Allow = receive.Anyone
			}
			r, err := receive.Open(store, o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			address := listen(t, r)
			path := c.path
			if path == "" {
				path = "/v1/traces"
			}
			q, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+path, bytes.NewReader(c.body))
			q.Header.Set("Content-Type", "application/x-protobuf")
			for i := 0; i < len(c.headers); i += 2 {
				q.Header.Set(c.headers[i], c.headers[i+1])
			}
			resp, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.says) {
				t.Errorf("status %d: %q, %v", resp.StatusCode, body, err)
			}
			if retry := resp.Header.Get("Retry-After"); (retry != "") != (c.status == 429 || c.status == 503) {
				t.Errorf("Retry-After %q", retry)
			}
			if c.status >= 400 && resp.Header.Get("Content-Type") == "application/x-protobuf" {
				if n, kind, _ := protowire.ConsumeTag(body); n != 1 || kind != protowire.VarintType {
					t.Errorf("%q is no Status", body)
				}
			}
			if c.grpc == "" {
				return
			}
			method := exportMethod
			if c.path != "" {
				method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
			}
			code, text, answer := grpcCall(t, address, method, c.body)
			if code != c.grpc {
				t.Errorf("gRPC: code %s: %s", code, text)
			}
			if c.status == 200 && !strings.Contains(string(answer), c.says) {
				t.Errorf("gRPC: %q", answer)
			}
			if c.grpc == "0" {
				code, text, _ := grpcCall(t, address, exportMethod, zipped(c.body), "Grpc-Encoding", "gzip")
				if code != "0" {
					t.Errorf("gRPC with gzip: code %s: %s", code, text)
				}
			}
		})
	}
}

// What only gRPC can get wrong.
func TestCallsOfGRPC(t *testing.T) {
	t.Parallel()
	store := onDisk(t)
	r := open(t, store, receive.Options{})
	address := listen(t, r)
	whole := inProto(t, request(conversation(1)...))
	if code, text, _ := grpcCall(t, address, exportMethod, whole); code != "0" {
		t.Errorf("code %s: %s", code, text)
	}
	if code, _, _ := grpcCall(t, address, exportMethod, whole, "Grpc-Encoding", "zstd"); code != "12" {
		t.Errorf("another encoding: code %s", code)
	}
	if code, _, _ := grpcCall(t, address, exportMethod, whole, "Content-Type", "application/grpc+json"); code != "12" {
		t.Errorf("JSON: code %s", code)
	}
	if code, text, _ := grpcCall(t, address, exportMethod, []byte("é%"), "Grpc-Encoding", "gzip"); code != "3" {
		t.Errorf("no gzip: code %s: %s", code, text)
	}
	if code, text, _ := grpcCall(t, address, exportMethod, nil, "Grpc-Encoding", "gzip"); code != "3" {
		t.Errorf("nothing of gzip: code %s: %s", code, text)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r = open(t, store, receive.Options{Limits: receive.Limits{Inbox: 1}})
	defer r.Close()
	address = listen(t, r)
	// A sender that waits as long as it is told finds that in the details.
	c := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	c.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	frame := append([]byte{0, 0, 0, 0, byte(len(whole))}, whole...)
	binary.BigEndian.PutUint32(frame[1:5], uint32(len(whole)))
	resp, err := c.Post("http://"+address+exportMethod, "application/grpc", bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	c.CloseIdleConnections()
	if resp.Trailer.Get("Grpc-Status") != "14" || resp.Trailer.Get("Grpc-Status-Details-Bin") == "" {
		t.Errorf("%v", resp.Trailer)
	}
	// A call that ends in the middle of its message.
	resp, err = c.Post("http://"+address+exportMethod, "application/grpc", bytes.NewReader(frame[:40]))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	c.CloseIdleConnections()
	if code := resp.Trailer.Get("Grpc-Status"); code != "3" && code != "14" {
		t.Errorf("a message that is cut: code %s", code)
	}
}

// A handler that panics closes the connection: exporters drop what had 500, and send again what had no answer. Over gRPC it answers
// UNAVAILABLE: a stream that ends without an answer has the code INTERNAL at the client, which is another one that exporters drop.
func TestNoFaultOfOursIsA500(t *testing.T) {
	t.Parallel()
	var ended receive.Request
	r, err := receive.Open(onDisk(t), receive.Options{
		Allow:     func(*http.Request) (string, *receive.Refusal) { panic("ouch") },
		OnRequest: func(q receive.Request) { ended = q },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if a, aborted := post(r, nil); !aborted || ended.Status != 0 || ended.Err == nil {
		t.Errorf("status %d: %s; %+v", a.Code, a.Body, ended)
	}
	if code, text, err := grpcCall(t, listen(t, r), exportMethod, nil); code != "14" {
		t.Errorf("gRPC: code %s: %s, %v", code, text, err)
	}
	if ended.Status != http.StatusServiceUnavailable || ended.Err == nil {
		t.Errorf("gRPC: %+v", ended)
	}
}

// Spans that could never become records are refused while somebody listens. Others of the same request are taken.
func TestWhatCannotBecomeARecordIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := onDisk(t)
		r := open(t, store, receive.Options{MaxFuture: 100 * 365 * 24 * time.Hour})
		late := request(conversation(1)...)
		late.ResourceSpans[0].ScopeSpans[0].Spans[2].StartTimeUnixNano = 5_680_281_600e9 // in the year 2150
		a, _ := post(r, inProto(t, late))
		if a.Code != http.StatusOK || !strings.Contains(a.Body.String(), "in the future") {
			t.Errorf("status %d: %q", a.Code, a.Body)
		}
		big := conversation(2)
		big[2].attributes = append(big[2].attributes, [2]string{"large", strings.Repeat("x", otlp.MaxSpan)})
		a, _ = post(r, inProto(t, request(big...)))
		if a.Code != http.StatusOK || !strings.Contains(a.Body.String(), "1 span was refused: span 0000000000000003: it is larger than 16 MiB") {
			t.Errorf("status %d: %q", a.Code, a.Body)
		}
		settle()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for _, trace := range []int{1, 2} {
			if _, err := store.GetAudit(t.Context(), idOf(trace)); !errors.Is(err, audit.ErrNotFound) {
				t.Errorf("trace %d: %v", trace, err)
			}
		}
	})
}
