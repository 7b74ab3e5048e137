package web

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// nowPage answers whether something is odd now: the last hour, what nobody approved, what is new, who is silent, what changed.
func (s *Server) nowPage(ctx context.Context, p *sheet) error {
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	stale, err := p.lately(ctx, &f, time.Hour)
	if err != nil {
		return err
	}
	from, to := p.both(&f, time.Hour)
	values := with(nil, "from", p.clock.Format(from), "to", p.clock.Format(to))
	p.page.Title = "Is something odd now?"
	p.page.Kind = "The hour up to now"
	if stale != nil {
		p.page.Kind = "The hour up to the newest record"
	}
	p.page.Heading = line(pages.Words("Is something odd?"))
	p.command([]string{"timeline", "--by", "minute"}, nil, values)
	p.page.SQL = phrase.Timeline("minute", p.spoken(f))
	p.forms("/v1/timeline", with(values, "by", "minute"), "json", "ndjson", "csv")

	// In the first hour of a store everything is new. What was not there at its beginning is more telling then.
	since := from
	if oldest, _, err := p.extent(ctx, audit.Filter{AsOf: &p.asOf}); err != nil {
		return err
	} else if oldest != nil && *oldest >= from {
		since = from + (to-from)/2
	}
	about := pages.Section{About: line(pages.Words("From"), p.when(from), pages.Words("to"), p.when(to))}
	if stale != nil && !p.frozen {
		about.About = append(about.About, pages.Part{Text: "– the newest record is " + p.age(*stale) + ".", Style: pages.Strong})
	}
	p.absolute = values
	p.page.Sections = append([]pages.Section{about}, p.together(ctx,
		func(ctx context.Context) (pages.Section, error) {
			section, _, err := p.timeline(ctx, audit.ByMinute, f, values)
			section.ID, section.Heading = "hour", "The hour by the minute"
			section.Links = line(pages.To(p.withValues("/timeline", values), "This hour as a timeline, with all filters"), pages.To(p.to("/timeline"), "The last day"))
			return section, err
		},
		func(ctx context.Context) (pages.Section, error) {
			g := f
			g.Unapproved = true
			section, err := p.newest(ctx, "Answers with evidence that nobody approved", g, 10)
			if section.Table != nil {
				section.Table.Empty = "None in this hour."
			}
			section.ID = "unapproved"
			return section, err
		},
		func(ctx context.Context) (pages.Section, error) { return p.changesIn(ctx, f) },
		func(ctx context.Context) (pages.Section, error) {
			g, read, err := p.latest(ctx, f, newSourcesRead)
			if err != nil {
				return pages.Section{Heading: "New sources"}, err
			}
			section, err := p.ranked(ctx, "New sources", audit.TopOptions{By: audit.TopSources, Filter: limited(g, 5), NewSince: &since}, values)
			section.ID = "new"
			if section.Table != nil {
				section.Table.Caption, section.Table.Named = "Used for the first time since "+p.clock.Format(since), false
				section.Table.Empty = "No new source since " + p.clock.Format(since) + "."
				section.Notes = section.Notes[1:] // of how many is not of interest here
				section.Links = line(pages.To(p.to("/top", "by", "source", "new-since", p.clock.Format(since)), "All that is new since then"))
				if since > from {
					section.Notes = append(section.Notes, line(pages.Words("The store has nothing from before this hour, so what is new in its second half is shown.")))
				}
				if *g.From > since {
					section.Table.Empty = "None in the records that were looked at."
					section.Notes = append(section.Notes, line(
						pages.Words("Only the newest "+counted(read, "record was", "records were")+" looked at, those from"), p.when(*g.From), pages.Words("on.")))
				}
			}
			return section, err
		},
		func(ctx context.Context) (pages.Section, error) {
			section, err := p.newest(ctx, "The newest records", f, 10)
			section.ID = "newest"
			return section, err
		},
	)...)
	return nil
}

func (p *sheet) nowTimestamp() uint64 {
	now, ok := p.clock.Unit.Timestamp(p.clock.Now)
	if !ok {
		return audit.MaxTimestamp
	}
	return now
}

// newSourcesRead is in how many of the newest records of an hour new sources are looked for. To look at the evidence of many more takes
// longer than somebody likes to wait for this page, of which it is one part.
const newSourcesRead = 2_000

