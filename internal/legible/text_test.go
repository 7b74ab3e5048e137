package legible_test

import (
	"testing"

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
