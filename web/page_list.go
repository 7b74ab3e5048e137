package web

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// The number of records on a page of a list: without a limit in the address, and at most.
const (
	usualRows = 100
	mostRows  = 1000
)

// listPage shows the records that a filter selects.
func (s *Server) listPage(ctx context.Context, p *sheet) error {
	p.q.limitOr(usualRows)
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	if capped(&f) {
		p.page.Notes = append(p.page.Notes, fmt.Sprintf("A page shows at most %d records at a time. NDJSON and CSV, below, have all of them.", mostRows))
	}
	if after := p.q.own(afterName, ""); after != "" {
		place, err := audit.ParseCursor(after)
		if err != nil {
			return problem(kindParameter, "%s: want the place that a page before gave", afterName).at(afterName)
		}
		f.After = &place
	}
	order := "the oldest first"
	if f.Descending {
		order = "the newest first"
	}
	p.page.Title, p.page.Heading = "Records, "+order, line(pages.Words("Records, "+order))
	p.page.Kind = "Which records?"
	for _, chip := range p.chips() {
		p.page.Title += ", " + strings.TrimSpace(chip.Name+" "+pages.Cut(chip.Value, longest))
	}
	p.command([]string{"list"}, nil, without(p.values, afterName))
	p.page.SQL = phrase.Records(p.spoken(f))
	everything := without(p.absolute, afterName, "limit")
	page := with(everything, "limit", fmt.Sprint(f.Limit))
	if p.values.Has(afterName) {
		page.Set(afterName, p.values.Get(afterName))
	}
	p.forms("/v1/audits", page, "json")
	p.forms("/v1/audits", everything, "ndjson", "csv")

	table, last, more, damaged, err := p.records(ctx, f)
	if err != nil {
		return err
	}
	table.Caption = counted(len(table.Rows), "record", "records") + ", " + order
	if p.values.Has(afterName) {
		table.Caption += ", after an earlier page"
	}
	section := pages.Section{Form: p.filterForm("/go/list", "Filter", true), Table: table, Notes: damaged}
	if more {
		p.page.Next = pages.Step{Address: p.next(*last), Name: "Next page"}
		table.Caption += "; there are more"
		section.Links = append(section.Links, pages.Part{Text: "Next page", Link: p.page.Next.Address, Rel: "next", Style: pages.Button})
	}
	if p.values.Has(afterName) {
		p.page.Previous = pages.Step{Address: p.again(afterName, ""), Name: "First page"}
	}
	reverse := "true"
	about := "Show the newest first"
	if f.Descending {
		reverse, about = "", "Show the oldest first"
	}
	section.Links = append(section.Links, pages.To(p.again("desc", reverse, afterName, ""), about))
	section.Links = append(section.Links, pages.To(p.withValues("/timeline", without(p.values, "limit", "desc", afterName)), "The same records over time"))
	if !f.Unapproved {
		section.Links = append(section.Links, pages.To(p.again("unapproved", "true", afterName, ""), "Only those with evidence that nobody approved"))
	}
	p.page.Sections = []pages.Section{section}
	return nil
}

// capped sets the limit of a filter that wants more rows than a page shows, and reports whether it had to.
func capped(f *audit.Filter) bool {
	if f.Limit != 0 && f.Limit <= mostRows {
		return false
	}
	f.Limit = mostRows
	return true
}

