package tui

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFit(t *testing.T) {
	t.Parallel()
	columns := []Column{
		{Name: "time"},
		{Name: "subject", Flexible: true, Least: 10},
		{Name: "predicate", Flexible: true, Least: 5, Rank: 2},
		{Name: "weight", Rank: 1},
	}
	for _, test := range []struct {
		name          string
		width         int
		natural       []int
		want          []int
		shorter, left string
	}{
		{"no terminal", 0, []int{24, 200, 20, 8}, []int{24, 200, 20, 8}, "", ""},
		{"all fits", 80, []int{24, 20, 20, 8}, []int{24, 20, 20, 8}, "", ""},
		{"just fits", 78, []int{24, 20, 20, 8}, []int{24, 20, 20, 8}, "", ""},
		{"the longest gives way", 80, []int{24, 200, 20, 8}, []int{24, 22, 20, 8}, "subject", ""},
		{"then both", 60, []int{24, 200, 20, 8}, []int{24, 11, 11, 8}, "subject predicate", ""},
		{"then columns go", 50, []int{24, 200, 20, 8}, []int{24, 14, 0, 8}, "subject", "predicate"},
		{"the least important first", 40, []int{24, 200, 20, 8}, []int{24, 14, 0, 0}, "subject", "predicate weight"},
		{"a short one is whole", 60, []int{24, 200, 4, 8}, []int{24, 18, 4, 8}, "subject", ""},
		{"what must stay is too wide", 40, []int{60, 200, 20, 8}, []int{60, 0, 0, 0}, "", "predicate weight subject"},
	} {
		got, cut := fit(columns, test.natural, test.width)
		if !slices.Equal(got, test.want) || strings.Join(cut.shorter, " ") != test.shorter || strings.Join(cut.left, " ") != test.left {
			t.Errorf("%s: got %v, shortened %v, left out %v; want %v", test.name, got, cut.shorter, cut.left, test.want)
		}
	}
}

// What a table was asked for stays when the terminal has no room for anything else, and a column without a title is told by its name.
func TestTheLowestRankStaysLongest(t *testing.T) {
	t.Parallel()
	columns := []Column{
		{Name: "mark", Title: " ", Rank: -3}, {Name: "time", Rank: -1}, {Name: "agent", Flexible: true, Least: 9}, {Name: "subject", Flexible: true, Least: 14},
		{Name: "lens", Rank: 1}, {Name: "bar", Title: " ", Rank: 2}, {Name: "approved", Rank: -2},
	}
	natural := []int{1, 16, 9, 20, 9, 30, 8}
	for width, want := range map[int]struct {
		widths        []int
		shorter, left string
	}{
		80: {[]int{1, 16, 9, 20, 9, 0, 8}, "", "bar"},
		60: {[]int{1, 16, 9, 18, 0, 0, 8}, "subject", "bar lens"},
		54: {[]int{1, 16, 9, 12, 0, 0, 8}, "subject", "bar lens"},
		40: {[]int{1, 16, 9, 0, 0, 0, 8}, "", "bar lens subject"},
		30: {[]int{1, 16, 0, 0, 0, 0, 8}, "", "bar lens subject agent"},
		12: {[]int{1, 0, 0, 0, 0, 0, 8}, "", "bar lens subject agent time"},
		5:  {[]int{1, 0, 0, 0, 0, 0, 0}, "", "bar lens subject agent time approved"},
	} {
		got, cut := fit(columns, natural, width)
		if !slices.Equal(got, want.widths) || strings.Join(cut.shorter, " ") != want.shorter || strings.Join(cut.left, " ") != want.left {
			t.Errorf("%d columns: got %v, shortened %v, left out %v; want %v", width, got, cut.shorter, cut.left, want)
		}
	}
}

