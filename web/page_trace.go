package web

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// idOf reads an id in the path. One that is only the beginning of an id leads to the page of the whole one.
func (p *sheet) idOf(ctx context.Context, name string) (audit.QueryID, error) {
	typed := p.r.PathValue(name)
	id, err := ask.ID(ctx, p.s.store, typed, p.q.asOf)
	if err != nil {
		if errors.Is(err, audit.ErrInvalid) {
			err = problem(kindNotFound, "%v", err)
		}
		return id, err
	}
	return id, nil
}

// tracePage says why an agent was answered as it was.
func (s *Server) tracePage(ctx context.Context, p *sheet) error {
	id, err := p.idOf(ctx, "id")
	if err != nil {
		return err
	}
	if p.r.PathValue("id") != id.String() {
		p.redirect = p.withValues("/q/"+id.String(), p.values)
		return nil
	}
	up, err := p.q.isSet(upName)
	if err != nil {
		return err
	}
	o := audit.TraceOptions{AsOf: &p.asOf}
	if low := p.q.own("low-confidence", ""); low != "" {
		n, err := ask.Number(low)
		if err != nil {
			return problem(kindParameter, "low-confidence: %v", err).at("low-confidence")
		}
		o.LowConfidence = &n
	}
	t, err := p.viewer.Trace(ctx, id, o)
	if errors.Is(err, audit.ErrNotFound) && !p.frozen {
		t, err = p.traceNew(ctx, id, o)
	}
	if err != nil {
		return err
	}
	q := &t.Audit
	brief := id.String()[:briefHash]
	p.page.Kind = "Why did it think that?"
	p.page.Title = "Record " + brief + " of " + agentName(q) + " at " + p.when(q.Timestamp).Text + ", " + asking(q)
	p.page.Heading = append(line(pages.Part{Text: "Record", Short: brief, Full: id.String(), Copy: true}, pages.Words("of"), p.agent(q.AgentID, q.AgentLabel), pages.Words("at")), p.when(q.Timestamp))
	if words := []string{"trace"}; up {
		p.command(append(words, "--"+upName), []string{brief}, nil)
	} else {
		p.command(words, []string{brief}, p.values, "low-confidence")
	}
	p.page.SQL = phrase.Evidence(id)
	if up {
		var asOf *uint64
		if p.frozen {
			asOf = &p.asOf
		}
		p.page.SQL = phrase.Origins(id, asOf)
	}
	if path := "/v1/audits/" + id.String() + "/trace"; up {
		p.forms(path, without(p.values, "low-confidence"), "json", "ndjson", "csv", string(show.Dot))
	} else {
		p.forms(path, p.values, "json", "ndjson", "csv")
	}
	if n := len(t.Before); n > 0 {
		p.page.Previous = pages.Step{Address: p.to("/q/" + t.Before[n-1].QueryID.String()), Name: "Before"}
	}
	if len(t.After) > 0 {
		p.page.Next = pages.Step{Address: p.to("/q/" + t.After[0].QueryID.String()), Name: "After"}
	}
	p.page.Sections = []pages.Section{p.traced(t), p.evidence(t)}
	if earlier, any := p.earlier(t); any {
		p.page.Sections = append(p.page.Sections, earlier)
	}
	if up {
		p.page.Sections = append(p.page.Sections, p.together(ctx, func(ctx context.Context) (pages.Section, error) { return p.origins(ctx, t) })...)
	}
	if others, any := p.others(t); any {
		p.page.Sections = append(p.page.Sections, others)
	}
	p.page.Sections = append(p.page.Sections, p.around(t))
	if facts := p.attributes(&q.QueryAudit); facts != nil {
		p.page.Sections = append(p.page.Sections, pages.Section{ID: "attributes", Heading: "Attributes", Facts: facts,
			Notes: [][]pages.Part{line(pages.Words("Each leads to the records that have the same."))}})
	}
	p.page.Sections = append(p.page.Sections, pages.Section{ID: "next", Heading: "Look further", Links: p.further(t)})
	return nil
}

// traceNew traces a record that SQLite did not have when the page was asked for. It may have been acknowledged a moment ago.
func (p *sheet) traceNew(ctx context.Context, id audit.QueryID, o audit.TraceOptions) (*view.Trace, error) {
	if _, err := p.s.store.GetRaw(ctx, id); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, p.s.limits.Part)
	defer cancel()
	if err := p.s.store.AwaitApplied(waiting); err == nil {
		p.asOf = p.s.store.Moment()
		return p.viewer.Trace(ctx, id, o)
	}
	// SQLite lacks many records. What the record says is shown, and where else its evidence was used as far as SQLite knows it.
	p.page.Notes = append(p.page.Notes, "SQLite does not have this record yet, so what other records say may be missing, and the link to copy does not find it.")
	o.AsOf = nil
	return p.viewer.Trace(ctx, id, o)
}

