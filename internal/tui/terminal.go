package tui

import (
	"os"
	"strconv"

	"golang.org/x/term"
)

// A Terminal is what is known of where a stream goes. The zero value is no terminal.
type Terminal struct {
	Is     bool
	Width  int  // in columns
	Height int  // in lines; 0: not known
	Color  bool // colours and movements of the cursor are welcome
}

// narrowest is the least width that a Terminal has. In a narrower window the terminal wraps the lines.
const narrowest = 40

// IsTerminal reports whether a file is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// TerminalOf describes where a file goes. NO_COLOR and TERM=dumb turn colours off. COLUMNS and LINES are the
// size where the system does not know it.
func TerminalOf(f *os.File) Terminal {
	if !IsTerminal(f) {
		return Terminal{}
	}
	t := Terminal{Is: true, Width: 80, Height: 24, Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil {
		w, h = 0, 0
	}
	for _, size := range []struct {
		known    int
		variable string
		to       *int
	}{{w, "COLUMNS", &t.Width}, {h, "LINES", &t.Height}} {
		if size.known > 0 {
			*size.to = size.known
		} else if n, err := strconv.Atoi(os.Getenv(size.variable)); err == nil && n > 0 {
			*size.to = n
		}
	}
	t.Width = max(t.Width, narrowest)
	return t
}