// readable yields what can be read. It calls left, which may be nil, with each damaged record among that.
func readable[T any](rows iter.Seq2[T, error], left func(*audit.RecordError)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			if broken, ok := asError[*audit.RecordError](err); ok {
				if left != nil {
					left(broken)
				}
				continue
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// mostDamaged is how many damaged records a list names.
const mostDamaged = 100

// records reads records into a table. last is the place of the last one, and more says whether others follow.
func (p *sheet) records(ctx context.Context, f audit.Filter) (table *pages.Table, last *audit.Cursor, more bool, damaged [][]pages.Part, err error) {
	table = &pages.Table{Columns: recordColumns, Head: 1, Empty: "No record fits."}
	limit := f.Limit
	f.Limit = limit + 1
	n, left := 0, 0
	broken := func(e *audit.RecordError) {
		switch left++; {
		case left <= mostDamaged:
			damaged = append(damaged, p.damaged(e))
		case left == mostDamaged+1:
			damaged = append(damaged, line(pages.Words("More records are damaged and were left out. auditsql verify lists them.")))
		}
	}
	rows := pastDamage(f, func(f audit.Filter) iter.Seq2[audit.QueryAudit, error] { return p.s.store.Audits(ctx, f) })
	for q, err := range readable(rows, broken) {
		if err != nil {
			return nil, nil, false, nil, err
		}
		if n++; n > limit {
			more = true
			break
		}
		r := p.viewer.Record(&q)
		table.Rows = append(table.Rows, p.row(&r))
		place := audit.CursorOf(&q)
		last = &place
	}
	return table, last, more, damaged, nil
}

// damaged says that a record could not be read.
func (p *sheet) damaged(e *audit.RecordError) []pages.Part {
	return line(pages.Part{Text: "Record", Mark: true}, p.record(e.ID), pages.Words("is damaged and was left out."))
}

// with returns values with others set, and without a value with some taken away. They change no map that they are given.
func with(values url.Values, pairs ...string) url.Values {
	values = maps.Clone(values)
	if values == nil {
		values = url.Values{}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return values
}

func without(values url.Values, names ...string) url.Values {
	values = maps.Clone(values)
	for _, name := range names {
		delete(values, name)
	}
	return values
}

// filterForm asks for the values of a filter. It shows those that are set, each with a link that takes it away.
func (p *sheet) filterForm(action, submit string, closed bool, except ...string) *pages.Form {
	form := &pages.Form{Action: phrase.To(action, nil), Label: "Filter", Submit: submit, Chips: p.chips(except...)}
	if closed {
		form.Closed = "Filter by agent, time, subject, evidence, attribute…"
	}
	for _, parameter := range ask.Parameters() {
		name := parameterName(parameter.Name)
		if name == asOfName || name == "limit" || name == "desc" || slices.Contains(except, name) {
			continue
		}
		fields := p.fields(&parameter)
		if parameter.Negates == "" {
			form.Fields = append(form.Fields, fields...)
			continue
		}
		form.More.Fields = append(form.More.Fields, fields...)
		form.More.Open = form.More.Open || p.values.Has(name)
	}
	form.More.Label = "Leave out…"
	others := url.Values{}
	for _, name := range []string{"desc", "limit", "by", "rank", "subject", "predicate", "source", "flips", figuresName, depthName, anyOrderName} {
		if p.values.Has(name) && !slices.ContainsFunc(form.Fields, func(f pages.Field) bool { return f.Name == name }) {
			others.Set(name, p.values.Get(name))
		}
	}
	form.Hidden = hidden(p.kept(others))
	return form
}

// fields ask for the values of a parameter: one field more than there are values if it may be given several times, so that another
// one can be added.
func (p *sheet) fields(parameter *ask.Parameter) []pages.Field {
	name := parameterName(parameter.Name)
	field := pages.Field{Name: name, Label: labelOf(parameter), Value: p.values.Get(name), Hint: hints[cmp.Or(parameter.Negates, parameter.Name)]}
	switch {
	case parameter.Kind == ask.Switch:
		field.Kind = "checkbox"
		if p.values.Has(name) && field.Value == "" {
			field.Value = "true"
		}
	case parameter.Choices() != nil:
		field.Kind = "select"
		field.Choices = []pages.Choice{{Label: "any"}}
		if parameter.Negates != "" {
			field.Choices[0].Label = "–"
		}
		for _, c := range parameter.Choices() {
			field.Choices = append(field.Choices, pages.Choice{Value: c, Label: c})
		}
	}
	values := p.values[name]
	if !parameter.Many || len(values) == 0 {
		return []pages.Field{field}
	}
	fields := make([]pages.Field, len(values)+1)
	for i := range fields {
		fields[i] = field
		fields[i].Value, fields[i].ID = "", fmt.Sprint(name, "-", i)
		if i < len(values) {
			fields[i].Value = values[i]
		}
	}
	return fields
}

// labelOf is what the field of a parameter is called.
func labelOf(parameter *ask.Parameter) string {
	if parameter.Negates == "" {
		return cmp.Or(labels[parameter.Name], parameter.Name)
	}
	return cmp.Or(leftOut[parameter.Negates], "not "+cmp.Or(labels[parameter.Negates], parameter.Negates))
}

// labels are what the fields of a filter are called, where the name of the parameter says too little.
var labels = map[string]string{
	"anonymous": "of no agent", "around": "around (in place of from and to)", "window": "window around it", "lifecycle": "asked for",
	"result": "answer", "unapproved": "with evidence that nobody approved", "attr": "attribute", "min-confidence": "least confidence", "max-confidence": "greatest confidence",
	"assertion": "assertion in the evidence", "source": "source of the evidence",
}

// leftOut are what the fields are called that leave records out, where "not" before the name of the other field says it badly.
var leftOut = map[string]string{
	"anonymous": "records without an agent", "from": "records from", "to": "records up to", "around": "records around", "lifecycle": "records that asked for",
	"unapproved": "records with evidence that nobody approved", "attr": "records with the attribute", "min-confidence": "confidence from", "max-confidence": "confidence up to",
	"assertion": "records with the assertion", "source": "records with the source",
}

var hints = map[string]string{
	"agent": "label or digits", "from": "2026-11-23T10:00, 6h, yesterday", "to": "2026-11-23, now", "around": "2026-11-23T10:19", "window": "15m",
	"subject": "supplier/*", "attr": "trace_id=pay-20931", "result": "label or digits", "assertion": "label or digits", "source": "label or digits", "min-confidence": "0.5", "max-confidence": "0.5",
}

// chips are the values of the filter that are set.
func (p *sheet) chips(except ...string) []pages.Chip {
	var chips []pages.Chip
	for _, parameter := range ask.Parameters() {
		name := parameterName(parameter.Name)
		if name == asOfName || name == "limit" || name == "desc" || slices.Contains(except, name) {
			continue
		}
		for i, v := range p.values[name] {
			rest := maps.Clone(p.values)
			rest[name] = slices.Delete(slices.Clone(rest[name]), i, i+1)
			if len(rest[name]) == 0 {
				delete(rest, name)
			}
			if !rest.Has("around") && !rest.Has(ask.NegationOf("around")) {
				delete(rest, "window") // it goes with these
			}
			delete(rest, afterName)
			label := labelOf(&parameter)
			if name == "around" {
				label = parameter.Name
			} else if leftOut[parameter.Negates] != "" {
				label = "left out: " + label
			}
			shown := pages.Cut(v, longest)
			if shown == "" {
				shown = "(empty)"
			}
			if on, err := strconv.ParseBool(v); parameter.Kind == ask.Switch && (v == "" || err == nil && on) {
				shown = ""
			}
			chips = append(chips, pages.Chip{Name: label, Value: shown, Remove: p.withValues(p.path, rest)})
		}
	}
	return chips
}

// formPaths are the pages with a filter, besides those about a hash.
var formPaths = []string{"/list", "/timeline", "/agents", "/top", "/compare", "/answers"}

// typedForm is the filter of the page with what was typed, so that it can be corrected. It is nil for a page without one. wrong is the
// parameter that was refused.
func (p *sheet) typedForm(wrong string) *pages.Form {
	var except []string
	switch {
	case strings.HasPrefix(p.path, "/impact/"):
		if _, err := audit.ParseHash(strings.TrimPrefix(p.path, "/impact/")); err != nil {
			return nil
		}
		except = []string{"assertion", "source"}
	case !slices.Contains(formPaths, p.path):
		return nil
	case p.path == "/answers":
		except = []string{"subject", "predicate"}
	}
	form := p.filterForm("/go"+p.path, "Show", false, except...)
	// A parameter that no field of the filter has is a field here. Left out of the form, a wrong one counts no more.
	form.Hidden = slices.DeleteFunc(form.Hidden, func(f pages.Field) bool { return f.Name == wrong })
	for _, name := range []string{"new-since", withName, andName} {
		if p.values.Has(name) {
			form.Fields = append(form.Fields, pages.Field{Name: name, Label: name, Value: p.values.Get(name)})
		}
	}
	return form
}

// goTo leads from a form to the address with the values that were filled in. A form sends its empty fields too, and an empty text is a value
// like any other in an address.
func (s *Server) goTo(w http.ResponseWriter, r *http.Request, q *question) error {
	path := "/" + r.PathValue("page")
	if hash, ok := strings.CutPrefix(path, "/impact/"); ok {
		if _, err := audit.ParseHash(hash); err != nil {
			return problem(kindNoRoute, "there is no such form")
		}
	} else if !slices.Contains(formPaths, path) {
		return problem(kindNoRoute, "there is no such form")
	}
	values := url.Values{}
	for name, all := range q.values {
		for _, v := range all {
			if v != "" {
				values.Add(name, v)
			}
		}
	}
	http.Redirect(w, r, string(phrase.To(path, values)), http.StatusSeeOther)
	return nil
}
