// Package hostile draws texts that have fooled terminals, people and tables before, and checks what may be shown of them. It
// is for tests: nothing else imports it.
package hostile

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// pieces are what has fooled terminals, people and tables before.
var pieces = []string{
	"Tesla", "2026", " ", "\u00a0", "東京", "ｱＡ", "ﾞ", "한", "\u1112\u1161\u11ab", "שלום", "ที่นี่", "हिन्दी", "→", "±", "…", "\\", "\"", ",", ";", "'",
	"\t", "\n", "\r", "\r\n", "\v", "\f", "\b", "\a", "\x7f", "\x00",
	"\x1b[31m", "\x1b[2J", "\x1b]0;owned\a", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1b]52;c;eA==\a", "\x1bP$q\x1b\\", "\x1b_x\x1b\\", "\x1bc",
	"\u009b31m", "\u009d52;c;eA==\u009c", "\u0090q\u009c", "\u0085", "\u0080",
	"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\u200e", "\u200f", "\u061c",
	"\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e", "\u034f", "\u115f", "\u3164", "\uffa0",
	"\u2028", "\u2029", "\ufff9", "\ue000", "\ufdd0", "\uffff", "\U0010ffff", "\U000e0041", "\U000e007f", "\ufe0f", "\ufe0e", "\U000e0100",
	"e\u0301", "\u0301", "\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308", "\u20dd", "\u302a",
	"🚀", "👩\u200d🚀", "👍🏽", "❤\ufe0f", "1\ufe0f\u20e3", "🇩🇪",
	"=1+1", "+1", "-1", "-0.5", "@SUM(A1)", "＝1",
}

// Text draws a text made of pieces and of anything else.
func Text() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(pieces), rapid.String()), 0, 8).Draw(t, "parts")
		return strings.Join(parts, "") + strings.Repeat("x", rapid.SampledFrom([]int{0, 0, 0, 40, 300}).Draw(t, "more"))
	})
}

// WantHarmless fails unless a text may reach a terminal or a line of plain text.
func WantHarmless(t *rapid.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Fatalf("is no UTF-8: %q", s)
	}
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs, unicode.Bidi_Control, unicode.Noncharacter_Code_Point) {
			t.Fatalf("has %U: %q", r, s)
		}
	}
}
