package web

import (
	"maps"
	"net/url"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/internal/when"
)

// lasting returns parameters that select at any time what these ones select now. f is the filter that was read from them: its times
// are absolute, and its hashes whole. The first digits of a hash may be those of several one day, and a name may be given to another
// hash.
func lasting(values url.Values, f *audit.Filter, clock when.Clock) url.Values {
	lasts := maps.Clone(values)
	for _, name := range []string{"from", "to", "around", "not-from", "not-to"} {
		delete(lasts, name)
	}
	if !lasts.Has("not-around") {
		delete(lasts, "window")
	}
	switch {
	case f.From == nil:
	case *f.From > audit.MaxTimestamp: // nothing is after the last timestamp, and no timestamp says so
		lasts.Set("not-to", clock.Format(audit.MaxTimestamp))
	default:
		lasts.Set("from", clock.Format(*f.From))
	}
	if f.To != nil && *f.To <= audit.MaxTimestamp {
		lasts.Set("to", clock.Format(*f.To))
	}
	hashes := url.Values{}
	add := func(f *audit.Filter, name func(string) string) {
		for of, h := range map[string]*audit.Hash{"agent": f.Agent, "result": f.Result, "assertion": f.Assertion, "source": f.Source} {
			if h != nil {
				hashes.Add(name(of), h.String())
			}
		}
	}
	itself := func(name string) string { return name }
	add(f, itself)
	for _, list := range f.AnyOf {
		for i := range list {
			add(&list[i], itself)
		}
	}
	for i := range f.NoneOf {
		g := &f.NoneOf[i]
		add(g, ask.NegationOf)
		if g.From != nil && g.To == nil { // the first timestamp: there is none before it that could be a bound
			lasts.Set("not-from", clock.Format(*g.From))
		}
	}
	if typed := lasts["not-around"]; typed != nil {
		times := make([]string, len(typed))
		for i := range typed {
			times[i] = lastingTime(typed[i], clock)
		}
		lasts["not-around"] = times
	}
	for name, all := range hashes {
		if lasts.Has(name) {
			lasts[name] = all
		}
	}
	return lasts
}

// lastingTime is a time as somebody typed it, so that it is the same one tomorrow.
func lastingTime(typed string, clock when.Clock) string {
	span, err := clock.Parse(typed)
	switch {
	case err != nil:
		return typed
	case span.First >= span.Last: // now, 6 hours ago, or an instant; one between two timestamps ends before it begins
		return clock.Format(span.Last)
	case strings.EqualFold(typed, "today") || strings.EqualFold(typed, "yesterday"):
		return clock.Format(span.First)[:len("2026-11-23")]
	}
	return typed
}
