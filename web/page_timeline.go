package web

import (
	"context"
	"fmt"
	"html/template"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/web/internal/chart"
	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// The sizes of buckets, the smallest first, with the longest time that a page shows in each by itself. A picture with more columns is
// not read.
var bucketSizes = []struct {
	size    audit.BucketSize
	length  time.Duration
	longest time.Duration
}{
	{audit.ByMinute, time.Minute, shownByMinute},
	{audit.ByHour, time.Hour, 8 * 24 * time.Hour},
	{audit.ByDay, 24 * time.Hour, 1 << 62},
}

// shownByMinute is the longest time that a page shows by the minute.
const shownByMinute = 3 * time.Hour

// mostColumns is how many columns a picture has at most. A longer time is shown in larger buckets, or cut at its beginning.
const mostColumns = 400

// sizeFor is the size of bucket for a span of time.
func (p *sheet) sizeFor(f *audit.Filter) audit.BucketSize {
	length := p.lengthOf(*f.From, *f.To)
	for _, b := range bucketSizes {
		if length <= b.longest {
			return b.size
		}
	}
	return audit.ByDay
}

// lengthOf is how long a span of timestamps is.
func (p *sheet) lengthOf(from, to uint64) time.Duration {
	a, ok := p.clock.Unit.Time(from)
	b, ok2 := p.clock.Unit.Time(to)
	if !ok || !ok2 {
		return 1 << 62
	}
	return b.Sub(a)
}

// smaller is the size of bucket in which a bucket is looked at, and whether there is one.
func smaller(size audit.BucketSize) (audit.BucketSize, bool) {
	if size == audit.ByQuarter { // which no page chooses by itself
		return audit.ByMinute, true
	}
	for i, b := range bucketSizes {
		if b.size == size && i > 0 {
			return bucketSizes[i-1].size, true
		}
	}
	return 0, false
}

// one and many are buckets of a size in a sentence.
func one(size audit.BucketSize) string {
	if size == audit.ByQuarter {
		return "quarter of an hour"
	}
	return size.String()
}

func many(size audit.BucketSize) string {
	if size == audit.ByQuarter {
		return "quarters of an hour"
	}
	return size.String() + "s"
}

// timelinePage shows how many records there were over time.
func (s *Server) timelinePage(ctx context.Context, p *sheet) error {
	f, err := p.filter(ctx)
	if err != nil {
		return err
	}
	stale, err := p.lately(ctx, &f, 24*time.Hour)
	if err != nil {
		return err
	}
	if err := p.close(ctx, &f); err != nil {
		return err
	}
	size := p.sizeFor(&f)
	if by := p.q.own("by", ""); by != "" {
		if size, err = audit.ParseBucketSize(by); err != nil {
			return problem(kindParameter, "by: want minute, quarter, hour or day").at("by")
		}
	}
	p.fix(&f)
	p.absolute.Set("by", size.String())
	p.page.Title = "Timeline by the " + one(size)
	p.page.Heading = line(pages.Words("Timeline by the " + one(size) + ","))
	p.page.Heading = append(p.page.Heading, p.when(*f.From), pages.Words("to"), p.when(*f.To))
	p.page.Kind = "When did it happen?"
	if stale != nil && !p.frozen {
		p.page.Notes = append(p.page.Notes, "Nothing was recorded lately. The time shown ends with the newest record.")
	}
	p.earlierAndLater(&f)
	p.command([]string{"timeline", "--by", size.String()}, nil, p.absolute)
	p.page.SQL = phrase.Timeline(size.String(), p.spoken(f))
	p.forms("/v1/timeline", p.absolute, "json", "ndjson", "csv")

	top := pages.Section{Form: p.filterForm("/go/timeline", "Filter", true)}
	top.Form.Fields = append([]pages.Field{{Name: "by", Label: "Columns", Kind: "select", Value: size.String(), Choices: []pages.Choice{{Value: "minute", Label: "minutes"}, {Value: "quarter", Label: "quarters of an hour"}, {Value: "hour", Label: "hours"}, {Value: "day", Label: "days"}}}}, top.Form.Fields...)
	p.page.Sections = append([]pages.Section{top}, p.together(ctx,
		func(ctx context.Context) (pages.Section, error) {
			section, _, err := p.timeline(ctx, size, f, p.absolute)
			return section, err
		},
		func(ctx context.Context) (pages.Section, error) {
			return p.newest(ctx, "Records in this time, the newest first", f, 25)
		},
	)...)
	return nil
}

// close gives a filter that has one end of its time the other one.
func (p *sheet) close(ctx context.Context, f *audit.Filter) error {
	if f.From != nil && f.To != nil {
		return nil
	}
	oldest, newest, err := p.extent(ctx, *f)
	switch {
	case err != nil:
		return err
	case f.From == nil && oldest == nil: // nothing fits
		f.From = f.To
	case f.From == nil:
		f.From = oldest
	}
	switch {
	case f.To == nil && newest == nil:
		f.To = f.From
	case f.To == nil:
		f.To = newest
	}
	return nil
}

// earlierAndLater are the times beside the one that is shown, as long as it.
func (p *sheet) earlierAndLater(f *audit.Filter) {
	from, to := *f.From, *f.To
	length := to - from
	values := func(from, to uint64) phrase.Address {
		return p.withValues(p.path, with(p.absolute, "from", p.clock.Format(from), "to", p.clock.Format(to)))
	}
	if from > length {
		p.page.Previous = pages.Step{Address: values(from-length-1, from-1), Name: "Earlier"}
	}
	if to < audit.MaxTimestamp-length {
		p.page.Next = pages.Step{Address: values(to+1, to+length+1), Name: "Later"}
	}
}

// timeline is the picture, its table, and what stands out. values are the parameters of the page to which a column leads.
func (p *sheet) timeline(ctx context.Context, size audit.BucketSize, f audit.Filter, values map[string][]string) (pages.Section, *view.Timeline, error) {
	f.Limit = mostColumns
	var t *view.Timeline
	err := p.expensive(ctx, func() (err error) {
		t, err = p.viewer.Timeline(ctx, size, f)
		return err
	})
	if err != nil {
		return pages.Section{Heading: "Over time"}, nil, err
	}
	section := pages.Section{Heading: "Over time"}
	about := counted(t.Audits, "record", "records") + " of " + counted(t.Agents, "agent", "agents")
	switch {
	case t.Anonymous > 0 && t.Agents == 0:
		about = counted(t.Audits, "record", "records") + ", all anonymous"
	case t.Anonymous > 0:
		about += fmt.Sprintf(", %s of them anonymous", counted(t.Anonymous, "record", "records"))
	}
	section.About = line(pages.Words(about + "."))
	if t.Unapproved > 0 {
		section.About = append(section.About, pages.Part{Text: counted(t.Unapproved, "record has", "records have") + " evidence that nobody approved.", Mark: true,
			Link: p.withValues("/list", with(without(values, "by"), "unapproved", "true"))})
	}
	if t.Incomplete {
		section.Notes = append(section.Notes, line(pages.Part{Text: "These are too many records to count: the figures are of those that were counted in time. Ask about a shorter period.", Mark: true}))
	}
	if t.Cut {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("Only the latest %d %s are shown; there are earlier ones.", mostColumns, many(size)))))
	} else if t.Sparse {
		section.Notes = append(section.Notes, line(pages.Words("Empty "+many(size)+" are left out of the table.")))
	}
	if len(t.Buckets) == 0 || t.Audits == 0 {
		section.Notes = append(section.Notes, line(pages.Words("Nothing was recorded in this time, with these filters.")))
		return section, t, nil
	}
	if section.Picture, err = p.histogram(t, size, &f, values); err != nil {
		return section, t, err
	}
	section.Legend = [][]pages.Part{
		line(pages.Words("Columns: records by the " + one(size) + ".")), line(pages.Part{Text: "Hatched: with evidence that nobody approved.", Mark: true}), line(pages.Words("Each column is a link; drag over several to select a time.")),
	}
	section.Brush = &pages.Brush{Path: phrase.To("/timeline", nil)}
	section.Brush.Fields = hidden(p.kept(without(values, "by", "from", "to")))
	section.Sections = append(section.Sections, p.bucketTable(t, size, values))
	if len(t.Silent) > 0 {
		section.Sections = append(section.Sections, p.silent(t))
	}
	return section, t, nil
}

