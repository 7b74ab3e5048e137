package web

import (
	"context"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/web/internal/chart"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// mostAnswerLanes is how many different answers have a lane of their own. The others share one.
const mostAnswerLanes = 8

// answersPage shows the answers to a question over time, and where they changed.
func (s *Server) answersPage(ctx context.Context, p *sheet) error {
	p.page.Kind = "When did it change?"
	subject, predicate := p.values.Get("subject"), p.values.Get("predicate")
	if !p.values.Has("subject") || !p.values.Has("predicate") {
		return p.chooseQuestion(ctx, subject, p.values.Has("subject"))
	}
	// The subject is the whole subject here, as for the command, and no pattern.
	p.q.limitOr(shownAnswers)
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	p.absolute.Set("subject", subject)
	p.absolute.Set("predicate", predicate)
	capped(&f)
	flips, err := p.q.isSet("flips")
	if err != nil {
		return err
	}
	p.page.Title = "Answers to " + pages.Cut(subject, longest) + " / " + pages.Cut(predicate, longest)
	p.page.Heading = line(pages.Words("Answers to"), cut(subject), pages.Dimmed("/"), cut(predicate))
	words := []string{"answers"}
	if flips {
		words = append(words, "--flips")
	}
	p.command(words, []string{subject, predicate}, without(p.values, "subject", "predicate"))
	p.page.SQL = phrase.Answers(subject, predicate, p.spoken(f))
	p.forms("/v1/answers", p.absolute, "json", "ndjson", "csv")

	form := p.filterForm("/go/answers", "Filter", true, "subject", "predicate")
	p.page.Sections = append([]pages.Section{{Form: form}}, p.together(ctx, func(ctx context.Context) (pages.Section, error) {
		return p.answers(ctx, subject, predicate, f, flips)
	})...)
	return nil
}

func (p *sheet) answers(ctx context.Context, subject, predicate string, f audit.Filter, flips bool) (pages.Section, error) {
	section := pages.Section{ID: "answers"}
	var answers []view.Answer
	stream := p.viewer.Answers(ctx, subject, predicate, f, flips)
	broken := func(e *audit.RecordError) { section.Notes = append(section.Notes, p.damaged(e)) }
	for a, err := range readable(stream.Rows(), broken) {
		if err != nil {
			return section, err
		}
		answers = append(answers, a)
	}
	if len(answers) == 0 {
		return p.neverAsked(ctx, subject, predicate, section)
	}
	changed := 0
	for i := range answers {
		if answers[i].Flipped {
			changed++
		}
	}
	section.About = line(pages.Words(counted(len(answers), "answer", "answers")+","), pages.Words(counted(changed, "change", "changes")+"."))
	picture, err := p.answersPicture(answers)
	if err != nil {
		return section, err
	}
	section.Picture = picture
	section.Legend = [][]pages.Part{line(pages.Words("A lane for each answer.")), line(pages.Words("◎ a ring, and " + show.ChangedSign + " in the table: the answer changed here.")), line(pages.Part{Text: "□ a square: with evidence that nobody approved", Mark: true}), line(pages.Words("Each mark is a record."))}
	section.Table = p.answersTable(answers, f.Descending)
	if stream.More() {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("These are the first %d; there are more.", len(answers))), pages.To(p.again("limit", strconv.Itoa(mostRows)), fmt.Sprintf("Show up to %d", mostRows))))
	}
	if flips {
		section.Links = append(section.Links, pages.To(p.again("flips", ""), "Show all answers, and not only the changes"))
	} else if changed > 0 {
		section.Links = append(section.Links, pages.To(p.again("flips", "true"), "Show the changes alone"))
	}
	section.Links = append(section.Links, pages.To(p.withValues("/timeline", with(without(p.absolute, "flips", "limit", "desc"), "subject", globbed(subject), "predicate", predicate)), "The same over time"))
	return section, nil
}

