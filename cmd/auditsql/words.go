package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// next prints what to type next. What was asked as of a moment is looked into as of the same.
func (a *app) next(p *tui.Page, steps []view.Step) {
	flag := a.cmd.Flags().Lookup(momentFlag)
	commands := make([]tui.Entry, len(steps))
	for i, s := range steps {
		args := s.Args
		if flag != nil && flag.Changed {
			if cmd, _, err := a.cmd.Root().Find(args[:1]); err == nil && cmd.Flags().Lookup(momentFlag) != nil {
				args = slices.Concat(args[:1], []string{"--" + momentFlag, given(flag)[0]}, args[1:])
			}
		}
		commands[i] = tui.Entry{Name: a.typed(args...), About: s.About}
	}
	p.Next(commands)
}

// typed is a command on this store, as a person would type it.
func (a *app) typed(args ...string) string {
	words := []string{"auditsql"}
	if dir := a.shownDir(); dir != defaultDir() {
		words = append(words, "-d", shellQuote(dir))
	}
	for _, arg := range a.withZone(args) {
		words = append(words, shellQuote(arg))
	}
	return harmless(strings.Join(words, " "))
}

// withZone keeps the zone of --tz in a command, if that command has the flag too: the times that it prints are to be compared
// with those on the screen.
func (a *app) withZone(args []string) []string {
	if a.zoneName == "" || a.cmd == nil {
		return args
	}
	cmd, _, err := a.cmd.Root().Find(args[:1])
	if err != nil || cmd.Flags().Lookup("tz") == nil {
		return args
	}
	zone := []string{"--tz", a.zoneName}
	if end := slices.Index(args, "--"); end >= 0 {
		return slices.Insert(slices.Clone(args), end, zone...)
	}
	return append(slices.Clone(args), zone...)
}

func (a *app) shownDir() string {
	if a.dirAs != "" {
		return a.dirAs
	}
	return a.dir
}

// called is a hash in a sentence: its label and its first digits.
func called(h audit.Hash, label *string) string {
	brief := h.String()[:briefHash]
	if label != nil {
		return tui.CutTo(legible.Visible(*label), audit.MaxLabel, true) + " (" + brief + ")"
	}
	return brief
}

// asker is an agent in a sentence.
func asker(r *view.Record) string {
	if r.AgentID == nil {
		return "an anonymous agent"
	}
	return called(*r.AgentID, r.AgentLabel)
}

// times is a span of time in a sentence.
func times(first, last uint64, c when.Clock) string {
	if first == last {
		return c.Format(first)
	}
	return c.Format(first) + " to " + c.Format(last)
}

// roughly is a length of time in its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
