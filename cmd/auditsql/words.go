package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
)

// A step is a command that may be worth typing next, and what it would tell.
type step struct {
	args  []string
	about string
}

// next prints what to type next.
func (a *app) next(p *tui.Page, steps []step) {
	commands := make([]tui.Entry, len(steps))
	for i, s := range steps {
		commands[i] = tui.Entry{Name: a.typed(s.args...), About: s.about}
	}
	p.Next(commands)
}

// typed is a command on this store, as a person would type it.
func (a *app) typed(args ...string) string {
	words := []string{"auditsql"}
	if dir := a.shownDir(); dir != defaultDir() {
		words = append(words, "-d", shellQuote(dir))
	}
	for _, arg := range args {
		words = append(words, shellQuote(arg))
	}
	return harmless(strings.Join(words, " "))
}

func (a *app) shownDir() string {
	if a.dirAs != "" {
		return a.dirAs
	}
	return a.dir
}

// prefixes are the lengths to which hashes are cut in commands to be typed.
var prefixes = []int{briefHash, 12, 16, 24, 32}

// query is as much of a record's id as is unambiguous.
func (r *reading) query(ctx context.Context, id audit.QueryID) string {
	s := id.String()
	for _, n := range prefixes {
		if found, err := r.Resolve(ctx, s[:n]); err == nil && len(found) == 1 {
			return s[:n]
		}
	}
	return s
}

// name is how a hash is best typed: its label, if that is the label of nothing else, or as much of it as is
// unambiguous.
func (r *reading) name(ctx context.Context, h audit.Hash, kinds audit.HashKind) string {
	if label := r.labels.Of(h); label != "" && len(r.labels.Hashes(label)) == 1 && legible.Visible(label) == label {
		return label
	}
	s := h.String()
	for _, n := range prefixes {
		found, err := r.ResolveHash(ctx, s[:n], kinds)
		var ambiguous *audit.AmbiguousError
		if err == nil && found == h {
			return s[:n]
		}
		if err != nil && !errors.As(err, &ambiguous) {
			break
		}
	}
	return s
}

// called is a hash in a sentence: its label and its first digits.
func (r *reading) called(h audit.Hash) string {
	brief := h.String()[:briefHash]
	if label := r.labels.Of(h); label != "" {
		return tui.CutTo(legible.Visible(label), audit.MaxLabel, true) + " (" + brief + ")"
	}
	return brief
}

// asker is an agent in a sentence.
func (r *reading) asker(agent *audit.AgentID) string {
	if agent == nil {
		return "an anonymous agent"
	}
	return r.called(*agent)
}

// apart says how far apart two timestamps are, as in "7 minutes before".
func (r *reading) apart(t, from uint64) string {
	a, ok := r.clock.Unit.Time(t)
	b, ok2 := r.clock.Unit.Time(from)
	switch {
	case !ok || !ok2:
		return r.clock.Format(t)
	case t == from:
		return "this one"
	case b.Sub(a).Abs() < time.Second && t < from:
		return "just before"
	case b.Sub(a).Abs() < time.Second:
		return "just after"
	}
	return humanize.RelTime(a, b, "before", "after")
}

// times names a span of time.
func (r *reading) times(first, last uint64) string {
	if first == last {
		return r.clock.Format(first)
	}
	return r.clock.Format(first) + " to " + r.clock.Format(last)
}
