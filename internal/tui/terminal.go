package tui

import (
	"os"
	"strconv"

	"golang.org/x/term"
)

// A Terminal is what is known of where a stream goes. The zero value is no terminal.
type Terminal struct {
	Is    bool
	Width int  // in columns
	Color bool // colours and movements of the cursor are welcome
}

// narrowest is the least width that a Terminal has. In a narrower window the terminal wraps the lines.
const narrowest = 40

// IsTerminal reports whether a file is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// TerminalOf describes where a file goes. NO_COLOR and TERM=dumb turn colours off. COLUMNS is the width where the system does
// not know it.
func TerminalOf(f *os.File) Terminal {
	if !IsTerminal(f) {
		return Terminal{}
	}
	t := Terminal{Is: true, Width: 80, Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		t.Width = w
	} else if w, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && w > 0 {
		t.Width = w
	}
	t.Width = max(t.Width, narrowest)
	return t
}