// bucketAddress is where a bucket leads: to the same time in smaller buckets, or to its records.
func (p *sheet) bucketAddress(b *view.Bucket, size audit.BucketSize, values map[string][]string) phrase.Address {
	chosen := with(without(values, "by"), "from", b.StartTime, "to", b.EndTime)
	if next, ok := smaller(size); ok {
		return p.withValues("/timeline", with(chosen, "by", next.String()))
	}
	return p.withValues("/list", chosen)
}

// bucketName is when a bucket begins.
func (p *sheet) bucketName(start uint64, size audit.BucketSize) string {
	t, ok := p.clock.Unit.Time(start)
	if t = t.In(p.clock.Zone); !ok || t.Year() > 9999 {
		return p.clock.Format(start)
	}
	if size == audit.ByDay {
		return t.Format("2006-01-02 Mon")
	}
	return t.Format("2006-01-02 15:04")
}

func (p *sheet) histogram(t *view.Timeline, size audit.BucketSize, f *audit.Filter, values map[string][]string) (template.HTML, error) {
	first, last := &t.Buckets[0], &t.Buckets[len(t.Buckets)-1]
	h := chart.Histogram{Span: chart.Span{From: first.Start, To: last.End}}
	if t.Sparse && !t.Cut {
		h.Span = chart.Span{From: min(first.Start, *f.From), To: max(last.End, *f.To)}
	}
	h.Label = fmt.Sprintf("Records by the %s from %s to %s", one(size), first.StartTime, last.EndTime)
	h.Ticks = chart.Ticks(h.Span, p.clock.Unit, p.clock.Zone)
	for i := range t.Buckets {
		b := &t.Buckets[i]
		name := fmt.Sprintf("%s, %s of %s", p.bucketName(b.Start, size), counted(b.Audits, "record", "records"), counted(b.Agents, "agent", "agents"))
		if b.Unapproved > 0 {
			name += fmt.Sprintf(", %d not approved", b.Unapproved)
		}
		h.Columns = append(h.Columns, chart.Column{
			From: b.Start, To: b.End, Count: b.Audits, Marked: b.Unapproved, Name: name, Start: b.StartTime, End: b.EndTime,
			Address: p.bucketAddress(b, size, values),
		})
	}
	return h.SVG()
}

