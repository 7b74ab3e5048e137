package otlp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/otlp"
)

// toProto makes the protobuf of a request in JSON by a way of its own: with encoding/json and the types of the protocol.
func toProto(t testing.TB, text []byte) []byte {
	t.Helper()
	var request struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []jsonAttribute }
			ScopeSpans []struct {
				Scope struct{ Name, Version string }
				Spans []struct {
					TraceID, SpanID, ParentSpanID      string
					Name                               string
					Kind                               int
					StartTimeUnixNano, EndTimeUnixNano string
					Attributes                         []jsonAttribute
					DroppedAttributesCount             uint32
					Events                             []struct {
						Name         string
						TimeUnixNano string
						Attributes   []jsonAttribute
					}
					Status struct {
						Code    any
						Message string
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &request); err != nil {
		t.Fatal(err)
	}
	id := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	number := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil && s != "" {
			t.Fatal(err)
		}
		return n
	}
	data := &tracepb.TracesData{}
	for _, rs := range request.ResourceSpans {
		group := &tracepb.ResourceSpans{Resource: &resourcepb.Resource{Attributes: protoAttributes(t, rs.Resource.Attributes)}}
		for _, ss := range rs.ScopeSpans {
			scoped := &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: ss.Scope.Name, Version: ss.Scope.Version}}
			for _, s := range ss.Spans {
				p := &tracepb.Span{
					TraceId: id(s.TraceID), SpanId: id(s.SpanID), ParentSpanId: id(s.ParentSpanID), Name: s.Name, Kind: tracepb.Span_SpanKind(s.Kind),
					StartTimeUnixNano: number(s.StartTimeUnixNano), EndTimeUnixNano: number(s.EndTimeUnixNano),
					Attributes: protoAttributes(t, s.Attributes), DroppedAttributesCount: s.DroppedAttributesCount,
					Status: &tracepb.Status{Message: s.Status.Message},
				}
				if s.Status.Code == "STATUS_CODE_ERROR" {
					p.Status.Code = tracepb.Status_STATUS_CODE_ERROR
				}
				if n, ok := s.Status.Code.(float64); ok {
					p.Status.Code = tracepb.Status_StatusCode(n)
				}
				for _, e := range s.Events {
					p.Events = append(p.Events, &tracepb.Span_Event{Name: e.Name, TimeUnixNano: number(e.TimeUnixNano), Attributes: protoAttributes(t, e.Attributes)})
				}
				scoped.Spans = append(scoped.Spans, p)
			}
			group.ScopeSpans = append(group.ScopeSpans, scoped)
		}
		data.ResourceSpans = append(data.ResourceSpans, group)
	}
	message, err := proto.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

type jsonAttribute struct {
	Key   string
	Value map[string]json.RawMessage
}

func protoAttributes(t testing.TB, list []jsonAttribute) []*commonpb.KeyValue {
	var all []*commonpb.KeyValue
	for _, a := range list {
		all = append(all, &commonpb.KeyValue{Key: a.Key, Value: protoValue(t, a.Value)})
	}
	return all
}

func protoValue(t testing.TB, v map[string]json.RawMessage) *commonpb.AnyValue {
	read := func(raw json.RawMessage, to any) {
		if err := json.Unmarshal(raw, to); err != nil {
			t.Fatal(err)
		}
	}
	for kind, raw := range v {
		switch kind {
		case "stringValue":
			var s string
			read(raw, &s)
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
		case "boolValue":
			var b bool
			read(raw, &b)
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: b}}
		case "intValue":
			n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: n}}
		case "doubleValue":
			f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
			if err != nil {
				t.Fatal(err)
			}
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: f}}
		case "arrayValue":
			var list struct{ Values []map[string]json.RawMessage }
			read(raw, &list)
			array := &commonpb.ArrayValue{}
			for _, e := range list.Values {
				array.Values = append(array.Values, protoValue(t, e))
			}
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: array}}
		case "kvlistValue":
			var list struct{ Values []jsonAttribute }
			read(raw, &list)
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: protoAttributes(t, list.Values)}}}
		}
	}
	return nil
}

