package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrNoSpans says that a JSON object has no spans in any form that is known.
var ErrNoSpans = errors.New("it has no spans")

// DecodeJSON reads one JSON text: an export request, a resourceSpans object, a span as the console exporters of the SDKs print it, or a
// list of these. Names may be in camel case or with underscores, 64-bit numbers may be texts, enums may be names, and unknown members
// are ignored. A member that comes twice is read twice: no span is lost.
//
// The spans share the memory of text. An error is about the whole text. A span that can be no record is returned with the reason.
func DecodeJSON(text string) ([]*Span, error) {
	d := &jsonDecoder{scanner: newScanner(text)}
	err := d.top(true)
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return nil, err
	}
	for _, s := range d.spans {
		s.checkIDs()
	}
	return d.spans, nil
}

type jsonDecoder struct {
	*scanner
	spans  []*Span
	values int // how deep the value is nested that is being read
}

// top reads an object that holds spans, or a list of them.
func (d *jsonDecoder) top(lists bool) error {
	if lists && d.peek() == '[' {
		return d.array(func() error { return d.top(false) })
	}
	start, known := d.pos, false
	var group *Resource // of an object that is itself an element of resourceSpans
	first := len(d.spans)
	context := false
	other := ""
	err := d.object(func(key string) error {
		switch key {
		case "resourceSpans", "resource_spans":
			known = true
			return d.array(d.resourceSpans)
		case "scopeSpans", "scope_spans", "instrumentationLibrarySpans":
			known = true
			if group == nil {
				group = new(Resource)
			}
			return d.array(func() error { return d.scopeSpans(group) })
		case "resource":
			if group == nil {
				group = new(Resource)
			}
			return d.resource(group)
		case "context":
			context = true
		case "resourceLogs", "resource_logs", "resourceMetrics", "resource_metrics":
			other = key
		}
		return d.skip()
	})
	switch {
	case err != nil:
		return err
	case known:
		return nil
	case context:
		d.spans = d.spans[:first]
		d.pos = start
		return d.consoleSpan()
	case other != "":
		return fmt.Errorf("%w, but %s", ErrNoSpans, other)
	}
	return ErrNoSpans
}

func (d *jsonDecoder) resourceSpans() error {
	resource := new(Resource)
	return d.object(func(key string) error {
		switch key {
		case "resource":
			return d.resource(resource)
		case "scopeSpans", "scope_spans", "instrumentationLibrarySpans":
			return d.array(func() error { return d.scopeSpans(resource) })
		}
		return d.skip()
	})
}

func (d *jsonDecoder) resource(to *Resource) error {
	return d.object(func(key string) error {
		if key == "attributes" {
			return d.attributes(&to.Attributes)
		}
		return d.skip()
	})
}

func (d *jsonDecoder) scopeSpans(resource *Resource) error {
	scope := new(Scope)
	return d.object(func(key string) error {
		switch key {
		case "scope", "instrumentationLibrary":
			return d.object(func(key string) (err error) {
				switch key {
				case "name":
					scope.Name, err = d.text()
				case "version":
					scope.Version, err = d.text()
				default:
					err = d.skip()
				}
				return err
			})
		case "spans":
			return d.array(func() error {
				s := &Span{Resource: resource, Scope: scope}
				d.spans = append(d.spans, s)
				start := d.pos
				err := d.span(s)
				if d.pos-start > MaxSpan {
					s.Unusable = errTooLarge
				}
				return err
			})
		}
		return d.skip()
	})
}

func (d *jsonDecoder) span(s *Span) error {
	return d.object(func(key string) (err error) {
		switch key {
		case "traceId", "trace_id":
			return d.id(s, "trace id", s.TraceID[:])
		case "spanId", "span_id":
			return d.id(s, "span id", s.SpanID[:])
		case "parentSpanId", "parent_span_id":
			return d.id(s, "parent's id", s.Parent[:])
		case "name":
			s.Name, err = d.text()
		case "kind":
			s.Kind, err = d.enum(spanKinds)
		case "startTimeUnixNano", "start_time_unix_nano":
			s.Start, err = d.uint()
		case "endTimeUnixNano", "end_time_unix_nano":
			s.End, err = d.uint()
		case "attributes":
			err = d.attributes(&s.Attributes)
		case "droppedAttributesCount", "dropped_attributes_count":
			s.Dropped, err = d.count()
		case "events":
			err = d.array(func() error { return d.event(s) })
		case "links":
			err = d.array(func() error { return d.link(s) })
		case "status":
			err = d.object(func(key string) (err error) {
				switch key {
				case "code":
					s.Status, err = d.enum(statusCodes)
				case "message":
					s.StatusMessage, err = d.text()
				default:
					err = d.skip()
				}
				return err
			})
		default:
			err = d.skip()
		}
		return err
	})
}

