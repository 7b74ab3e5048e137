package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
)

// A page is what a command lays out for people that answers more than one question: headings, lines, and
// small tables below them, none of it wider than the terminal.
type page struct {
	a    *app
	r    *reading
	out  *bufio.Writer
	cuts cuts
}

func (a *app) page(r *reading) *page {
	return &page{a: a, r: r, out: bufio.NewWriterSize(a.out, 64<<10)}
}

const indent = "  "

// head prints a heading, and behind it what belongs to it.
func (p *page) head(title, about string) {
	fmt.Fprintf(p.out, "%s%s\n", p.a.strong(title), p.fold(about, displayWidth(title), indent))
}

// line prints a titled value, which goes on below itself when it is long.
func (p *page) line(title, value string, alarm bool) {
	const titles = len("answered")
	value = p.fold(value, len(indent)+titles+len(gap), strings.Repeat(" ", len(indent)+titles+len(gap)))
	if alarm {
		value = p.alarmed(value)
	}
	fmt.Fprintf(p.out, "%s%s%s%s\n", indent, pad(title, titles, false), gap, value)
}

// note prints an indented line about what is above it.
func (p *page) note(format string, args ...any) {
	fmt.Fprintf(p.out, "%s%s\n", indent, p.fold(fmt.Sprintf(format, args...), len(indent), indent))
}

// alarmed colours each line for itself, so that no colour reaches over a line's end.
func (p *page) alarmed(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		text := strings.TrimLeft(line, " ")
		lines[i] = line[:len(line)-len(text)] + p.a.alarm(text)
	}
	return strings.Join(lines, "\n")
}

// fold breaks a text that begins behind taken columns into lines; those after the first begin with margin.
func (p *page) fold(s string, taken int, margin string) string {
	width := p.a.width()
	if width == 0 || taken+displayWidth(s) <= width {
		return s
	}
	// Its first line is shorter or longer than the others: what makes the difference is put before it.
	before := strings.Repeat("x", min(max(taken-len(margin), 0), width-len(margin)-1))
	folded := strings.TrimPrefix(wrap(before+s, width-len(margin)), before)
	return strings.ReplaceAll(folded, "\n", "\n"+margin)
}

// table prints an indented table.
func (p *page) table(columns []column, rows [][]cell) {
	width := p.a.width()
	if width > 0 {
		width -= len(indent)
	}
	drawn, cut := p.a.tableWithin(width, columns, rows)
	if cut.width > 0 {
		cut.width += len(indent)
	}
	p.cuts.add(cut)
	for line := range strings.Lines(drawn) {
		p.out.WriteString(indent + line)
	}
}

// A step is a command that may be worth typing next, and what it would tell.
type step struct {
	args  []string
	about string
}

// next prints what to type next: whole commands, which never break.
func (p *page) next(steps []step) {
	if len(steps) == 0 {
		return
	}
	p.head("next", "")
	lines := make([]string, len(steps))
	command, about := 0, 0
	for i, s := range steps {
		lines[i] = indent + p.a.typed(s.args...)
		command, about = max(command, displayWidth(lines[i])), max(about, displayWidth(s.about))
	}
	most := p.a.width()
	if most > 0 && command+len(gap)+about > most {
		command = 0 // not below each other, but behind the commands
	}
	for i, s := range steps {
		if line := pad(lines[i], command, false) + gap + s.about; most == 0 || displayWidth(line) <= most {
			lines[i] = line
		}
		fmt.Fprintln(p.out, lines[i])
	}
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

// end prints what is left, and says on standard error what was cut.
func (p *page) end() error {
	if err := p.out.Flush(); err != nil {
		return err
	}
	p.cuts.tell(p.a)
	return nil
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
	if label := r.labels.Of(h); label != "" && len(r.labels.Hashes(label)) == 1 && visible(label) == label {
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
		return cutTo(visible(label), audit.MaxLabel, true) + " (" + brief + ")"
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