// agentName is the agent of a record, for a title.
func agentName(r *view.Record) string {
	if r.AgentID == nil {
		return "nobody"
	}
	return pages.Cut(shortName(*r.AgentID, r.AgentLabel), longestLabel)
}

// asking is what a record asked, for a title.
func asking(r *view.Record) string {
	text := func(s *string) string {
		if s == nil {
			return "–"
		}
		return pages.Cut(*s, longest)
	}
	return text(r.Params.Subject) + " / " + text(r.Params.Predicate)
}

// traced is what was asked and answered, and what a person should look at.
func (p *sheet) traced(t *view.Trace) pages.Section {
	q := &t.Audit
	section := pages.Section{ID: "answer"}
	for _, f := range t.Findings {
		section.Findings = append(section.Findings, line(pages.Words(f.Text+".")))
	}
	answered := none()
	if q.ResultHash != nil {
		answered = line(p.assertion(*q.ResultHash, t.ResultLabel))
	}
	section.Facts = []pages.Fact{
		{Name: "time", Value: line(p.at(q.Timestamp))},
		{Name: "asked", Value: p.question(q.Params.Subject, q.Params.Predicate)},
		{Name: "answered", Value: answered},
		{Name: "lens", Value: textOr(q.Params.Lens)},
		{Name: "confidence", Value: confidence(q.ResultConfidence)},
		{Name: "lifecycle asked", Value: asked(q.Params.Lifecycle)},
		{Name: "agent", Value: line(p.agent(q.AgentID, q.AgentLabel))},
	}
	if q.Params.Epoch != nil {
		section.Facts = append(section.Facts, pages.Fact{Name: "epoch", Value: line(hashPart(*q.Params.Epoch, nil, ""))})
	}
	return section
}

func (p *sheet) evidence(t *view.Trace) pages.Section {
	section := pages.Section{ID: "evidence", Heading: "Evidence"}
	about := counted(len(t.Evidence), "piece", "pieces") + ", total weight " + show.Weight(t.TotalWeight)
	if n := t.Audit.Unapproved(); n > 0 {
		about += fmt.Sprintf(", %d not approved", n)
	}
	if n := t.Unstated(); n > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%d of them have no stated lifecycle.", n))))
	}
	table := &pages.Table{
		Caption: about, Head: 1, Empty: "There is no evidence.",
		Columns: []pages.Column{{Name: "weight"}, {Name: "assertion"}, {Name: "lifecycle"}, {Name: "source"}, {Name: "first seen"}, {Name: "answers", Right: true}, {Name: "agents", Right: true}},
	}
	most := 1.0
	for i := range t.Evidence {
		most = max(most, float64(t.Evidence[i].Weight))
	}
	var selected show.Selection
	for i := range t.Evidence {
		e := &t.Evidence[i]
		bad := e.Lifecycle.Unapproved()
		if !selected.Shows("", bad) {
			continue
		}
		assertion := line(p.assertion(e.AssertionHash, e.AssertionLabel))
		if e.Result {
			assertion = append(assertion, pages.Part{Text: "the answer", Style: pages.Dim})
		}
		seen := none()
		if e.FirstSeen != nil {
			seen = line(pages.Part{Text: p.clock.Apart(*e.FirstSeen, t.Audit.Timestamp), Full: p.clock.Format(*e.FirstSeen)})
		}
		table.Rows = append(table.Rows, pages.Row{Marked: bad, Cells: [][]pages.Part{
			bar(strconv.FormatFloat(float64(e.Weight), 'g', -1, 32), float64(e.Weight)/most, bad), assertion, line(lifecycle(e.Lifecycle)),
			line(p.source(e.SourceHash, e.SourceLabel)), seen, line(pages.Words(atLeast(e.Answers, e.More))), line(pages.Words(atLeast(e.Agents, e.More))),
		}})
	}
	section.Table = table
	if selected.Left > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%s of less weight are left out, %d of them not approved. JSON has all.", counted(selected.Left, "piece", "pieces"), selected.LeftUnapproved))))
	}
	if t.Untraced > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("Where %s of evidence went was not looked for: there are too many.", counted(t.Untraced, "piece", "pieces")))))
	}
	return section
}

// atLeast is a count, with a + after it where counting ended at a limit.
func atLeast(n int, more bool) string {
	if more {
		return fmt.Sprintf("%d+", n)
	}
	return fmt.Sprint(n)
}

