package otlp_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/otlp"
)

var noTime time.Time

func spanID(n int) (id otlp.SpanID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func traceID(n int) (id otlp.TraceID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func text(key, value string) otlp.Attribute {
	return otlp.Attribute{Key: key, Value: otlp.StringValue(value)}
}

// retriever is a span that contains a document.
func retriever(trace, id, parent int) *otlp.Span {
	return &otlp.Span{
		TraceID: traceID(trace), SpanID: spanID(id), Parent: spanID(parent), Name: fmt.Sprint("r", id), Start: uint64(id) * 1e9, End: uint64(id+1) * 1e9,
		Attributes: []otlp.Attribute{text("openinference.span.kind", "RETRIEVER"), text("retrieval.documents.0.document.id", fmt.Sprint("d", id))},
	}
}

// silent is a retriever that contains no documents.
func silent(trace, id, parent int) *otlp.Span {
	s := retriever(trace, id, parent)
	s.Attributes = s.Attributes[:1]
	return s
}

func other(trace, id, parent int, attributes ...otlp.Attribute) *otlp.Span {
	return &otlp.Span{TraceID: traceID(trace), SpanID: spanID(id), Parent: spanID(parent), Name: fmt.Sprint("o", id), Start: uint64(id) * 1e9, End: uint64(id+1) * 1e9, Attributes: attributes}
}

// drawSpans draws the spans of a few traces: trees, forests, circles, parents that are not there.
func drawSpans(t *rapid.T) []*otlp.Span {
	var spans []*otlp.Span
	for trace := 1; trace <= rapid.IntRange(1, 3).Draw(t, "traces"); trace++ {
		n := rapid.IntRange(1, 12).Draw(t, "spans")
		for id := 1; id <= n; id++ {
			parent := rapid.IntRange(0, n+1).Draw(t, "parent")
			var s *otlp.Span
			switch rapid.IntRange(0, 7).Draw(t, "kind") {
			case 0, 1:
				s = retriever(trace, id, parent)
			case 2:
				s = silent(trace, id, parent)
			case 3:
				s = other(trace, id, parent, text("openinference.span.kind", "AGENT"), text("session.id", fmt.Sprint("s", id)))
			case 4:
				s = other(trace, id, parent, text("openinference.span.kind", "LLM"), text("llm.output_messages.0.message.content", fmt.Sprint("words ", id)), text("llm.model_name", fmt.Sprint("m", id)))
			case 5:
				s = other(trace, id, parent, text("gen_ai.agent.name", fmt.Sprint("a", id)))
			case 6:
				s = other(trace, id, parent, text("traceloop.workflow.name", fmt.Sprint("w", id)), text("user.id", fmt.Sprint("u", id)))
			default:
				s = other(trace, id, parent)
			}
			s.Start = uint64(rapid.IntRange(1, 5).Draw(t, "start")) * 1e9
			if rapid.Bool().Draw(t, "service") {
				s.Resource = &otlp.Resource{Attributes: []otlp.Attribute{text("service.name", "service")}}
			}
			spans = append(spans, s)
		}
	}
	return spans
}

// Every order of the spans gives the same records and counts, also when spans come twice, and whether they are kept as JSON
// in between or not. The counts add up.
func TestEveryOrderGivesTheSame(t *testing.T) {
	m := mapping(t, `{}`)
	rapid.Check(t, func(rt *rapid.T) {
		reduced := reduce(m, drawSpans(rt))
		want, counts := joined(reduced)
		if counts.Read != uint64(len(reduced)) || counts.Read != counts.Records+counts.Wrapped+counts.Context+counts.Other+counts.Rejected {
			rt.Fatalf("%+v do not add up for %d spans", counts, len(reduced))
		}
		if counts.Rejected > 0 || counts.Records != uint64(len(want)) {
			rt.Fatalf("%+v, and %d records", counts, len(want))
		}
		shuffled := rapid.Permutation(reduced).Draw(rt, "order")
		for i, r := range shuffled {
			if rapid.Bool().Draw(rt, "kept") {
				kept, err := r.Encode()
				if err == nil {
					shuffled[i], err = otlp.DecodeReduced(kept)
				}
				if err != nil {
					rt.Fatal(err)
				}
			}
		}
		got, again := joined(shuffled)
		if canonical(t, got) != canonical(t, want) || again != counts {
			rt.Fatalf("got\n%s\nwant\n%s\n%+v, %+v", canonical(t, got), canonical(t, want), again, counts)
		}
		twice := rapid.Permutation(append(slices.Clone(reduced), reduced...)).Draw(rt, "twice")
		got, again = joined(twice)
		ids := map[string]bool{}
		for i := range got {
			ids[canonical(t, got[i:i+1])] = true
		}
		if len(ids) != len(want) || again.Records != 2*counts.Records || again.Wrapped != 2*counts.Wrapped || again.Context != 2*counts.Context {
			rt.Fatalf("twice: %d different records of %d, %+v", len(ids), len(want), again)
		}
	})
}

func TestASpanThatWasChangedIsRejected(t *testing.T) {
	m := mapping(t, `{}`)
	first, second := retriever(1, 1, 0), retriever(1, 1, 0)
	second.Attributes = append(second.Attributes, text("input.value", "something else"))
	records, counts := joined(reduce(m, []*otlp.Span{first, second, first, second}))
	if counts != (otlp.Counts{Read: 4, Records: 2, Rejected: 2}) {
		t.Errorf("%+v", counts)
	}
	for i := range records {
		if records[i].Digest != first.Digest() {
			t.Error("the second span has become the record")
		}
	}
}

// The agent, the session and the answer are looked for in the order that the documentation has.
func TestWhereTheAgentIsFrom(t *testing.T) {
	m := mapping(t, `{}`)
	service := func(s *otlp.Span, name string) *otlp.Span {
		s.Resource = &otlp.Resource{Attributes: []otlp.Attribute{text("service.name", name)}}
		return s
	}
	named := retriever(1, 3, 2)
	named.Attributes = append(named.Attributes, text("gen_ai.agent.name", "own"))
	agentSpan := text("openinference.span.kind", "AGENT")
	for _, c := range []struct {
		want, from string
		spans      []*otlp.Span
	}{
		{"own", "gen_ai.agent.name", []*otlp.Span{named, other(1, 2, 1, text("gen_ai.agent.name", "above"))}},
		{"above", "gen_ai.agent.name", []*otlp.Span{retriever(1, 3, 2), other(1, 2, 1), other(1, 1, 0, text("gen_ai.agent.name", "above"))}},
		{"o2", "name of an agent's span", []*otlp.Span{retriever(1, 3, 2), other(1, 2, 1, agentSpan), service(other(1, 1, 0, text("workflow.name", "w")), "svc")}},
		{"w", "workflow.name", []*otlp.Span{service(retriever(1, 3, 2), "svc"), other(1, 2, 0, text("workflow.name", "w"))}},
		{"svc", "service.name", []*otlp.Span{service(retriever(1, 3, 2), "svc"), other(1, 2, 0)}},
		{"o2", "name of the root", []*otlp.Span{service(retriever(1, 3, 2), "unknown_service:node"), other(1, 2, 0)}},
		{"<nil>", "<nil>", []*otlp.Span{retriever(1, 3, 2)}},
	} {
		records, _ := joined(reduce(m, c.spans))
		a := records[0].Audit.Attributes
		if fmt.Sprint(a["agent"]) != c.want || fmt.Sprint(a["agent_from"]) != c.from {
			t.Errorf("agent %v from %v, want %s from %s", a["agent"], a["agent_from"], c.want, c.from)
		}
		if got := records[0].Audit.AgentID; (got == nil) != (c.want == "<nil>") || got != nil && got.String() != hashed(c.want) {
			t.Errorf("agent id %v of %s", got, c.want)
		}
	}
}

// The answer of a retrieval is that of the nearest model that began after it.
func TestTheNearestModel(t *testing.T) {
	m := mapping(t, `{}`)
	model := func(id, parent int, words string) *otlp.Span {
		return other(1, id, parent, text("openinference.span.kind", "LLM"), text("output.value", words), text("llm.model_name", fmt.Sprint("m", id)))
	}
	spans := []*otlp.Span{
		other(1, 1, 0), other(1, 2, 1), other(1, 3, 1),
		model(4, 2, "rewritten query"), retriever(1, 5, 2), model(6, 3, "of another step"), model(7, 2, "the answer"), retriever(1, 8, 3),
	}
	records, _ := joined(reduce(m, spans))
	if got := records[0].Audit.Attributes; got["answer_hash"] != hashed("the answer") || got["model"] != "m7" {
		t.Errorf("the first retrieval has %v", got)
	}
	if got := records[1].Audit.Attributes["answer_hash"]; got != nil {
		t.Errorf("no model came after the second retrieval, and it has %v", got)
	}
}

// A trace settles some time after its root, after its last span or after its first, whichever is first.
func TestWhenATraceSettles(t *testing.T) {
	m := mapping(t, `{}`)
	begin := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	j := otlp.NewJoiner(otlp.JoinOptions{})
	settledAt := func(trace int, from, to int) int {
		for s := from; s <= to; s++ {
			for one, ok := j.NextDue(at(s)); ok; one, ok = j.NextDue(at(s)) {
				if one.Trace == traceID(trace) {
					return s
				}
			}
		}
		return -1
	}
	add := func(s *otlp.Span, seconds int) { j.Add(m.Reduce(s), uint64(seconds), at(seconds)) }
	add(retriever(1, 2, 1), 0)
	if _, held := j.Held(); !held {
		t.Error("nothing is held")
	}
	if got := settledAt(1, 0, 100); got != 20 {
		t.Errorf("without a root it settles after %d s, want 20", got)
	}
	add(retriever(2, 2, 1), 100)
	add(other(2, 1, 0), 110)
	add(other(2, 3, 1, text("session.id", "s")), 115) // it does not wait longer because of this one
	if mark, _ := j.Held(); mark != 100 {
		t.Errorf("the smallest mark is %d, want 100", mark)
	}
	if next, ok := j.Next(); !ok || !next.Equal(at(116)) {
		t.Errorf("the next settles at %v, want %v", next, at(116))
	}
	if got := settledAt(2, 110, 200); got != 116 {
		t.Errorf("with a root it settles at %d s, want 116", got)
	}
	for s := 200; s < 600; s += 10 {
		add(retriever(3, s, 1), s)
		if got := settledAt(3, s, s+9); got >= 0 {
			if got != 500 {
				t.Errorf("it settles at %d s, want 500: 5 min after its first span", got)
			}
			break
		}
	}
	add(other(2, 9, 1, text("session.id", "s")), 700)
	if j.Late() != 1 {
		t.Errorf("%d spans were late, want 1", j.Late())
	}
}

// A Joiner that is full lets the oldest trace settle early, and nothing is lost.
func TestAJoinerIsBounded(t *testing.T) {
	m := mapping(t, `{}`)
	for name, o := range map[string]otlp.JoinOptions{"spans": {MaxSpans: 100}, "bytes": {MaxBytes: 50_000}} {
		j := otlp.NewJoiner(o)
		records, early := 0, 0
		take := func(all []otlp.Settled) {
			for i := range all {
				for _, out := range all[i].Outcomes {
					records++
					said := out.Record.Audit.Attributes["joined"] == "early"
					if said != all[i].Early {
						t.Fatalf("early %v, and the record says %v", all[i].Early, said)
					}
					if said {
						early++
					}
				}
			}
		}
		const n = 5_000
		for trace := 1; trace <= n; trace++ {
			take(j.Add(m.Reduce(retriever(trace, 2, 1)), 0, noTime))
			if j.Spans() > 100 {
				t.Fatalf("%s: %d spans are held", name, j.Spans())
			}
		}
		take(j.Flush())
		if records != n || early < n-100 || uint64(early) != j.Early() || j.Spans() != 0 {
			t.Errorf("%s: %d records, %d early, %d told, %d held", name, records, early, j.Early(), j.Spans())
		}
	}
}

// In a file a trace settles when many spans have come after its last one, whether its root has come or not.
func TestATraceSettlesAfterManySpans(t *testing.T) {
	m := mapping(t, `{}`)
	j := otlp.NewJoiner(otlp.JoinOptions{AfterSpans: 10})
	j.Add(m.Reduce(retriever(1, 2, 1)), 0, noTime) // no root
	for i := range 20 {
		settled := j.Add(m.Reduce(other(100, i+1, 0)), 0, noTime)
		if want := i == 9; (len(settled) == 1) != want {
			t.Fatalf("after %d spans %d traces have settled", i+1, len(settled))
		}
	}
}

// Traces that are chains or stars of many spans take no more time than their size.
func TestLargeTraces(t *testing.T) {
	sequential.Test(t)
	m := mapping(t, `{}`)
	const n = 20_000
	for name, parent := range map[string]func(int) int{"chain": func(i int) int { return i - 1 }, "star": func(i int) int { return min(i-1, 1) }, "circle": func(i int) int { return i%n + 1 }} {
		var reduced []*otlp.Reduced
		for i := 1; i <= n; i++ {
			s := retriever(1, i, parent(i))
			if i%3 == 0 {
				s = silent(1, i, parent(i))
			}
			if i%3 == 1 {
				s = other(1, i, parent(i), text("openinference.span.kind", "LLM"), text("output.value", "words"))
			}
			reduced = append(reduced, m.Reduce(s))
		}
		if _, counts := joined(reduced); counts.Read != n || counts.Records == 0 {
			t.Errorf("%s: %+v", name, counts)
		}
	}
}

// The wrapper of a retrieval is none when it comes again, alone, after its trace has settled. With other content it is rejected, as any
// retrieval is. Another Joiner knows that too, if it was told.
func TestAWrapperThatComesAgain(t *testing.T) {
	m := mapping(t, `{}`)
	first := otlp.NewJoiner(otlp.JoinOptions{AfterSpans: 10})
	first.Add(m.Reduce(other(1, 1, 0)), 0, noTime)
	first.Add(m.Reduce(silent(1, 2, 1)), 0, noTime)
	first.Add(m.Reduce(retriever(1, 3, 2)), 0, noTime)
	first.Add(m.Reduce(silent(1, 2, 1)), 0, noTime) // a copy
	var settled []otlp.Settled
	for i := range 10 {
		settled = append(settled, first.Add(m.Reduce(other(2, i+1, 0)), 0, noTime)...)
	}
	if len(settled) != 1 {
		t.Fatalf("%d traces have settled", len(settled))
	}
	wrapped := settled[0].Wrapped
	if want := silent(1, 2, 1); len(wrapped) != 1 || wrapped[0] != (otlp.Wrapped{Span: want.SpanID, Digest: want.Digest()}) {
		t.Fatalf("%+v were wrapped", wrapped)
	}
	second := otlp.NewJoiner(otlp.JoinOptions{})
	second.Remember(traceID(1), wrapped)
	changed := silent(1, 2, 1)
	changed.Name = "another name"
	for i, j := range []*otlp.Joiner{first, second} {
		for _, one := range []struct {
			span *otlp.Span
			want otlp.Became
			err  error
		}{
			{silent(1, 2, 1), otlp.BecameWrapped, nil}, {silent(1, 2, 1), otlp.BecameWrapped, nil}, {changed, otlp.BecameRejected, otlp.ErrChanged},
			{silent(1, 4, 1), otlp.BecameRecord, nil}, {silent(3, 2, 1), otlp.BecameRecord, nil},
		} {
			j.Flush()
			j.Add(m.Reduce(one.span), 0, noTime)
			got := j.Flush()[0].Outcomes[0]
			if got.Became != one.want || got.Err != one.err {
				t.Errorf("joiner %d: span %v of trace %v became %s (%v), want %s", i, one.span.SpanID, one.span.TraceID, got.Became, got.Err, one.want)
			}
		}
	}
}

// Of very many wrappers the last ones are remembered.
func TestManyWrappers(t *testing.T) {
	m := mapping(t, `{}`)
	const n = 1<<16 + 10
	j := otlp.NewJoiner(otlp.JoinOptions{})
	j.Add(m.Reduce(retriever(1, 1, 0)), 0, noTime)
	for i := range n {
		j.Add(m.Reduce(silent(1, i+2, 1)), 0, noTime)
	}
	settled := j.Flush()
	if all := settled[0].Wrapped; len(all) != 1<<16 || all[0].Span != spanID(12) || all[len(all)-1].Span != spanID(n+1) {
		t.Errorf("%d are told", len(all))
	}
	for _, one := range []struct {
		id   int
		want otlp.Became
	}{{11, otlp.BecameRecord}, {12, otlp.BecameWrapped}, {n + 1, otlp.BecameWrapped}} {
		j.Add(m.Reduce(silent(1, one.id, 1)), 0, noTime)
		if got := j.Flush()[0].Outcomes[0].Became; got != one.want {
			t.Errorf("span %d became %s, want %s", one.id, got, one.want)
		}
	}
}
