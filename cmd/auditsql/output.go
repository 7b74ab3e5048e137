package main

import (
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
)

// form is how results are printed: as -o or --json say, else as usual. "" as usual is what AUDITSQL_OUTPUT says, else a
// table on a terminal and tab-separated lines elsewhere.
func (a *app) form(usual tui.Form) tui.Form {
	switch {
	case a.json:
		return tui.JSON
	case a.output != "":
		return tui.Form(a.output)
	case usual != "":
		return usual
	case usualForm() != "":
		return usualForm()
	case a.outTerm.Is:
		return tui.Table
	}
	return tui.Plain
}

// usualForm is the form of output that AUDITSQL_OUTPUT names, for commands that have none of their own.
func usualForm() tui.Form { return tui.Form(os.Getenv("AUDITSQL_OUTPUT")) }

// checkOutput refuses an -o that is no form of output, and flags that contradict each other.
func (a *app) checkOutput() error {
	switch usual := usualForm(); {
	case usual != "" && !slices.Contains(tui.Forms(), string(usual)):
		return usage("AUDITSQL_OUTPUT=%s: want table, plain, json, ndjson or csv", usual)
	case a.csvSafe && a.form("") != tui.CSV:
		return usage("--csv-safe goes with -o csv")
	case a.output == "":
		return nil
	case !slices.Contains(tui.Forms(), a.output):
		return usage("-o %s: want table, plain, json, ndjson or csv", a.output)
	case a.json && a.output != string(tui.JSON):
		return usage("--json and -o %s contradict each other", a.output)
	}
	return nil
}

func completeForms(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return tui.Forms(), cobra.ShellCompDirectiveNoFileComp
}

// screen is where this run prints.
func (a *app) screen() *tui.Screen {
	return &tui.Screen{Out: a.out, Err: a.err, OutTerm: a.outTerm, ErrTerm: a.errTerm, CSVSafe: a.csvSafe, Quiet: a.quiet}
}

func (a *app) rows(form tui.Form, columns ...tui.Column) *tui.Rows {
	return tui.NewRows(a.screen(), form, columns...)
}

func (a *app) facts(form tui.Form, facts ...tui.Fact) error { return a.screen().Facts(form, facts...) }

func fact(name, title string, value tui.Cell) tui.Fact {
	return tui.Fact{Name: name, Title: title, Value: value}
}

func (a *app) progress(what string, total int64, bytes bool) *tui.Progress {
	s := a.screen()
	if a.pager != nil {
		s.Err = a.errTerminal
	}
	return s.Progress(what, total, bytes)
}

// meanwhile shows how far something is that may take longer than a second; see tui.Screen.Meanwhile. Notes do not run into the bar
// until end is called.
func (a *app) meanwhile(what string, total int64, done func() int64) (end func()) {
	before := a.err
	w, endBar := a.screen().Meanwhile(what, total, done)
	a.err = w
	return func() {
		endBar()
		a.err = before
	}
}

// say prints a note about the results on standard error.
func (a *app) say(format string, args ...any) { a.screen().Say(format, args...) }

// copyOut prints s as it is.
func (a *app) copyOut(s string) error {
	_, err := io.WriteString(a.out, s)
	return err
}

// harmless is a text that a stranger wrote, in one line of plain text, an error or a note.
func harmless(s string) string { return legible.Text(s) }

// titled is a line of a table of facts.
func titled(title string, value tui.Cell) tui.Fact { return tui.Fact{Title: title, Value: value} }
