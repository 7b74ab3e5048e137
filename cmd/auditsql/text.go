package main

import "github.com/auditsql/auditsql/internal/legible"

// harmless makes stored text fit for one line of plain text, for an error or a note. JSON has it as it is.
func harmless(s string) string { return legible.Text(s) }

// visible makes stored text fit for a person to read: harmless, and with blanks at its ends that can be seen.
func visible(s string) string { return legible.Visible(s) }