func (p *sheet) answersTable(answers []view.Answer, descending bool) *pages.Table {
	order := "the oldest first"
	if descending {
		order = "the newest first"
	}
	table := &pages.Table{Caption: counted(len(answers), "answer", "answers") + ", " + order, Head: 1, Columns: []pages.Column{
		{Name: "time"}, {Name: "record"}, {Name: "agent"}, {Name: "answer"}, {Name: "confidence", Right: true}, {Name: "asked for"}, {Name: "lens"}, {Name: "approved"}, {Name: "changed"},
	}}
	for i := range answers {
		a := &answers[i]
		table.Rows = append(table.Rows, pages.Row{Marked: a.Unapproved > 0, Cells: [][]pages.Part{
			line(p.at(a.Timestamp)), line(p.record(a.QueryID)), line(p.agent(a.AgentID, a.AgentLabel)), p.answer(a.ResultHash, a.ResultLabel),
			confidence(a.ResultConfidence), asked(a.Lifecycle), textOr(a.Lens), approved(a.Contributions, a.Approved, a.Unapproved), p.changes(a),
		}})
	}
	return table
}

// changes says why an answer is another one than the one before, with a link to both side by side.
func (p *sheet) changes(a *view.Answer) []pages.Part {
	if !a.Flipped || a.Previous == nil {
		return none()
	}
	causes := strings.Join(view.CauseTexts(a.Causes), ", ")
	if causes == "" {
		causes = "nothing that is recorded"
	}
	return line(pages.To(p.to("/diff/"+a.Previous.String()+"/"+a.QueryID.String()), show.ChangedSign+" "+causes))
}

func (p *sheet) answersPicture(answers []view.Answer) (template.HTML, error) {
	first, last := &answers[0], &answers[0]
	for i := range answers {
		if answers[i].Timestamp < first.Timestamp {
			first = &answers[i]
		}
		if answers[i].Timestamp > last.Timestamp {
			last = &answers[i]
		}
	}
	picture := chart.Lanes{
		Label: fmt.Sprintf("%s, from %s to %s", counted(len(answers), "answer", "answers"), first.Time, last.Time),
		Span:  chart.Span{From: first.Timestamp, To: last.Timestamp}, Steps: true,
	}
	picture.Ticks = chart.Ticks(picture.Span, p.clock.Unit, p.clock.Zone)
	lanes := map[audit.Hash]int{}
	noAnswer := audit.Hash{}
	for i := range answers {
		a := &answers[i]
		key := noAnswer
		if a.ResultHash != nil {
			key = *a.ResultHash
		}
		at, known := lanes[key]
		if !known {
			at = min(len(picture.Lanes), mostAnswerLanes)
			lanes[key] = at
			switch {
			case at == mostAnswerLanes && len(picture.Lanes) == at:
				picture.Lanes = append(picture.Lanes, chart.Lane{Kind: "answers", Name: "others"})
			case at == mostAnswerLanes:
			case a.ResultHash == nil:
				picture.Lanes = append(picture.Lanes, chart.Lane{Kind: "answer", Name: "none"})
			default:
				picture.Lanes = append(picture.Lanes, chart.Lane{Kind: "answer", Name: laneName(key, a.ResultLabel), Address: p.to("/impact/" + key.String())})
			}
		}
		name := fmt.Sprintf("%s, record %s", a.Time, a.QueryID.String()[:briefHash])
		if a.Flipped {
			name += ", the answer changed"
		}
		if a.Unapproved > 0 {
			name += ", not approved"
		}
		picture.Lanes[at].Dots = append(picture.Lanes[at].Dots, chart.Dot{
			At: a.Timestamp, Address: p.to("/q/" + a.QueryID.String()), Name: name, Full: true, Marked: a.Unapproved > 0, Ring: a.Flipped,
		})
	}
	for i := range picture.Lanes {
		picture.Lanes[i].About = counted(len(picture.Lanes[i].Dots), "time", "times")
	}
	return picture.SVG()
}

