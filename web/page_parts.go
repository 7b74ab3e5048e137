package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/web/internal/chart"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// briefHash is how many digits of a hash a page shows. The rest is in its title, and a button copies all of it.
const briefHash = 8

// longest is how many characters of a text a table shows.
const longest = 60

// longestLabel is how many characters of a label stand beside a hash. A page about the hash has all of it in its heading.
const longestLabel = 32

func line(parts ...pages.Part) []pages.Part { return parts }

func none() []pages.Part { return line(pages.Dimmed("–")) }

// cut shows the beginning of a text that is long, and all of it in the title.
func cut(s string) pages.Part { return linked(s, "") }

// linked is cut for a text that leads somewhere.
func linked(s string, to phrase.Address) pages.Part {
	if s == "" {
		return pages.Part{Text: "(empty)", Style: pages.Dim, Link: to}
	}
	return pages.Part{Text: pages.Cut(s, longest), Stored: true, Full: fullIfCut(s), Link: to}
}

func textOr(s *string) []pages.Part {
	if s == nil {
		return none()
	}
	return line(cut(*s))
}

// at shows a timestamp as a time, with the fraction of a second fainter.
func (p *sheet) at(timestamp uint64) pages.Part {
	full := p.clock.Format(timestamp)
	t, ok := p.clock.Unit.Time(timestamp)
	if t = t.In(p.clock.Zone); !ok || t.Year() > 9999 {
		return pages.Part{Text: full, Full: "a timestamp after the year 9999"}
	}
	fraction := ""
	if digits := p.clock.Unit.Digits(); digits > 0 {
		fraction = strings.TrimPrefix(t.Format("05."+strings.Repeat("0", digits)), t.Format("05"))
	}
	return pages.Part{Text: t.Format("2006-01-02 15:04:05"), Faint: fraction, Time: full}
}

// when is a time in a heading: a fraction of a second that is zero is left out.
func (p *sheet) when(timestamp uint64) pages.Part {
	part := p.at(timestamp)
	if strings.Trim(part.Faint, ".0") == "" {
		part.Faint = ""
	}
	return part
}

// hash shows a hash that leads somewhere: its label if it has one, and its first digits.
func hashPart(h audit.Hash, label *string, to phrase.Address) pages.Part {
	full := h.String()
	part := pages.Part{Short: full[:briefHash], Full: full, Copy: true, Link: to}
	if label != nil {
		part.Text, part.Stored = pages.Cut(*label, longestLabel), true
	}
	return part
}

// named is a hash in the heading of the page about it.
func named(h audit.Hash, label *string) pages.Part {
	part := hashPart(h, label, "")
	if label != nil {
		part.Text = *label
	}
	return part
}

func (p *sheet) record(id audit.QueryID) pages.Part {
	return hashPart(id, nil, p.to("/q/"+id.String()))
}

func (p *sheet) agent(id *audit.AgentID, label *string) pages.Part {
	if id == nil {
		return pages.Part{Text: "anonymous", Style: pages.Dim, Link: p.to("/list", "anonymous", "true", "desc", "true")}
	}
	return hashPart(*id, label, p.to("/agents/"+id.String()))
}

func (p *sheet) assertion(h audit.Hash, label *string) pages.Part {
	return hashPart(h, label, p.to("/impact/"+h.String()))
}

func (p *sheet) source(h audit.Hash, label *string) pages.Part {
	return hashPart(h, label, p.to("/impact/"+h.String(), "source", "true"))
}

// answer is the result of a record.
func (p *sheet) answer(h *audit.Hash, label *string) []pages.Part {
	if h == nil {
		return none()
	}
	return line(p.assertion(*h, label))
}

func (p *sheet) labelOf(h *audit.Hash) *string {
	if h == nil {
		return nil
	}
	if label := p.labels.Of(*h); label != "" {
		return &label
	}
	return nil
}

// lifecycleOr is a lifecycle. A sign marks evidence that nobody approved.
func lifecycle(l audit.Lifecycle) pages.Part {
	return pages.Part{Text: l.String(), Mark: l.Unapproved()}
}

// asked is the lifecycle that a question asked for.
func asked(l *audit.Lifecycle) []pages.Part {
	if l == nil {
		return line(pages.Dimmed("any"))
	}
	return line(pages.Words(l.String()))
}

