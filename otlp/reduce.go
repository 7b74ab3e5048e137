package otlp

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// A Reduced is what mapping and joining need of a span. It has no text of a document or of an answer. It has the question only if
// the map keeps it. Encoded as JSON (encoding/json) its first byte is {, and what is decoded again gives the same records.
type Reduced struct {
	Trace  TraceID `json:"trace"`
	Span   SpanID  `json:"span"`
	Parent SpanID  `json:"parent,omitzero"`
	Name   string  `json:"name,omitempty"`
	Class  Class   `json:"class"`
	Rule   string  `json:"rule"`
	Start  uint64  `json:"start,omitempty"` // nanoseconds since 1970
	End    uint64  `json:"end,omitempty"`

	Agent     *Named      `json:"agent,omitempty"`
	AgentSpan bool        `json:"agent_span,omitempty"` // the span is of an agent, and so its name may be the agent's
	Workflow  *Named      `json:"workflow,omitempty"`
	Service   string      `json:"service,omitempty"`
	Session   string      `json:"session,omitempty"`
	User      string      `json:"user,omitempty"`
	Emitter   string      `json:"emitter,omitempty"`
	Model     string      `json:"model,omitempty"`
	Answer    *audit.Hash `json:"answer,omitempty"` // of the words that a model gave

	Retrieved *Retrieved `json:"retrieved,omitempty"`
}

// A Named is a name and from where it is.
type Named struct {
	Name  string     `json:"name"`
	Hash  audit.Hash `json:"hash"` // of the whole name, which Name may be cut of
	Label string     `json:"label,omitempty"`
	From  string     `json:"from"`
}

// A Retrieved is what a span of a retrieval contains.
type Retrieved struct {
	Digest      audit.Hash       `json:"digest"`
	Lens        string           `json:"lens"`
	Predicate   string           `json:"predicate,omitempty"`
	Subject     *string          `json:"subject,omitempty"`
	SubjectHash *audit.Hash      `json:"subject_hash,omitempty"` // of the whole question, if it was cut
	Told        bool             `json:"told,omitempty"`         // documents were told, perhaps none
	Unreadable  bool             `json:"unreadable,omitempty"`
	Documents   []Piece          `json:"documents,omitempty"`
	NamesCut    int              `json:"names_cut,omitempty"` // of documents and of the predicate: only their beginning is kept
	Untold      int              `json:"untold,omitempty"`    // documents of which neither content nor id was told
	Scores      string           `json:"scores,omitempty"`
	Score       *float32         `json:"score,omitempty"` // of the first document
	Error       string           `json:"error,omitempty"`
	Dropped     uint32           `json:"dropped,omitempty"`
	Original    string           `json:"original,omitempty"`
	Epoch       *audit.Hash      `json:"epoch,omitempty"`
	Lifecycle   *audit.Lifecycle `json:"lifecycle,omitempty"` // that was asked for
	Result      *audit.Hash      `json:"result,omitempty"`
	Confidence  *float32         `json:"confidence,omitempty"`
	Attributes  map[string]any   `json:"attributes,omitempty"` // that the map keeps: texts, numbers, booleans
}

// A Piece is a document as evidence.
type Piece struct {
	Assertion  audit.Hash      `json:"assertion"`
	Source     audit.Hash      `json:"source"`
	Weight     float32         `json:"weight"`
	Lifecycle  audit.Lifecycle `json:"lifecycle"`
	ID         string          `json:"id,omitempty"`
	SourceName string          `json:"source_name,omitempty"`
}

// The values of the attribute scores. Without it every document has a score.
const (
	scoresNone     = "none"
	scoresSome     = "some"
	scoresDistance = "distance, negated"
)

const (
	maxSubject = 1024 // bytes of a question
	maxName    = 256  // bytes of any other text that is kept
)

