package web

import (
	"context"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// edge is the timestamp of the oldest or the newest record of a filter, nil when it selects none.
func (p *sheet) edge(ctx context.Context, f audit.Filter, newest bool) (*uint64, error) {
	f.Descending, f.ByAdmission = newest, false
	// A damaged record has no time that could be relied on. A few more are read for that case.
	f.Limit = 8
	for q, err := range readable(p.s.store.Audits(ctx, f), nil) {
		if err != nil {
			return nil, err
		}
		return &q.Timestamp, nil
	}
	return nil, nil
}

// lately sets the time of a filter that has none: the last span up to now, or where nothing happened in it, the same span up to the
// newest record. What a page shows is then never empty only because nobody has asked anything since. stale is the newest
// record if the span ends there. A span that would begin before the oldest record begins with that.
func (p *sheet) lately(ctx context.Context, f *audit.Filter, span time.Duration) (stale *uint64, err error) {
	if f.From != nil || f.To != nil {
		return nil, nil
	}
	newest, err := p.edge(ctx, *f, true)
	if err != nil {
		return nil, err
	}
	now := p.nowTimestamp()
	length := when.Units(span, p.clock.Unit)
	end := now
	if newest != nil && (p.frozen || *newest < now-min(length, now) || *newest > now) {
		end = *newest
		stale = newest
	}
	from := end - min(length, end)
	oldest, err := p.edge(ctx, *f, false)
	if err != nil {
		return nil, err
	}
	if oldest != nil && *oldest > from && *oldest <= end {
		from = *oldest
	}
	f.From, f.To = &from, &end
	return stale, nil
}