// A span gives the same record in JSON, in protobuf, in the files of the collector, packed with gzip, in lists, and written over many
// lines.
func TestEveryEncodingGivesTheSame(t *testing.T) {
	files := fixtures(t)
	if dir, ok := sampleDir(); ok {
		for _, name := range []string{"c01-openinference-langchain-js.otlp.jsonl", "c06-vercel-ai-sdk.otlp.jsonl", "p10-traceloop-langchain.otlp.json", "p12-otel-genai-langchain.otlp.json"} {
			files = append(files, dir+"/"+name)
		}
	}
	for _, file := range files {
		if formatOf(file) != otlp.OTLP || strings.Contains(file, "console") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := mapOf(t, file)
		result := func(in []byte) string {
			records, counts := joined(reduce(m, read(t, bytes.NewReader(in), otlp.OTLP)))
			return fmt.Sprintf("%+v\n%s", counts, canonical(t, records))
		}
		want := result(text)
		var whole, delimited, list, pretty, groups bytes.Buffer
		list.WriteString("[\n")
		decode := json.NewDecoder(bytes.NewReader(text))
		for n := 0; ; n++ {
			var line json.RawMessage
			if err := decode.Decode(&line); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			message := toProto(t, line)
			whole.Write(message) // requests one after the other are one request
			delimited.Write(binary.BigEndian.AppendUint32(nil, uint32(len(message))))
			delimited.Write(message)
			if n > 0 {
				list.WriteString(",\n")
			}
			list.Write(line)
			if err := json.Indent(&pretty, line, "", "  "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteString("\r\n\n")
			var request struct{ ResourceSpans []json.RawMessage }
			if err := json.Unmarshal(line, &request); err != nil {
				t.Fatal(err)
			}
			for _, group := range request.ResourceSpans {
				if err := json.Compact(&groups, group); err != nil {
					t.Fatal(err)
				}
				groups.WriteByte('\n')
			}
		}
		list.WriteString("\n]")
		for name, packed := range map[string][]byte{
			"protobuf": whole.Bytes(), "length-delimited": delimited.Bytes(), "gzip": zipped(t, text), "protobuf in gzip": zipped(t, delimited.Bytes()),
			"list": list.Bytes(), "many lines": pretty.Bytes(), "resourceSpans objects": groups.Bytes(),
			"byte order mark": append([]byte("\xef\xbb\xbf"), text...), "blanks": append([]byte("\n \r\n"), text...),
		} {
			if got := result(packed); got != want {
				t.Errorf("%s as %s: got\n%s\nwant\n%s", file, name, got, want)
			}
		}
	}
}

// JSON as it is in the wild.
func TestJSONInTheWild(t *testing.T) {
	const ids = `"traceId":"0123456789ABCDEFabcdef0000000000","spanId":"00000000000000FF"`
	request := func(span string) string {
		return `{"resourceSpans":[{"scopeSpans":[{"spans":[{` + ids + span + `}]}]}]}`
	}
	digest := func(text string) string {
		spans, err := otlp.DecodeJSON(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(spans) != 1 || spans[0].Unusable != nil {
			t.Fatalf("%s: %d spans", text, len(spans))
		}
		return spans[0].Digest().String()
	}
	for _, same := range [][]string{
		{`,"startTimeUnixNano":"17"`, `,"startTimeUnixNano":17`, `,"start_time_unix_nano":"17"`, `,"startTimeUnixNano":1.7e1`, `,"x":{"y":[1,{"z":null}]},"startTimeUnixNano":"17"`},
		{`,"kind":3`, `,"kind":"SPAN_KIND_CLIENT"`, `,"kind":"3"`, `,"kind":"client"`},
		{`,"status":{"code":2}`, `,"status":{"code":"STATUS_CODE_ERROR"}`, `,"status":{"code":"ERROR","message":""}`},
		{`,"attributes":[{"key":"a","value":{"intValue":"5"}}]`, `,"attributes":[{"key":"a","value":{"intValue":5}}]`, `,"attributes":[{"value":{"int_value":5},"key":"a"}]`, `,"attributes":[{"key":"a","value":5}]`, `,"attributes":{"a":5}`},
		{`,"attributes":[{"key":"a","value":{"doubleValue":"NaN"}}]`, `,"attributes":[{"key":"a","value":{"doubleValue":"nan"}}]`},
		{`,"attributes":[{"key":"a","value":{"doubleValue":"-Infinity"}}]`, `,"attributes":[{"key":"a","value":{"doubleValue":-1e999}}]`},
		{`,"attributes":[{"key":"a","value":{"stringValue":"é😀"}}]`, `,"attributes":[{"key":"a","value":{"stringValue":"\u00e9\ud83d\ude00"}}]`},
		{`,"attributes":[{"key":"a","value":{"bytesValue":"-_8="}}]`, `,"attributes":[{"key":"a","value":{"bytesValue":"+/8"}}]`},
		{`,"attributes":[{"key":"a","value":{"stringValue":"1"}},{"key":"a","value":{"stringValue":"2"}},{"key":"b","value":{}}]`, `,"attributes":[{"key":"b","value":{}},{"key":"a","value":{"stringValue":"2"}}]`, `,"attributes":[{"key":"b"}],"attributes":[{"key":"a","value":{"stringValue":"2"}}]`},
		{``, `,"parentSpanId":""`, `,"parentSpanId":"0000000000000000"`, `,"parentSpanId":null`, `,"attributes":null,"events":[],"links":null`},
	} {
		want := digest(request(same[0]))
		for _, other := range same[1:] {
			if digest(request(other)) != want {
				t.Errorf("%s differs from %s", other, same[0])
			}
		}
		if same[0] != "" && want == digest(request("")) {
			t.Errorf("%s is not in the digest", same[0])
		}
	}
	spans, err := otlp.DecodeJSON(`{"resourceSpans":[{"scopeSpans":[{"spans":[{` + ids + `}]}]}],"resourceSpans":[{"scopeSpans":[{"spans":[{` + ids + `}]}],"scopeSpans":[{"spans":[{` + ids + `},{` + ids + `}]}]}]}`)
	if err != nil || len(spans) != 4 {
		t.Errorf("members that come twice: %d spans, %v; want 4", len(spans), err)
	}
}

// Spans without usable ids are told, and the others are read.
func TestIDsThatAreNone(t *testing.T) {
	for ids, want := range map[string]string{
		`"traceId":"00000000000000000000000000000000","spanId":"00000000000000ff"`: "no trace id",
		`"traceId":"00000000000000000000000000000001","spanId":"0000000000000000"`: "no span id",
		`"spanId":"00000000000000ff"`:                                                                  "no trace id",
		`"traceId":"01","spanId":"00000000000000ff"`:                                                   "32 hex digits",
		`"traceId":"AAAAAAAAAAAAAAAAAAAAAQ==","spanId":"00000000000000ff"`:                             "32 hex digits",
		`"traceId":"0000000000000000000000000000000g","spanId":"00000000000000ff"`:                     "has others",
		`"traceId":"00000000000000000000000000000001","spanId":"00000000000000ff","parentSpanId":"ff"`: "16 hex digits",
	} {
		spans, err := otlp.DecodeJSON(`{"resourceSpans":[{"scopeSpans":[{"spans":[{` + ids + `},{"traceId":"00000000000000000000000000000001","spanId":"00000000000000ff"}]}]}]}`)
		if err != nil || len(spans) != 2 || spans[1].Unusable != nil || spans[0].Unusable == nil || !strings.Contains(spans[0].Unusable.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", ids, spans, err, want)
		}
		if mapping(t, "{}").Reduce(spans[0]) != nil {
			t.Errorf("%s: it is reduced", ids)
		}
	}
	message, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{
		{TraceId: make([]byte, 16), SpanId: []byte("12345678")}, {TraceId: []byte("123456781234567"), SpanId: []byte("12345678")}, {TraceId: []byte("1234567812345678"), SpanId: []byte("12345678")},
	}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	spans, err := otlp.DecodeProto(message)
	if err != nil || len(spans) != 3 || spans[0].Unusable == nil || spans[1].Unusable == nil || spans[2].Unusable != nil {
		t.Errorf("protobuf: %v, %v", spans, err)
	}
}

// What a hostile sender may send is refused or read, in memory that is bounded by its size.
func TestBombs(t *testing.T) {
	sequential.Test(t)
	span := func(attributes string) string {
		return `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","attributes":` + attributes + `}]}]}]}`
	}
	deep := func(levels int) string {
		return span(`[{"key":"openinference.span.kind","value":{"stringValue":"RETRIEVER"}},{"key":"a","value":` + strings.Repeat(`{"arrayValue":{"values":[`, levels) + `{"intValue":1}` + strings.Repeat(`]}}`, levels) + `}]`)
	}
	if _, err := otlp.DecodeJSON(deep(60)); err != nil {
		t.Errorf("60 levels: %v", err)
	}
	for _, levels := range []int{70, 10_000} {
		if _, err := otlp.DecodeJSON(deep(levels)); err == nil || !strings.Contains(err.Error(), "nested too deep") {
			t.Errorf("%d levels: %v", levels, err)
		}
		v := &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: 1}}
		for range levels {
			v = &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{v}}}}
		}
		message, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{Key: "a", Value: v}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := otlp.DecodeProto(message); err == nil {
			t.Errorf("%d levels in protobuf are read", levels)
		}
	}
	// Unknown members and the JSON in attributes may be nested too.
	if _, err := otlp.DecodeJSON(`{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`); err == nil {
		t.Error("an unknown member of 10,000 levels is read")
	}
	m := mapping(t, `{}`)
	nested := strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000)
	spans, err := otlp.DecodeJSON(span(`[{"key":"openinference.span.kind","value":{"stringValue":"RETRIEVER"}},{"key":"output.value","value":{"stringValue":"` + nested + `"}},{"key":"input.value","value":{"stringValue":"` + nested + `"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Reduce(spans[0]); !r.Retrieved.Unreadable {
		t.Error("10,000 levels in an output are read")
	}

	var many strings.Builder
	for i := range 200_000 {
		if i > 0 {
			many.WriteByte(',')
		}
		fmt.Fprintf(&many, `{"key":"retrieval.documents.%d.document.id","value":{"stringValue":"d"}}`, i)
	}
	text := span(`[{"key":"openinference.span.kind","value":{"stringValue":"RETRIEVER"}},` + many.String() + `]`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	spans, err = otlp.DecodeJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 20*uint64(len(text)) {
		t.Errorf("to decode %d bytes took %d", len(text), took)
	}
	if r := m.Reduce(spans[0]); r == nil || len(r.Retrieved.Documents) != 200_000 {
		t.Error("a span with 200,000 documents is not reduced")
	}
	same := span("[" + strings.Repeat(`{"key":"a"},`, 1_000_000) + `{"key":"a","value":5}]`)
	if spans, err = otlp.DecodeJSON(same); err != nil || m.Reduce(spans[0]) == nil || spans[0].Digest() == (&otlp.Span{}).Digest() {
		t.Errorf("a span with 1,000,000 equal keys: %v", err)
	}
	large := span(`[{"key":"a","value":{"stringValue":"` + strings.Repeat("x", otlp.MaxSpan) + `"}}]`)
	if spans, err := otlp.DecodeJSON(large); err != nil || spans[0].Unusable == nil {
		t.Errorf("a span that is too large: %v", err)
	}
	huge := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0}, math.MaxUint32)
	for name, text := range map[string][]byte{"a length that is cut": {0, 0}, "a message that is cut": {0, 0, 0, 9, 'x'}, "a length that is no length": huge, "text": []byte("hello\n")} {
		refused := false
		err := otlp.Read(bytes.NewReader(text), otlp.OTLP, func(p otlp.Part) error {
			refused = refused || p.Err != nil
			return nil
		})
		if err == nil && !refused {
			t.Errorf("%s is read", name)
		}
	}
}

// A text that was cut is told with its line, and the lines after it are read.
func TestTextsThatAreCut(t *testing.T) {
	line := func(n int) string {
		return fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":"%d","attributes":[{"key":"a","value":{"stringValue":"b"}}]}]}]}]}`, n, n, n)
	}
	for at := 1; at < len(line(1)); at++ {
		text := line(1)[:at] + "\n" + line(2) + "\n" + line(3)
		var spans, bad []string
		err := otlp.Read(strings.NewReader(text), otlp.OTLP, func(p otlp.Part) error {
			if p.Err != nil {
				bad = append(bad, fmt.Sprint(p.Line))
			}
			for _, s := range p.Spans {
				spans = append(spans, s.Name)
			}
			return nil
		})
		if err != nil || strings.Join(spans, " ") != "2 3" || strings.Join(bad, " ") != "1" {
			t.Fatalf("cut after %q: spans %v, bad lines %v, %v", line(1)[:at], spans, bad, err)
		}
	}
}