// Reduce classifies a span and keeps what is needed of it. It returns nil for a span that is Unusable. What it returns does not share
// memory with s.
func (m *Mapping) Reduce(s *Span) *Reduced {
	if s.Unusable != nil {
		return nil
	}
	v := m.view(s)
	by := m.classify(v)
	r := &Reduced{
		Trace: s.TraceID, Span: s.SpanID, Parent: s.Parent, Name: name(s.Name), Class: by.class, Rule: by.name,
		Start: s.Start, End: s.End,
	}
	if by.class == Other {
		return r // it is a link between a parent and its children, and nothing else
	}
	r.Agent = s.named(m.m.Agent)
	r.AgentSpan = isAgent(v)
	r.Workflow = s.named(workflowFrom)
	r.Session, r.User = name(s.session()), name(s.user())
	service, _ := s.resource("service.name").scalar()
	r.Service = name(service)
	_, model := s.first(modelFrom)
	r.Model = name(model)
	if s.Scope != nil {
		r.Emitter = name(strings.TrimSpace(s.Scope.Name + " " + s.Scope.Version))
	}
	switch {
	case by.class == Retrieval:
		r.Retrieved = m.retrieved(v, by.lens)
	case isModel(v):
		if words := answerOf(s); words != "" {
			h := hashOf(words)
			r.Answer = &h
		}
	}
	return r
}

// name makes a text fit to be kept in a record: without NUL, and not longer than maxName. It is a copy.
func name(text string) string { return strings.Clone(cutAt(clean(text), maxName)) }

// clean replaces what a record cannot have.
func clean(text string) string {
	return strings.ReplaceAll(valid(text), "\x00", "\ufffd")
}

// noteCut counts a name of which only the beginning is kept.
func (r *Retrieved) noteCut(whole string) {
	if len(whole) > maxName/3 && len(clean(whole)) > maxName { // clean makes three bytes of one at most
		r.NamesCut++
	}
}

// named returns the first name that one of these places has.
func (s *Span) named(from []string) *Named {
	key, text := s.first(from)
	if text == "" {
		return nil
	}
	n := &Named{Name: name(text), Hash: namedHash(text), From: key}
	if key == "gen_ai.agent.id" {
		_, label := s.first([]string{"gen_ai.agent.name"})
		n.Label = name(label)
	}
	return n
}

func (m *Mapping) retrieved(s *view, lens string) *Retrieved {
	r := &Retrieved{Digest: s.Digest(), Lens: lens, Dropped: s.Dropped, Original: name(s.Original)}
	if own, ok := s.of("auditsql.lens").scalar(); ok && own != "" {
		r.Lens = name(own)
	}
	tool := (*Tool)(nil)
	if lens == lensTool {
		tool = m.toolOf(s)
	}
	predicate := m.predicate(s.Span)
	r.Predicate = name(predicate)
	r.noteCut(predicate)
	m.keepQuestion(r, s.question(tool))
	m.pieces(r, m.documentsOf(s.Span, tool))
	r.Error = s.failure()
	if h, err := audit.ParseHash(told(s.of("auditsql.epoch"))); err == nil {
		r.Epoch = &h
	}
	if l, err := audit.ParseLifecycle(told(s.of("auditsql.lifecycle"))); err == nil {
		r.Lifecycle = &l
	}
	if text := told(s.of("auditsql.result_hash")); text != "" {
		h := namedHash(text)
		r.Result = &h
	}
	if f, ok := s.of("auditsql.confidence").number(); ok && !math.IsNaN(f) && math.Abs(f) <= math.MaxFloat32 {
		c := float32(f)
		r.Confidence = &c
	}
	for _, key := range m.m.Attributes {
		v := s.of(key)
		if v.kind == Empty {
			v = s.resource(key)
		}
		if kept := kept(v); kept != nil {
			if r.Attributes == nil {
				r.Attributes = map[string]any{}
			}
			r.Attributes[key] = kept
		}
	}
	return r
}

