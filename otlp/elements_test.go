package otlp_test

import (
	"bytes"
	"strings"
	"testing"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/auditsql/auditsql/otlp"
)

// What takes memory when it is decoded is counted before, in both forms, and not further than it matters.
func TestElements(t *testing.T) {
	t.Parallel()
	text := func(s string) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
	}
	list := &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{text("a"), text("b"), text("c")}}}}
	m, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{
		{Attributes: []*commonpb.KeyValue{{Key: "k", Value: text("v")}, {Key: "l", Value: list}}, Events: []*tracepb.Span_Event{{Name: "e"}}}, {},
	}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	// A group, a scope, two spans, an event, two attributes, and a list of three.
	if n := otlp.ElementsProto(m, 1000); n != 1+1+2+1+2+3 {
		t.Errorf("%d elements", n)
	}
	for form, many := range map[string]struct {
		count func([]byte, int) int
		text  []byte
	}{
		"empty spans":     {otlp.ElementsProto, append([]byte{0x0a, 0xc4, 0x13, 0x12, 0xc1, 0x13}, bytes.Repeat([]byte{0x12, 0}, 1248)...)},
		"empty groups":    {otlp.ElementsProto, bytes.Repeat([]byte{0x0a, 0}, 1250)},
		"spans in JSON":   {otlp.ElementsJSON, []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Repeat("{},", 1250) + `{}]}]}]}`)},
		"numbers in JSON": {otlp.ElementsJSON, []byte(`{"a":[` + strings.Repeat("1,", 1250) + `1]}`)},
		"members in JSON": {otlp.ElementsJSON, []byte(`{` + strings.Repeat(`"a":1,`, 2500) + `"a":1}`)},
		"nested in JSON":  {otlp.ElementsJSON, []byte(`[` + strings.Repeat(`[[],[]],`, 500) + `1]`)},
	} {
		if n := many.count(many.text, 1<<20); n < 1248 {
			t.Errorf("%s: %d elements", form, n)
		}
		if n := many.count(many.text, 1000); n <= 1000 || n > 1002 {
			t.Errorf("%s: counting stops at %d", form, n)
		}
	}
	// What is in a text is no element, and what is nested too deep is refused by decoding.
	if n := otlp.ElementsJSON([]byte(`{"a":"[{,,,,,,,\"[,,,,\\"}`), 1000); n != 1 {
		t.Errorf("%d elements", n)
	}
	for _, deep := range []string{strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1<<20)} {
		if n := otlp.ElementsJSON([]byte(deep), 1<<20); n > 1000 {
			t.Errorf("%d elements", n)
		}
		if _, err := otlp.DecodeJSON(deep); err == nil {
			t.Error("it is decoded")
		}
	}
}
