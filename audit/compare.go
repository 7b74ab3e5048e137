package audit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/sqlstore"
)

// A Window is a time, both ends included.
type Window struct{ From, To uint64 }

// length is how many timestamps the window has.
func (w Window) length() float64 { return float64(w.To-w.From) + 1 }

// CompareOptions say which windows are compared, and by what.
type CompareOptions struct {
	By            TopBy
	Before, After Window // Before is the earlier one. They may have one timestamp in common, see Counted
	Filter        Filter // what counts in both; its From, To and order have no effect, and its Limit counts entries, 0 is DefaultTop

	// Budget can end the count of agents whose figures are not stored.
	Budget Budget
}

// Counted returns the windows whose records count. Where Before ends with the timestamp with which After begins, the records of it
// count in After alone. ok is false if the windows overlap: they have more in common, or Before has no other timestamp.
func (o *CompareOptions) Counted() (before, after Window, ok bool) {
	before, after = o.Before, o.After
	if before.To == after.From && before.From < before.To {
		before.To--
	}
	return before, after, before.To < after.From || after.To < before.From
}

// Change says how an entry of a comparison differs between the windows. Counts are compared by the length of their window, so
// that a day can be compared with an hour.
type Change string

// The changes.
const (
	Came   Change = "came"   // it is in the later window alone
	Went   Change = "went"   // it is in the earlier window alone
	Grew   Change = "grew"   // it is more frequent in the later window
	Shrank Change = "shrank" // it is less frequent in the later window
	Same   Change = "same"
)

// Comparison is the result of CompareWindows.
type Comparison struct {
	Entries []CompareEntry // the greatest differences in frequency first, then by hash or text
	More    bool           // there are more entries than the limit

	// Changes counts all entries, those that the limit left out included.
	Changes map[Change]uint64

	// Before and After are the totals of the windows: records, or pieces of evidence; and how many records have no such thing.
	Before, After               uint64
	WithoutBefore, WithoutAfter uint64

	// Missed is 0 unless there were too many different things to count in memory. Then a count can be too small by up to Missed,
	// and what has come or gone may have been there as often as that.
	Missed uint64

	// Incomplete says that the budget ended the count. The figures are of the records that were counted until then.
	Incomplete bool
}

// CompareEntry is an agent, subject, predicate, lens, value of an attribute, assertion, source or lifecycle.
type CompareEntry struct {
	Hash          *Hash
	Text          *string
	Before, After uint64 // records; of evidence: pieces
	Change        Change

	rate float64 // of After, less that of Before
}

// CompareWindows counts what records have in common in two windows of time, as Top does, and says what came, went, grew and
// shrank. It takes as long as both counts.
func (db *DB) CompareWindows(ctx context.Context, o CompareOptions) (*Comparison, error) {
	return compareWindows(ctx, db, o)
}

func compareWindows(ctx context.Context, in asked, o CompareOptions) (*Comparison, error) {
	c := &Comparison{Entries: []CompareEntry{}, Changes: map[Change]uint64{}}
	_, err := ParseTopBy(string(o.By))
	for _, w := range []Window{o.Before, o.After} {
		if err == nil && w.From > w.To {
			err = invalid("a window ends before it begins")
		}
	}
	_, _, apart := o.Counted()
	switch {
	case err != nil:
	case !apart:
		err = invalid("the windows overlap")
	case o.Before.From > o.After.From:
		err = invalid("the window that is to be before is the later one")
	default:
		err = in.inParts(ctx, o.Filter.AsOf, func(p *parts) error { return p.compareWindows(ctx, c, o) })
	}
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	return c, nil
}

func (p *parts) compareWindows(ctx context.Context, c *Comparison, o CompareOptions) error {
	p, err := p.now(ctx)
	if err != nil {
		return err
	}
	before, after, _ := o.Counted()
	entries := map[string]*CompareEntry{}
	for _, w := range []struct {
		Window
		total, without *uint64
		count          func(*CompareEntry) *uint64
	}{
		{before, &c.Before, &c.WithoutBefore, func(e *CompareEntry) *uint64 { return &e.Before }},
		{after, &c.After, &c.WithoutAfter, func(e *CompareEntry) *uint64 { return &e.After }},
	} {
		g := o.Filter
		g.From, g.To, g.Limit = &w.From, &w.To, 0
		if g.none() {
			continue
		}
		counted, err := p.countKeys(ctx, o.By, g, o.Budget)
		if err != nil {
			return err
		}
		*w.total, *w.without = counted.total, counted.without
		c.Missed = max(c.Missed, counted.missed)
		c.Incomplete = c.Incomplete || counted.cut
		for key, n := range counted.counts {
			e := entries[key]
			if e == nil {
				e = &CompareEntry{}
				e.Hash, e.Text = o.By.named(key)
				entries[key] = e
			}
			*w.count(e) = n
		}
	}
	for _, e := range entries {
		// By the lengths that were asked for: an hour is as long as the hour that follows it.
		e.compare(o.Before.length(), o.After.length())
		c.Changes[e.Change]++
		c.Entries = append(c.Entries, *e)
	}
	slices.SortFunc(c.Entries, func(a, b CompareEntry) int {
		return cmp.Or(cmp.Compare(math.Abs(b.rate), math.Abs(a.rate)), a.compareName(&b))
	})
	if limit := orDefault(o.Filter.Limit, DefaultTop); len(c.Entries) > limit {
		c.Entries, c.More = c.Entries[:limit:limit], true
	}
	return nil
}

// compare finds the change between windows of some lengths.
func (e *CompareEntry) compare(before, after float64) {
	// Both rates are multiplied by both lengths: so equal counts in windows of one length are equal.
	e.rate = float64(e.After)*before - float64(e.Before)*after
	switch {
	case e.Before == 0:
		e.Change = Came
	case e.After == 0:
		e.Change = Went
	case e.rate > 0:
		e.Change = Grew
	case e.rate < 0:
		e.Change = Shrank
	default:
		e.Change = Same
	}
}

// compareName orders entries by hash or text.
func (e *CompareEntry) compareName(o *CompareEntry) int {
	if e.Hash != nil && o.Hash != nil {
		return e.Hash.Compare(*o.Hash)
	}
	return strings.Compare(deref(e.Text, ""), deref(o.Text, ""))
}

// keyCounts are how often each key was met.
type keyCounts struct {
	counts                 map[string]uint64 // by the text of a key, or the bytes of a hash
	total, without, missed uint64
	cut                    bool // the budget ended the count
}

// countKeys counts what a filter selects by a key.
func (p *parts) countKeys(ctx context.Context, by TopBy, f Filter, b Budget) (*keyCounts, error) {
	k := &keyCounts{counts: map[string]uint64{}}
	if by == TopAgents {
		agents, cut, err := p.agentCounts(ctx, f, b)
		for _, a := range agents {
			if a.Agent == nil {
				k.without = uint64(a.Audits)
				continue
			}
			k.counts[string(a.Agent[:])] = uint64(a.Audits)
			k.total += uint64(a.Audits)
		}
		k.cut = cut
		return k, err
	}
	found, _, err := p.frequencies(ctx, by, f, sqlstore.RankCount, Budget{})
	for _, c := range found.Top {
		k.counts[c.Key] = uint64(c.Count)
	}
	k.total, k.without, k.missed = uint64(found.Total), uint64(found.Without), uint64(found.Missed)
	return k, err
}
