package webtest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/otlp"
)

// nodePackages are the exporters of OpenTelemetry for JavaScript, and what they need. They come from the npm registry, and stay in the
// user's cache for the next run.
var nodePackages = []string{
	"@opentelemetry/api@1.9.1", "@opentelemetry/sdk-trace-base@2.11.0", "@opentelemetry/exporter-trace-otlp-http@0.223.1",
	"@opentelemetry/exporter-trace-otlp-grpc@0.223.1",
}

// nodeSender installs them and returns the program that sends with them.
var nodeSender = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = scratch
	}
	dir := filepath.Join(cache, "auditsql-webtest", "opentelemetry-2.11.0")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@opentelemetry")); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		install := exec.Command("npm", append([]string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", dir}, nodePackages...)...)
		if out, err := install.CombinedOutput(); err != nil {
			return "", fmt.Errorf("npm install: %w\n%s", err, out)
		}
	}
	program, err := os.ReadFile(filepath.Join("testdata", "send.mjs"))
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "send.mjs") // where node finds the packages
	return name, os.WriteFile(name, program, 0o600)
})

// delivered are the records of retrievals whose spans were answered.
type delivered struct {
	mu  sync.Mutex
	ids []audit.QueryID
}

func (d *delivered) add(trace otlp.TraceID, span otlp.SpanID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids = append(d.ids, otlp.QueryID(trace, span))
}

func (d *delivered) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ids)
}

// fromNode sends with the exporters for JavaScript.
func (d *delivered) fromNode(t *testing.T, protocol, address, token string, traces int) {
	name, err := nodeSender()
	if err != nil {
		t.Error(err)
		return
	}
	cmd := exec.Command("node", name)
	cmd.Env = append(os.Environ(), "PROTOCOL="+protocol, fmt.Sprint("TRACES=", traces), "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+address,
		"OTEL_EXPORTER_OTLP_HEADERS=authorization="+url.PathEscape("Bearer "+token), "OTEL_EXPORTER_OTLP_INSECURE=true")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var trace otlp.TraceID
		var span otlp.SpanID
		one, other, _ := strings.Cut(lines.Text(), " ")
		if trace.UnmarshalText([]byte(one)) != nil || span.UnmarshalText([]byte(other)) != nil {
			t.Errorf("%s prints %q", protocol, lines.Text())
			continue
		}
		d.add(trace, span)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("node, %s: %v", protocol, err)
	}
}

// An observed exporter says which spans were answered.
type observed struct {
	sdktrace.SpanExporter
	to *delivered
}

func (o observed) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := o.SpanExporter.ExportSpans(ctx, spans)
	for _, s := range spans {
		if err == nil && s.Name() == "KnowledgeBase" {
			o.to.add(otlp.TraceID(s.SpanContext().TraceID()), otlp.SpanID(s.SpanContext().SpanID()))
		}
	}
	return err
}

// fromGo sends with the exporters of the SDK for Go.
func (d *delivered) fromGo(t *testing.T, protocol, address, token string, traces int) {
	headers := map[string]string{"authorization": "Bearer " + token}
	var exporter sdktrace.SpanExporter
	var err error
	if protocol == "grpc" {
		exporter, err = otlptracegrpc.New(t.Context(), otlptracegrpc.WithInsecure(), otlptracegrpc.WithEndpoint(address), otlptracegrpc.WithHeaders(headers), otlptracegrpc.WithCompressor("gzip"))
	} else {
		exporter, err = otlptracehttp.New(t.Context(), otlptracehttp.WithInsecure(), otlptracehttp.WithEndpoint(address), otlptracehttp.WithHeaders(headers), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	if err != nil {
		t.Error(err)
		return
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(observed{exporter, d}, sdktrace.WithMaxExportBatchSize(16), sdktrace.WithBlocking()))
	tracer := provider.Tracer("webtest")
	for range traces {
		ctx, root := tracer.Start(context.Background(), "SupportAgent")
		root.SetAttributes(attribute.String("openinference.span.kind", "AGENT"))
		_, kb := tracer.Start(ctx, "KnowledgeBase")
		kb.SetAttributes(attribute.String("openinference.span.kind", "RETRIEVER"), attribute.String("retrieval.documents.0.document.id", "policy-7"))
		kb.End()
		root.End()
	}
	if err := provider.Shutdown(context.Background()); err != nil {
		t.Logf("go, %s: %v", protocol, err)
	}
}

// The exporters that agents use, of OpenTelemetry for JavaScript and for Go, over HTTP and over gRPC, deliver to a server that is killed
// and started again meanwhile. Each span that was answered has its record.
func TestRealSenders(t *testing.T) {
	t.Parallel()
	for _, needed := range []string{"node", "npm"} {
		if _, err := exec.LookPath(needed); err != nil {
			missing(t, needed+" is not here")
		}
	}
	if _, err := nodeSender(); err != nil {
		missing(t, err.Error())
	}
	dir := filepath.Join(t.TempDir(), "store")
	auditsql(t, dir, "init")
	token := strings.TrimSpace(auditsql(t, dir, "token", "add", "agents", "--scope", "write"))
	overHTTP, overGRPC := freeAddress(t), freeAddress(t)
	flags := []string{"--otlp", overHTTP, "--otlp-grpc", overGRPC, "--settle", "2s"}
	s := serve(t, dir, flags...)
	const traces = 200
	senders := map[string]*delivered{"node, http": {}, "node, grpc": {}, "go, http": {}, "go, grpc": {}}
	var all sync.WaitGroup
	all.Go(func() { senders["node, http"].fromNode(t, "http", overHTTP, token, traces) })
	all.Go(func() { senders["node, grpc"].fromNode(t, "grpc", overGRPC, token, traces) })
	all.Go(func() { senders["go, http"].fromGo(t, "http", overHTTP, token, traces) })
	all.Go(func() { senders["go, grpc"].fromGo(t, "grpc", overGRPC, token, traces) })
	count := func() (n int) {
		for _, d := range senders {
			n += d.count()
		}
		return n
	}
	const kills = 3
	for i := range kills {
		await(t, "answered spans", func() bool { return count() >= (i+1)*4*traces/(kills+3) })
		s.stop(syscall.SIGKILL)
		s = serve(t, dir, flags...)
	}
	all.Wait()
	s.settled()
	for name, d := range senders {
		missing := 0
		for _, id := range d.ids {
			if status, _, _ := s.ask(s.request(http.MethodGet, "/v1/audits/"+id.String(), nil)); status != http.StatusOK {
				missing++
			}
		}
		t.Logf("%s: %d of %d retrievals were answered", name, len(d.ids), traces)
		if missing > 0 || len(d.ids) == 0 {
			t.Errorf("%s: %d of %d answered retrievals have no record", name, missing, len(d.ids))
		}
	}
	s.stop(syscall.SIGTERM)
	auditsql(t, dir, "verify")
}