func TestSniff(t *testing.T) {
	for _, file := range fixtures(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := otlp.Sniff(text[:min(len(text), 2000)]), formatOf(file); got != want {
			t.Errorf("%s is %q", file, got)
		}
		if formatOf(file) == otlp.OTLP && !strings.Contains(file, "console") {
			message := toProto(t, bytes.SplitN(text, []byte("\n"), 2)[0])
			if otlp.Sniff(message) != otlp.OTLP || otlp.Sniff(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)) != otlp.OTLP {
				t.Errorf("the protobuf of %s is not recognized", file)
			}
		}
	}
	for _, text := range []string{"", "\n", "{", "{}", "[", "hello", `{"query_id":"aa","timestamp":1,"params":{}}`, `[{"timestamp":1}]`, "\x1f\x8b", "a,b\n1,2"} {
		if got := otlp.Sniff([]byte(text)); got != "" {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

// What is accepted as JSON is JSON, and what is JSON of spans is accepted.
func FuzzDecodeJSON(f *testing.F) {
	for _, file := range fixtures(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range bytes.SplitAfter(text, []byte("\n")) {
			f.Add(string(line))
		}
	}
	m := mapping(f, `{"tools":[{"name":"search","query":"q.text","documents":"data.hits"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		spans, err := otlp.DecodeJSON(text)
		if err == nil && !json.Valid([]byte(strings.ToValidUTF8(text, "\ufffd"))) {
			t.Fatalf("this is no JSON, and is read: %q", text)
		}
		useSpans(t, m, spans)
	})
}

func FuzzDecodeProto(f *testing.F) {
	for _, file := range fixtures(f) {
		if formatOf(file) != otlp.OTLP || strings.Contains(file, "console") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(toProto(f, bytes.SplitN(text, []byte("\n"), 2)[0]))
	}
	m := mapping(f, `{}`)
	f.Fuzz(func(t *testing.T, message []byte) {
		spans, _ := otlp.DecodeProto(message)
		useSpans(t, m, spans)
	})
}

func FuzzRead(f *testing.F) {
	for _, file := range fixtures(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(formatOf(file)), text)
	}
	m := mapping(f, `{}`)
	f.Fuzz(func(t *testing.T, format string, text []byte) {
		otlp.Sniff(text)
		last := 0
		_ = otlp.Read(bytes.NewReader(text), otlp.Format(format), func(p otlp.Part) error {
			if p.Line <= last {
				t.Fatalf("line %d comes after line %d", p.Line, last)
			}
			last = p.Line
			useSpans(t, m, p.Spans)
			return nil
		})
	})
}

// useSpans does with spans what an import does. Each record must be one that a store takes.
func useSpans(t *testing.T, m *otlp.Mapping, spans []*otlp.Span) {
	var reduced []*otlp.Reduced
	for _, s := range spans {
		r := m.Reduce(s)
		if (r == nil) != (s.Unusable != nil) {
			t.Fatalf("reduced: %v, unusable: %v", r, s.Unusable)
		}
		if r == nil {
			continue
		}
		text, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := otlp.DecodeReduced(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		reduced = append(reduced, r)
	}
	records, counts := joined(reduced)
	if counts.Read != uint64(len(reduced)) || counts.Read != counts.Records+counts.Wrapped+counts.Context+counts.Other+counts.Rejected {
		t.Fatalf("%+v for %d spans", counts, len(reduced))
	}
	canonical(t, records)
}