// neverAsked says which part of a question without answers was never asked: it may be a typing error.
func (p *sheet) neverAsked(ctx context.Context, subject, predicate string, section pages.Section) (pages.Section, error) {
	section.About = line(pages.Words("No record that fits has this question."))
	predicates, known, err := p.viewer.Predicates(ctx, subject)
	switch {
	case err != nil:
		return section, err
	case !known:
		section.Notes = append(section.Notes, line(pages.Words("No record has this subject."), pages.To(p.to("/top", "by", "subject"), "The subjects that are asked about most")))
	case !slices.Contains(predicates, predicate):
		section.Notes = append(section.Notes, line(pages.Words("Of this subject was asked:")))
		section.Links = p.predicateLinks(subject, predicates)
	}
	return section, nil
}

func (p *sheet) predicateLinks(subject string, predicates []string) []pages.Part {
	var links []pages.Part
	for _, predicate := range predicates {
		links = append(links, linked(predicate, p.to("/answers", "subject", subject, "predicate", predicate)))
	}
	return links
}

// chooseQuestion asks for what is missing of a question.
func (p *sheet) chooseQuestion(ctx context.Context, subject string, hasSubject bool) error {
	p.page.Title, p.page.Heading = "Answers to a question", line(pages.Words("Answers to a question"))
	form := &pages.Form{Action: phrase.To("/go/answers", nil), Label: "A question", Submit: "Show the answers", Fields: []pages.Field{
		{Name: "subject", Label: "subject", Value: subject, Hint: "supplier/Northwind"}, {Name: "predicate", Label: "predicate", Value: p.values.Get("predicate"), Hint: "payment_account"},
	}}
	form.Hidden = hidden(p.kept(nil))
	p.page.Sections = []pages.Section{{Form: form, About: line(pages.Words("A question is a subject and a predicate. The page shows all answers to it over time, and where they changed."))}}
	p.page.Sections = append(p.page.Sections, p.together(ctx, func(ctx context.Context) (pages.Section, error) {
		if hasSubject {
			section := pages.Section{Heading: "What was asked of this subject"}
			predicates, known, err := p.viewer.Predicates(ctx, subject)
			if !known || err != nil {
				section.Notes = [][]pages.Part{line(pages.Words("No record has this subject."))}
			}
			section.Links = p.predicateLinks(subject, predicates)
			return section, err
		}
		return p.lastQuestions(ctx)
	})...)
	p.command([]string{"top", "--by", "subject"}, nil, nil)
	return nil
}

// lastQuestions lists the questions of the newest records.
func (p *sheet) lastQuestions(ctx context.Context) (pages.Section, error) {
	const read, most = 200, 20
	section := pages.Section{Heading: "Questions of the newest records"}
	type asked struct {
		subject, predicate string
		times              int
		last               uint64
	}
	var order []*asked
	records := 0
	seen := map[[2]string]*asked{}
	for q, err := range readable(p.s.store.Audits(ctx, audit.Filter{Descending: true, Limit: read, AsOf: &p.asOf}), nil) {
		if err != nil {
			return section, err
		}
		records++
		if q.Params.Subject == nil || q.Params.Predicate == nil {
			continue
		}
		key := [2]string{*q.Params.Subject, *q.Params.Predicate}
		if seen[key] == nil {
			seen[key] = &asked{subject: key[0], predicate: key[1], last: q.Timestamp}
			order = append(order, seen[key])
		}
		seen[key].times++
	}
	table := &pages.Table{Caption: fmt.Sprintf("Of the newest %d records, the question asked last first", read), Head: 0, Empty: "There are no records.",
		Columns: []pages.Column{{Name: "subject"}, {Name: "predicate"}, {Name: "asked last"}, {Name: "times", Right: true}}}
	if records > 0 {
		table.Empty = fmt.Sprintf("None of the newest %d records has a subject and a predicate.", records)
	}
	for i, a := range order {
		if i == most {
			section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%d more are left out.", len(order)-most))))
			break
		}
		table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
			line(linked(a.subject, p.to("/answers", "subject", a.subject, "predicate", a.predicate))),
			line(cut(a.predicate)), line(p.at(a.last)), line(pages.Count(a.times)),
		}})
	}
	section.Table = table
	return section, nil
}
