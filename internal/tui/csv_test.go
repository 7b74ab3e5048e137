package tui_test

import (
	"bytes"
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

// With CSVSafe no part of a text that may become a cell begins as a formula does. Numbers stay numbers.
func TestCSVForASpreadsheet(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":       "plain",
		"=1+1":        "'=1+1",
		"-1":          "'-1",
		"@SUM(A1)":    "'@SUM(A1)",
		"＝1":          "'＝1",
		"\u200b=1":    "'\u200b=1",
		"a;=1;b":      "a;'=1;b",
		"a\n+1":       "\"a\n'+1\"",
		"\"=1":        "\"'\"\"=1\"",
		"\tx":         "'\tx",
		"a=b":         "a=b",
		"two;words":   "two;words",
		"":            `""`,
		" =1":         "' =1",
		"1;2\t@x\r-3": "\"1;2\t'@x\r'-3\"",
	} {
		var out bytes.Buffer
		r := tui.NewRows(&tui.Screen{Out: &out, CSVSafe: true}, tui.CSV, tui.Column{Name: "text"}, tui.Column{Name: "n"})
		if err := r.Add(tui.Text(in), tui.Number(-1)); err != nil {
			t.Fatal(err)
		}
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != "text,n\r\n"+want+",-1\r\n" {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
