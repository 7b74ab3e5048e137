package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
)

// A fact is a name and a value. Facts are what stats, verify and the like print: a table for people, and
// the same names in every other form.
type fact struct {
	name  string // in all forms but tables
	title string // in tables; "" leaves it out there
	value cell
}

// facts prints them: aligned for people, name and value separated by a tab, or one object.
func (a *app) facts(form string, facts ...fact) error {
	out := bufio.NewWriter(a.out)
	switch form {
	case formTable:
		width := 0
		for _, f := range facts {
			width = max(width, displayWidth(f.title))
		}
		for _, f := range facts {
			if f.title == "" {
				continue
			}
			value := f.value.shown()
			if f.value.kind == kindNull && f.value.brief == "" {
				value = "-"
			}
			if f.value.alarm {
				value = a.alarm(value)
			}
			fmt.Fprintf(out, "%s  %s\n", a.strong(pad(f.title, width, false)), value)
		}
	case formPlain, formCSV:
		separator := "\t"
		if form == formCSV {
			if err := writeCSV(out, []cell{{kind: kindText, text: "name"}, {kind: kindText, text: "value"}}, a.csvSafe); err != nil {
				return err
			}
		}
		for _, f := range facts {
			for _, value := range f.value.each() {
				if form == formCSV {
					if err := writeCSV(out, []cell{{kind: kindText, text: f.name}, value}, a.csvSafe); err != nil {
						return err
					}
					continue
				}
				fmt.Fprintf(out, "%s%s%s\n", f.name, separator, harmless(value.text))
			}
		}
	default:
		object := strings.Builder{}
		for i, f := range facts {
			object.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
			object.Write(toJSON(f.name))
			object.WriteByte(':')
			object.Write(f.value.json())
		}
		fmt.Fprintf(out, "%s}\n", object.String())
	}
	return out.Flush()
}

// each takes a list of texts apart; other values are their own only part.
func (c cell) each() []cell {
	var items []string
	if c.kind != kindJSON || json.Unmarshal([]byte(c.text), &items) != nil {
		return []cell{c}
	}
	cells := make([]cell, len(items))
	for i, item := range items {
		cells[i] = cell{kind: kindText, text: item}
	}
	return cells
}