// bucketTable has the same as the picture.
func (p *sheet) bucketTable(t *view.Timeline, size audit.BucketSize, values map[string][]string) pages.Section {
	table := &pages.Table{
		Caption: "Records by the " + one(size) + "; those without records are left out",
		Columns: []pages.Column{{Name: "from"}, {Name: "records", Right: true}, {Name: "agents", Right: true}, {Name: "not approved", Right: true}},
	}
	empty := 0
	for i := range t.Buckets {
		b := &t.Buckets[i]
		if b.Audits == 0 {
			empty++
			continue
		}
		table.Rows = append(table.Rows, pages.Row{Marked: b.Unapproved > 0, Cells: [][]pages.Part{
			line(pages.To(p.bucketAddress(b, size, values), p.bucketName(b.Start, size))),
			line(pages.Count(b.Audits)), line(pages.Count(b.Agents)), line(pages.Count(b.Unapproved)),
		}})
	}
	section := pages.Section{Aside: fmt.Sprintf("The same as a table: %s with records", counted(len(table.Rows), one(size), many(size))), Table: table}
	if empty > 0 && !t.Sparse {
		section.Notes = append(section.Notes, line(pages.Words(counted(empty, one(size), many(size))+" had no records.")))
	}
	return section
}

// silent lists the agents that have stopped.
func (p *sheet) silent(t *view.Timeline) pages.Section {
	const most = 10
	table := &pages.Table{
		Caption: "They wrote regularly, and then stopped",
		Columns: []pages.Column{{Name: "agent"}, {Name: "last heard"}, {Name: "records in this time", Right: true}, {Name: "expected since", Right: true}},
	}
	for i := range t.Silent {
		if i == most {
			break
		}
		one := &t.Silent[i]
		table.Rows = append(table.Rows, pages.Row{Cells: [][]pages.Part{
			line(p.agent(&one.AgentID, one.AgentLabel)), line(p.at(one.Last)), line(pages.Count(one.Audits)), line(pages.Count(one.Expected)),
		}})
	}
	section := pages.Section{Heading: "Silent agents", Table: table}
	if p.frozen {
		section.About = line(pages.Words("As of the newest record that was there."))
	}
	if len(t.Silent) > most || t.MoreSilent {
		count := fmt.Sprint(len(t.Silent))
		if t.MoreSilent {
			count = "more than " + count
		}
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("The %d heard last are shown, of %s.", most, count))))
	}
	return section
}

// newest is a short list of records with a link to all of them.
func (p *sheet) newest(ctx context.Context, heading string, f audit.Filter, most int) (pages.Section, error) {
	section := pages.Section{Heading: heading}
	f.Descending, f.Limit = true, most
	table, _, more, damaged, err := p.records(ctx, f)
	if err != nil {
		return section, err
	}
	table.Caption, table.Named = heading, true
	section.Table = table
	section.Notes = damaged
	values := without(p.absolute, "by", "limit", "after")
	if f.From != nil {
		values = with(values, "from", p.clock.Format(*f.From))
	}
	if f.To != nil {
		values = with(values, "to", p.clock.Format(*f.To))
	}
	if f.Unapproved {
		values = with(values, "unapproved", "true")
	}
	if more {
		section.Notes = append(section.Notes, line(pages.Words(fmt.Sprintf("These are the newest %d; there are more.", most)), pages.To(p.withValues("/list", with(values, "desc", "true")), "Show all of them")))
	}
	return section, nil
}
