package main

import (
	"os"
	"strconv"

	"golang.org/x/term"
)

// A terminal is what is known of where a stream goes.
type terminal struct {
	is    bool
	width int  // in columns, when it is one
	color bool // colours and cursor movements are welcome
}

// narrowest is the width below which tables no longer shrink: they wrap there instead.
const narrowest = 40

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func terminalOf(f *os.File) terminal {
	if !isTerminal(f) {
		return terminal{}
	}
	t := terminal{is: true, width: 80, color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		t.width = w
	} else if w, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && w > 0 {
		t.width = w
	}
	t.width = max(t.width, narrowest)
	return t
}
