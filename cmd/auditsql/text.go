package main

import "github.com/auditsql/auditsql/internal/legible"

// harmless makes stored text fit for a terminal and for one line of plain text. JSON has it as it is.
func harmless(s string) string { return legible.Text(s) }
