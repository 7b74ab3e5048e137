package tui_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/hostile"
	"github.com/auditsql/auditsql/internal/tui"
)

// into makes a screen that prints into memory, as if on a terminal of a width; 0 is none.
func into(width int) (screen *tui.Screen, out, said *bytes.Buffer) {
	out, said = new(bytes.Buffer), new(bytes.Buffer)
	return &tui.Screen{Out: out, Err: said, OutTerm: tui.Terminal{Is: width > 0, Width: width}}, out, said
}

// lines takes an output apart, which ends with a line end when there is one.
func lines(t *rapid.T, out *bytes.Buffer) []string {
	t.Helper()
	s, ended := strings.CutSuffix(out.String(), "\n")
	if !ended {
		t.Fatalf("does not end with a line end: %q", out)
	}
	return strings.Split(s, "\n")
}

func TestNoTextBreaksATable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.SampledFrom([]int{0, 0, 40, 80, 130}).Draw(t, "width")
		columns := make([]tui.Column, rapid.IntRange(1, 4).Draw(t, "columns"))
		for i := range columns {
			columns[i] = tui.Column{Name: hostile.Text().Draw(t, "name"), Flexible: true, Least: 8, Rank: i,
				Middle: rapid.Bool().Draw(t, "middle"), Right: rapid.Bool().Draw(t, "right")}
		}
		// The last one shows where each line ends.
		columns = append(columns, tui.Column{Name: "|"})
		screen, out, said := into(width)
		r := tui.NewRows(screen, tui.Table, columns...)
		n := rapid.IntRange(1, 5).Draw(t, "rows")
		for range n {
			var cells []tui.Cell
			for range columns[1:] {
				cells = append(cells, tui.Text(hostile.Text().Draw(t, "cell")))
			}
			if err := r.Add(append(cells, tui.Text("|"))...); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		got := lines(t, out)
		if len(got) != n+2 {
			t.Fatalf("%d rows are %d lines: %q", n, len(got), out)
		}
		for i, line := range got {
			hostile.WantHarmless(t, line)
			if i != 1 && !strings.HasSuffix(line, "|") {
				t.Errorf("line %d has no end: %q", i, line)
			}
			if tui.DisplayWidth(line) != tui.DisplayWidth(got[0]) {
				t.Errorf("line %d is not as wide as the header: %q", i, out)
			}
			if width > 0 && tui.DisplayWidth(line) > width {
				t.Errorf("line %d is wider than %d: %q", i, width, line)
			}
		}
		for note := range strings.Lines(said.String()) {
			hostile.WantHarmless(t, strings.TrimSuffix(note, "\n"))
		}
	})
}

func TestNoTextBreaksPlainLines(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		screen, out, _ := into(0)
		r := tui.NewRows(screen, tui.Plain, tui.Column{Name: "a"}, tui.Column{Name: "b"}, tui.Column{Name: "c"})
		n := rapid.IntRange(1, 5).Draw(t, "rows")
		for range n {
			if err := r.Add(tui.Text(hostile.Text().Draw(t, "a")), tui.Text(hostile.Text().Draw(t, "b")), tui.Text("|")); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		got := lines(t, out)
		if len(got) != n {
			t.Fatalf("%d rows are %d lines: %q", n, len(got), out)
		}
		for _, line := range got {
			cells := strings.Split(line, "\t")
			if len(cells) != 3 || cells[2] != "|" {
				t.Errorf("%d cells: %q", len(cells), line)
			}
			for _, c := range cells {
				hostile.WantHarmless(t, c)
			}
		}
	})
}

// JSON and CSV give back the very text.
func TestJSONAndCSVAreExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := hostile.Text().Draw(t, "name")
		values := rapid.SliceOfN(hostile.Text(), 1, 4).Draw(t, "values")
		for _, form := range []tui.Form{tui.JSON, tui.NDJSON, tui.CSV} {
			screen, out, _ := into(0)
			r := tui.NewRows(screen, form, tui.Column{Name: name}, tui.Column{Name: "|"})
			for _, v := range values {
				if err := r.Add(tui.Text(v), tui.Number(1)); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.End(); err != nil {
				t.Fatal(err)
			}
			var got []string
			switch form {
			case tui.CSV:
				for i, record := range readCSV(t, out.String()) {
					if want := map[bool]string{true: "|", false: "1"}[i == 0]; len(record) != 2 || record[1] != want {
						t.Fatalf("record %d is %q", i, record)
					}
					if i == 0 && record[0] != name {
						t.Errorf("name %q came out as %q", name, record[0])
					}
					if i > 0 {
						got = append(got, record[0])
					}
				}
			default:
				objects := out.Bytes()
				if form == tui.NDJSON {
					objects = []byte("[" + strings.Join(lines(t, out), ",") + "]")
				}
				var list []map[string]any
				if err := json.Unmarshal(objects, &list); err != nil {
					t.Fatalf("%v: %q", err, objects)
				}
				for _, object := range list {
					v, _ := object[name].(string)
					got = append(got, v)
				}
			}
			if name != "|" && !slices.Equal(got, values) {
				t.Errorf("%s: %q came out as %q", form, values, got)
			}
		}
	})
}

// On a terminal CSV has escapes, as tables and plain text do, and stays CSV.
func TestCSVOnATerminalCannotControlIt(t *testing.T) {
	t.Parallel()
	for _, facts := range []bool{false, true} {
		screen, out, _ := into(80)
		text := "\x1b]0;t\a, \"two\"\n"
		var err error
		if facts {
			err = screen.Facts(tui.CSV, tui.Fact{Name: "a\x1b", Value: tui.Text(text)})
		} else {
			r := tui.NewRows(screen, tui.CSV, tui.Column{Name: "a\x1b"})
			err = errors.Join(r.Add(tui.Text(text)), r.End())
		}
		if got := out.String(); err != nil || strings.ContainsAny(got, "\x1b\a") || !strings.Contains(got, `"\u001b]0;t\u0007, ""two""\n"`+"\r\n") {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// readCSV reads RFC 4180 to the letter; encoding/csv turns CR LF inside a value into LF.
func readCSV(t *rapid.T, s string) (records [][]string) {
	t.Helper()
	var record []string
	for s != "" {
		var value string
		if rest, quoted := strings.CutPrefix(s, `"`); quoted {
			for {
				i := strings.IndexByte(rest, '"')
				if i < 0 {
					t.Fatalf("a quote is open: %q", rest)
				}
				value += rest[:i]
				if rest = rest[i+1:]; !strings.HasPrefix(rest, `"`) {
					break
				}
				value += `"`
				rest = rest[1:]
			}
			s = rest
		} else {
			i := strings.IndexAny(s, ",\r\n\"")
			if i < 0 {
				t.Fatalf("a record is open: %q", s)
			}
			value, s = s[:i], s[i:]
		}
		record = append(record, value)
		switch {
		case strings.HasPrefix(s, ","):
			s = s[1:]
		case strings.HasPrefix(s, "\r\n"):
			records, record, s = append(records, record), nil, s[2:]
		default:
			t.Fatalf("neither a value nor a record ends at %q", s)
		}
	}
	return records
}
