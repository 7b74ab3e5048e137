package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
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

// hostileText draws a text made of pieces and of anything else.
func hostileText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(pieces), rapid.String()), 0, 8).Draw(t, "parts")
		return strings.Join(parts, "") + strings.Repeat("x", rapid.SampledFrom([]int{0, 0, 0, 40, 300}).Draw(t, "more"))
	})
}

// wantHarmless holds a text against what may reach a terminal or a line of plain text.
func wantHarmless(t *rapid.T, s string) {
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

// into makes an app that prints into memory, as if on a terminal of a width; 0 is none.
func into(width int) (*app, *bytes.Buffer) {
	var out bytes.Buffer
	return &app{streams: streams{out: &out, err: new(bytes.Buffer), outTerm: tui.Terminal{Is: width > 0, Width: width}}}, &out
}

// lines takes an output apart, which ends with a line end when there is one.
func lines(t *rapid.T, out *bytes.Buffer) []string {
	t.Helper()
	s, ended := strings.CutSuffix(out.String(), "\n")
	if !ended {
		t.Fatalf("does not end with a line end: %q", out)
	}
	return strings.Split(s, "\n")
}

// A record laid out for reading, in the two forms that are not exact.
func TestNoTextBreaksARecord(t *testing.T) {
	db, err := audit.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rapid.Check(t, func(t *rapid.T) {
		q := audit.QueryAudit{QueryID: audit.QueryID{1}, Attributes: map[string]any{}}
		for _, p := range []**string{&q.Params.Subject, &q.Params.Predicate, &q.Params.Lens} {
			s := hostileText().Filter(storable).Draw(t, "parameter")
			*p = &s
		}
		for range rapid.IntRange(0, 3).Draw(t, "attributes") {
			q.Attributes[hostileText().Filter(storable).Draw(t, "key")] = hostileText().Filter(storable).Draw(t, "value")
		}
		raw, err := q.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []tui.Form{tui.Table, tui.Plain} {
			a, out := into(0)
			a.output = string(form)
			w := a.detail(form, &reading{DB: db, clock: when.Clock{Unit: audit.Milliseconds, Zone: noon.Location()}})
			if err := errors.Join(w.write(raw), w.End()); err != nil {
				t.Fatal(err)
			}
			got := lines(t, out)
			want := 11 // what every record has
			if form == tui.Table {
				want = 13
				if len(q.Attributes) > 0 {
					want++
				}
			}
			if len(got) != want+len(q.Attributes) {
				t.Errorf("%s: %d lines, want %d: %q", form, len(got), want+len(q.Attributes), out)
			}
			for _, line := range got {
				if form == tui.Plain {
					line = strings.ReplaceAll(line, "\t", " ")
				}
				wantHarmless(t, line)
			}
		}
	})
}

// storable reports whether a record can hold a text.
func storable(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
