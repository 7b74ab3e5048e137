package otlp

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/zeebo/blake3"
)

// Langfuse and LangSmith export what they have in forms of their own. Here these become spans with the attributes that their
// exporters for OpenTelemetry set, so that one table maps all of them.

// foreignSpan makes a span id of an id that another system gave. 16 hex digits are one. A UUID whose first half is zero has one in its
// second half: LangSmith writes them so. Any other id is hashed, since no half of it needs to be unique.
func foreignSpan(id string) (span SpanID, original string) {
	digits := strings.ReplaceAll(id, "-", "")
	switch {
	case id == "":
		return SpanID{}, ""
	case len(digits) == 32 && strings.HasPrefix(digits, "0000000000000000"):
		digits = digits[16:]
	case len(digits) != 16:
		digits = ""
	}
	if _, err := hex.Decode(span[:], []byte(digits)); err == nil && digits != "" {
		if digits != id {
			original = id
		}
		return span, original
	}
	sum := blake3.Sum256([]byte("span:" + id))
	copy(span[:], sum[:])
	return span, id
}

// foreignTrace makes a trace id of an id that another system gave. A UUID is one without its dashes.
func foreignTrace(id string) (trace TraceID) {
	digits := strings.ReplaceAll(id, "-", "")
	if id == "" {
		return TraceID{}
	}
	if len(digits) == 32 {
		if _, err := hex.Decode(trace[:], []byte(digits)); err == nil {
			return trace
		}
	}
	sum := blake3.Sum256([]byte("trace:" + id))
	copy(trace[:], sum[:])
	return trace
}

