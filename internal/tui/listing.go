package tui

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// A ColumnOf is a column of a table whose rows are structs. Cell makes the column's cell of a row.
type ColumnOf[T any] struct {
	Column
	Cell func(*T) Cell
}

// A Listing prints structs of one type in any form, as they come. The JSON of a row is that of the struct. CSV and plain
// text have a column for each member of that JSON, in the same order. A table has the columns that the caller lays out.
type Listing[T any] struct {
	*Rows
	table   []ColumnOf[T]
	members []member
}

// NewListing begins a listing. table is only used for tables.
func NewListing[T any](s *Screen, form Form, table []ColumnOf[T]) *Listing[T] {
	l := &Listing[T]{table: table, members: membersOf(reflect.TypeFor[T]())}
	var columns []Column
	if form == Table {
		for _, c := range table {
			columns = append(columns, c.Column)
		}
	} else {
		for _, m := range l.members {
			columns = append(columns, Column{Name: m.name})
		}
	}
	l.Rows = NewRows(s, form, columns...)
	return l
}

// Add prints a row.
func (l *Listing[T]) Add(row *T) error {
	if l.Form.isJSON() {
		object, err := Encode(row)
		if err != nil {
			return err
		}
		return l.AddJSON(object)
	}
	cells := make([]Cell, len(l.Columns))
	for i := range cells {
		var err error
		if l.Form == Table {
			cells[i] = l.table[i].Cell(row)
		} else if cells[i], err = l.members[i].cell(reflect.ValueOf(row).Elem()); err != nil {
			return err
		}
	}
	return l.Rows.Add(cells...)
}

// A member is a field of a struct that is in its JSON.
type member struct {
	name  string
	index []int
}

// membersOf are the members of a struct in JSON, in their order. It knows only those rules of encoding/json that the
// printed structs need: names in tags, "-", and embedded structs. No two members may have one name.
func membersOf(t reflect.Type) []member {
	var members []member
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "":
			for _, m := range membersOf(f.Type) {
				members = append(members, member{m.name, append([]int{i}, m.index...)})
			}
		case f.IsExported() && name != "":
			members = append(members, member{name, []int{i}})
		}
	}
	return members
}

func (m member) cell(row reflect.Value) (Cell, error) {
	c, err := cellOf(row.FieldByIndex(m.index))
	if err != nil {
		err = fmt.Errorf("%s: %w", m.name, err)
	}
	return c, err
}

// cellOf is the cell of a value of a struct: nil is a null, and so is a map with nothing in it.
func cellOf(v reflect.Value) (Cell, error) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return Cell{}, nil
		}
		return cellOf(v.Elem())
	case reflect.Map:
		if v.Len() == 0 {
			return Cell{}, nil
		}
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		return Text(string(b)), err
	}
	switch v.Kind() {
	case reflect.String:
		return Text(v.String()), nil
	case reflect.Bool:
		return Bool(v.Bool()), nil
	case reflect.Int, reflect.Int64:
		return Cell{Kind: Literal, Text: strconv.FormatInt(v.Int(), 10)}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return Cell{Kind: Literal, Text: strconv.FormatUint(v.Uint(), 10)}, nil
	case reflect.Float32:
		return Number(float32(v.Float())), nil
	case reflect.Float64:
		return Number(v.Float()), nil
	}
	b, err := Encode(v.Interface())
	return RawJSON(b), err
}
