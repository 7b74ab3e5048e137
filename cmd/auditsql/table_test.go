package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

func TestFit(t *testing.T) {
	columns := []column{
		{name: "time"},
		{name: "subject", flexible: true, least: 10},
		{name: "predicate", flexible: true, least: 5, rank: 2},
		{name: "weight", rank: 1},
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
		{"what must stay is too wide", 40, []int{60, 200, 20, 8}, []int{60, 4, 0, 0}, "subject", "predicate weight"},
	} {
		got, cut := fit(columns, test.natural, test.width)
		if !slices.Equal(got, test.want) || strings.Join(cut.shorter, " ") != test.shorter || strings.Join(cut.left, " ") != test.left {
			t.Errorf("%s: got %v, shortened %v, left out %v; want %v", test.name, got, cut.shorter, cut.left, test.want)
		}
	}
}

// Without its year, what happened two years ago looks like this month; and of two times in a row one is not cut
// alone.
func TestShortTimesKeepTheirYear(t *testing.T) {
	a := &app{}
	a.outTerm = terminal{is: true, width: 60, color: true}
	c := when.Clock{Zone: time.UTC, Unit: audit.Milliseconds}
	at := func(s string) cell {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return timeCell(uint64(when.UnixMilli()), c)
	}
	columns := []column{{name: "first"}, {name: "last"}, {name: "subject", flexible: true, least: 24}}
	for _, test := range []struct{ first, last, want string }{
		{"2024-11-01T00:04:28Z", "2024-11-01T00:07:10Z", "first (2024)    last (2024)     subject\n11-01 00:04:28  11-01 00:07:10  somewhat longer than that\n"},
		{"2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z", "first (2024)    last (2025)     subject\n12-31 23:59:59  01-01 00:00:00  somewhat longer than that\n"},
	} {
		got, cut := a.table(columns, [][]cell{{at(test.first), at(test.last), text("somewhat longer than that")}})
		if got = escapes.ReplaceAllString(got, ""); got != test.want || !slices.Equal(cut.shorter, []string{"first", "last"}) {
			t.Errorf("got\n%s, shortened %q; want\n%s", got, cut.shorter, test.want)
		}
	}
	// Of one column with two years each cell has its own.
	got, _ := a.table(columns, [][]cell{
		{at("2024-12-31T23:59:59Z"), at("2025-01-01T00:00:00Z"), text("a text that takes a lot of room")},
		{at("2025-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"), text("another")},
	})
	if !strings.Contains(got, "2024-12-31 23:59:59  01-01 00:00:00") {
		t.Errorf("a year is lost:\n%s", got)
	}
}

// Numbers are compared by the eye, so their points stand below each other.
func TestNumbersAlign(t *testing.T) {
	a := &app{}
	a.outTerm = terminal{is: true, width: 60, color: true}
	rows := [][]cell{{number(0.7), number(7)}, {number(0.91789234), number(12)}, {number(1), number(3)}, {cell{brief: "-"}, number(1)}}
	got, _ := a.table([]column{{name: "conf", right: true}, {name: "n", right: true}}, rows)
	want := "      conf   n\n0.7          7\n0.91789234  12\n1            3\n         -   1\n"
	if got = escapes.ReplaceAllString(got, ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got, _ = a.table([]column{{name: "n", right: true}, {name: "conf", right: true}}, [][]cell{{number(1), number(0.5)}, {number(2), number(0.25)}})
	if got = escapes.ReplaceAllString(got, ""); got != "n  conf\n1  0.5\n2  0.25\n" {
		t.Errorf("got %q", got)
	}
}

// escapes are what the program itself sends to a terminal: colours.
var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestCutTo(t *testing.T) {
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
		got := cutTo(test.in, test.width, test.middle)
		if got != test.want || displayWidth(got) > test.width {
			t.Errorf("%q to %d: got %q, want %q", test.in, test.width, got, test.want)
		}
	}
}

// onTerminal runs a command line as if standard output were a terminal, and returns what it shows.
func onTerminal(t *testing.T, width int, color bool, args ...string) (shown, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(context.Background(), args, streams{
		in: strings.NewReader(""), out: &out, err: &errs,
		outTerm: terminal{is: true, width: width, color: color},
		now:     func() time.Time { return noon },
	})
	if code != exitDone {
		t.Fatalf("%q: exit code %d: %s", args, code, &errs)
	}
	return out.String(), errs.String()
}

// What is drawn on a terminal is never wider than it, whatever is in the store and however narrow it is.
func TestTablesFitTheTerminal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i, subject := range []string{
		"short", strings.Repeat("a long one ", 40), strings.Repeat("東京", 60), "\x1b[31m\x1b[0m\u202e\n\t", "🚀🚀🚀 launch", "e\u0301galite\u0301",
	} {
		q := audit.QueryAudit{Timestamp: uint64(noon.UnixMilli()) + uint64(i), ResultConfidence: 0.123456789}
		q.Params.Subject, q.Params.Predicate, q.Params.Lens = &subject, &subject, &subject
		if _, err := db.PutAudit(ctx, &q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{60, 80, 100, 120, 200} {
		for _, color := range []bool{false, true} {
			for _, args := range [][]string{{"list"}, {"list", "--tz", "Asia/Kolkata"}, {"recent", "2"}, {"wal", "dump", "-o", "table"}, {"wal", "inspect"}, {"sql", "--list"}} {
				shown, said := onTerminal(t, width, color, append([]string{"-d", dir}, args...)...)
				for line := range strings.Lines(shown) {
					if n := displayWidth(escapes.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")); n > width {
						t.Errorf("%q in %d columns has %d: %q", args, width, n, line)
					}
				}
				if args[0] == "list" && !regexp.MustCompile(fmt.Sprintf(`^\(cut to %d columns,\sshortened:\s(time,\s)?subject`, width)).MatchString(said) {
					t.Errorf("%q in %d columns does not say that it was cut: %s", args, width, said)
				}
				if !color && strings.Contains(shown, "\x1b") {
					t.Errorf("%q has colours where none are wanted", args)
				}
			}
		}
	}
}

// Nobody said how wide is too wide, but a line of a megabyte beside a thousand short ones is.
func TestOneLongTextDoesNotFillATable(t *testing.T) {
	a, out := into(0)
	r := a.rows(formTable, column{name: "subject", flexible: true}, column{name: "|"})
	for i := range 3 {
		if err := r.add(text(strings.Repeat("x", i<<20)), text("|")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if n := out.Len(); n > 6000 {
		t.Errorf("%d bytes", n)
	}
	if said := a.err.(*bytes.Buffer).String(); said != "(cut to 1000 columns, shortened: subject; -o plain has it all)\n" {
		t.Errorf("it said %q", said)
	}
}

// A terminal gets a table, and there is colour in it only where it is welcome.
func TestTerminalsGetTables(t *testing.T) {
	shown, _ := onTerminal(t, 80, true, "-d", filepath.Join(t.TempDir(), "store"), "version")
	if !strings.Contains(shown, "\x1b[1mgo") {
		t.Errorf("no bold titles: %q", shown)
	}
	shown, _ = onTerminal(t, 80, false, "-d", filepath.Join(t.TempDir(), "store"), "version")
	if !strings.Contains(shown, "\ngo              go1.") {
		t.Errorf("no table: %q", shown)
	}
}