// latest narrows a time that has more records than most to its newest ones: so many, and those of the same timestamp as the first of
// them. n is how many records the time has then; 0: it was not narrowed.
func (p *sheet) latest(ctx context.Context, f audit.Filter, most int) (narrowed audit.Filter, n uint64, err error) {
	asked := audit.Filter{From: f.From, To: f.To, AsOf: f.AsOf}
	if _, _, more, err := p.s.store.Newest(ctx, asked, most+1); err != nil || !more {
		return f, 0, err
	}
	from, n, _, err := p.s.store.Newest(ctx, asked, most)
	if err == nil {
		f.From = &from
	}
	return f, n, err
}

// The newest records of a time whose questions are looked at for changed answers, how many questions at most, and how many of the newest answers
// to all of them together. The fewer the questions are, the more answers to each are looked at: at least ten.
const (
	changesRead      = 200
	changesQuestions = 25
	changesAnswers   = 250
	changesShown     = 10
)

// A flip is an answer to a question that is another one than the one before.
type flip struct {
	subject, predicate string
	view.Answer
}

// changesIn lists the answers that changed in a time. There is no index of changes, so it looks at the questions of the newest records.
func (p *sheet) changesIn(ctx context.Context, f audit.Filter) (pages.Section, error) {
	section := pages.Section{ID: "changes", Heading: "Answers that changed"}
	g := f
	g.Descending, g.Limit = true, changesRead
	type asked struct{ subject, predicate string }
	var questions []asked
	seen, read := map[asked]bool{}, 0
	for q, err := range readable(p.s.store.Audits(ctx, g), nil) {
		if err != nil {
			return section, err
		}
		read++
		if q.Params.Subject == nil || q.Params.Predicate == nil {
			continue
		}
		if a := (asked{*q.Params.Subject, *q.Params.Predicate}); !seen[a] {
			seen[a] = true
			questions = append(questions, a)
		}
	}
	cut := len(questions) > changesQuestions || read == changesRead
	questions = questions[:min(len(questions), changesQuestions)]
	var flips []flip
	answers := 0
	for i, a := range questions {
		h := f
		h.Descending, h.Limit = true, (changesAnswers-answers)/(len(questions)-i)
		stream := p.viewer.Answers(ctx, a.subject, a.predicate, h, false)
		for answer, err := range readable(stream.Rows(), nil) {
			if err != nil {
				return section, err
			}
			answers++
			if answer.Flipped {
				flips = append(flips, flip{a.subject, a.predicate, answer})
			}
		}
		cut = cut || stream.More()
	}
	// Those with evidence that nobody approved are why somebody looks here.
	slices.SortFunc(flips, func(a, b flip) int {
		return cmp.Or(cmp.Compare(min(b.Unapproved, 1), min(a.Unapproved, 1)), cmp.Compare(b.Timestamp, a.Timestamp), a.QueryID.Compare(b.QueryID))
	})
	table := &pages.Table{Head: 1, Empty: "None.", Caption: "Another answer than before; those with evidence that nobody approved first, then the newest", Columns: []pages.Column{
		{Name: "time"}, {Name: "record"}, {Name: "agent"}, {Name: "subject / predicate"}, {Name: "answer"}, {Name: "approved"}, {Name: "changed"},
	}}
	for i := range flips[:min(len(flips), changesShown)] {
		a := &flips[i]
		table.Rows = append(table.Rows, pages.Row{Marked: a.Unapproved > 0, Cells: [][]pages.Part{
			line(p.at(a.Timestamp)), line(p.record(a.QueryID)), line(p.agent(a.AgentID, a.AgentLabel)), p.question(&a.subject, &a.predicate),
			p.answer(a.ResultHash, a.ResultLabel), approved(a.Contributions, a.Approved, a.Unapproved), p.changes(&a.Answer),
		}})
	}
	left := len(flips) - len(table.Rows)
	section.Table = table
	if cut {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("Only the newest %s looked at, and the newest %s to %s in them.",
			counted(read, "record was", "records were"), counted(answers, "answer", "answers"), counted(len(questions), "question", "questions")))))
	}
	if left > 0 {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("%d more changes are left out.", left))))
	}
	return section, nil
}
