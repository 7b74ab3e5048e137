package main

import (
	"regexp"
	"strings"
	"testing"
)

// The beginning of an id is 8 to 64 hex digits, of either case, and nothing else.
func FuzzPrefix(f *testing.F) {
	for _, s := range []string{"", "0123456", "0123456F", "012345678", "0x234567", "0123456g", "0123456\u0660", strings.Repeat("a", 64), strings.Repeat("a", 65), "Northwind"} {
		f.Add(s)
	}
	digits := regexp.MustCompile(`^[0-9a-fA-F]{8,64}$`)
	f.Fuzz(func(t *testing.T, s string) {
		if err := checkPrefix(s); (err == nil) != digits.MatchString(s) {
			t.Errorf("%q: %v", s, err)
		}
	})
}
