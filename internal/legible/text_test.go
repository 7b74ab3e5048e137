package legible_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/legible"
)

func TestText(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "revenue 2026", "revenue 2026"},
		{"letters of all scripts", "Größe 東京 Ελλάδα שלום नमस्ते", "Größe 東京 Ελλάδα שלום नमस्ते"},
		{"symbols", "a→b ✓ 🚀", "a→b ✓ 🚀"},
		{"a symbol with its look", "❤️", "❤️"},
		{"blanks", "a\u00a0b\u3000c", "a\u00a0b\u3000c"},
		{"backslash", `C:\new`, `C:\new`},
		{"line and tab", "a\nb\r\nc\td", `a\nb\r\nc\td`},
		{"escape sequence", "\x1b[31mred\x1b[0m", `\u001b[31mred\u001b[0m`},
		{"C1 control", "\u009b31m", `\u009b31m`},
		{"bell, delete", "\a\x7f", `\u0007\u007f`},
		{"right-to-left override", "invoice\u202efdp.exe", `invoice\u202efdp.exe`},
		{"isolates", "\u2066a\u2069", `\u2066a\u2069`},
		{"zero width", "pay\u200bpal\ufeff", `pay\u200bpal\ufeff`},
		{"joiner", "a\u200db", `a\u200db`},
		{"soft hyphen", "a\u00adb", `a\u00adb`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"tag characters", "ok\U000e0041", `ok\U000e0041`},
		{"variation selectors in a row", "❤\ufe0f\ufe0f\U000e0100", "❤\ufe0f" + `\ufe0f\U000e0100`},
		{"a variation of a plain letter", "a\ufe0f", `a\ufe0f`},
		{"Braille without dots", "a\u2800b", `a\u2800b`},
		{"invisible letter", "a\u3164b", `a\u3164b`},
		{"not UTF-8", "a\xffb", `a\xffb`},
		{"accents", "e\u0301 ệ שָּׁ֑ कुर्सी ที่นี่", "e\u0301 ệ שָּׁ֑ कुर्सी ที่นี่"},
		{"a heap of marks", "a\u0301\u0302\u0303\u0304\u0305\u0306b\u0301", "a\u0301\u0302\u0303\u0304" + `\u0305\u0306` + "b\u0301"},
		{"a mark without a letter", "\u0301a", `\u0301a`},
		{"a mark behind an escape", "\x1b\u0301", `\u001b\u0301`},
		{"a look behind an escape", "\u202e\ufe0f", `\u202e\ufe0f`},
		{"emoji joined", "👩\u200d🚀", `👩\u200d🚀`},
		{"operating system commands", "\x1b]8;;http://x\x1b\\y\u009d52;c;eA==\u009c", `\u001b]8;;http://x\u001b\y\u009d52;c;eA==\u009c`},
		{"device control", "\u0090$q\u009c", `\u0090$q\u009c`},
		{"backspace", "good\b\b\b\bbad", `good\u0008\u0008\u0008\u0008bad`},
		{"private use, noncharacters", "\ue000\ufdd0\uffff\U0010ffff", `\ue000\ufdd0\uffff\U0010ffff`},
		{"the replacement character itself", "a\ufffdb", "a\ufffdb"},
	} {
		if got := legible.Text(test.in); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestVisible(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "a b", "a b"},
		{"nothing", "", ""},
		{"a blank before", " a", `\u0020a`},
		{"a blank after", "a ", `a\u0020`},
		{"several", "  a b  ", `\u0020 a b \u0020`},
		{"nothing but blanks", " ", `\u0020`},
		{"a no-break space", "a\u00a0b", `a\u00a0b`},
		{"an ideographic space", "東\u3000京", `東\u3000京`},
		{"other spaces", "a\u2003b\u2009c\u1680d", `a\u2003b\u2009c\u1680d`},
		{"what Text escapes", "a\u200b ", `a\u200b\u0020`},
		{"letters", "Mu\u0308ller Größe", "Mu\u0308ller Größe"},
		{"a backslash", `C:\u0020`, `C:\u0020`},
	} {
		if got := legible.Visible(test.in); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestApart(t *testing.T) {
	for _, test := range []struct {
		name     string
		in, want []string
		alike    bool
	}{
		{"nothing", nil, nil, false},
		{"the same", []string{"Mu\u0308ller", "Mu\u0308ller"}, []string{"Mu\u0308ller", "Mu\u0308ller"}, false},
		{"blanks", []string{"Kontor", "Kontor "}, []string{"Kontor", `Kontor\u0020`}, false},
		{"composed and not", []string{"M\u00fcller", "Mu\u0308ller", "Mueller"}, []string{"M\u00fcller", `Mu\u0308ller`, "Mueller"}, true},
		{"marks in another order", []string{"a\u0323\u0307", "a\u0307\u0323"}, []string{`a\u0323\u0307`, `a\u0307\u0323`}, true},
		{"Hangul", []string{"한", "\u1112\u1161\u11ab"}, []string{"한", "\u1112" + `\u1161\u11ab`}, true},
		{"the Kelvin sign", []string{"K", "\u212a"}, []string{"K", `\u212a`}, true},
		{"an escape that is stored", []string{`a\u0020`, "a ", `a\\u0020`}, []string{`a\\u0020`, `a\u0020`, `a\\\\u0020`}, true},
	} {
		write, alike := legible.Apart(slices.Values(test.in))
		var got []string
		for _, s := range test.in {
			got = append(got, write(s))
		}
		if !slices.Equal(got, test.want) || alike != test.alike {
			t.Errorf("%s: got %q, %v, want %q, %v", test.name, got, alike, test.want, test.alike)
		}
	}
}

// Texts that differ are never written alike, whatever they are made of.
func TestTextsAreWrittenApart(t *testing.T) {
	pieces := []string{"a", "u", "\u00fc", "\u0308", "\u0323", "\u0307", " ", "\u00a0", "\u3000", "\u212a", "K", "\\", "u0308", "u0020", "n", "\n", "\xff", "xff",
		"한", "\u1112", "\u1161", "\u11ab", "\u200b", "\U000e0041"}
	texts := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 5).Draw(t, "pieces"), "")
	})
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(texts, 2, 30).Draw(t, "texts")
		write, _ := legible.Apart(slices.Values(list))
		by := map[string]string{}
		for _, s := range list {
			shown := write(s)
			if other, seen := by[shown]; seen && other != s {
				t.Fatalf("%q and %q are both written as %q", other, s, shown)
			}
			by[shown] = s
		}
	})
}

func TestSpellings(t *testing.T) {
	for in, want := range map[string][]string{
		"Tesla":              nil,
		"M\u00fcller":        {"Mu\u0308ller"},
		"Mu\u0308ller":       {"M\u00fcller"},
		"\u00fc and u\u0308": {"\u00fc and \u00fc", "u\u0308 and u\u0308"},
		"q\u0308":            nil,
	} {
		if got := legible.Spellings(in); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"M\u00fcller": "M*ller", "Mu\u0308ller": "M*ller", "Tesla": "Tesla", "q\u0308": "q\u0308"} {
		if got := legible.EitherSpelling(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
