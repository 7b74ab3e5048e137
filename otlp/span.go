package otlp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A TraceID identifies a trace. Zero is none.
type TraceID [16]byte

// A SpanID identifies a span in its trace. Zero is none.
type SpanID [8]byte

// String returns the id as 32 lower-case hex digits.
func (id TraceID) String() string { return hex.EncodeToString(id[:]) }

// String returns the id as 16 lower-case hex digits.
func (id SpanID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id TraceID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (id SpanID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *TraceID) UnmarshalText(text []byte) error { return unhex(id[:], string(text)) }

// UnmarshalText implements encoding.TextUnmarshaler. An empty text is no id.
func (id *SpanID) UnmarshalText(text []byte) error { return unhex(id[:], string(text)) }

func unhex(to []byte, text string) error {
	if text == "" {
		clear(to)
		return nil
	}
	text = strings.TrimPrefix(text, "0x")
	if len(text) != 2*len(to) {
		return fmt.Errorf("an id has %d hex digits, and %q has %d", 2*len(to), brief(text), len(text))
	}
	if _, err := hex.Decode(to, []byte(text)); err != nil {
		return fmt.Errorf("an id has %d hex digits, and %q has others", 2*len(to), brief(text))
	}
	return nil
}

// A Span is a span as it came. Its texts may share the memory of what it was decoded from.
type Span struct {
	TraceID       TraceID
	SpanID        SpanID
	Parent        SpanID // zero: it is a root
	Name          string
	Kind          int32  // the number that OTLP gives it
	Start         uint64 // nanoseconds since 1970; 0: absent
	End           uint64
	Status        int32 // 0 unset, 1 ok, 2 error
	StatusMessage string

	Attributes []Attribute
	Dropped    uint32 // attributes that were dropped before it was sent
	Events     []Event
	Links      []Link

	Resource *Resource // nil: none; shared by spans
	Scope    *Scope

	// Original is the id that the emitter gave it, if that is no id of OpenTelemetry.
	Original string

	// Unusable says why the span can be no record: its ids are missing, zero or of a wrong length. Nil: it is usable.
	Unusable error
}

// A Resource is what emitted spans.
type Resource struct{ Attributes []Attribute }

// A Scope is the instrumentation that made spans.
type Scope struct{ Name, Version string }

// An Event is something that happened during a span.
type Event struct {
	Name       string
	Time       uint64
	Attributes []Attribute
}

// A Link leads to another span.
type Link struct {
	TraceID    []byte
	SpanID     []byte
	Attributes []Attribute
}

// MaxSpan is how many bytes a span may have. A larger one is Unusable.
const MaxSpan = 16 << 20

var (
	errTooLarge = fmt.Errorf("it is larger than %d MiB", MaxSpan>>20)
	errNoTrace  = errors.New("it has no trace id, or one that is zero")
	errNoSpan   = errors.New("it has no span id, or one that is zero")
)

// checkIDs sets Unusable for ids that are missing or zero.
func (s *Span) checkIDs() {
	switch {
	case s.Unusable != nil:
	case s.TraceID == TraceID{}:
		s.Unusable = errNoTrace
	case s.SpanID == SpanID{}:
		s.Unusable = errNoSpan
	}
}

func (s *Span) unusable(what string, err error) {
	if err != nil && s.Unusable == nil {
		s.Unusable = fmt.Errorf("its %s: %w", what, err)
	}
}

// attribute returns the last attribute with a key. Absent is Empty.
func attribute(of []Attribute, key string) Value {
	for i := len(of) - 1; i >= 0; i-- {
		if of[i].Key == key {
			return of[i].Value
		}
	}
	return Value{}
}

// of returns an attribute of the span.
func (s *Span) of(key string) Value { return attribute(s.Attributes, key) }

// resource returns an attribute of the span's resource.
func (s *Span) resource(key string) Value {
	if s.Resource == nil {
		return Value{}
	}
	return attribute(s.Resource.Attributes, key)
}
