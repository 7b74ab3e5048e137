package otlp

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/audit"
)

// hashOf is BLAKE3-256 of a text.
func hashOf(text string) audit.Hash { return audit.Hash(blake3.Sum256([]byte(text))) }

// namedHash is the hash that a name stands for: 64 hex digits are one, and any other name is hashed.
func namedHash(name string) audit.Hash {
	if len(name) == 64 {
		if h, err := audit.ParseHash(name); err == nil {
			return h
		}
	}
	return hashOf(name)
}

// QueryID is the id of the record of a span: BLAKE3-256 of the text "otel:", the trace id as 32 hex digits, ":" and the span id as
// 16 hex digits.
func QueryID(trace TraceID, span SpanID) audit.QueryID {
	return hashOf("otel:" + trace.String() + ":" + span.String())
}

// Digest is BLAKE3-256 of the span's own fields: ids, name, kind, times, status, attributes, events and links. The resource, the
// instrumentation, the trace state and the flags are not part of it. A collector may change these between two deliveries of a span.
// Attributes are sorted by key, and of equal keys only the last counts. The same span has one digest in JSON and in protobuf.
func (s *Span) Digest() audit.Hash {
	d := digest{blake3.New()}
	d.h.Write(s.TraceID[:])
	d.h.Write(s.SpanID[:])
	d.h.Write(s.Parent[:])
	d.text(s.Name)
	d.number(uint64(uint32(s.Kind)))
	d.number(s.Start)
	d.number(s.End)
	d.number(uint64(uint32(s.Status)))
	d.text(s.StatusMessage)
	d.number(uint64(s.Dropped))
	d.text(s.Original)
	d.attributes(s.Attributes)
	d.number(uint64(len(s.Events)))
	for i := range s.Events {
		d.text(s.Events[i].Name)
		d.number(s.Events[i].Time)
		d.attributes(s.Events[i].Attributes)
	}
	d.number(uint64(len(s.Links)))
	for i := range s.Links {
		d.text(string(s.Links[i].TraceID))
		d.text(string(s.Links[i].SpanID))
		d.attributes(s.Links[i].Attributes)
	}
	var sum audit.Hash
	d.h.Sum(sum[:0])
	return sum
}

// A digest is a hash over fields. Each text has its length before it, so that two sequences of fields never give the same bytes.
type digest struct{ h *blake3.Hasher }

func (d digest) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	d.h.Write(b[:])
}

func (d digest) text(s string) {
	d.number(uint64(len(s)))
	d.h.WriteString(s)
}

func (d digest) attributes(list []Attribute) {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b Attribute) int { return cmp.Compare(a.Key, b.Key) })
	last := func(i int) bool { return i+1 == len(sorted) || sorted[i+1].Key != sorted[i].Key }
	n := 0
	for i := range sorted {
		if last(i) {
			n++
		}
	}
	d.number(uint64(n))
	for i := range sorted {
		if last(i) {
			d.text(sorted[i].Key)
			d.value(sorted[i].Value)
		}
	}
}

func (d digest) value(v Value) {
	d.number(uint64(v.kind))
	switch v.kind {
	case String, Bytes:
		d.text(v.str)
	case Bool, Int:
		d.number(v.num)
	case Double:
		if math.IsNaN(math.Float64frombits(v.num)) {
			v.num = math.Float64bits(math.NaN()) // there are many, and JSON has one
		}
		d.number(v.num)
	case List:
		d.number(uint64(len(v.more.values)))
		for _, e := range v.more.values {
			d.value(e)
		}
	case Object:
		list := make([]Attribute, len(v.more.values))
		for i := range list {
			list[i] = Attribute{v.more.keys[i], v.more.values[i]}
		}
		d.attributes(list)
	}
}
