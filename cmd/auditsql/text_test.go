package main

import "testing"

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"./audit": "./audit", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'",
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}
