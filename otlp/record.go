package otlp

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
)

// The attributes of a record that other packages look at.
const (
	DigestAttribute    = "span_digest"
	DocumentsAttribute = "documents"
)

// NotTold is the value of the attribute documents of a retrieval whose span contains no documents, and of the attribute time of one
// whose span has no start.
const NotTold = "not told"

const unreadable = "unreadable"

// maxDocuments is how many bytes the list of the documents' names may have.
const maxDocuments = 2 << 10

// A Record is a record that was made of a span, and the labels that go with it.
type Record struct {
	Audit  audit.QueryAudit
	Digest audit.Hash // of the span

	// Emitter is the instrumentation that wrote the span.
	Emitter string
	// NotTold says that the span contains no documents.
	NotTold bool
}

// Labels returns names for the hashes in the record: of the agent, of the sources, and of the documents that have an id. A person may
// have given other labels to these hashes. Those should stay.
func (r *Reduced) labels(agent *Named) []audit.Label {
	var labels []audit.Label
	add := func(h audit.Hash, text string) {
		if l := label(text, audit.MaxLabel); l != "" && !strings.EqualFold(text, h.String()) {
			labels = append(labels, audit.Label{Hash: h, Label: l})
		}
	}
	if agent != nil {
		add(agent.Hash, cmp.Or(agent.Label, agent.Name))
	}
	for i := range r.Retrieved.Documents {
		p := &r.Retrieved.Documents[i]
		add(p.Source, p.SourceName)
		if p.ID != "" && !strings.EqualFold(p.ID, p.Assertion.String()) {
			digits := "@" + p.Assertion.String()[:8]
			if id := label(p.ID, audit.MaxLabel-len(digits)); id != "" {
				add(p.Assertion, id+digits)
			}
		}
	}
	return labels
}

// label makes a label of a name, with at most so many characters; "" if it cannot be one. Of a long name the end is kept: there a path
// has the name of its file.
func label(text string, most int) string {
	text = strings.TrimSpace(legible.Text(text))
	if n := utf8.RuneCountInString(text); n > most {
		runes := []rune(text)
		text = "…" + strings.TrimSpace(string(runes[n-most+1:]))
	}
	if audit.CheckLabel(text) != nil {
		return ""
	}
	return text
}

// Alone makes the record that a retrieval would have without the other spans of its trace. The error says why it can have none: then it
// will have none with them either. It is nil, without an error, for a span that is no retrieval.
func (r *Reduced) Alone(unit audit.TimeUnit) (*audit.QueryAudit, error) {
	if r.Retrieved == nil {
		return nil, nil
	}
	record, _, err := r.record(unit, inherited{agent: r.Agent, session: r.Session, user: r.User}, false)
	if err != nil {
		return nil, err
	}
	return &record.Audit, nil
}

// record makes the record of a retrieval.
func (r *Reduced) record(unit audit.TimeUnit, from inherited, early bool) (Record, []audit.Label, error) {
	t := r.Retrieved
	a := map[string]any{}
	for key, v := range t.Attributes {
		a[key] = v
	}
	set := func(key, value string) {
		if value != "" {
			a[key] = value
		}
	}
	q := audit.QueryAudit{QueryID: QueryID(r.Trace, r.Span)}
	set("trace_id", r.Trace.String())
	set("span_id", r.Span.String())
	if r.Parent != (SpanID{}) {
		set("parent_span_id", r.Parent.String())
	}
	set("original_id", t.Original)
	agent := from.agent
	if agent != nil {
		id := agent.Hash
		q.AgentID = &id
		set("agent", agent.Name)
		set("agent_from", agent.From)
	}
	set("session", from.session)
	set("user", from.user)
	set("service", r.Service)
	set("emitter", r.Emitter)
	set("model", cmp.Or(r.Model, from.model))
	set("error", t.Error)
	set("scores", t.Scores)
	if from.answer != nil {
		set("answer_hash", from.answer.String())
	}
	set(DigestAttribute, t.Digest.String())
	if t.Dropped > 0 {
		a["dropped_attributes"] = float64(t.Dropped)
	}
	if t.Untold > 0 {
		a["documents_untold"] = float64(t.Untold)
	}
	if early {
		a["joined"] = "early"
	}

	switch at, ok := unit.Timestamp(time.Unix(int64(r.Start/1e9), int64(r.Start%1e9))); {
	case r.Start == 0:
		a["time"] = NotTold
	case !ok:
		return Record{}, nil, fmt.Errorf("its start, %d, does not fit into a record", r.Start)
	default:
		q.Timestamp = at
	}
	q.Params.Subject = t.Subject
	if t.SubjectHash != nil {
		a["subject_cut"] = true
		set("subject_hash", t.SubjectHash.String())
	}
	if t.Predicate != "" {
		q.Params.Predicate = &t.Predicate
	}
	q.Params.Lens, q.Params.Epoch, q.Params.Lifecycle = &t.Lens, t.Epoch, t.Lifecycle
	for _, p := range t.Documents {
		q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
			AssertionHash: p.Assertion, SourceHash: p.Source, Weight: p.Weight, Lifecycle: p.Lifecycle,
		})
	}
	if len(t.Documents) > 0 {
		first := t.Documents[0].Assertion
		q.ResultHash = &first
		if t.Score != nil && *t.Score >= 0 && *t.Score <= 1 {
			q.ResultConfidence = *t.Score
		}
	}
	if t.Result != nil {
		q.ResultHash = t.Result
	}
	if t.Confidence != nil {
		q.ResultConfidence = *t.Confidence
	}
	names, cut := t.names()
	a[DocumentsAttribute] = names
	if cut > 0 {
		a["documents_cut"] = float64(cut)
	}
	if t.NamesCut > 0 {
		a["names_cut"] = float64(t.NamesCut)
	}
	q.Attributes = a
	if _, err := q.Canonical(); err != nil {
		return Record{}, nil, err
	}
	return Record{Audit: q, Digest: t.Digest, Emitter: r.Emitter, NotTold: names == NotTold}, r.labels(agent), nil
}

// names is the attribute documents: what the hashes of the evidence stand for, in their order. It also returns how many documents
// have no room in it.
func (t *Retrieved) names() (list string, cut int) {
	switch {
	case t.Unreadable:
		return unreadable, 0
	case !t.Told, len(t.Documents) == 0 && t.Untold > 0:
		return NotTold, 0
	}
	var b strings.Builder
	b.WriteByte('[')
	for i := range t.Documents {
		p := &t.Documents[i]
		entry := struct {
			ID     *string `json:"id"`
			Source string  `json:"source"`
		}{Source: p.SourceName}
		if p.ID != "" {
			entry.ID = &p.ID
		}
		var text strings.Builder
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		_ = e.Encode(entry) // texts and nothing else: it does not fail
		line := strings.TrimSuffix(text.String(), "\n")
		if b.Len()+len(line)+2 > maxDocuments {
			cut = len(t.Documents) - i
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(line)
	}
	b.WriteByte(']')
	return b.String(), cut
}