// kept is the value of an attribute as a record has it, nil if a record cannot have it.
func kept(v Value) any {
	switch v.kind {
	case String:
		return strings.Clone(cutAt(clean(v.str), maxSubject))
	case Bool:
		return v.num == 1
	case Int:
		if n := int64(v.num); -1<<53 <= n && n <= 1<<53 {
			return float64(n)
		}
		return strconv.FormatInt(int64(v.num), 10)
	case Double:
		if f := math.Float64frombits(v.num); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f + 0
		}
	}
	return nil
}

func (m *Mapping) predicate(s *Span) string {
	if own := told(s.of("auditsql.predicate")); own != "" {
		return own
	}
	if _, text := s.first(m.m.Predicate); text != "" {
		return text
	}
	for _, prefix := range []string{"retrieval ", "vector_db_retrieve "} {
		if rest, ok := strings.CutPrefix(s.Name, prefix); ok && rest != "" {
			return rest
		}
	}
	return s.Name
}

// question returns the text of the question, "" if there is none.
func (s *Span) question(tool *Tool) string {
	if tool != nil {
		if tool.Query != "" {
			v, _ := s.at(tool.Query, toolInputFrom)
			return questionIn(v, 0)
		}
		for _, key := range toolInputFrom {
			if q := questionIn(s.of(key), 0); q != "" {
				return q
			}
		}
	}
	for _, key := range questionFrom {
		if q := questionIn(s.of(key), 0); q != "" {
			return q
		}
	}
	// Monocle has it in an event.
	for i := range s.Events {
		if s.Events[i].Name == "data.input" {
			return questionIn(attribute(s.Events[i].Attributes, "input"), 0)
		}
	}
	return ""
}

// questionIn finds the question in a value, which may be JSON.
func questionIn(v Value, depth int) string {
	if depth > 4 {
		return ""
	}
	switch v = parsed(v); v.kind {
	case Object:
		for _, name := range questionMembers {
			if q := questionIn(v.member(name), depth+1); q != "" {
				return q
			}
		}
	case List:
		for _, e := range v.list() {
			if q := questionIn(e, depth+1); q != "" {
				return q
			}
		}
	case String:
		// A text that is JSON of a text.
		if len(v.str) > 1 && v.str[0] == '"' && v.str[len(v.str)-1] == '"' {
			if inner, err := parseAttribute(v.str); err == nil && inner.kind == String {
				return told(inner)
			}
		}
		return told(v)
	}
	return ""
}

// keepQuestion keeps of the question what the map says.
func (m *Mapping) keepQuestion(r *Retrieved, question string) {
	if question == "" || m.m.Subject == NoText {
		return
	}
	whole := hashOf(question)
	if m.m.Subject == HashText {
		text := "b3:" + whole.String()
		r.Subject = &text
		return
	}
	cleaned := clean(question) // which may be longer
	text := strings.Clone(cutAt(cleaned, maxSubject))
	r.Subject = &text
	if len(text) < len(cleaned) {
		r.SubjectHash = &whole
	}
}

// failure names the error of a span. What the error says is not kept: it may have a part of a text in it.
func (s *Span) failure() string {
	if text := told(s.of("error.type")); text != "" {
		return name(text)
	}
	for i := range s.Events {
		if s.Events[i].Name == "exception" {
			if text := told(attribute(s.Events[i].Attributes, "exception.type")); text != "" {
				return name(text)
			}
		}
	}
	if s.Status == 2 {
		return "error"
	}
	return ""
}

