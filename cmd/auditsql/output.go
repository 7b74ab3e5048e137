package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/internal/legible"
)

// The forms of output.
const (
	formTable  = "table"
	formPlain  = "plain"
	formJSON   = "json"
	formNDJSON = "ndjson"
	formCSV    = "csv"
)

var forms = []string{formTable, formPlain, formJSON, formNDJSON, formCSV}

// form is how results are to be printed: as -o or --json say, else as usual, which for "" is a table on a
// terminal and tab-separated lines elsewhere.
func (a *app) form(usual string) string {
	switch {
	case a.json:
		return formJSON
	case a.output != "":
		return a.output
	case usual != "":
		return usual
	case a.outTerm.is:
		return formTable
	}
	return formPlain
}

// checkOutput refuses an -o that is no form of output.
func (a *app) checkOutput() error {
	if a.csvSafe && (a.json || a.output != formCSV) {
		return usage("--csv-safe goes with -o csv")
	}
	for _, f := range forms {
		if a.output == f {
			if a.json && f != formJSON {
				return usage("--json and -o %s contradict each other", f)
			}
			return nil
		}
	}
	if a.output != "" {
		return usage("-o %s: want table, plain, json, ndjson or csv", a.output)
	}
	return nil
}

func completeForms(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return forms, cobra.ShellCompDirectiveNoFileComp
}

// width is the number of columns that a table may take. Elsewhere than on a terminal nobody said how wide
// is too wide, so nothing is cut there.
func (a *app) width() int {
	if a.outTerm.is {
		return a.outTerm.width
	}
	return 0
}

// A cell is one value.
type cell struct {
	kind  kind
	text  string // exactly; for a null it is empty
	brief string // how a table shows it, when that is not text
	short string // how a table shows it that has too little room otherwise
	year  string // of a time: short is without it
	alarm bool   // a table marks it
}

type kind uint8

const (
	kindNull kind = iota
	kindText
	kindNumber // and true and false: text is JSON
	kindJSON   // a list or an object: text is JSON
)

func text(s string) cell { return cell{kind: kindText, text: s} }

func number[T ~int | ~int64 | ~uint64 | ~float32 | ~float64](n T) cell {
	b, err := json.Marshal(n)
	if err != nil {
		// Infinity, which SQL can compute and JSON cannot say.
		return text(fmt.Sprint(n))
	}
	return cell{kind: kindNumber, text: string(b)}
}

func boolean(b bool) cell { return cell{kind: kindNumber, text: fmt.Sprint(b)} }

func textList(items []string) cell {
	if items == nil {
		items = []string{}
	}
	return cell{kind: kindJSON, text: string(toJSON(items))}
}

// as gives a cell another look in tables.
func (c cell) as(brief string) cell {
	c.brief = brief
	return c
}

// blank is the brief of a cell that shows nothing.
const blank = " "

// look is the text that a table shows, before it is made visible.
func (c cell) look() string {
	switch c.brief {
	case "":
		return c.text
	case blank:
		return ""
	}
	return c.brief
}

// shortLook is look where there is too little room.
func (c cell) shortLook() string {
	if c.short != "" {
		return c.short
	}
	return c.look()
}

// shown is what a person sees of the cell by itself.
func (c cell) shown() string { return visible(c.look()) }

func (c cell) json() []byte {
	switch c.kind {
	case kindNull:
		return []byte("null")
	case kindText:
		return toJSON(c.text)
	}
	return []byte(c.text)
}

// toJSON is json.Marshal of what cannot fail, without escapes for HTML.
func toJSON(v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null")
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}

// A column heads the cells of a listing.
type column struct {
	name  string // in CSV and JSON
	title string // in tables; "" is name
	right bool   // numbers stand to the right
	// What a table may do that is wider than the terminal: flexible columns are cut down to least first,
	// then columns are left out, the highest rank first. Columns of rank 0 stay.
	flexible bool
	least    int
	middle   bool // cut in the middle: names often differ in their last part
	rank     int

	hidden    bool // not in tables, whose other columns say it as well
	tableOnly bool
}

func (c column) heading() string {
	if c.title != "" {
		return c.title
	}
	return c.name
}

// rows prints a listing in any form, as it comes. Tables are printed a block at a time, since their widths
// depend on what is in them.
type rows struct {
	a       *app
	form    string
	columns []column
	out     *bufio.Writer

	n          uint64
	block      [][]cell
	blockBytes int
	cuts       cuts
	keep       []int // places of the columns of this form

	// In JSON the list may be a member of an object: what comes before it and behind it.
	before string
	behind func() (string, error)
}

// blockRows bounds how many rows of a table are held in memory, and blockBytes the text in them, before the last row.
const (
	blockRows  = 1000
	blockBytes = 16 << 20
)

func (a *app) rows(form string, columns ...column) *rows {
	r := &rows{a: a, form: form, out: bufio.NewWriterSize(a.out, 64<<10)}
	r.keep = r.kept(columns)
	r.columns = pick(columns, r.keep)
	return r
}

// kept are the places of the columns that this form has.
func (r *rows) kept(columns []column) []int {
	keep := make([]int, 0, len(columns))
	for i, c := range columns {
		if r.form == formTable && !c.hidden || r.form != formTable && !c.tableOnly {
			keep = append(keep, i)
		}
	}
	return keep
}