// count reads a number of 32 bits. A larger one counts as the largest.
func (d *jsonDecoder) count() (uint32, error) {
	n, err := d.uint()
	return uint32(min(n, math.MaxUint32)), err
}

func (d *jsonDecoder) event(s *Span) error {
	var e Event
	err := d.object(func(key string) (err error) {
		switch key {
		case "name":
			e.Name, err = d.text()
		case "timeUnixNano", "time_unix_nano":
			e.Time, err = d.uint()
		case "timestamp":
			e.Time, err = d.time()
		case "attributes":
			err = d.attributes(&e.Attributes)
		default:
			err = d.skip()
		}
		return err
	})
	s.Events = append(s.Events, e)
	return err
}

func (d *jsonDecoder) link(s *Span) error {
	var l Link
	err := d.object(func(key string) (err error) {
		switch key {
		case "traceId", "trace_id":
			l.TraceID, err = d.linked()
		case "spanId", "span_id":
			l.SpanID, err = d.linked()
		case "attributes":
			err = d.attributes(&l.Attributes)
		default:
			err = d.skip()
		}
		return err
	})
	s.Links = append(s.Links, l)
	return err
}

// linked reads an id of a link. A link with an odd id does not make its span unusable.
func (d *jsonDecoder) linked() ([]byte, error) {
	text, err := d.text()
	if id, err := hex.DecodeString(text); err == nil {
		return id, nil
	}
	return []byte(text), err
}

// id reads hex digits. If they are no id, the span is unusable and the others are not affected.
func (d *jsonDecoder) id(s *Span, what string, to []byte) error {
	text, err := d.text()
	if err == nil {
		s.unusable(what, unhex(to, text))
	}
	return err
}

var (
	spanKinds   = []string{"unspecified", "internal", "server", "client", "producer", "consumer"}
	statusCodes = []string{"unset", "ok", "error"}
)

// enum reads a number, or a name such as SPAN_KIND_CLIENT, SpanKind.CLIENT or CLIENT. An unknown name is 0.
func (d *jsonDecoder) enum(names []string) (int32, error) {
	text, err := d.textOrNumeral()
	if err != nil || text == "" {
		return 0, err
	}
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return int32(n), nil
	}
	name := strings.ToLower(text[strings.LastIndexAny(text, "_.")+1:])
	for i, known := range names {
		if name == known {
			return int32(i), nil
		}
	}
	return 0, nil
}

// attributes reads a list of keys and values as OTLP has them, or an object as the console exporters print it.
func (d *jsonDecoder) attributes(to *[]Attribute) error {
	if d.peek() == '{' {
		return d.object(func(key string) error {
			v, err := d.value()
			*to = append(*to, Attribute{key, v})
			return err
		})
	}
	return d.array(func() error {
		a, err := d.attribute()
		*to = append(*to, a)
		return err
	})
}

func (d *jsonDecoder) attribute() (a Attribute, err error) {
	err = d.object(func(key string) (err error) {
		switch key {
		case "key":
			a.Key, err = d.text()
		case "value":
			a.Value, err = d.anyValue()
		default:
			err = d.skip()
		}
		return err
	})
	return a, err
}

