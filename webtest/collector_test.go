package webtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/receive"
)

// collectorProgram builds the collector once and returns its path.
var collectorProgram = sync.OnceValues(func() (string, error) {
	name := filepath.Join(scratch, "collector")
	build := exec.Command("go", "build", "-o", name, ".")
	build.Dir = "collector" // a module of its own
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the collector: %w\n%s", err, out)
	}
	return name, err
})

// A collector is an OpenTelemetry collector that runs.
type collector struct {
	t       *testing.T
	config  string
	token   string
	address string // at which it takes OTLP over HTTP
	said    *lines
	cmd     *exec.Cmd
}

// newCollector configures a collector as docs/opentelemetry.md says, with other addresses. So that the test does not take hours, it sends
// again after shorter times.
func newCollector(t *testing.T, protocol, to, token string) *collector {
	t.Helper()
	guide, err := os.ReadFile(filepath.Join("..", "docs", "opentelemetry.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, yaml, _ := strings.Cut(string(guide), "```yaml\n")
	yaml, _, _ = strings.Cut(yaml, "```")
	c := &collector{t: t, token: token, address: freeAddress(t), config: filepath.Join(t.TempDir(), "collector.yaml"), said: &lines{more: make(chan struct{}, 1)}}
	exporter := "    endpoint: http://" + to + "\n"
	if protocol == "grpc" {
		exporter = "    endpoint: " + to + "\n    tls: {insecure: true}\n"
		yaml = strings.ReplaceAll(yaml, "otlphttp/auditsql", "otlp/auditsql")
	}
	for _, change := range [][2]string{
		{"/var/lib/otelcol/auditsql", filepath.Join(t.TempDir(), "queue")},
		{"127.0.0.1:14318", c.address},
		{"127.0.0.1:14317", freeAddress(t)},
		{"    endpoint: http://127.0.0.1:4318\n", exporter + "    timeout: 2s\n"},
		{"      max_elapsed_time: 0", "      initial_interval: 100ms\n      max_interval: 1s\n      max_elapsed_time: 0"},
	} {
		if strings.Count(yaml, change[0]) != 1 {
			t.Fatalf("the configuration in the guide does not have %q once:\n%s", change[0], yaml)
		}
		yaml = strings.Replace(yaml, change[0], change[1], 1)
	}
	yaml += "  telemetry:\n    metrics: {level: none}\n" // it would listen at a port
	if err := os.WriteFile(c.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *collector) start() {
	c.t.Helper()
	name, err := collectorProgram()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = exec.Command(name, "--config", c.config)
	c.cmd.Env = append(os.Environ(), "AUDITSQL_TOKEN="+c.token)
	c.cmd.Stdout, c.cmd.Stderr = c.said, c.said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	await(c.t, "the collector to listen", func() bool {
		conn, err := net.Dial("tcp", c.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (c *collector) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

// A hindrance is a receiver in this process that does what a receiver does on a bad day.
type hindrance struct {
	*audit.DB
	receiver  *receive.Receiver
	server    *http.Server
	failed    atomic.Bool  // the store says that it has failed
	unheard   atomic.Int64 // so many requests are taken, and their connections end before the answer
	unread    atomic.Int64 // so many requests are not looked at until their clients have gone away
	ended     chan error   // of the server
	mu        sync.Mutex
	responses map[int]int // how many of each status; 0: the connection was closed
}

// Err implements receive.Store.
func (h *hindrance) Err() error {
	if h.failed.Load() {
		return errors.New("the store fails in a test")
	}
	return h.DB.Err()
}

type connKey struct{}

// hinder receives spans for a store that no other process has open.
func hinder(t *testing.T, dir, address string, limits receive.Limits) *hindrance {
	t.Helper()
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	h := &hindrance{DB: db, ended: make(chan error, 1), responses: map[int]int{}}
	h.receiver, err = receive.Open(h, receive.Options{
		Allow: receive.Anyone, Limits: limits, Join: otlp.JoinOptions{AfterLast: time.Second, AfterRoot: time.Second, AfterFirst: 20 * time.Second},
		OnRequest: func(r receive.Request) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.responses[r.Status]++
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	h.server = &http.Server{
		Handler: http.HandlerFunc(h.serve), Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	h.server.Protocols.SetHTTP1(true)
	h.server.Protocols.SetUnencryptedHTTP2(true)
	go func() { h.ended <- h.server.Serve(l) }()
	return h
}

func (h *hindrance) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case h.unread.Add(-1) >= 0:
		_, _ = io.Copy(io.Discard, r.Body) // before that nobody notices that the client goes away
		<-r.Context().Done()
	case h.unheard.Add(-1) >= 0:
		h.receiver.ServeHTTP(&unheard{ResponseWriter: w, header: http.Header{}}, r)
		r.Context().Value(connKey{}).(net.Conn).Close()
	default:
		h.receiver.ServeHTTP(w, r)
	}
}

// unheard takes an answer that nobody gets.
type unheard struct {
	http.ResponseWriter
	header http.Header
}

func (u *unheard) Header() http.Header         { return u.header }
func (u *unheard) Write(p []byte) (int, error) { return len(p), nil }
func (u *unheard) WriteHeader(int)             {}
func (u *unheard) Flush()                      {}

func (h *hindrance) answers(status int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.responses[status]
}

func (h *hindrance) close(t *testing.T) {
	t.Helper()
	h.receiver.Drain()
	h.server.Close()
	<-h.ended
	if err := errors.Join(h.receiver.Close(), h.DB.Close()); err != nil {
		t.Error(err)
	}
}

// With a collector before it that is configured as the guide says, no span is lost that the collector has answered: neither while the
// receiver is stopped, is killed, is full, fails, is slow or does not get its answers through, nor when the collector is killed.
//
//	go test -run CollectorLosesNothing -collector -timeout 20m -v
//
// To build a collector takes minutes, so CI does not run this.
func TestACollectorLosesNothing(t *testing.T) {
	if !*withCollector {
		t.Skip("it builds an OpenTelemetry collector: -collector")
	}
	if _, err := collectorProgram(); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			auditsql(t, dir, "init")
			to := freeAddress(t)
			c := newCollector(t, protocol, to, strings.TrimSpace(auditsql(t, dir, "token", "add", "collector", "--scope", "write")))
			sent := &delivered{}
			send := func() { sent.fromGo(t, "http", c.address, "", 100) }

			send()
			c.kill() // while the receiver is not there either
			c.start()
			send()

			flags := []string{"--otlp", to, "--settle", "1s"}
			s := serve(t, dir, flags...)
			answered := fmt.Sprintf(`auditsql_otlp_requests_total{status="200",transport=%q}`, protocol)
			for i := range *collectorKills {
				var sending sync.WaitGroup
				sending.Go(send)
				await(t, "answered requests", func() bool { return s.figure(answered) >= 5 })
				s.stop(syscall.SIGKILL)
				if i == *collectorKills/2 {
					c.kill()
					c.start()
				}
				sending.Wait()
				s = serve(t, dir, flags...)
			}
			s.stop(syscall.SIGTERM)

			h := hinder(t, dir, to, receive.Limits{Inbox: 1})
			send()
			await(t, "answers that it is full", func() bool { return h.answers(http.StatusTooManyRequests) >= 10 })
			full := h.answers(http.StatusTooManyRequests)
			h.close(t)

			h = hinder(t, dir, to, receive.Limits{})
			h.failed.Store(true)
			send()
			await(t, "answers that the store has failed", func() bool { return h.answers(http.StatusServiceUnavailable) >= 10 })
			failed := h.answers(http.StatusServiceUnavailable)
			h.failed.Store(false)
			h.unread.Store(8)
			h.unheard.Store(8)
			send()
			await(t, "requests that are slow or not answered", func() bool { return h.unread.Load() < 0 && h.unheard.Load() < 0 })

			var missing []audit.QueryID
			defer func() {
				if t.Failed() {
					t.Logf("%d of %d retrievals have no record", len(missing), sent.count())
					for line := range strings.Lines(c.said.String()) {
						if strings.Contains(line, "\terror\t") {
							t.Logf("the collector has said: %s", line)
						}
					}
				}
			}()
			await(t, "the records of all spans that the collector has answered", func() bool {
				missing = nil
				for _, id := range sent.ids {
					if _, err := h.GetAudit(t.Context(), id); err != nil {
						missing = append(missing, id)
					}
				}
				return len(missing) == 0
			})
			h.close(t)
			t.Logf("%d retrievals; %d kills of the receiver and 2 of the collector; %d answers that it was full, %d that it had failed",
				sent.count(), *collectorKills, full, failed)
			if said := c.said.String(); strings.Contains(said, "ropping data") {
				t.Errorf("the collector has dropped spans:\n%s", said)
			}
			auditsql(t, dir, "verify")
		})
	}
}
