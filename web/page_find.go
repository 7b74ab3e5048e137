package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// findAddress is the page that finds out what somebody means.
func findAddress(typed string) phrase.Address { return phrase.To("/find", url.Values{"q": {typed}}) }

// loginAddress is the page to log in, which leads back to where somebody wanted to go.
func loginAddress(r *http.Request) phrase.Address {
	if r.Method != http.MethodGet {
		return phrase.To(loginPath, nil)
	}
	return phrase.To(loginPath, url.Values{nextName: {r.URL.RequestURI()}})
}

// A meaning is something that may be meant with what somebody typed.
type meaning struct {
	what string
	link pages.Part
	time bool // that what was typed is read as
}

// fewDigits reports whether somebody may mean an id by its first digits, fewer than the 8 that commands want.
func fewDigits(typed string) bool {
	return len(typed) >= audit.ShortestPrefix && len(typed) < audit.MinPrefix && ask.CheckID(typed+"00000000"[:audit.MinPrefix-len(typed)]) == nil
}

// findPage finds what somebody means: an id, a hash, a label, an attribute, a time or a subject. When it can only be one thing, it leads
// there at once.
func (s *Server) findPage(ctx context.Context, p *sheet) error {
	typed := strings.TrimSpace(p.q.own("q", ""))
	p.passing = true // what it finds are links, and those last
	p.page.Find = typed
	p.page.Kind = "What is meant?"
	p.page.Title = "Find " + pages.Cut(typed, longest)
	p.page.Heading = line(pages.Words("Find"), cut(typed))
	if typed == "" {
		p.page.Title, p.page.Heading = "Find", line(pages.Words("Find"))
		p.page.Sections = []pages.Section{{
			About: line(pages.Words("Type the first digits of an id (4 or more) or of a hash (8 or more), a label, an attribute as key=value, a time, or a subject.")),
			Form:  &pages.Form{Action: phrase.To("/find", nil), Label: "Find", Submit: "Find", Fields: []pages.Field{{Name: "q", Label: "what", Kind: "search", Wide: true, Hint: "pay-20931"}}},
		}}
		return nil
	}
	found, others, err := p.meanings(ctx, typed)
	if err != nil {
		return err
	}
	// A few digits may be a time, as a number, and the beginning of an id that is not here. The page shows which time it would be.
	doubtful := fewDigits(typed) && len(found) == 1 && found[0].time
	if len(found) == 1 && found[0].link.Link != "" && !doubtful && !others && collectorOf(ctx) == nil {
		p.redirect = found[0].link.Link
		return nil
	}
	section := pages.Section{Table: &pages.Table{
		Caption: counted(len(found), "thing", "things") + " that may be meant", Head: 1, Columns: []pages.Column{{Name: "what"}, {Name: "where"}},
		Empty: "Nothing in the store has this id, hash, label, attribute or subject. A time is written as 2026-11-23T10:19.",
	}}
	for _, m := range found {
		section.Table.Rows = append(section.Table.Rows, pages.Row{Cells: [][]pages.Part{line(pages.Words(m.what)), line(m.link)}})
	}
	if len(found) == 0 {
		section.Links = line(
			pages.To(p.to("/list", "subject", "*"+globbed(typed)+"*", "desc", "true"), "Records whose subject has it somewhere (it may take long)"),
			pages.To(p.to("/top", "by", "subject"), "The subjects that are asked about most"),
			pages.To(p.to("/agents"), "All agents"))
	}
	if others {
		section.Notes = append(section.Notes, line(pages.Words("More ids or hashes may begin with these digits. Type more of them.")))
	}
	p.page.Sections = []pages.Section{section}
	return nil
}

