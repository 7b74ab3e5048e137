package tui_test

import (
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

// Commands never break. What they are about stands below each other where there is room, then after each, then not at all.
func TestWhatToTypeNext(t *testing.T) {
	t.Parallel()
	commands := []tui.Entry{{Name: "auditsql trace 4058e593", About: "why"}, {Name: "auditsql impact --source f2bf0ec5aabbccddeeff", About: "what came from there"}}
	for width, want := range map[int]string{
		0:  "next\n  auditsql trace 4058e593                        why\n  auditsql impact --source f2bf0ec5aabbccddeeff  what came from there\n",
		60: "next\n  auditsql trace 4058e593  why\n  auditsql impact --source f2bf0ec5aabbccddeeff\n",
		40: "next\n  auditsql trace 4058e593  why\n  auditsql impact --source f2bf0ec5aabbccddeeff\n",
	} {
		screen, out, _ := into(width)
		p := screen.Page()
		p.Next(commands)
		p.Next(nil)
		if err := p.End(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			t.Errorf("%d columns: got\n%s\nwant\n%s", width, got, want)
		}
	}
}

// Each part of a page folds below itself, and no line is wider than the terminal.
func TestAPageFolds(t *testing.T) {
	t.Parallel()
	screen, out, _ := into(40)
	p := screen.Page()
	p.Head("query", "  4058e593 which was asked by an agent of some name")
	p.Line("asked", "supplier/Northwind / payment_account, lens Consensus")
	p.Alarm("! the answer itself is Proposed, not Approved")
	p.Note("(%d more of less weight; -o plain has all of them)", 5)
	p.HeadAlarm("evidence", " (12, total weight 10.9, ", "3 not Approved", ")")
	p.HeadAlarm("evidence", " (1, total weight 1, ", "1 Proposed", ")")
	p.Text("")
	p.List([]tui.Entry{{Name: "recent", About: "the newest records, newest first\n[limit]"}, {Name: "x", About: "y"}})
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	want := `query  4058e593 which was asked by an
  agent of some name
  asked     supplier/Northwind /
            payment_account, lens
            Consensus
            ! the answer itself is
            Proposed, not Approved
  (5 more of less weight; -o plain has
  all of them)
evidence (12, total weight 10.9,
  3 not Approved)
evidence (1, total weight 1, 1 Proposed)

recent  the newest records, newest first
        [limit]
x       y
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A table of a page that had to leave something out says so at the end of the page, for the width of the terminal.
func TestAPageSaysWhatWasCut(t *testing.T) {
	t.Parallel()
	screen, _, said := into(40)
	p := screen.Page()
	p.Table([]tui.Column{{Name: "subject", Flexible: true, Least: 8}}, [][]tui.Cell{{tui.Text("a text that is a little too long for it")}})
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	if want := "(cut to 40 columns, shortened: subject;\n-o plain has it all)\n"; said.String() != want {
		t.Errorf("it said %q, want %q", said, want)
	}
}
