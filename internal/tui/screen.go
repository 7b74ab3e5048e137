// Package tui prints results: for a person as a table or a page, for a program as CSV, JSON or lines of text.
//
//	form      one value           many values
//	table     Facts, Page         a table in blocks, as wide as the terminal allows
//	plain     name, tab, value    a line of values with tabs between them
//	csv       name,value          RFC 4180 with a header
//	json      one object          one list, or an object with that list as a member
//	ndjson    one object          one object on each line
//
// A [Listing] prints structs of one type: JSON is what encoding/json makes of the struct, CSV and plain text have a
// column for each member, and a table has the columns that the caller lays out. [Rows] does the same for cells whose
// names are known only when the program runs, and [Screen.Object] prints one struct. A [Page] is for people alone.
//
// What the package promises: tables and plain text are harmless, whatever is stored (see internal/legible), and no line
// of a table or a page is wider than the terminal. JSON and CSV have each value exactly. A listing is printed as it
// comes, and memory is bounded. What was cut is said on standard error.
//
// It leaves to others what the values mean, and which form somebody asked for.
package tui

import (
	"fmt"
	"io"
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
)

// A Screen is where a run prints: results to Out, and notes about them to Err.
type Screen struct {
	Out, Err         io.Writer
	OutTerm, ErrTerm Terminal
	CSVSafe          bool // in CSV, put an apostrophe before what a spreadsheet takes for a formula
	Quiet            bool // print no notes and no progress
}

// A Form is how results are printed.
type Form string

// The forms of output.
const (
	Table  Form = "table"
	Plain  Form = "plain"
	JSON   Form = "json"
	NDJSON Form = "ndjson"
	CSV    Form = "csv"
)

// Forms are all of them.
func Forms() []string {
	return []string{string(Table), string(Plain), string(JSON), string(NDJSON), string(CSV)}
}

// isJSON reports whether the form is JSON or NDJSON.
func (f Form) isJSON() bool { return f == JSON || f == NDJSON }

// Width is the number of columns that a line of a table may take; 0 is any number. Output that does not go to a
// terminal has no width to keep to, so nothing is cut there.
func (s *Screen) Width() int {
	if s.OutTerm.Is {
		return s.OutTerm.Width
	}
	return 0
}

// Say prints a note about the results on standard error.
func (s *Screen) Say(format string, args ...any) {
	if s.Quiet {
		return
	}
	fmt.Fprintln(s.Err, Wrap(legible.Text(fmt.Sprintf(format, args...)), s.Width()))
}

const (
	boldOn  = "\x1b[1m"
	alarmOn = "\x1b[33;1m"
	lookOff = "\x1b[0m"
)

// Alarm makes a text catch the eye, where colours are welcome. Callers mark it with a sign as well, for those who see
// no colours.
func (s *Screen) Alarm(text string) string {
	if !s.OutTerm.Color || text == "" {
		return text
	}
	return alarmOn + text + lookOff
}

// Strong makes a heading bold, where that is welcome.
func (s *Screen) Strong(text string) string {
	if !s.OutTerm.Color {
		return text
	}
	return boldOn + text + lookOff
}

// alarmLines is Alarm for each line by itself, so that no colour reaches over the end of a line.
func (s *Screen) alarmLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		text := strings.TrimLeft(line, " ")
		lines[i] = line[:len(line)-len(text)] + s.Alarm(text)
	}
	return strings.Join(lines, "\n")
}
