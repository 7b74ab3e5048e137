package web

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/show"
	"github.com/auditsql/auditsql/internal/when"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// A sheet is a page while it is filled in.
//
// All parts of a page answer as of the same number of records: those that SQLite had when the request came, or those that the
// reader asked for. So the parts agree with each other, and the link that a reader copies shows what was seen.
type sheet struct {
	s      *Server
	r      *http.Request
	q      *question
	viewer *view.Viewer
	labels *audit.Labels
	clock  when.Clock
	begun  time.Time
	page   pages.Page

	asOf   uint64 // the number of records that the page answers for
	frozen bool   // the reader asked for that number

	path     string     // of the page
	values   url.Values // its parameters, without zone and as_of: with absolute times where a link must last
	absolute url.Values // those of values that have another form in a link that lasts; nil: all are the same
	redirect phrase.Address

	passing bool // the page is about the present alone, so there is no link to it that lasts

	dir string // of the store, for commands
}

// sheet begins a page.
func (s *Server) sheet(r *http.Request, q *question) (*sheet, error) {
	p := &sheet{
		s: s, r: r, q: q, begun: s.now(), path: r.URL.Path, values: maps.Clone(q.values),
		clock: q.clock(s.store.TimeUnit()),
	}
	delete(p.values, zoneName)
	delete(p.values, asOfName)
	var err error
	if p.labels, err = s.store.Labels(r.Context()); err != nil {
		return nil, err
	}
	p.viewer = view.New(s.store, p.labels, q.zone)
	p.viewer.Live = true
	p.viewer.Live = q.asOf == nil
	p.viewer.Now, _ = s.store.TimeUnit().Timestamp(q.now) // 0 where it does not fit into the unit
	// A count that ends by itself says how far it got. One that is ended has nothing to show.
	p.viewer.Budget = audit.Budget{Time: s.limits.Part * 4 / 5}
	if err := s.store.AwaitShown(r.Context()); err != nil {
		return nil, err
	}
	have := s.store.Moment()
	p.asOf = have
	if q.asOf != nil {
		p.asOf, p.frozen = *q.asOf, true
		if p.asOf > have {
			if err := s.reach(r.Context(), p.asOf); err != nil {
				return nil, err
			}
		}
	}
	p.dir = s.dir(r.Context())
	p.page.Nav = map[string]string{"/": "Now", "/timeline": "Timeline", "/list": "Records", "/answers": "Answers", "/agents": "Agents", "/top": "Top", "/tail": "Tail", "/health": "Health"}[p.path]
	return p, nil
}

// filter reads the filter of the page, and keeps what it notes. usual values count where the reader gave none.
func (p *sheet) filter(ctx context.Context) (audit.Filter, error) {
	f, notes, err := ask.Filter(ctx, p.s.store, p.q.filter, p.q.askOptions())
	for _, n := range notes {
		text := parameterName(n.Parameter) + ": " + n.Text
		if n.Pattern != "" {
			text += "; " + n.Pattern + " finds all of them"
		}
		p.page.Notes = append(p.page.Notes, text)
	}
	f.AsOf = &p.asOf
	if err == nil {
		p.fix(&f)
	}
	return f, err
}

// spoken is a filter for SQL: on a page about the present it is that of the present, whenever it is asked.
func (p *sheet) spoken(f audit.Filter) audit.Filter {
	if !p.frozen {
		f.AsOf = nil
	}
	return f
}

// fix notes the values of the link that lasts.
func (p *sheet) fix(f *audit.Filter) { p.absolute = lasting(p.values, f, p.clock) }

// to is the address of another page, with the zone of this one, and as of the same records if this one is frozen.
func (p *sheet) to(path string, pairs ...string) phrase.Address {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return p.withValues(path, values)
}

func (p *sheet) withValues(path string, values url.Values) phrase.Address {
	return phrase.To(path, p.kept(values))
}

// kept returns values with the zone of this page, and the number of records if this page is frozen. Every address and every form that leads
// on from this page has them.
func (p *sheet) kept(values url.Values) url.Values {
	values = with(values)
	if p.q.values.Has(zoneName) {
		values.Set(zoneName, p.q.values.Get(zoneName))
	}
	if p.frozen {
		values.Set(asOfName, strconv.FormatUint(p.asOf, 10))
	}
	return values
}

