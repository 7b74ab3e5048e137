package tui_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

// A steady table has one head. Each row comes when it is flushed, on one line that fits the terminal, whatever comes after it.
func TestASteadyTableIsPrintedRowByRow(t *testing.T) {
	for _, width := range []int{40, 80, 0} {
		var out, errs bytes.Buffer
		s := &tui.Screen{Out: &out, Err: &errs, OutTerm: tui.Terminal{Is: width > 0, Width: width}}
		rows := tui.NewRows(s, tui.Table, tui.Column{Name: "time"}, tui.Column{Name: "subject", Flexible: true, Least: 10, Middle: true}, tui.Column{Name: "n", Right: true})
		rows.Steady()
		time := func(year string) tui.Cell {
			return tui.Cell{Kind: tui.TextKind, Text: year + "-11-23T10:19:12.000Z", Short: "11-23 10:19:12", Year: year}
		}
		for i, subject := range []string{"short", strings.Repeat("long ", 40), "\x1b[31m\n東京", "x"} {
			before := out.Len()
			if err := rows.Add(time([]string{"2026", "2025", "2026", "2027"}[i]), tui.Text(subject), tui.Number(i)); err != nil {
				t.Fatal(err)
			}
			if err := rows.Flush(); err != nil {
				t.Fatal(err)
			}
			came := strings.TrimSuffix(out.String()[before:], "\n")
			if head := strings.Count(came, "\n"); head != map[bool]int{true: 2, false: 0}[i == 0] {
				t.Errorf("%d columns, row %d has %d lines before it:\n%s", width, i, head, came)
			}
			row := came[strings.LastIndex(came, "\n")+1:]
			if !strings.HasPrefix(row, []string{"2026", "2025", "2026", "2027"}[i]) {
				t.Errorf("%d columns, row %d does not tell its year: %q", width, i, row)
			}
			if n := tui.DisplayWidth(row); width > 0 && n > width {
				t.Errorf("row %d has %d columns: %q", i, n, row)
			}
		}
		if err := rows.End(); err != nil {
			t.Fatal(err)
		}
		if cut := strings.Contains(errs.String(), "shortened: subject"); cut != (width > 0) {
			t.Errorf("%d columns: it says %q", width, errs.String())
		}
	}
}
