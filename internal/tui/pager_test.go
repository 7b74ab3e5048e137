package tui_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

// paged prints lines and notes through a pager, and returns what the terminal got.
func paged(t *testing.T, command string, lines int) (out, errs string, p *tui.Pager, printed error) {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	var o, e bytes.Buffer
	p = tui.NewPager(command, &o, &e, tui.Terminal{Is: true, Width: 40, Height: 10})
	fmt.Fprintln(p.Err(), "note: before")
	for n := range lines {
		if _, printed = fmt.Fprintf(p.Out(), "line %d\n", n); printed != nil {
			break
		}
	}
	fmt.Fprintln(p.Err(), "(cut)")
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	return o.String(), e.String(), p, printed
}

// What fits on the screen goes there without the program. What does not goes into it, with the notes at their place.
func TestAPagerIsForWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	out, errs, p, _ := paged(t, "sed s/^/paged:/", 8)
	if out != strings.Join(numbered("line", 8), "") || errs != "note: before\n(cut)\n" || p.Left() {
		t.Errorf("8 lines: %q, %q", out, errs)
	}
	out, errs, p, _ = paged(t, "sed s/^/paged:/", 2000)
	if out != strings.Join(numbered("paged:line", 2000), "")+"paged:(cut)\n" || errs != "note: before\n" || p.Left() {
		t.Errorf("2000 lines: %d bytes, %q", len(out), errs)
	}
}

func numbered(word string, n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("%s %d\n", word, i))
	}
	return lines
}

// A line that is wider than the terminal takes several of it.
func TestAPagerCountsWhatTheTerminalWraps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for lines, starts := range map[int]bool{4: false, 5: true} {
		file := filepath.Join(dir, fmt.Sprint(lines))
		var out bytes.Buffer
		p := tui.NewPager("cat > "+file, &out, &out, tui.Terminal{Is: true, Width: 40, Height: 10})
		for range lines {
			if _, err := io.WriteString(p.Out(), strings.Repeat("x", 70)+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.End(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); (err == nil) != starts {
			t.Errorf("%d lines of 70 columns: %v", lines, err)
		}
	}
}

// Whoever has seen enough leaves the program, and the rest is not printed.
func TestAPagerIsLeft(t *testing.T) {
	t.Parallel()
	out, _, p, printed := paged(t, "head -n 1", 1<<20)
	if out != "line 0\n" || !p.Left() || !errors.Is(printed, syscall.EPIPE) {
		t.Errorf("it printed %q, left %v, %v", out, p.Left(), printed)
	}
}

// A program that is not there is an error.
func TestAPagerThatIsNotThere(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	var out bytes.Buffer
	p := tui.NewPager("nosuchpager", &out, &out, tui.Terminal{Is: true, Width: 40, Height: 2})
	for range 3 {
		_, _ = io.WriteString(p.Out(), "a line\n")
	}
	if err := p.End(); err == nil || !strings.Contains(err.Error(), "nosuchpager cannot be run") {
		t.Errorf("it ended with %v", err)
	}
}
