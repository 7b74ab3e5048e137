package tui_test

import (
	"testing"

	"github.com/auditsql/auditsql/internal/tui"
)

// Terminals show two columns for what is wide in East Asia, none for what stands on a letter.
func TestDisplayWidth(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{
		"":                   0,
		"Tesla":              5,
		"東京":                 4,
		"ｱ":                  1, // half-width
		"Ａ":                  2, // full-width
		"한국":                 4,
		"\u1112\u1161\u11ab": 2, // the same syllable from its parts
		"e\u0301":            1,
		"ที่นี่":             2,
		"हिन्दी":             5,
		"שָׁלוֹם":            4,
		"🚀":                  2,
		"→ ✓ ±":              5,
		`\u202e`:             6,
	} {
		if got := tui.DisplayWidth(in); got != want {
			t.Errorf("%q: %d columns, want %d", in, got, want)
		}
	}
}
