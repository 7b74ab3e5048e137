package otlp_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/auditsql/auditsql/otlp"
)

const (
	benchSpans   = 100_000
	benchTrace   = 100 // spans of a trace, of which one retrieves
	benchRequest = 500 // spans of a request
)

// benchRequests are requests in protobuf. A trace has an agent, a retrieval of three documents, two calls of a model, and otherwise
// calls of services and databases, as an instrumented server has them.
func benchRequests(b *testing.B) (requests [][]byte) {
	pairs := func(texts ...string) (list []*commonpb.KeyValue) {
		for i := 0; i < len(texts); i += 2 {
			list = append(list, &commonpb.KeyValue{Key: texts[i], Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: texts[i+1]}}})
		}
		return list
	}
	words := func(n int) string { return strings.Repeat("refunds within thirty days ", n/27+1)[:n] }
	for first := 0; first < benchSpans; first += benchRequest {
		spans := make([]*tracepb.Span, benchRequest)
		for i := range spans {
			trace, n := uint64((first+i)/benchTrace)+1, (first+i)%benchTrace
			s := &tracepb.Span{
				TraceId: binary.BigEndian.AppendUint64(make([]byte, 8), trace), SpanId: binary.BigEndian.AppendUint64(nil, uint64(n+1)),
				StartTimeUnixNano: 1795424400e9 + uint64(first+i)*1e6, EndTimeUnixNano: 1795424400e9 + uint64(first+i)*1e6 + 5e5,
			}
			if n > 0 {
				s.ParentSpanId = binary.BigEndian.AppendUint64(nil, 1)
			}
			switch n {
			case 0:
				s.Name, s.Attributes = "SupportAgent", pairs("openinference.span.kind", "AGENT", "session.id", fmt.Sprint("s-", trace), "input.value", words(200), "output.value", words(600))
			case 1:
				s.Name, s.Attributes = "KnowledgeBase", pairs("openinference.span.kind", "RETRIEVER", "input.value", "refund window")
				for d := range 3 {
					prefix := fmt.Sprintf("retrieval.documents.%d.document.", d)
					s.Attributes = append(s.Attributes, pairs(prefix+"id", fmt.Sprint("policy-", d), prefix+"content", words(800), prefix+"metadata", `{"source": "policy.pdf"}`)...)
				}
			case 2, 3:
				s.Name, s.Attributes = "ChatModel", pairs("openinference.span.kind", "LLM", "llm.model_name", "gpt-4o", "input.value", words(3000), "output.value", words(600))
			default:
				s.Name, s.Attributes = "GET /api/orders/{id}", pairs("http.request.method", "GET", "url.full", fmt.Sprint("https://shop.example.com/api/orders/", first+i), "server.address", "shop.example.com",
					"network.protocol.version", "1.1", "user_agent.original", "okhttp/4.12.0", "http.route", "/api/orders/{id}", "db.system.name", "postgresql", "db.query.text", "SELECT * FROM orders WHERE id = $1")
			}
			spans[i] = s
		}
		text, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
			Resource:   &resourcepb.Resource{Attributes: pairs("service.name", "shop", "service.version", "1.2.3", "host.name", "a-host")},
			ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "bench", Version: "1"}, Spans: spans}},
		}}})
		if err != nil {
			b.Fatal(err)
		}
		requests = append(requests, text)
	}
	return requests
}

// BenchmarkSpansThatHardlyRetrieve makes the records of 100,000 spans of which 1 % retrieve, and compares that in the same run with
// decoding the spans with the library alone.
func BenchmarkSpansThatHardlyRetrieve(b *testing.B) {
	requests := benchRequests(b)
	m := mapping(b, "{}")
	var ours, library time.Duration
	size := 0
	for b.Loop() {
		begun := time.Now()
		for _, text := range requests {
			if err := proto.Unmarshal(text, &tracepb.TracesData{}); err != nil {
				b.Fatal(err)
			}
		}
		library += time.Since(begun)

		begun, size = time.Now(), 0
		j := otlp.NewJoiner(otlp.JoinOptions{})
		var counts otlp.Counts
		for _, text := range requests {
			size += len(text)
			spans, err := otlp.DecodeProto(text)
			if err != nil {
				b.Fatal(err)
			}
			for _, s := range spans {
				for _, settled := range j.Add(m.Reduce(s), 0, begun) {
					counts.Add(settled.Counts())
				}
			}
		}
		for _, settled := range j.Flush() {
			counts.Add(settled.Counts())
		}
		ours += time.Since(begun)
		if counts.Read != benchSpans || counts.Records != benchSpans/benchTrace {
			b.Fatalf("%+v", counts)
		}
	}
	rate := func(took time.Duration) float64 { return float64(b.N) * benchSpans / took.Seconds() }
	b.ReportMetric(rate(ours), "spans/s")
	b.ReportMetric(rate(library), "library-spans/s")
	b.ReportMetric(float64(library)/float64(ours), "of-library")
	b.ReportMetric(float64(size)/benchSpans, "B/span")
}
