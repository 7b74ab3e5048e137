package tui

import (
	"bufio"
	"errors"
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
)

// A Column heads the cells of a listing.
type Column struct {
	Name  string // in CSV and JSON
	Title string // in tables; "" is Name
	Right bool   // numbers are aligned to the right

	// These say how a table is cut that is wider than the terminal. Flexible columns are cut down to Least first. Then
	// columns of a rank above 0 are left out, the highest rank first. When none of these is left, flexible columns are cut
	// to very little, and then the other columns go in the same order. Of equal ranks the last column goes first. The lowest
	// rank stays longest: that is what a table was asked for, such as whether evidence is approved.
	Flexible bool
	Least    int
	Middle   bool // cut in the middle, for texts that often differ in their last part
	Rank     int
}

func (c Column) heading() string {
	if c.Title != "" {
		return c.Title
	}
	return c.Name
}

// said is what a note calls the column. A column of signs or bars has a title of blanks.
func (c Column) said() string {
	if title := strings.TrimSpace(c.Title); title != "" {
		return title
	}
	return c.Name
}

// Rows prints a listing of cells in any form, as it comes. A table is printed in blocks, since its widths depend on
// what is in it.
type Rows struct {
	Form    Form
	Columns []Column

	screen     *Screen
	out        *bufio.Writer
	n          uint64
	block      [][]Cell
	blockBytes int
	cuts       cuts
	steady     *steady // nil: a table is printed in blocks

	// Where the JSON list is a member of an object, what comes before and after the list.
	before string
	after  func() any
}

// A block of a table is printed when it has so many rows, or so many bytes of text.
const (
	blockRows  = 1000
	blockBytes = 16 << 20
)

// NewRows begins a listing. Columns may still change until the first row is added.
func NewRows(s *Screen, form Form, columns ...Column) *Rows {
	return &Rows{screen: s, Form: form, Columns: columns, out: bufio.NewWriterSize(s.Out, 64<<10)}
}

// Within makes the JSON list a member of an object. head is a struct with the members before it. after, which End calls,
// returns a struct with the members after it. Other forms have neither.
func (r *Rows) Within(head any, list string, after func() any) {
	object := ToJSON(head)
	r.before = string(object[:len(object)-1]) + "," + string(ToJSON(list)) + ":"
	r.after = after
}

// N is the number of rows so far.
func (r *Rows) N() uint64 { return r.n }

// Add prints a row, which has a cell for each column.
func (r *Rows) Add(cells ...Cell) error {
	switch r.Form {
	case Table:
		r.n++
		r.block = append(r.block, cells)
		for i := range cells {
			r.blockBytes += len(cells[i].Text) + len(cells[i].Brief)
		}
		if len(r.block) == blockRows || r.blockBytes >= blockBytes {
			return r.endBlock()
		}
		return nil
	case Plain:
		r.n++
		for i, c := range cells {
			if i > 0 {
				r.out.WriteByte('\t')
			}
			r.out.WriteString(legible.Text(c.Text))
		}
		return r.out.WriteByte('\n')
	case CSV:
		if err := r.csvHeader(); err != nil {
			return err
		}
		r.n++
		return r.screen.writeCSV(r.out, cells)
	}
	object := []byte{'{'}
	for i, c := range cells {
		if i > 0 {
			object = append(object, ',')
		}
		object = append(object, ToJSON(r.Columns[i].Name)...)
		object = append(object, ':')
		object = append(object, c.json()...)
	}
	return r.AddJSON(append(object, '}'))
}

// AddJSON prints a row whose JSON is at hand. The form is JSON or NDJSON.
func (r *Rows) AddJSON(object []byte) error {
	r.n++
	if r.Form == JSON {
		before := ",\n"
		if r.n == 1 {
			before = r.before + "["
		}
		r.out.WriteString(before)
	}
	_, err := r.out.Write(object)
	if r.Form == NDJSON {
		err = r.out.WriteByte('\n')
	}
	return err
}

func (r *Rows) csvHeader() error {
	if r.n > 0 {
		return nil
	}
	names := make([]Cell, len(r.Columns))
	for i, c := range r.Columns {
		names[i] = Text(c.Name)
	}
	return r.screen.writeCSV(r.out, names)
}

func (r *Rows) endBlock() error {
	if len(r.block) == 0 {
		return nil
	}
	var drawn string
	var cuts cuts
	if r.steady != nil {
		drawn, cuts = r.screen.piece(r.steady, r.screen.Width(), r.Columns, r.block)
	} else {
		drawn, cuts = r.screen.table(r.screen.Width(), r.Columns, r.block)
	}
	r.cuts.add(cuts)
	clear(r.block)
	r.block, r.blockBytes = r.block[:0], 0
	_, err := r.out.WriteString(drawn)
	return err
}

// Flush prints what was added so far, for a listing that never ends. Of a table that is not steady it prints only full blocks.
func (r *Rows) Flush() error {
	if r.Form == Table && r.steady != nil {
		if err := r.endBlock(); err != nil {
			return err
		}
	}
	return r.out.Flush()
}

// End prints what is left. Where nothing was added, a JSON list is still a list and CSV still has its header. After a
// table it says on standard error what was cut.
func (r *Rows) End() error {
	var err error
	switch r.Form {
	case Table:
		err = r.endBlock()
	case CSV:
		err = r.csvHeader()
	case JSON:
		if r.n == 0 {
			r.out.WriteString(r.before + "[")
		}
		after := ""
		if r.after != nil {
			after = "," + string(ToJSON(r.after())[1:])
		}
		r.out.WriteString("]" + after + "\n")
	}
	if err := errors.Join(err, r.out.Flush()); err != nil {
		return err
	}
	if r.Form == Table {
		if r.n == 0 {
			r.screen.Say("(nothing found)")
		}
		r.cuts.tell(r.screen)
	}
	return nil
}
