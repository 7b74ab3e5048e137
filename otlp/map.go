package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// A Map is what a user may say about the mapping. In a file it is one JSON object, in which unknown members are refused, and what is
// left out is as in DefaultMap.
type Map struct {
	// Agent are the attributes that may name the agent, of a span or of its resource, the first that is there. After these come the
	// nearest ancestor's, the name of an ancestor that is an agent, the workflow, service.name and the name of the root.
	Agent Places `json:"agent"`
	// Source are the members of a document's metadata that may say where it is from.
	Source Places `json:"source"`
	// Predicate are the attributes that may say what was asked. After these comes the name of the span.
	Predicate Places `json:"predicate"`
	// Assertion says what identifies a document: ByContent or ByID. The other one is taken where that is missing.
	Assertion string `json:"assertion"`
	// Subject says what is kept of the question: KeepText, HashText or NoText.
	Subject   string       `json:"subject"`
	Lifecycle LifecycleMap `json:"lifecycle"`
	// Tools are the tools that retrieve.
	Tools []Tool `json:"tools"`
	// Attributes are further attributes to keep, of a span or of its resource.
	Attributes Places `json:"attributes"`
	// Drop are the names of spans that are neither records nor context.
	Drop Places `json:"drop"`
}

// The values of Map.Assertion.
const (
	ByContent = "content"
	ByID      = "id"
)

// The values of Map.Subject.
const (
	KeepText = "keep"
	HashText = "hash"
	NoText   = "none"
)

// A LifecycleMap says which lifecycle a document has.
type LifecycleMap struct {
	// Default is the lifecycle of a document that states none, or one that is not known.
	Default audit.Lifecycle `json:"default"`
	// From are the members of a document's metadata that may have it.
	From Places `json:"from"`
	// Values are words of the emitter and the lifecycles that they stand for. Their case does not matter.
	Values map[string]audit.Lifecycle `json:"values"`
}

// A Tool says that spans of a tool retrieve, and where in their arguments and results the parts are. A place is a path of members,
// such as results or data.items, and may begin with the key of an attribute. What is empty is found as in other spans.
type Tool struct {
	Name      string `json:"name"`
	Query     string `json:"query,omitempty"`
	Documents string `json:"documents,omitempty"`
	ID        string `json:"id,omitempty"`
	Content   string `json:"content,omitempty"`
	Score     string `json:"score,omitempty"`
}

// Places are names. In JSON a single one may be written without the list.
type Places []string

// UnmarshalJSON implements json.Unmarshaler.
func (p *Places) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil && len(text) > 0 && text[0] == '"' {
		*p = Places{one}
		return nil
	}
	var list []string
	if err := json.Unmarshal(text, &list); err != nil {
		return errors.New("want a text or a list of texts")
	}
	*p = list
	return nil
}

// MarshalJSON implements json.Marshaler.
func (p Places) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]string(p))
}

// DefaultMap is the map that is in force when nothing is said.
func DefaultMap() Map {
	return Map{
		Agent:     slices.Clone(agentFrom),
		Source:    slices.Clone(sourceFrom),
		Predicate: slices.Clone(predicateFrom),
		Assertion: ByContent,
		Subject:   KeepText,
		Lifecycle: LifecycleMap{Default: audit.Unstated, From: Places{"lifecycle"}, Values: map[string]audit.Lifecycle{}},
		Tools:     []Tool{},
	}
}

// ParseMap reads a map. What it does not say is as in DefaultMap. Unknown members are refused.
func ParseMap(text []byte) (Map, error) {
	m := DefaultMap()
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Map{}, fmt.Errorf("the map: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Map{}, errors.New("the map: something follows its object")
	}
	if _, err := NewMapping(m); err != nil {
		return Map{}, err
	}
	return m, nil
}

// A Mapping is a map that was checked. It may be used from several goroutines.
type Mapping struct {
	m         Map
	drop      map[string]bool
	tools     map[string]*Tool
	lifecycle map[string]audit.Lifecycle // by lower-case words
}

// ownAttributes are the attributes that a record of a span may have. A map cannot add one of these names.
var ownAttributes = []string{
	"trace_id", "span_id", "parent_span_id", "original_id", "agent", "agent_from", "session", "user", "service", "emitter", "model", "error",
	"scores", "documents", "documents_cut", "names_cut", "documents_untold", "answer_hash", "span_digest", "dropped_attributes",
	"subject_cut", "subject_hash", "time", "joined",
}

// NewMapping checks a map.
func NewMapping(m Map) (*Mapping, error) {
	c := &Mapping{m: m, drop: map[string]bool{}, tools: map[string]*Tool{}, lifecycle: map[string]audit.Lifecycle{}}
	if m.Assertion != ByContent && m.Assertion != ByID {
		return nil, fmt.Errorf("the map: assertion: want %q or %q, and got %q", ByContent, ByID, m.Assertion)
	}
	if m.Subject != KeepText && m.Subject != HashText && m.Subject != NoText {
		return nil, fmt.Errorf("the map: subject: want %q, %q or %q, and got %q", KeepText, HashText, NoText, m.Subject)
	}
	if !m.Lifecycle.Default.Valid() {
		return nil, errors.New("the map: lifecycle: the default is no lifecycle")
	}
	for word, l := range m.Lifecycle.Values {
		if !l.Valid() {
			return nil, fmt.Errorf("the map: lifecycle: %q stands for no lifecycle", word)
		}
		c.lifecycle[strings.ToLower(word)] = l
	}
	for i := range m.Tools {
		name := m.Tools[i].Name
		if name == "" {
			return nil, fmt.Errorf("the map: tools[%d]: it has no name", i)
		}
		if c.tools[name] != nil {
			return nil, fmt.Errorf("the map: tools: %q is there twice", name)
		}
		c.tools[name] = &m.Tools[i]
	}
	seen := map[string]bool{}
	for _, key := range m.Attributes {
		if slices.Contains(ownAttributes, key) || key == "" || seen[key] {
			return nil, fmt.Errorf("the map: attributes: %q is a name that a record has already, or no name", key)
		}
		seen[key] = true
	}
	if most := audit.MaxAttributes - len(ownAttributes); len(m.Attributes) > most {
		return nil, fmt.Errorf("the map: attributes: %d are too many, and %d fit into a record", len(m.Attributes), most)
	}
	for _, name := range m.Drop {
		c.drop[name] = true
	}
	return c, nil
}

// Map returns the map.
func (m *Mapping) Map() Map { return m.m }
