package main

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

// A sqlResult prints the rows of a statement. A table follows the rules of the commands: a hash is cut to its first digits
// and has its label beside it, a time becomes short where there is little room, weights and confidences are rounded.
// Every other form has each value as SQLite has it.
type sqlResult struct {
	a      *app
	labels labels
	out    *tui.Rows // nil before the columns are known

	// Of a table:
	columns []sqlColumn
	beside  bool // hashes have the labels of the store: the statement has none itself
	cut     bool // a hash was cut, or a number was rounded
}

// A sqlColumn is a column of a table.
type sqlColumn struct {
	value  int  // the column of the statement that it shows
	label  int  // the column of the statement that has the labels of its hashes; -1 is none
	figure bool // it has weights or confidences
	texts  bool // it has shown texts that may be cut
}

func (r *sqlResult) Columns(names []string) error {
	form := r.a.form("")
	var columns []tui.Column
	r.beside = !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, "label") })
	for i, name := range names {
		column := tui.Column{Name: name, Flexible: true, Least: 12, Rank: i}
		if form == tui.Table {
			if ofColumn(names, i) >= 0 {
				continue
			}
			label := labelColumn(names, i)
			if label >= 0 {
				column.Title = subjectOf(name)
			}
			r.columns = append(r.columns, sqlColumn{value: i, label: label, figure: strings.Contains(name, "weight") || strings.Contains(name, "confidence")})
		}
		columns = append(columns, column)
	}
	r.out = r.a.rows(form, columns...)
	return nil
}

// subjectOf is what a column of hashes is about: agent of agent_id, source of source_hash.
func subjectOf(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, "_id"), "_hash")
}

// labelColumn is the column with the labels of the hashes of another column, -1 if there is none: agent_label of agent_id,
// source_a_label of source_a.
func labelColumn(names []string, of int) int {
	if strings.HasSuffix(names[of], "label") {
		return -1
	}
	return slices.Index(names, subjectOf(names[of])+"_label")
}

// ofColumn is the column whose labels a column has, -1 if there is none.
func ofColumn(names []string, label int) int {
	return slices.IndexFunc(names, func(name string) bool { return labelColumn(names, slices.Index(names, name)) == label })
}

func (r *sqlResult) Row(values []any) error {
	if r.out.Form != tui.Table {
		cells := make([]tui.Cell, len(values))
		for i, v := range values {
			cells[i] = sqlCell(v)
		}
		return r.out.Add(cells...)
	}
	cells := make([]tui.Cell, len(r.columns))
	for i := range r.columns {
		c := &r.columns[i]
		cells[i] = r.cell(c, values)
		switch {
		case cells[i].Kind == tui.Literal && !c.texts:
			// A number is never cut.
			r.out.Columns[i].Right, r.out.Columns[i].Flexible = true, false
		case cells[i].Year != "" && !c.texts:
			r.out.Columns[i].Flexible = false // a time gets shorter, and is never cut
		case cells[i].Kind == tui.TextKind:
			c.texts = true
			r.out.Columns[i].Flexible = true
		}
	}
	return r.out.Add(cells...)
}

// cell is what a table shows of a column of a row.
func (r *sqlResult) cell(c *sqlColumn, values []any) tui.Cell {
	cell := sqlCell(values[c.value])
	switch f, isFloat := values[c.value].(float64); {
	case isFloat && c.figure:
		cell = tui.Figure(f)
		r.cut = r.cut || cell.Shown() != cell.Text
	case cell.Kind == tui.TextKind:
		cell = r.text(cell)
	}
	if c.label >= 0 {
		cell = r.labelled(cell, sqlCell(values[c.label]).Text)
	}
	return cell
}

// labelled is a cell with a label beside it, as the commands show it.
func (r *sqlResult) labelled(cell tui.Cell, label string) tui.Cell {
	if label == "" {
		return cell
	}
	cell.Brief = strings.TrimPrefix(cmp.Or(cell.Brief, cell.Text)+" "+label, " ")
	if len(r.labels.Hashes(label)) == 1 {
		cell.Short = label
	}
	return cell
}

// text is the cell of a text: a hash, a time, or any other.
func (r *sqlResult) text(cell tui.Cell) tui.Cell {
	if h, err := audit.ParseHash(cell.Text); err == nil {
		r.cut = true
		if r.beside {
			return r.labels.hash(h)
		}
		return hashCell(h)
	}
	if t, err := time.Parse(time.RFC3339Nano, cell.Text); err == nil {
		cell.Short, cell.Year, cell.Zone = t.Format("01-02 15:04:05"), t.Format("2006"), t.Format(zoneForm)
	}
	return cell
}

// end prints what is held back, also of a result that is not whole.
func (r *sqlResult) end() error {
	if r.out == nil {
		return nil
	}
	if err := r.out.End(); err != nil {
		return err
	}
	if r.cut {
		r.a.say("(a table has the first %d digits of a hash, and 3 digits of a weight; -o plain has all)", briefHash)
	}
	return nil
}

// sqlCell is a value as SQLite has it: bytes become hex digits.
func sqlCell(v any) tui.Cell {
	switch v := v.(type) {
	case nil:
		return tui.Cell{}
	case int64:
		return tui.Number(v)
	case float64:
		return tui.Number(v)
	case bool:
		return tui.Bool(v)
	case string:
		return tui.Text(v)
	case []byte:
		return tui.Text(hex.EncodeToString(v))
	case time.Time:
		return tui.Text(v.Format(time.RFC3339Nano))
	}
	return tui.Text(fmt.Sprint(v))
}