// Without its year, what happened two years ago looks like this month; and of two times in a row one is not cut
// alone.
func TestShortTimesKeepTheirYear(t *testing.T) {
	t.Parallel()
	screen := &Screen{OutTerm: Terminal{Is: true, Width: 60, Color: true}}
	at := func(s string) Cell {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		cell := Text(when.Format("2006-01-02T15:04:05.000Z07:00"))
		cell.Short, cell.Year = when.Format("01-02 15:04:05"), when.Format("2006")
		return cell
	}
	columns := []Column{{Name: "first"}, {Name: "last"}, {Name: "subject", Flexible: true, Least: 24}}
	for _, test := range []struct{ first, last, want string }{
		{"2024-11-01T00:04:28Z", "2024-11-01T00:07:10Z", "first (2024)    last (2024)     subject\n11-01 00:04:28  11-01 00:07:10  somewhat longer than that\n"},
		{"2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z", "first (2024)    last (2025)     subject\n12-31 23:59:59  01-01 00:00:00  somewhat longer than that\n"},
	} {
		got, cut := screen.table(60, columns, [][]Cell{{at(test.first), at(test.last), Text("somewhat longer than that")}})
		if got = escapes.ReplaceAllString(got, ""); got != test.want || !slices.Equal(cut.shorter, []string{"first", "last"}) {
			t.Errorf("got\n%s, shortened %q; want\n%s", got, cut.shorter, test.want)
		}
	}
	// Of one column with two years each cell has its own.
	got, _ := screen.table(60, columns, [][]Cell{
		{at("2024-12-31T23:59:59Z"), at("2025-01-01T00:00:00Z"), Text("a text that takes a lot of room")},
		{at("2025-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"), Text("another")},
	})
	if !strings.Contains(got, "2024-12-31 23:59:59  01-01 00:00:00") {
		t.Errorf("a year is lost:\n%s", got)
	}
}

// A short time has no zone, so the heading has it, once for all times that have the same one. Where they have several, each
// time has its own.
func TestShortTimesKeepTheirZone(t *testing.T) {
	t.Parallel()
	screen := &Screen{OutTerm: Terminal{Is: true, Width: 64, Color: true}}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string, zone *time.Location) Cell {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		when = when.In(zone)
		cell := Text(when.Format("2006-01-02T15:04:05.000Z07:00"))
		cell.Short, cell.Year, cell.Zone = when.Format("01-02 15:04:05"), when.Format("2006"), when.Format("Z07:00")
		return cell
	}
	columns := []Column{{Name: "first", Rank: 0}, {Name: "last", Rank: 1}, {Name: "subject", Flexible: true, Least: 24}}
	for _, test := range []struct {
		zone        *time.Location
		first, last string
		want        string
	}{
		{time.UTC, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "first (2026, UTC)  last (2026)     subject\n01-01 00:00:00     01-01 00:00:01  a text of some length\n"},
		{berlin, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "first (2026, +01:00)  last (2026)     subject\n01-01 01:00:00        01-01 01:00:01  a text of some length\n"},
		{berlin, "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "first (2026, +02:00)  last (2026, +01:00)  subject\n10-25 02:30:00        10-25 02:30:00       a text of some length\n"},
	} {
		got, _ := screen.table(64, columns, [][]Cell{{at(test.first, test.zone), at(test.last, test.zone), Text("a text of some length")}})
		if got = escapes.ReplaceAllString(got, ""); got != test.want {
			t.Errorf("got\n%s; want\n%s", got, test.want)
		}
	}
	got, _ := screen.table(50, columns[:1:1], [][]Cell{{at("2026-10-25T00:30:00Z", berlin)}, {at("2026-10-25T01:30:00Z", berlin)}})
	if strings.Contains(got, "(2026") {
		t.Errorf("it was cut without need:\n%s", got)
	}
	got, _ = screen.table(50, []Column{columns[0], columns[2]}, [][]Cell{
		{at("2026-10-25T00:30:00Z", berlin), Text("a text of some length that takes more room")}, {at("2026-10-25T01:30:00Z", berlin), Text("x")},
	})
	if got = escapes.ReplaceAllString(got, ""); !strings.HasPrefix(got, "first (2026)          subject\n10-25 02:30:00+02:00  a text") || !strings.Contains(got, "\n10-25 02:30:00+01:00  x\n") {
		t.Errorf("two zones in one column:\n%s", got)
	}
	// A column that is left out before another one cannot speak for it.
	early := []Column{{Name: "first", Rank: 2}, {Name: "last", Rank: 1}, columns[2]}
	row := []Cell{at("2026-01-01T00:00:00Z", time.UTC), at("2026-01-01T00:00:01Z", time.UTC), Text("a text of some length")}
	if got, _ = screen.table(44, early, [][]Cell{row}); !strings.Contains(got, "last (2026, UTC)") {
		t.Errorf("the zone is lost:\n%s", got)
	}
}

