package web

import (
	"context"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// extent returns the timestamps of the oldest and the newest record of a filter, nil when it selects none.
func (p *sheet) extent(ctx context.Context, f audit.Filter) (oldest, newest *uint64, err error) {
	first, last, ok, err := p.s.store.Extent(ctx, f)
	if err != nil || !ok {
		return nil, nil, err
	}
	return &first, &last, nil
}

// lately sets the time of a filter that has none: the last span up to now, or where nothing happened in it, the same span up to the
// newest record. What a page shows is then never empty only because nobody has asked anything since. stale is the newest
// record if the span ends there. A span that would begin before the oldest record begins with that.
//
// It begins with a whole minute, or if it is long with a whole quarter of an hour, of which the counts are stored: a busy minute has tens of
// thousands of records, and to count a part of them they are looked at one by one. So in a picture by the minute the first column is not
// lower than the others only because it has less time.
func (p *sheet) lately(ctx context.Context, f *audit.Filter, span time.Duration) (stale *uint64, err error) {
	if f.From != nil || f.To != nil {
		return nil, nil
	}
	oldest, newest, err := p.extent(ctx, *f)
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
	if oldest != nil && *oldest > from && *oldest <= end {
		from = *oldest
	}
	from -= from % when.Units(wholeTime(span), p.clock.Unit)
	f.From, f.To = &from, &end
	return stale, nil
}

// wholeTime is what the begin of a span of time is a multiple of. Counts are stored for both, and in every zone they begin at the same
// instants.
func wholeTime(span time.Duration) time.Duration {
	if span <= shownByMinute {
		return time.Minute
	}
	return 15 * time.Minute
}

// both sets the bound of a time that a reader left out: a time that only ends begins a span before, and one that only begins ends now.
func (p *sheet) both(f *audit.Filter, span time.Duration) (from, to uint64) {
	if f.To == nil {
		end := p.nowTimestamp()
		if f.From != nil {
			end = max(end, *f.From)
		}
		f.To = &end
	}
	if f.From == nil {
		begin := *f.To - min(when.Units(span, p.clock.Unit), *f.To)
		f.From = &begin
	}
	return *f.From, *f.To
}