// meanings are the things that the store has and that may be meant. others reports whether there may be more ids or hashes than these: of
// many that begin with the same digits the store returns the first alone, and some of those may have come later than what is asked for.
func (p *sheet) meanings(ctx context.Context, typed string) (all []meaning, others bool, err error) {
	add := func(what string, part pages.Part) { all = append(all, meaning{what: what, link: part}) }
	store := p.s.store
	if ask.CheckID(typed) == nil || fewDigits(typed) {
		ids, err := store.ResolveAsOf(ctx, strings.ToLower(typed), p.moment())
		if err != nil {
			return nil, false, err
		}
		others = len(ids) >= audit.MaxResolved
		for _, id := range ids {
			// As of an earlier moment there is what was there then, so that nothing that is found leads to a page without it.
			if has, err := p.s.had(ctx, id, p.moment()); err != nil {
				return nil, false, err
			} else if has {
				add("a record", p.record(id))
			}
		}
	}
	any := func(f audit.Filter) (bool, error) {
		f.AsOf = &p.asOf
		// A damaged record is not what was meant. A few more are read for that case.
		f.Descending, f.Limit = true, 8
		for _, err := range readable(p.s.store.Audits(ctx, f), nil) {
			return err == nil, err
		}
		return false, nil
	}
	var unused []audit.Hash // what a label stands for, and no record has
	for _, kind := range []audit.HashKind{audit.AgentHash, audit.AssertionHash, audit.SourceHash} {
		hashes, err := p.hashes(ctx, typed, kind)
		if err != nil {
			return nil, false, err
		}
		others = others || len(hashes) >= audit.MaxResolved
		for _, h := range hashes {
			is, err := store.IdentifyAsOf(ctx, h, p.moment())
			if err != nil {
				return nil, false, err
			}
			label := p.labelOf(&h)
			switch {
			case kind == audit.AgentHash && is.Agent != nil:
				add("an agent", p.agent(&h, label))
			case kind == audit.AssertionHash && is.Assertion.Answers > 0:
				add("an assertion", p.assertion(h, label))
			case kind == audit.SourceHash && is.Source.Answers > 0:
				add("a source", p.source(h, label))
			case is.Agent == nil && is.Assertion.Answers == 0 && is.Source.Answers == 0 && is.Label != "" && !slices.Contains(unused, h):
				unused = append(unused, h)
				add("a label of a hash that no record has yet", pages.Part{Text: fmt.Sprintf("%s %s", is.Label, h), Stored: true})
			}
		}
	}
	if key, value, err := ask.KeyValue(typed); err == nil {
		switch has, err := any(audit.Filter{Attributes: []audit.Attribute{{Key: key, Value: value}}}); {
		case err != nil:
			return nil, false, err
		case has:
			add("records with this attribute", pages.Part{Text: typed, Stored: true, Link: p.to("/list", "attr", typed, "desc", "true")})
		}
	} else {
		// An id of a trace is what an alarm has most often.
		for _, key := range []string{"trace_id", "request_id", "session_id"} {
			switch has, err := any(audit.Filter{Attributes: []audit.Attribute{{Key: key, Value: typed}}}); {
			case err != nil:
				return nil, false, err
			case has:
				add("records whose "+key+" it is", pages.Part{Text: typed, Stored: true, Link: p.to("/list", "attr", pair(key, typed), "desc", "true")})
			}
		}
	}
	switch has, err := any(audit.Filter{Subject: &typed}); {
	case err != nil:
		return nil, false, err
	case has:
		add("a subject", pages.Part{Text: "Records about " + typed, Stored: true, Link: p.to("/list", "subject", globbed(typed), "desc", "true")})
		add("the questions about this subject", pages.Part{Text: "What was asked about " + typed, Stored: true, Link: p.to("/answers", "subject", typed)})
	default:
		note, err := ask.OtherSpelling(ctx, store, typed, nil, nil)
		if err != nil {
			return nil, false, err
		}
		if note != nil {
			add("subjects that look the same, with another spelling", pages.Part{Text: note.Pattern, Stored: true, Link: p.to("/list", "subject", note.Pattern, "desc", "true")})
		} else if strings.ContainsAny(typed, "*?[") {
			switch has, err := any(audit.Filter{SubjectGlob: &typed}); {
			case err != nil:
				return nil, false, err
			case has:
				add("subjects with this pattern", pages.Part{Text: typed, Stored: true, Link: p.to("/list", "subject", typed, "desc", "true")})
			}
		}
	}
	if span, err := p.clock.Parse(typed); err == nil {
		name := "window"
		if span.First == span.Last {
			add("a time: what happened around it", pages.Part{Text: p.clock.Format(span.First), Link: p.to("/timeline", "around", p.clock.Format(span.First), name, "15m")})
		} else {
			add("a time", pages.Part{Text: fmt.Sprintf("%s to %s", p.clock.Format(span.First), p.clock.Format(span.Last)), Link: p.to("/timeline", "from", p.clock.Format(span.First), "to", p.clock.Format(span.Last))})
		}
	}
	if n := len(all); n > 0 && strings.HasPrefix(all[n-1].what, "a time") {
		all[n-1].time = true
	}
	return all, others, nil
}

// moment is the moment that the reader asked for, nil: the present.
func (p *sheet) moment() *uint64 {
	if !p.frozen {
		return nil
	}
	return &p.asOf
}

// hashes are those of a kind that a label or some digits mean.
func (p *sheet) hashes(ctx context.Context, typed string, kind audit.HashKind) ([]audit.Hash, error) {
	h, err := p.s.store.ResolveHashAsOf(ctx, typed, kind, p.moment())
	var unknown *audit.UnknownError
	var ambiguous *audit.AmbiguousError
	switch {
	case err == nil:
		return []audit.Hash{h}, nil
	case errors.As(err, &ambiguous):
		var all []audit.Hash
		for _, l := range ambiguous.Hashes {
			all = append(all, l.Hash)
		}
		return all, nil
	case errors.As(err, &unknown), errors.Is(err, audit.ErrInvalid):
		return nil, nil
	}
	return nil, err
}