func confidence(f float32) []pages.Part {
	return line(pages.Words(strconv.FormatFloat(float64(f), 'g', -1, 32)))
}

// legibleCut is a label in a picture, where there is no element that keeps it apart from the text beside it.
func legibleCut(s string) string { return pages.Cut(legible.Visible(s), 40) }

// approved says how much of the evidence is approved.
func approved(all, good, bad int) []pages.Part {
	if all == 0 {
		return none()
	}
	return line(pages.Part{Text: fmt.Sprintf("%d of %d", good, all), Mark: bad > 0})
}

// bar is a part with a bar after it.
func bar(text string, share float64, marked bool) []pages.Part {
	drawn, err := chart.Bar{Part: share, Marked: marked}.SVG()
	if err != nil {
		return line(pages.Words(text)) // no: a bar has nothing that could fail
	}
	return line(pages.Part{Text: text, Bar: drawn})
}

// question is a link to all answers to a question, with its subject and predicate.
func (p *sheet) question(subject, predicate *string) []pages.Part {
	switch {
	case subject == nil && predicate == nil:
		return none()
	case subject == nil || predicate == nil:
		return slices.Concat(textOr(subject), line(pages.Dimmed("/")), textOr(predicate))
	}
	return line(
		p.subject(*subject), pages.Dimmed("/"),
		linked(*predicate, p.to("/answers", "subject", *subject, "predicate", *predicate)))
}

// subject is a link to the records about a subject.
func (p *sheet) subject(s string) pages.Part {
	return linked(s, p.to("/list", "subject", globbed(s), "desc", "true"))
}

func fullIfCut(s string) string {
	if pages.Cut(s, longest) == s {
		return ""
	}
	return pages.Cut(s, 2000)
}

// globbed writes a subject as a pattern that fits it alone.
func globbed(s string) string {
	if !strings.ContainsAny(s, "*?[") {
		return s
	}
	return strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]").Replace(s)
}

// age says how long ago a time was.
func (p *sheet) age(t uint64) string {
	at, ok := p.clock.Unit.Time(t)
	if !ok {
		return "after the year 9999"
	}
	return humanize.RelTime(at, p.clock.Now, "old", "in the future")
}

// recordColumns are the columns of a list of records.
var recordColumns = []pages.Column{
	{Name: "time"}, {Name: "record"}, {Name: "agent"}, {Name: "subject / predicate"}, {Name: "asked for"}, {Name: "lens", Wide: true},
	{Name: "answer"}, {Name: "confidence", Right: true}, {Name: "approved"},
}

// row is a record in a list.
func (p *sheet) row(r *view.Record) pages.Row {
	return pages.Row{Marked: r.Unapproved() > 0, Cells: [][]pages.Part{
		line(p.at(r.Timestamp)),
		line(p.record(r.QueryID)), line(p.agent(r.AgentID, r.AgentLabel)), p.question(r.Params.Subject, r.Params.Predicate),
		asked(r.Params.Lifecycle), textOr(r.Params.Lens), p.answer(r.ResultHash, r.ResultLabel), confidence(r.ResultConfidence),
		approved(len(r.ContributingAssertions), r.Approved(), r.Unapproved()),
	}}
}

// attributes are the attributes of a record, each a link to the records that have the same.
func (p *sheet) attributes(q *audit.QueryAudit) []pages.Fact {
	var facts []pages.Fact
	for _, key := range slices.Sorted(maps.Keys(q.Attributes)) {
		text := attributeText(q.Attributes[key])
		name := pages.Cut(key, longest)
		if name == "" {
			name = "(empty)"
		}
		facts = append(facts, pages.Fact{Name: name, Value: line(linked(text, p.to("/list", "attr", pair(key, text), "desc", "true")))})
	}
	return facts
}

// attributeText is a value as package ask compares it: a text as it is, anything else as JSON.
func attributeText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// pair writes an attribute as a parameter: a key that could be read in another way is a JSON string.
func pair(key, value string) string {
	if key == "" || strings.ContainsAny(key, `="`) {
		key = string(tui.ToJSON(key))
	}
	return key + "=" + value
}
