package tui

import (
	"bufio"
	"iter"
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
)

// writeCSV writes a record as RFC 4180 has it, with CR LF at its end. encoding/csv does that too, but it also turns line
// ends inside a value into CR LF, and here values stay what they are. A null is an empty field, and an empty
// text is two quotes.
//
// For a terminal it escapes what could change the screen, as tables and plain text do: a value there is for a person.
func (s *Screen) writeCSV(out *bufio.Writer, cells []Cell) error {
	for i, c := range cells {
		if i > 0 {
			out.WriteByte(',')
		}
		value := c.Text
		if s.OutTerm.Is {
			value = legible.Text(value)
		}
		if s.CSVSafe && c.Kind != Literal {
			value = disarm(value)
		}
		if c.Kind == TextKind && (value == "" || strings.ContainsAny(value, ",\"\r\n") || value[0] == ' ') || c.Kind == Composite {
			out.WriteByte('"')
			out.WriteString(strings.ReplaceAll(value, `"`, `""`))
			value = `"`
		}
		out.WriteString(value)
	}
	_, err := out.WriteString("\r\n")
	return err
}

// disarm puts an apostrophe before each part of a value that a spreadsheet may take for a formula. Where the comma is
// the decimal point, spreadsheets usually separate cells by semicolons or tabs. Such a spreadsheet does not recognise
// quotes in the middle of a cell, so any of these signs, and each line end, may begin a new cell. A list or an object in
// JSON has these signs only inside its strings, so it stays JSON.
func disarm(value string) string {
	var out strings.Builder
	if value != "" && strings.ContainsRune("\t\r\n", rune(value[0])) {
		out.WriteByte('\'')
	}
	for part := range spreadsheetCells(value) {
		if isFormula(part) {
			out.WriteByte('\'')
		}
		out.WriteString(part)
	}
	return out.String()
}

// spreadsheetCells are the parts of a value that may become cells, each with the sign that ends it.
func spreadsheetCells(value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for value != "" {
			end := strings.IndexAny(value, ";\t\r\n") + 1
			if end == 0 {
				end = len(value)
			}
			if !yield(value[:end]) {
				return
			}
			value = value[end:]
		}
	}
}

// isFormula reports whether a spreadsheet may take a text for a formula. Some spreadsheets skip characters that cannot
// be seen and a quote at the beginning, and some also take the wide forms of the signs.
func isFormula(s string) bool {
	for _, r := range s {
		switch {
		case strings.ContainsRune("=+-@＝＋－＠", r):
			return true
		case r == ' ' || r == '\u00a0' || r == '"' || !legible.Shown(r, -1):
		default:
			return false
		}
	}
	return false
}
