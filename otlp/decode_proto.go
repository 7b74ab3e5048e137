package otlp

import (
	"fmt"
	"strconv"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// DecodeProto reads an export request in protobuf, or a TracesData, which has the same bytes. An error is about the whole message. A
// span that can be no record is returned with the reason. The spans do not share the memory of message.
func DecodeProto(message []byte) ([]*Span, error) {
	var data tracepb.TracesData
	// A level of values has two messages, and the span is five levels down.
	if err := (proto.UnmarshalOptions{RecursionLimit: 2*maxDepth + 8}).Unmarshal(message, &data); err != nil {
		return nil, fmt.Errorf("it is no export request in protobuf: %w", err)
	}
	return fromProto(data.ResourceSpans, len(message) > MaxSpan)
}

// fromProto converts spans. To measure each takes as long as half of their decoding, so that is done only if they may be large.
func fromProto(all []*tracepb.ResourceSpans, large bool) ([]*Span, error) {
	n := 0
	for _, group := range all {
		for _, scoped := range group.GetScopeSpans() {
			n += len(scoped.GetSpans())
		}
	}
	spans := make([]*Span, 0, n)
	c := converter{large: large}
	for _, group := range all {
		from := c.resource(group.GetResource())
		for _, scoped := range group.GetScopeSpans() {
			scope := &Scope{Name: scoped.GetScope().GetName(), Version: scoped.GetScope().GetVersion()}
			for _, p := range scoped.GetSpans() {
				s := c.span(p)
				s.Resource, s.Scope = from, scope
				spans = append(spans, s)
			}
		}
	}
	return spans, c.err
}

// A converter keeps an error.
type converter struct {
	large bool // a span may be larger than MaxSpan
	err   error
}

func (c *converter) resource(r *resourcepb.Resource) *Resource {
	return &Resource{Attributes: c.attributes(r.GetAttributes())}
}

func (c *converter) span(p *tracepb.Span) *Span {
	s := &Span{
		Name: p.GetName(), Kind: int32(p.GetKind()), Start: p.GetStartTimeUnixNano(), End: p.GetEndTimeUnixNano(),
		Status: int32(p.GetStatus().GetCode()), StatusMessage: p.GetStatus().GetMessage(),
		Attributes: c.attributes(p.GetAttributes()), Dropped: p.GetDroppedAttributesCount(),
	}
	s.unusable("trace id", copyID(s.TraceID[:], p.GetTraceId()))
	s.unusable("span id", copyID(s.SpanID[:], p.GetSpanId()))
	s.unusable("parent's id", copyID(s.Parent[:], p.GetParentSpanId()))
	for _, e := range p.GetEvents() {
		s.Events = append(s.Events, Event{Name: e.GetName(), Time: e.GetTimeUnixNano(), Attributes: c.attributes(e.GetAttributes())})
	}
	for _, l := range p.GetLinks() {
		s.Links = append(s.Links, Link{TraceID: l.GetTraceId(), SpanID: l.GetSpanId(), Attributes: c.attributes(l.GetAttributes())})
	}
	if c.large && proto.Size(p) > MaxSpan {
		s.Unusable = errTooLarge
	}
	s.checkIDs()
	return s
}

func copyID(to, from []byte) error {
	if len(from) != 0 && len(from) != len(to) {
		return fmt.Errorf("an id has %d bytes, and this one has %s", len(to), strconv.Itoa(len(from)))
	}
	copy(to, from)
	return nil
}

func (c *converter) attributes(list []*commonpb.KeyValue) []Attribute {
	if len(list) == 0 {
		return nil
	}
	attributes := make([]Attribute, len(list))
	for i, kv := range list {
		attributes[i] = Attribute{kv.GetKey(), c.value(kv.GetValue(), 0)}
	}
	return attributes
}

func (c *converter) value(v *commonpb.AnyValue, depth int) Value {
	if depth > maxDepth {
		c.err = errTooDeep
		return Value{}
	}
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return StringValue(v.StringValue)
	case *commonpb.AnyValue_BoolValue:
		return boolValue(v.BoolValue)
	case *commonpb.AnyValue_IntValue:
		return intValue(v.IntValue)
	case *commonpb.AnyValue_DoubleValue:
		return doubleValue(v.DoubleValue)
	case *commonpb.AnyValue_BytesValue:
		return Value{kind: Bytes, str: string(v.BytesValue)}
	case *commonpb.AnyValue_ArrayValue:
		values := make([]Value, len(v.ArrayValue.GetValues()))
		for i, e := range v.ArrayValue.GetValues() {
			values[i] = c.value(e, depth+1)
		}
		return listValue(values)
	case *commonpb.AnyValue_KvlistValue:
		list := v.KvlistValue.GetValues()
		keys, values := make([]string, len(list)), make([]Value, len(list))
		for i, kv := range list {
			keys[i], values[i] = kv.GetKey(), c.value(kv.GetValue(), depth+1)
		}
		return objectValue(keys, values)
	}
	return Value{}
}