// hidden are values as fields of a form that nobody fills in.
func hidden(values url.Values) []pages.Field {
	var fields []pages.Field
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, v := range values[name] {
			fields = append(fields, pages.Field{Name: name, Value: v})
		}
	}
	return fields
}

// again is this page with other values of some parameters. A value of "" takes the parameter away.
func (p *sheet) again(pairs ...string) phrase.Address {
	values := maps.Clone(p.values)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			values.Del(pairs[i])
		} else {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	return p.withValues(p.path, values)
}

// lasts returns the parameters of this page with absolute times, whole hashes and the zone.
func (p *sheet) lasts() url.Values {
	values := p.absolute
	if values == nil {
		values = p.values
	}
	values = maps.Clone(values)
	values.Set(zoneName, when.ZoneName(p.q.zone))
	return values
}

// frozenURL is the link that shows this page at any time.
func (p *sheet) frozenURL() phrase.Address {
	values := p.lasts()
	values.Set(asOfName, strconv.FormatUint(p.asOf, 10))
	return phrase.To(p.path, values)
}

// next is the next page of a list. It selects what this one selects: with relative times the records that are too old by the time
// somebody follows it would be missing, and with a name those of the hash that had it.
func (p *sheet) next(after audit.Cursor) phrase.Address {
	values := p.lasts()
	values.Set(afterName, after.String())
	if p.frozen {
		values.Set(asOfName, strconv.FormatUint(p.asOf, 10))
	}
	return phrase.To(p.path, values)
}

// forms are the links to the same answer for programs: a path of the API, with those of the values that it takes.
func (p *sheet) forms(path string, values url.Values, names ...string) {
	r, err := http.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return
	}
	_, pattern := p.s.mux.Handler(r)
	route := p.s.byPath[pattern]
	if route == nil {
		return
	}
	values = p.kept(values)
	known := route.takes.names()
	for _, form := range names {
		values.Set(formName, form)
		taken := maps.Clone(values)
		maps.DeleteFunc(taken, func(name string, _ []string) bool { return !slices.Contains(known, name) })
		p.page.Forms = append(p.page.Forms, pages.To(phrase.To(path, taken), map[string]string{"json": "JSON", "ndjson": "NDJSON", "csv": "CSV", string(show.Dot): "Graphviz"}[form]))
	}
}

// command sets what to type for the same: a command with its operands, and values as flags, in the order in which help lists them.
func (p *sheet) command(words, operands []string, values url.Values, own ...string) {
	var flags []string
	for _, parameter := range ask.Parameters() {
		flags = append(flags, flag(parameter.Name, parameter.Kind == ask.Switch, values[parameterName(parameter.Name)])...)
	}
	for _, name := range own {
		flags = append(flags, flag(name, false, values[name])...)
	}
	if p.q.values.Has(zoneName) {
		flags = append(flags, "--tz", p.q.values.Get(zoneName))
	}
	if p.frozen && !p.passing { // a command about the present has no such flag
		flags = append(flags, "--as-of", strconv.FormatUint(p.asOf, 10))
	}
	looksLikeFlag := func(s string) bool { return strings.HasPrefix(s, "-") }
	if slices.ContainsFunc(operands, looksLikeFlag) {
		words = slices.Concat(words, flags, []string{"--"}, operands)
	} else {
		words = slices.Concat(words, operands, flags)
	}
	p.page.Command = phrase.Command(p.dir, words...)
	if p.page.Command == "" {
		p.page.Notes = append(p.page.Notes, "There is no command for this: a value has a zero byte, which no program can be given.")
	}
}

// flag is a parameter as it is typed.
func flag(name string, isSwitch bool, values []string) []string {
	var words []string
	for _, v := range values {
		switch on, err := strconv.ParseBool(v); {
		case isSwitch && (v == "" || err == nil && on):
			words = append(words, "--"+name)
		case isSwitch:
		case len(v) > 0 && v[0] == '-':
			words = append(words, "--"+name+"="+v)
		default:
			words = append(words, "--"+name, v)
		}
	}
	return words
}