// others says who else used what nobody approved.
func (p *sheet) others(t *view.Trace) (pages.Section, bool) {
	table := &pages.Table{
		Caption: "Other records with the same evidence, by agent, in the order of the first use",
		Columns: []pages.Column{{Name: "agent"}, {Name: "answers", Right: true}, {Name: "first"}, {Name: "last"}, {Name: "assertion"}, {Name: "lifecycle"}},
	}
	left, counting := 0, false
	for i := range t.Evidence {
		e := &t.Evidence[i]
		counting = counting || e.Lifecycle.Unapproved() && e.Others.More
		for n, other := range e.Others.ByAgent {
			if n >= show.ShownOthers || len(table.Rows) >= 2*show.ShownOthers {
				left++
				continue
			}
			table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
				line(p.agent(other.AgentID, other.AgentLabel)), line(pages.Count(other.Answers)), line(p.at(other.First)), line(p.at(other.Last)),
				line(p.assertion(e.AssertionHash, e.AssertionLabel)), line(lifecycle(e.Lifecycle)),
			}})
		}
	}
	section := pages.Section{ID: "others", Heading: "Who else used what nobody approved", Table: table}
	if left > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%d more agents are left out; the page of the assertion has all.", left))))
	}
	if counting {
		section.Notes = append(section.Notes, line(pages.Words("Some evidence is in too many records to say here who used it; the page of the assertion says it.")))
	}
	if len(table.Rows) == 0 {
		section.Table = nil
	}
	return section, len(table.Rows) > 0 || counting
}

// around is what the agent asked before and after.
func (p *sheet) around(t *view.Trace) pages.Section {
	section := pages.Section{ID: "around", Heading: "What this agent asked before and after"}
	if t.Audit.AgentID == nil {
		section.About = line(pages.Words("The record is anonymous, so it is not known what else its agent asked."))
		return section
	}
	section.Table = &pages.Table{Caption: "Its nearest records in time", Columns: recordColumns, Head: 1, Empty: "It has no other record."}
	add := func(r *view.Record, current bool) {
		row := p.row(r)
		row.Current = current
		section.Table.Rows = append(section.Table.Rows, row)
	}
	for i := range t.Before {
		add(&t.Before[i], false)
	}
	add(&t.Audit, true)
	for i := range t.After {
		add(&t.After[i], false)
	}
	for _, d := range t.Damaged {
		section.Notes = append(section.Notes, p.damaged(d))
	}
	return section
}

// further are the questions that come next.
func (p *sheet) further(t *view.Trace) []pages.Part {
	q := &t.Audit
	var links []pages.Part
	seen := map[audit.Hash]bool{}
	for i := range t.Evidence {
		e := &t.Evidence[i]
		if !e.Lifecycle.Unapproved() || seen[e.AssertionHash] || len(links) >= 6 {
			continue
		}
		seen[e.AssertionHash] = true
		links = append(links, pages.To(p.to("/impact/"+e.AssertionHash.String()), "Where else "+shortName(e.AssertionHash, e.AssertionLabel)+" went"))
		if !seen[e.SourceHash] {
			seen[e.SourceHash] = true
			links = append(links, pages.To(p.to("/impact/"+e.SourceHash.String(), "source", "true"), "What else came from "+shortName(e.SourceHash, e.SourceLabel)))
		}
	}
	if len(t.EarlierAnswers()) > 0 {
		links = append(links, pages.To(p.to("/q/"+q.QueryID.String(), upName, "true"), "Where its evidence came from, back to what nobody answered before"))
	}
	if q.Params.Subject != nil && q.Params.Predicate != nil {
		links = append(links, pages.To(p.to("/answers", "subject", *q.Params.Subject, "predicate", *q.Params.Predicate), "How the answer to this question changed"))
	}
	if t.Previous != nil {
		links = append(links,
			pages.To(p.to("/diff/"+t.Previous.String()+"/"+q.QueryID.String()), "What changed since this agent last asked it"),
			pages.To(p.to("/q/"+t.Previous.String()), "The answer that it got then"))
	}
	links = append(links,
		pages.To(p.withValues("/timeline", with(nil, "around", q.Time, "window", "15m")), "What happened around that time"),
		pages.To(p.to("/q/"+q.QueryID.String()+"/record"), "The stored record, and its proof"))
	for i := range links {
		links[i].Stored = true // names are in some of them
	}
	return links
}

// shortName is a hash in a sentence.
func shortName(h audit.Hash, label *string) string {
	if label != nil {
		return *label
	}
	return h.String()[:briefHash]
}