// add prints a row, which has a cell for each column, also for those that this form has not.
func (r *rows) add(cells ...cell) error {
	r.n++
	cells = pick(cells, r.keep)
	switch r.form {
	case formTable:
		r.block = append(r.block, cells)
		for i := range cells {
			r.blockBytes += len(cells[i].text) + len(cells[i].brief)
		}
		if len(r.block) == blockRows || r.blockBytes >= blockBytes {
			return r.endBlock()
		}
		return nil
	case formPlain:
		return r.line("\t", cells, func(c cell) string { return harmless(c.text) })
	case formCSV:
		if err := r.csvHeader(); err != nil {
			return err
		}
		return writeCSV(r.out, cells, r.a.csvSafe)
	}
	return r.raw(r.object(cells))
}

// raw prints a row whose JSON is at hand.
func (r *rows) raw(object []byte) error {
	before := ""
	if r.form == formJSON {
		before = ",\n"
		if r.n == 1 {
			before = r.before + "["
		}
	}
	r.out.WriteString(before)
	_, err := r.out.Write(object)
	if r.form == formNDJSON {
		err = r.out.WriteByte('\n')
	}
	return err
}

// addRaw counts a row and prints it; the form is JSON or NDJSON.
func (r *rows) addRaw(object []byte) error {
	r.n++
	return r.raw(object)
}

func (r *rows) line(separator string, cells []cell, write func(cell) string) error {
	for i, c := range cells {
		if i > 0 {
			r.out.WriteString(separator)
		}
		r.out.WriteString(write(c))
	}
	return r.out.WriteByte('\n')
}

func (r *rows) object(cells []cell) []byte {
	object := []byte{'{'}
	for i, c := range cells {
		if i > 0 {
			object = append(object, ',')
		}
		object = append(object, toJSON(r.columns[i].name)...)
		object = append(object, ':')
		object = append(object, c.json()...)
	}
	return append(object, '}')
}

func (r *rows) csvHeader() error {
	if r.n != 1 {
		return nil
	}
	names := make([]cell, len(r.columns))
	for i, c := range r.columns {
		names[i] = text(c.name)
	}
	return writeCSV(r.out, names, r.a.csvSafe)
}

func (r *rows) endBlock() error {
	if len(r.block) == 0 {
		return nil
	}
	shown, cuts := r.a.table(r.columns, r.block)
	r.cuts.add(cuts)
	clear(r.block)
	r.block, r.blockBytes = r.block[:0], 0
	_, err := r.out.WriteString(shown)
	return err
}

// flush prints what there is, for a listing that never ends.
func (r *rows) flush() error { return r.out.Flush() }

// end prints what is left: a list is a list and a CSV has its header also when there is nothing in it.
func (r *rows) end() error {
	var err error
	switch r.form {
	case formTable:
		err = r.endBlock()
	case formCSV:
		if r.n == 0 {
			r.n = 1
			err = r.csvHeader()
		}
	case formJSON:
		if r.n == 0 {
			r.out.WriteString(r.before + "[")
		}
		behind := ""
		if r.behind != nil {
			behind, err = r.behind()
		}
		r.out.WriteString("]" + behind + "\n")
	}
	if err := errors.Join(err, r.out.Flush()); err != nil {
		return err
	}
	if r.form == formTable {
		if r.n == 0 {
			fmt.Fprintln(r.a.err, "(nothing found)")
		}
		r.cuts.tell(r.a)
	}
	return nil
}

// writeCSV writes a record as RFC 4180 has it, lines ending in CR LF. encoding/csv does that too, but then
// turns line ends inside a value into CR LF as well, and here values stay what they are. A null is
// nothing, an empty text a pair of quotes.
func writeCSV(out *bufio.Writer, cells []cell, safe bool) error {
	for i, c := range cells {
		if i > 0 {
			out.WriteByte(',')
		}
		value := c.text
		if safe && c.kind != kindNumber {
			value = disarm(value)
		}
		if c.kind == kindText && (value == "" || strings.ContainsAny(value, ",\"\r\n") || value[0] == ' ') || c.kind == kindJSON {
			out.WriteByte('"')
			out.WriteString(strings.ReplaceAll(value, `"`, `""`))
			value = `"`
		}
		out.WriteString(value)
	}
	_, err := out.WriteString("\r\n")
	return err
}

// disarm puts an apostrophe before each part of a value that a spreadsheet may take for a formula. A spreadsheet
// that separates cells by semicolons or tabs, as is usual where the comma is the decimal point, takes no notice of
// quotes in the middle of such a cell: for it a cell may begin after any of these and at every line's beginning.
// A list or an object in JSON has such signs in its strings alone, so it stays JSON.
func disarm(value string) string {
	var out strings.Builder
	if value != "" && strings.ContainsRune("\t\r\n", rune(value[0])) {
		out.WriteByte('\'')
	}
	for part := range cells(value) {
		if isFormula(part) {
			out.WriteByte('\'')
		}
		out.WriteString(part)
	}
	return out.String()
}

// cells are the parts of a value that may become cells of their own, each with what ends it.
func cells(value string) iter.Seq[string] {
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

// isFormula reports whether a spreadsheet may take a text for a formula. Some look behind what cannot be
// seen and behind a quote, and at the wide forms of the signs.
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

// copyOut writes s to standard output at once.
func (a *app) copyOut(s string) error {
	_, err := io.WriteString(a.out, s)
	return err
}