// finish fills in what all pages have.
func (p *sheet) finish(ctx context.Context) {
	f := &p.page.Frame
	if !p.passing {
		f.Frozen = p.frozenURL()
		if p.path != "/case" {
			f.Case = phrase.To("/case", url.Values{caseName: {string(f.Frozen)}})
		}
	}
	if p.frozen {
		f.AsOf = humanize.Comma(int64(p.asOf))
		live := *p
		live.frozen = false
		f.Live = live.withValues(p.path, p.values)
	}
	f.Zone = pages.Zone{Name: p.q.zone.String(), Action: phrase.To(p.path, nil), Others: []string{"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Kolkata", "Asia/Tokyo", "Australia/Sydney"}}
	f.Zone.Hidden = hidden(without(p.kept(p.values), zoneName))
	f.Status = p.s.status()
	f.Took = p.s.now().Sub(p.begun)
}

// status is how the store is, for the header.
func (s *Server) status() pages.Status {
	progress := s.store.Progress()
	status := pages.Status{Sound: true, Text: "healthy", Records: progress.Records}
	if err := s.store.Err(); err != nil && !errors.Is(err, audit.ErrReadOnly) {
		status.Sound, status.Text = false, "takes no records"
	}
	switch {
	case progress.Unknown && progress.LagBytes > 0:
		status.Lag = "at least " + humanize.IBytes(progress.LagBytes) + " of the journal not applied yet"
	case progress.Unknown:
		status.Lag = "not known what is not applied yet"
	case progress.LagRecords > 0:
		status.Lag = counted(progress.LagRecords, "record", "records") + " not applied yet"
	case progress.LagBytes > 0:
		status.Lag = humanize.IBytes(progress.LagBytes) + " of the journal not applied yet"
	}
	return status
}

func plural[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// counted is a number with its noun.
func counted[N int | uint64](n N, one, many string) string {
	return humanize.Comma(int64(n)) + " " + plural(n, one, many)
}

// A part of a page asks the store for itself, so that none waits for another.
type part func(ctx context.Context) (pages.Section, error)

// together runs parts at the same time, and returns their sections in order. A part that fails says so in its place.
func (p *sheet) together(ctx context.Context, parts ...part) []pages.Section {
	sections := make([]pages.Section, len(parts))
	var wait sync.WaitGroup
	for i, ask := range parts {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, p.s.limits.Part)
			defer cancel()
			var section pages.Section
			var err error
			if thrown := p.s.contain(requestID(p.r), func() { section, err = ask(ctx) }); thrown != nil {
				section, err = pages.Section{}, thrown
			}
			if err != nil {
				section.Failed = p.failure(ctx, err)
			}
			sections[i] = section
		})
	}
	wait.Wait()
	return slices.DeleteFunc(sections, func(s pages.Section) bool { return s.ID == "" && s.Heading == "" && empty(&s) })
}

// empty reports whether a section has nothing to show.
func empty(s *pages.Section) bool {
	return s.Failed == "" && s.About == nil && s.Findings == nil && s.Facts == nil && s.Form == nil && s.Picture == "" && s.Table == nil &&
		s.Stored == nil && s.Links == nil && s.Notes == nil && s.Sections == nil
}

// expensive runs a question that reads many records. A few of them run at a time, beside those of the API, so neither stops the other.
func (p *sheet) expensive(ctx context.Context, question func() error) error {
	release, err := p.s.parts.take(ctx, p.s.limits.Part, "expensive parts of pages")
	if err != nil {
		return err
	}
	defer release()
	return question()
}

// failure says why a part could not be shown, without what only the log may have.
func (p *sheet) failure(ctx context.Context, err error) string {
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return fmt.Sprintf("it would have taken longer than %s. Ask about a shorter period.", p.s.limits.Part)
	}
	problem := p.s.problemOf(err)
	if problem.Status >= 500 {
		p.s.log.Error("a part of a page has failed", "request_id", requestID(p.r), "problem", problem.kind.slug, "error", err.Error())
	}
	return problem.Error()
}

// A collector takes the page of a request that a case makes, in place of a client.
type collector struct {
	page     *pages.Page
	problem  *Problem
	redirect phrase.Address
}

type collectorKey struct{}

func collectorOf(ctx context.Context) *collector {
	c, _ := ctx.Value(collectorKey{}).(*collector)
	return c
}