// recordPage shows a record as it is stored.
func (s *Server) recordPage(ctx context.Context, p *sheet) error {
	id, err := p.idOf(ctx, "id")
	if err != nil {
		return err
	}
	if p.r.PathValue("id") != id.String() {
		p.redirect = p.withValues("/q/"+id.String()+"/record", p.values)
		return nil
	}
	raw, err := s.store.GetRawAsOf(ctx, id, p.moment())
	if err != nil {
		return err
	}
	q, err := audit.ParseAudit(raw)
	if err != nil {
		return err
	}
	r := p.viewer.Record(&q)
	brief := id.String()[:briefHash]
	p.page.Title = "Stored record " + brief
	p.page.Kind = "As it is stored"
	p.page.Heading = line(pages.Part{Text: "Stored record", Short: brief, Full: id.String(), Copy: true})
	p.command([]string{"get", "-o", "json"}, []string{brief}, nil)
	p.page.SQL = phrase.Stored(id)
	p.page.Forms = line(pages.To(phrase.To("/v1/audits/"+id.String(), nil), "JSON, byte for byte"))
	p.page.Sections = []pages.Section{{
		Facts: []pages.Fact{
			{Name: "id", Value: line(pages.Part{Text: id.String(), Style: pages.Code, Full: id.String(), Copy: true})},
			{Name: "time", Value: line(p.at(q.Timestamp), pages.Dimmed(fmt.Sprintf("%d %s", q.Timestamp, p.clock.Unit)))},
			{Name: "agent", Value: line(p.agent(q.AgentID, r.AgentLabel))},
			{Name: "size", Value: line(pages.Words(counted(len(raw), "byte", "bytes")))},
		},
	}}
	p.page.Sections = append(p.page.Sections, p.together(ctx,
		func(ctx context.Context) (pages.Section, error) { return p.place(ctx, id) },
		func(context.Context) (pages.Section, error) {
			return pages.Section{Heading: "Its bytes", Stored: &pages.Stored{Label: "The stored record", Text: string(raw)},
				Notes: [][]pages.Part{line(pages.Words("What cannot be seen is written as an escape here. The link to JSON, below, has the exact bytes."))}}, nil
		},
	)...)
	p.page.Sections = append(p.page.Sections, pages.Section{Heading: "Look further", Links: line(pages.To(p.to("/q/"+id.String()), "Why it was answered so"))})
	return nil
}

// place is where a record is in the log, and what proves it.
func (p *sheet) place(ctx context.Context, id audit.QueryID) (pages.Section, error) {
	section := pages.Section{ID: "proof", Heading: "Its place in the log, and its proof"}
	proven, err := p.s.store.Prove(ctx, id, audit.ProveOptions{})
	switch {
	case errors.Is(err, audit.ErrNoLog):
		section.About = line(pages.Words("There is no proof to hand out. " + p.unsigned()))
		return section, nil
	case errors.Is(err, audit.ErrUncovered):
		section.About = line(pages.Words("No checkpoint covers the record yet. The next one will."))
		return section, nil
	case err != nil:
		return section, err
	}
	section.Facts = []pages.Fact{{Name: "index", Value: line(pages.Count(proven.Index), pages.Dimmed("from 0, in the order of admission"))}}
	section.Links = line(
		pages.To(phrase.To("/v1/audits/"+id.String(), nil), "The record, byte for byte"),
		pages.To(phrase.To("/v1/audits/"+id.String()+"/proof", nil), "Its proof"),
		pages.To(phrase.To("/v1/checkpoint", nil), "The newest checkpoint of the log"))
	check := pages.Section{Heading: "How somebody else checks it",
		About:  line(pages.Words("Save the record as record.json and its proof as record.tlog-proof. Whoever gets both types this, without the store:")),
		Stored: &pages.Stored{Label: "The command that checks the proof", Text: `auditsql check --record record.json record.tlog-proof --key "$(cat verifier)"`},
		Notes:  [][]pages.Part{line(pages.Words("The file verifier has the verifier key of the log. It must come from whoever signs the log, by another way than the record: a key that comes with the proof proves nothing. auditsql key show prints it there."))}}
	section.Sections = []pages.Section{check}
	if command := phrase.Command(p.dir, "prove", id.String()[:briefHash], "-o", "evidence.zip"); command != "" {
		section.Sections = append(section.Sections, pages.Section{Heading: "All of it in one file",
			About:  line(pages.Words("On the machine of the store, this writes the record, its proof and a README that says how to check them:")),
			Stored: &pages.Stored{Label: "The command that writes the evidence", Text: command}})
	}
	return section, nil
}
