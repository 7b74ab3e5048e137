package audit_test

import (
	"cmp"
	"encoding/json"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

func TestHashText(t *testing.T) {
	lower := strings.Repeat("0123456789abcdef", 4)
	for _, text := range []string{lower, strings.ToUpper(lower), strings.Replace(lower, "a", "A", 1)} {
		h, err := audit.ParseHash(text)
		if err != nil {
			t.Fatalf("ParseHash(%s): %v", text, err)
		}
		if h.String() != lower {
			t.Errorf("%s reads as %s", text, h)
		}
		if out, err := json.Marshal(h); err != nil || string(out) != `"`+lower+`"` {
			t.Errorf("in JSON: %s, %v", out, err)
		}
		var back audit.Hash
		if err := json.Unmarshal([]byte(`"`+text+`"`), &back); err != nil || back != h {
			t.Errorf("from JSON: %s, %v", back, err)
		}
	}
}

func TestHashRefusesWhatIsNot64HexDigits(t *testing.T) {
	good := strings.Repeat("ab", 32)
	for name, text := range map[string]string{
		"empty":                  "",
		"one digit short":        good[1:],
		"one digit more":         good + "a",
		"prefix":                 "0x" + good[2:],
		"space":                  " " + good[1:],
		"letter after f":         "g" + good[1:],
		"letter after F":         "G" + good[1:],
		"between 9 and A":        ":" + good[1:],
		"below 0":                "/" + good[1:],
		"digit with a high bit":  "\xb0" + good[1:],
		"last digit":             good[1:] + "x",
		"full-width digit":       "０" + good[3:],
		"million of characters":  strings.Repeat("a", 1<<20),
		"digit minus a bit":      "\x10" + good[1:],
		"NUL":                    "\x00" + good[1:],
		"two halves of a dashed": good[:32] + "-" + good[33:],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := audit.ParseHash(text)
			wantInvalid(t, err, "")

			h := fill(7)
			wantInvalid(t, h.UnmarshalText([]byte(text)), "")
			if h != fill(7) {
				t.Errorf("a refused text left %s", h)
			}
		})
	}
}

func TestHashOrder(t *testing.T) {
	ordered := []audit.Hash{{}, {31: 1}, {0: 1}, {0: 1, 31: 1}, {0: 0x80}, fill(0xff)}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := a.Compare(b), cmp.Compare(i, j); got != want {
				t.Errorf("%s against %s: %d, want %d", a, b, got, want)
			}
		}
		if a.IsZero() != (i == 0) {
			t.Errorf("%s.IsZero() = %v", a, a.IsZero())
		}
	}
}