// anyValue reads an AnyValue of OTLP. A text, number, boolean or list in its place is taken as it is.
func (d *jsonDecoder) anyValue() (v Value, err error) {
	if d.peek() != '{' {
		return d.value()
	}
	if d.values++; d.values > maxDepth+1 {
		return v, d.fail(errTooDeep)
	}
	defer func() { d.values-- }()
	err = d.object(func(key string) (err error) {
		if d.null() {
			return nil
		}
		switch key {
		case "stringValue", "string_value":
			v.str, err = d.str()
			v = StringValue(v.str)
		case "boolValue", "bool_value":
			v, err = d.value()
			if v.kind != Bool {
				v = boolValue(v.str == "true")
			}
		case "intValue", "int_value":
			v, err = d.int()
		case "doubleValue", "double_value":
			v, err = d.double()
		case "bytesValue", "bytes_value":
			var text string
			if text, err = d.str(); err == nil {
				v = Value{kind: Bytes, str: fromBase64(text)}
			}
		case "arrayValue", "array_value":
			v, err = d.arrayValue()
		case "kvlistValue", "kvlist_value":
			v, err = d.kvlist()
		default:
			err = d.skip()
		}
		return err
	})
	return v, err
}

func fromBase64(text string) string {
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := encoding.DecodeString(text); err == nil {
			return string(b)
		}
	}
	return text
}

func (d *jsonDecoder) int() (Value, error) {
	at := d.pos
	text, err := d.textOrNumeral()
	if err != nil {
		return Value{}, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
			return intValue(int64(f)), nil
		}
		d.pos = at
		return Value{}, d.fail(errNoInteger)
	}
	return intValue(n), nil
}

func (d *jsonDecoder) double() (Value, error) {
	at := d.pos
	text, err := d.textOrNumeral()
	if err != nil {
		return Value{}, err
	}
	f, err := strconv.ParseFloat(text, 64) // it also reads NaN and Infinity
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		d.pos = at
		return Value{}, d.fail(errNoNumber)
	}
	return doubleValue(f), nil
}

func (d *jsonDecoder) arrayValue() (Value, error) {
	var values []Value
	err := d.object(func(key string) error {
		if key != "values" {
			return d.skip()
		}
		return d.array(func() error {
			v, err := d.anyValue()
			values = append(values, v)
			return err
		})
	})
	return listValue(values), err
}

func (d *jsonDecoder) kvlist() (Value, error) {
	var keys []string
	var values []Value
	err := d.object(func(key string) error {
		if key != "values" {
			return d.skip()
		}
		return d.array(func() error {
			a, err := d.attribute()
			keys, values = append(keys, a.Key), append(values, a.Value)
			return err
		})
	})
	return objectValue(keys, values), err
}

// consoleSpan reads a span as the SDKs print it: ids with 0x in a context, and times as texts.
func (d *jsonDecoder) consoleSpan() error {
	s := &Span{Resource: new(Resource), Scope: new(Scope)}
	d.spans = append(d.spans, s)
	return d.object(func(key string) (err error) {
		switch key {
		case "context":
			return d.object(func(key string) error {
				switch key {
				case "trace_id", "traceId":
					return d.id(s, "trace id", s.TraceID[:])
				case "span_id", "spanId":
					return d.id(s, "span id", s.SpanID[:])
				}
				return d.skip()
			})
		case "parent_id", "parentId", "parentSpanId":
			return d.id(s, "parent's id", s.Parent[:])
		case "name":
			s.Name, err = d.text()
		case "kind":
			s.Kind, err = d.enum(spanKinds)
		case "start_time":
			s.Start, err = d.time()
		case "end_time":
			s.End, err = d.time()
		case "attributes":
			err = d.attributes(&s.Attributes)
		case "events":
			err = d.array(func() error { return d.event(s) })
		case "resource":
			err = d.resource(s.Resource)
		case "status":
			err = d.object(func(key string) (err error) {
				switch key {
				case "status_code", "code":
					s.Status, err = d.enum(statusCodes)
				case "description", "message":
					s.StatusMessage, err = d.text()
				default:
					err = d.skip()
				}
				return err
			})
		default:
			err = d.skip()
		}
		return err
	})
}

// time reads a time as RFC 3339 has it, or without a zone: then it is UTC. Any other text is taken as absent: 0.
func (d *jsonDecoder) time() (uint64, error) {
	if d.peek() != '"' {
		return d.uint()
	}
	text, err := d.text()
	return nanoseconds(text), err
}

func nanoseconds(text string) uint64 {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"} {
		at, err := time.Parse(layout, text)
		if err == nil && at.Unix() >= 0 && at.Year() < 2500 {
			return uint64(at.Unix())*1e9 + uint64(at.Nanosecond())
		}
	}
	return 0
}