// objectsOf calls each for the objects in a JSON text: it is one, a list of them, or an object with a list under one of these names.
func objectsOf(text string, names []string, each func(Value) error) error {
	v, err := parseValue(text)
	if err != nil {
		return err
	}
	for _, name := range names {
		if inner := v.member(name); inner.kind == List {
			v = inner
			break
		}
	}
	if v.kind == Object {
		return each(v)
	}
	if v.kind != List {
		return ErrNoSpans
	}
	for _, e := range v.list() {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// An exported is a span that is being made of an object.
type exported struct {
	*Span
	from Value
}

func newExported(from Value, scope string) exported {
	return exported{&Span{Scope: &Scope{Name: scope}, Resource: new(Resource)}, from}
}

// set adds an attribute if it is there.
func (e exported) set(key string, v Value) {
	if v.kind != Empty && !(v.kind == String && v.str == "") {
		e.Attributes = append(e.Attributes, Attribute{key, v})
	}
}

// setAll adds an attribute for each member of an object.
func (e exported) setAll(prefix string, v Value) {
	v = parsed(v)
	if v.kind == Object {
		for i, key := range v.more.keys {
			e.set(prefix+key, v.more.values[i])
		}
	}
}

// text returns the first of these members that is a text.
func (e exported) text(names ...string) string {
	text, _ := e.from.firstMember(names...).scalar()
	return text
}

func (e exported) time(names ...string) uint64 {
	v := e.from.firstMember(names...)
	if v.kind == String {
		return nanoseconds(v.str)
	}
	return 0
}

// fail reports an error.
func (e exported) fail(v Value) {
	if text, _ := v.scalar(); text != "" {
		e.Status = 2
		e.StatusMessage = text
	}
}

// decodeLangSmith reads runs: one, or a list of them.
func decodeLangSmith(text string) ([]*Span, error) {
	var spans []*Span
	err := objectsOf(text, []string{"runs", "data"}, func(run Value) error {
		if run.member("run_type").kind == Empty && run.member("id").kind == Empty {
			return ErrNoSpans
		}
		e := newExported(run, "langsmith")
		e.TraceID = foreignTrace(e.text("trace_id", "id"))
		e.SpanID, e.Original = foreignSpan(e.text("id"))
		e.Parent, _ = foreignSpan(e.text("parent_run_id"))
		e.Name = e.text("name")
		e.Start, e.End = e.time("start_time"), e.time("end_time")
		e.set("langsmith.span.kind", run.member("run_type"))
		e.set("gen_ai.prompt", run.member("inputs"))
		e.set("gen_ai.completion", run.member("outputs"))
		e.setAll("langsmith.metadata.", parsed(run.member("extra")).member("metadata"))
		e.setAll("langsmith.metadata.", run.member("metadata"))
		e.fail(run.member("error"))
		e.checkIDs()
		spans = append(spans, e.Span)
		return nil
	})
	return spans, err
}

// decodeLangfuse reads observations and traces: one, or a list of them. A trace may have its observations in it.
func decodeLangfuse(text string) ([]*Span, error) {
	var spans []*Span
	err := objectsOf(text, []string{"data"}, func(v Value) error {
		inside := v.member("observations")
		switch {
		case v.kind != Object:
			return errors.New("it is no observation and no trace")
		case v.member("traceId").kind != Empty || v.member("trace_id").kind != Empty:
			spans = append(spans, observation(v, Value{}))
			return nil
		case v.member("id").kind == Empty:
			return ErrNoSpans
		}
		spans = append(spans, langfuseTrace(v))
		for _, o := range parsed(inside).list() {
			if o.kind == Object { // elsewhere it is a list of ids
				spans = append(spans, observation(o, v))
			}
		}
		return nil
	})
	return spans, err
}

// langfuseTrace makes a span of a trace: it has the session and the user.
func langfuseTrace(v Value) *Span {
	e := newExported(v, "langfuse")
	id := e.text("id")
	e.TraceID = foreignTrace(id)
	e.SpanID, _ = foreignSpan("trace:" + id)
	e.Original = id
	e.Name = e.text("name")
	e.Start = e.time("timestamp", "createdAt")
	e.set("session.id", v.firstMember("sessionId", "session_id"))
	e.set("user.id", v.firstMember("userId", "user_id"))
	e.checkIDs()
	return e.Span
}

// observation makes a span of an observation. What the trace around it has is put into the resource, which is not a part of the
// span's digest: the same observation may be exported without its trace.
func observation(v, trace Value) *Span {
	e := newExported(v, "langfuse")
	traceID := e.text("traceId", "trace_id")
	if traceID == "" {
		traceID, _ = trace.member("id").scalar()
	}
	e.TraceID = foreignTrace(traceID)
	e.SpanID, e.Original = foreignSpan(e.text("id"))
	e.Parent, _ = foreignSpan(e.text("parentObservationId", "parent_observation_id"))
	e.Name = e.text("name")
	e.Start, e.End = e.time("startTime", "start_time"), e.time("endTime", "end_time")
	e.set("langfuse.observation.type", v.member("type"))
	e.set("langfuse.observation.input", v.member("input"))
	e.set("langfuse.observation.output", v.member("output"))
	e.set("gen_ai.request.model", v.firstMember("model", "providedModelName"))
	e.set("session.id", v.firstMember("sessionId", "session_id"))
	e.set("user.id", v.firstMember("userId", "user_id"))
	e.setAll("", langfuseAttributes(v))
	e.set("metadata", v.member("metadata"))
	if strings.EqualFold(e.text("level"), "error") {
		e.Status = 2
		e.StatusMessage = e.text("statusMessage", "status_message")
	}
	for key, name := range map[string]string{"session.id": "sessionId", "user.id": "userId"} {
		if told := trace.member(name); told.kind == String && told.str != "" {
			e.Resource.Attributes = append(e.Resource.Attributes, Attribute{key, told})
		}
	}
	e.checkIDs()
	return e.Span
}

// langfuseAttributes are the attributes that a span of OpenTelemetry had when Langfuse received it.
func langfuseAttributes(v Value) Value {
	return parsed(parsed(v.member("metadata")).member("attributes"))
}
