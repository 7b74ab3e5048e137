package tui

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
)

// A Cell is one value. The zero value is a null.
type Cell struct {
	Kind  Kind
	Text  string // the exact value; of a null it is empty
	Brief string // what a table shows instead of Text, if set
	Short string // what a table shows that has too little room for Brief, if set
	Year  string // of a time whose Short has no year
	Zone  string // of such a time: its offset from UTC as RFC 3339 has it, such as +01:00 or Z
	Alarm bool   // a table marks it
}

// A Kind is how a value is written in JSON.
type Kind uint8

// The kinds of values.
const (
	Null      Kind = iota
	TextKind       // a string
	Literal        // a number, true or false: Text is its JSON
	Composite      // a list or an object: Text is its JSON
)

// Text is the cell of a text.
func Text(s string) Cell { return Cell{Kind: TextKind, Text: s} }

// Number is the cell of a number. Infinity, which JSON cannot say, is a text.
func Number[T ~int | ~int64 | ~uint64 | ~float32 | ~float64](n T) Cell {
	b, err := json.Marshal(n)
	if err != nil {
		return Text(fmt.Sprint(n))
	}
	return Cell{Kind: Literal, Text: string(b)}
}

// Figure is the cell of a measured number, such as a weight or a confidence: a table shows 3 significant digits of it, and
// every other form has them all. Digits before the point are never rounded away. A figure that was rounded keeps its
// zeros, so that 0.9999 is shown as 1.000 and not as a certain 1.
func Figure[T ~float32 | ~float64](n T) Cell {
	c := Number(n)
	return c.As(rounded(c.Text))
}

// figureDigits is how many significant digits of a figure a table shows.
const figureDigits = 3

// rounded is a number in JSON with as many digits as tables show.
func rounded(number string) string {
	f, err := strconv.ParseFloat(number, 64)
	mantissa, _, _ := strings.Cut(strings.TrimPrefix(number, "-"), "e")
	digits := strings.TrimLeft(strings.ReplaceAll(mantissa, ".", ""), "0")
	switch size := math.Abs(f); {
	case err != nil || len(digits) <= figureDigits:
		return number
	case size >= 1e6 || size < 1e-4:
		return strconv.FormatFloat(f, 'g', figureDigits, 64)
	case size >= 1:
		before, _, _ := strings.Cut(mantissa, ".")
		return strconv.FormatFloat(f, 'f', max(figureDigits-len(before), 0), 64)
	}
	// Below 1 the zeros after the point do not count.
	_, after, _ := strings.Cut(mantissa, ".")
	zeros := len(after) - len(strings.TrimLeft(after, "0"))
	return strconv.FormatFloat(f, 'f', zeros+figureDigits, 64)
}

// Bool is the cell of true or false.
func Bool(b bool) Cell { return Cell{Kind: Literal, Text: strconv.FormatBool(b)} }

// Texts is the cell of a list of texts.
func Texts(items []string) Cell {
	if items == nil {
		items = []string{}
	}
	return RawJSON(ToJSON(items))
}

// RawJSON is the cell of a list or an object in JSON.
func RawJSON(b []byte) Cell { return Cell{Kind: Composite, Text: string(b)} }

// As gives a cell another text in tables.
func (c Cell) As(brief string) Cell {
	c.Brief = brief
	return c
}

// Marked is the cell with an alarm, if there is a reason for one.
func (c Cell) Marked(alarm bool) Cell {
	c.Alarm = c.Alarm || alarm
	return c
}

// dash is what a table shows where there is no value.
var dash = Cell{Brief: "-"}

// Or is the cell of a value that may be missing: a table shows a dash for nil.
func Or[T any](v *T, cell func(T) Cell) Cell {
	if v == nil {
		return dash
	}
	return cell(*v)
}

// Blank is the Brief of a cell that shows nothing in a table.
const Blank = " "

// brief is the text that a table shows, before it is made harmless.
func (c Cell) brief() string {
	switch c.Brief {
	case "":
		return c.Text
	case Blank:
		return ""
	}
	return c.Brief
}

// short is the text that a table shows that has too little room for brief.
func (c Cell) short() string {
	if c.Short != "" {
		return c.Short
	}
	return c.brief()
}

// Shown is what a person sees of the cell where it does not stand in a table.
func (c Cell) Shown() string { return legible.Visible(c.brief()) }

func (c Cell) json() []byte {
	switch c.Kind {
	case Null:
		return []byte("null")
	case TextKind:
		return ToJSON(c.Text)
	}
	return []byte(c.Text)
}

// items are the cells of a list of texts. Any other cell is its own only item.
func (c Cell) items() []Cell {
	var texts []string
	if c.Kind != Composite || json.Unmarshal([]byte(c.Text), &texts) != nil {
		return []Cell{c}
	}
	cells := make([]Cell, len(texts))
	for i, text := range texts {
		cells[i] = Text(text)
	}
	return cells
}

// Encode is the one way in which this package makes JSON: without escapes for HTML.
func Encode(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

// ToJSON is the JSON of a value that can always be encoded.
func ToJSON(v any) []byte {
	b, err := Encode(v)
	if err != nil {
		return []byte("null")
	}
	return b
}