// pieces makes evidence of documents.
func (m *Mapping) pieces(r *Retrieved, f form) {
	r.Told, r.Unreadable = f.told, f.unreadable && !f.told
	scored, distances := 0, 0
	for i := range f.documents {
		d := &f.documents[i]
		p := Piece{ID: name(d.id), Lifecycle: m.lifecycleOf(d)}
		switch {
		case d.content == "" && d.id == "":
			r.Untold++
			continue
		case d.content == "", d.id != "" && m.m.Assertion == ByID:
			p.Assertion = namedHash(d.id)
		default:
			p.Assertion = namedHash(d.content)
		}
		source := cmp.Or(d.source, d.id, r.Predicate)
		p.Source, p.SourceName = namedHash(source), name(source)
		r.noteCut(d.id)
		r.noteCut(d.source)
		if d.scored {
			p.Weight = float32(d.score)
			if p.Weight == 0 {
				p.Weight = 0 // -0 and 0 are one number in a record
			}
			if len(r.Documents) == 0 {
				first := p.Weight
				r.Score = &first
			}
			scored++
			if d.distance {
				distances++
			}
		}
		r.Documents = append(r.Documents, p)
	}
	switch {
	case len(r.Documents) == 0:
	case scored == 0:
		r.Scores = scoresNone
	case distances > 0:
		r.Scores = scoresDistance
	case scored < len(r.Documents):
		r.Scores = scoresSome
	}
}

func (m *Mapping) lifecycleOf(d *document) audit.Lifecycle {
	if d.lifecycle == "" {
		return m.m.Lifecycle.Default
	}
	if l, ok := m.lifecycle[strings.ToLower(d.lifecycle)]; ok {
		return l
	}
	if l, err := audit.ParseLifecycle(d.lifecycle); err == nil {
		return l
	}
	return m.m.Lifecycle.Default
}

// answerOf returns the words that a model gave, "" if there are none, as when it called a tool.
func answerOf(s *Span) string {
	for _, prefix := range indexedAnswers {
		if words := indexedAnswer(s.Attributes, prefix); words != "" {
			return words
		}
	}
	for _, key := range answerFrom {
		if words := wordsIn(s.of(key), 0); words != "" {
			return words
		}
	}
	for i := range s.Events {
		for _, key := range []string{"gen_ai.event.content", "message", "gen_ai.completion", "content", "response"} {
			if s.Events[i].Name == "gen_ai.choice" || s.Events[i].Name == "gen_ai.content.completion" || s.Events[i].Name == "data.output" {
				if words := wordsIn(attribute(s.Events[i].Attributes, key), 0); words != "" {
					return words
				}
			}
		}
	}
	return ""
}

// indexedAnswer reads attributes such as llm.output_messages.0.message.content, the first in the order of the numbers.
func indexedAnswer(attributes []Attribute, prefix string) string {
	type part struct {
		n    int
		text string
	}
	var parts []part
	for i := range attributes {
		n, field, ok := numbered(attributes[i].Key, prefix)
		if !ok || field != "message.content" && field != "content" {
			continue
		}
		if words := wordsIn(attributes[i].Value, 0); words != "" {
			parts = append(parts, part{n, words})
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return slices.MinFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.n, b.n), cmp.Compare(a.text, b.text)) }).text
}

// wordsIn finds the words in a value, which may be JSON. Of a list of parts all count, without anything between them.
func wordsIn(v Value, depth int) string {
	if depth > 8 {
		return ""
	}
	switch v = parsed(v); v.kind {
	case String:
		return told(v)
	case List:
		var all strings.Builder
		for _, e := range v.list() {
			all.WriteString(wordsIn(e, depth+1))
		}
		return all.String()
	case Object:
		if kind := told(v.member("type")); strings.HasPrefix(kind, "tool") || strings.HasPrefix(kind, "reasoning") || strings.HasPrefix(kind, "thinking") {
			return ""
		}
		for _, name := range answerMembers {
			if words := wordsIn(v.member(name), depth+1); words != "" {
				return words
			}
		}
	}
	return ""
}

// Encode writes r as JSON. Its first byte is {.
func (r *Reduced) Encode() ([]byte, error) { return json.Marshal(r) }

// DecodeReduced reads what Encode has written.
func DecodeReduced(text []byte) (*Reduced, error) {
	r := new(Reduced)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, err
	}
	return r, nil
}
