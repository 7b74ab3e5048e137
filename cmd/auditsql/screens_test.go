package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/internal/tui"
)

var update = flag.Bool("update", false, "write what commands show into testdata/screens and the documents")

// The commands whose screens are kept. They run on the demo's store.
var screens = []struct {
	name string
	args []string
}{
	{"list", []string{"list", "--subject", "supplier/Northwind"}},
	{"get", []string{"get", "4058e593"}},
	{"name", []string{"name"}},
	{"trace", []string{"trace", "--attr", "trace_id=pay-20931"}},
	{"impact", []string{"impact", "f2bf0ec5"}},
	{"impact_source", []string{"impact", "--source", "contract 2024-118"}},
	{"impact_depth", []string{"impact", "f2bf0ec5", "--depth", "all"}},
	{"trace_up", []string{"trace", "--up", "4058e593"}},
	{"answers", []string{"answers", "supplier/Northwind", "payment_account"}},
	{"diff", []string{"diff", "0a3caa49", "4058e593"}},
	{"agents", []string{"agents"}},
	{"timeline", []string{"timeline", "--by", "minute", "--agent", "mailbot"}},
	{"timeline_silent", []string{"timeline", "--to", "2026-11-23T11:59"}},
	{"top_assertion", []string{"top", "--by", "assertion", "--limit", "5"}},
	{"top_source", []string{"top", "--by", "source"}},
	{"top_lifecycle", []string{"top", "--by", "lifecycle"}},
	{"compare", []string{"compare", "--by", "source", "--from", "2026-11-23T10:00", "--to", "2026-11-23T10:29", "--with", "2026-11-23T09:30"}},
	{"sql_list", []string{"sql", "--list"}},
	{"top_subject", []string{"top", "--by", "subject"}},
}

// What commands show on terminals of 80 and 120 columns, with and without colour, is what is kept in
// testdata/screens, and no line of it is wider than the terminal.
func TestScreens(t *testing.T) {
	if testing.Short() {
		t.Skip("opens SQLite some sixty times, which takes a second each under the race detector")
	}
	dir := filepath.Join(t.TempDir(), "demo")
	if code := run(context.Background(), []string{"demo", "--keep", dir}, streams{out: new(bytes.Buffer), err: os.Stderr, now: time.Now}); code != exitDone {
		t.Fatalf("demo: exit code %d", code)
	}
	t.Setenv("AUDITSQL_DIR", dir) // so that no command to be typed next has a -d
	for _, s := range screens {
		var got strings.Builder
		for _, width := range []int{80, 120} {
			for _, color := range []bool{false, true} {
				shown, said := onTerminal(t, width, color, s.args...)
				for line := range strings.Lines(shown + said) {
					if n := tui.DisplayWidth(escapes.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")); n > width {
						t.Errorf("%s in %d columns has %d: %q", s.name, width, n, line)
					}
				}
				if !color && strings.Contains(shown+said, "\x1b") {
					t.Errorf("%s has colours where none are wanted", s.name)
				}
				fmt.Fprintf(&got, "%s\n", ruler(width, color))
				// Visible, and the same in every editor.
				fmt.Fprintf(&got, "$ auditsql %s\n%s%s\n", typed(s.args), strings.ReplaceAll(shown, "\x1b", "␛"), said)
			}
		}
		file := filepath.Join("testdata", "screens", s.name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s shows what is not in %s (-update writes it):\n%s", s.name, file, &got)
		}
	}
}

// ruler heads a screen, as wide as it may be.
func ruler(width int, color bool) string {
	about := fmt.Sprintf("== %d columns ", width)
	if color {
		about = fmt.Sprintf("== %d columns, colour ", width)
	}
	return about + strings.Repeat("=", width-len(about))
}

// typed is a command line as a person types it.
func typed(args []string) string {
	var words []string
	for _, arg := range args {
		words = append(words, shellQuote(arg))
	}
	return strings.Join(words, " ")
}
