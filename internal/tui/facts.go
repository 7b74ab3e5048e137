package tui

import (
	"bufio"
	"fmt"
	"reflect"
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
)

// A Fact is a named value. Facts are one object: a table has a line for each title, and every other form has the names.
type Fact struct {
	Name  string // in every form but tables; "" leaves it out there
	Title string // in tables; "" leaves it out there
	Value Cell
	Whole bool // a table does not break the value into lines, since it is to be pasted
}

// Members are the members that a struct has in JSON, as facts without a title.
func Members(object any) ([]Fact, error) {
	v := reflect.Indirect(reflect.ValueOf(object))
	members := membersOf(v.Type())
	facts := make([]Fact, len(members))
	for i, m := range members {
		value, err := m.cell(v)
		if err != nil {
			return nil, err
		}
		facts[i] = Fact{Name: m.name, Value: value}
	}
	return facts, nil
}

// Object prints a struct: its members, and in a table what the caller lays out.
func (s *Screen) Object(form Form, object any, table ...Fact) error {
	switch {
	case form == Table:
		return s.Facts(form, table...)
	case form.isJSON():
		b, err := Encode(object)
		if err != nil {
			return err
		}
		_, err = s.Out.Write(append(b, '\n'))
		return err
	}
	members, err := Members(object)
	if err != nil {
		return err
	}
	return s.Facts(form, members...)
}

// Facts prints facts: as aligned lines in a table, as name, tab and value in plain text, or as one object. CSV and plain
// text have a line for each text in a list.
func (s *Screen) Facts(form Form, facts ...Fact) error {
	out := bufio.NewWriter(s.Out)
	switch form {
	case Table:
		s.titled(out, facts)
	case Plain:
		for _, f := range named(facts) {
			for _, value := range f.Value.items() {
				fmt.Fprintf(out, "%s\t%s\n", f.Name, legible.Text(value.Text))
			}
		}
	case CSV:
		if err := s.writeCSV(out, []Cell{Text("name"), Text("value")}); err != nil {
			return err
		}
		for _, f := range named(facts) {
			for _, value := range f.Value.items() {
				if err := s.writeCSV(out, []Cell{Text(f.Name), value}); err != nil {
					return err
				}
			}
		}
	default:
		before := "{"
		for _, f := range named(facts) {
			fmt.Fprintf(out, "%s%s:%s", before, ToJSON(f.Name), f.Value.json())
			before = ","
		}
		out.WriteString("}\n")
	}
	return out.Flush()
}

func named(facts []Fact) (named []Fact) {
	for _, f := range facts {
		if f.Name != "" {
			named = append(named, f)
		}
	}
	return named
}

// leastValue is the least number of columns for values beside titles. Where the terminal has fewer, a value begins below its title.
const leastValue = 16

// titled prints the facts that have a title, with their values below each other. The further lines of a long value begin below its first
// one.
func (s *Screen) titled(out *bufio.Writer, facts []Fact) {
	width := 0
	for _, f := range facts {
		width = max(width, DisplayWidth(f.Title))
	}
	for _, f := range facts {
		if f.Title == "" {
			continue
		}
		value := f.Value.Shown()
		if f.Value.Kind == Null && f.Value.Brief == "" {
			value = dash.Brief
		}
		title, between, margin := Pad(f.Title, width), Gap, strings.Repeat(" ", width+len(Gap))
		if room := s.Width() - len(margin); s.Width() > 0 && !f.Whole && DisplayWidth(value) > room {
			if room < leastValue {
				title, between, margin = f.Title, "\n"+Indent, Indent
				room = s.Width() - len(margin)
			}
			value = strings.ReplaceAll(Wrap(value, max(room, 1)), "\n", "\n"+margin)
		}
		if f.Value.Alarm {
			value = s.alarmLines(value)
		}
		fmt.Fprintf(out, "%s%s%s\n", s.Strong(title), between, value)
	}
}