// Numbers are compared by the eye, so their points stand below each other.
func TestNumbersAlign(t *testing.T) {
	t.Parallel()
	screen := &Screen{OutTerm: Terminal{Is: true, Width: 60, Color: true}}
	rows := [][]Cell{{Number(0.7), Number(7)}, {Number(0.91789234), Number(12)}, {Number(1), Number(3)}, {Cell{Brief: "-"}, Number(1)}}
	got, _ := screen.table(60, []Column{{Name: "conf", Right: true}, {Name: "n", Right: true}}, rows)
	want := "      conf   n\n0.7          7\n0.91789234  12\n1            3\n         -   1\n"
	if got = escapes.ReplaceAllString(got, ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got, _ = screen.table(60, []Column{{Name: "n", Right: true}, {Name: "conf", Right: true}}, [][]Cell{{Number(1), Number(0.5)}, {Number(2), Number(0.25)}})
	if got = escapes.ReplaceAllString(got, ""); got != "n  conf\n1  0.5\n2  0.25\n" {
		t.Errorf("got %q", got)
	}
}

// escapes are what the program itself sends to a terminal: colours.
var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestCutTo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in     string
		width  int
		middle bool
		want   string
	}{
		{"Ghost", 5, false, "Ghost"},
		{"Ghosts", 5, false, "Ghos…"},
		{"trec/topic/1984", 9, true, "trec…1984"},
		{"trec/topic/1984", 8, true, "tre…1984"},
		{"東京都千代田区", 9, false, "東京都千…"},
		{"東京都千代田区", 8, false, "東京都…"},
		{"東京都千代田区", 9, true, "東京…田区"},
		{"ab", 1, true, "…"},
		{"cafe\u0301 au lait", 5, false, "cafe\u0301…"},
		{"cafe\u0301 au lait", 9, true, "cafe\u0301…lait"},
		{"caffe\u0301s", 5, true, "ca…e\u0301s"},
		{"a lot\u0301\u0302", 3, true, "a…t\u0301\u0302"},
		{strings.Repeat("🚀", 1<<18), 6, true, "🚀…🚀"},
	} {
		got := CutTo(test.in, test.width, test.middle)
		if got != test.want || DisplayWidth(got) > test.width {
			t.Errorf("%q to %d: got %q, want %q", test.in, test.width, got, test.want)
		}
	}
}

// Nobody said how wide is too wide, but a line of a megabyte beside a thousand short ones is.
func TestOneLongTextDoesNotFillATable(t *testing.T) {
	t.Parallel()
	var out, said bytes.Buffer
	r := NewRows(&Screen{Out: &out, Err: &said}, Table, Column{Name: "subject", Flexible: true}, Column{Name: "|"})
	for i := range 3 {
		if err := r.Add(Text(strings.Repeat("x", i<<20)), Text("|")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
	if n := out.Len(); n > 6000 {
		t.Errorf("%d bytes", n)
	}
	if said := said.String(); said != "(cut to 1000 columns, shortened: subject; -o plain has it all)\n" {
		t.Errorf("it said %q", said)
	}
}
