package tui

import (
	"bufio"
	"fmt"
	"strings"
)

// A Page is a layout for people: headings, lines, and small tables, none of them wider than the terminal. The caller makes
// its texts harmless; Table does so itself.
type Page struct {
	screen *Screen
	out    *bufio.Writer
	cuts   cuts
}

// Page begins a page. End prints it.
func (s *Screen) Page() *Page {
	return &Page{screen: s, out: bufio.NewWriterSize(s.Out, 64<<10)}
}

// Indent is before the lines below a heading.
const Indent = "  "

// Head prints a heading, and on the same line what it is about.
func (p *Page) Head(title, about string) {
	fmt.Fprintf(p.out, "%s%s\n", p.screen.Strong(title), p.Fold(about, DisplayWidth(title), Indent))
}

// HeadAlarm prints a heading with an alarm in it. Both the alarm and what is before it must be short: they are not folded. Where there is
// too little room for them on one line, the alarm is on a line of its own.
func (p *Page) HeadAlarm(title, before, alarm, after string) {
	if width := p.screen.Width(); width > 0 && DisplayWidth(title+before+alarm+after) > width {
		before = strings.TrimRight(before, " ") + "\n" + Indent
	}
	fmt.Fprintf(p.out, "%s%s%s%s\n", p.screen.Strong(title), before, p.screen.Alarm(alarm), after)
}

// titles is the width of the column of titles.
const titles = len("answered")

// Line prints a value after its title. The further lines of a long value begin below its first one.
func (p *Page) Line(title, value string) {
	fmt.Fprintf(p.out, "%s%s%s%s\n", Indent, Pad(title, titles), Gap, p.besideTitle(value))
}

// Alarm prints a value as Line does, without a title and with an alarm.
func (p *Page) Alarm(value string) {
	fmt.Fprintf(p.out, "%s%s%s%s\n", Indent, Pad("", titles), Gap, p.screen.alarmLines(p.besideTitle(value)))
}

func (p *Page) besideTitle(value string) string {
	taken := len(Indent) + titles + len(Gap)
	return p.Fold(value, taken, strings.Repeat(" ", taken))
}

// Note prints an indented line about what is above it.
func (p *Page) Note(format string, args ...any) {
	fmt.Fprintf(p.out, "%s%s\n", Indent, p.Fold(fmt.Sprintf(format, args...), len(Indent), Indent))
}

// Text prints a line of text. An empty one separates parts of a page.
func (p *Page) Text(s string) { p.out.WriteString(p.Fold(s, 0, "") + "\n") }

// TextAlarm prints a line of text with an alarm.
func (p *Page) TextAlarm(s string) {
	p.out.WriteString(p.screen.alarmLines(p.Fold(s, 0, Indent)) + "\n")
}

// Fold breaks a text into lines. taken is how many columns of the first line are already used. The other lines begin
// with margin.
func (p *Page) Fold(s string, taken int, margin string) string {
	width := p.screen.Width()
	if width == 0 || taken+DisplayWidth(s) <= width {
		return s
	}
	// The first line has another width than the others. Filling it up makes them equal.
	filled := strings.Repeat("x", min(max(taken-len(margin), 0), width-len(margin)-1))
	folded := strings.TrimPrefix(Wrap(filled+s, width-len(margin)), filled)
	return strings.ReplaceAll(folded, "\n", "\n"+margin)
}

// Table prints an indented table.
func (p *Page) Table(columns []Column, rows [][]Cell) {
	width := p.screen.Width()
	if width > 0 {
		width -= len(Indent)
	}
	drawn, cut := p.screen.table(width, columns, rows)
	if cut.width > 0 {
		cut.width += len(Indent)
	}
	p.cuts.add(cut)
	for line := range strings.Lines(drawn) {
		p.out.WriteString(Indent + line)
	}
}

// An Entry is a name or a command, and what it is about.
type Entry struct{ Name, About string }

// Next prints what to type next. Commands are never broken into lines, so that they can be pasted. Where there is no room,
// it leaves out what a command is about.
func (p *Page) Next(commands []Entry) {
	if len(commands) == 0 {
		return
	}
	p.Head("next", "")
	longest, longestAbout := 0, 0
	for _, c := range commands {
		longest, longestAbout = max(longest, len(Indent)+DisplayWidth(c.Name)), max(longestAbout, DisplayWidth(c.About))
	}
	width := p.screen.Width()
	if width > 0 && longest+len(Gap)+longestAbout > width {
		longest = 0 // then they are not aligned
	}
	for _, c := range commands {
		line := Pad(Indent+c.Name, longest) + Gap + c.About
		if width > 0 && DisplayWidth(line) > width {
			line = Indent + c.Name
		}
		p.out.WriteString(line + "\n")
	}
}

// List prints names, and beside each what it is about. Each line of that is a paragraph, and folded.
func (p *Page) List(entries []Entry) {
	longest := 0
	for _, e := range entries {
		longest = max(longest, DisplayWidth(e.Name))
	}
	margin := strings.Repeat(" ", longest+len(Gap))
	for _, e := range entries {
		before := p.screen.Strong(Pad(e.Name, longest)) + Gap
		for line := range strings.SplitSeq(e.About, "\n") {
			p.out.WriteString(before + p.Fold(line, len(margin), margin) + "\n")
			before = margin
		}
	}
}

// Flush prints what there is so far.
func (p *Page) Flush() error { return p.out.Flush() }

// End prints what is left, and says on standard error what was cut.
func (p *Page) End() error {
	if err := p.out.Flush(); err != nil {
		return err
	}
	p.cuts.tell(p.screen)
	return nil
}
