package report

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/hostile"
)

// markup is what has fooled readers of Markdown.
var markup = []string{
	"`", "``", "```", "`` ` ``", "|", `\|`, `\`, "\\`", "[x](javascript:alert(1))", "![x](http://x/y.png)", "<script>alert(1)</script>", "<!--", "-->", "<a href=x>",
	"https://evil.example", "www.evil.example", "a@evil.example", "<http://x>", "**bold**", "# head", "\n# head", "\n\n| a |\n|---|\n", "&lt;", "&#x60;", "$$", "~~~", "  ", "---",
}

func hostileText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(markup), hostile.Text()), 0, 6).Draw(t, "parts")
		return strings.ToValidUTF8(strings.Join(parts, ""), "?")
	})
}

// A stored text is one code span, which nothing in it ends, on one line and in one cell of a table.
func TestAStoredTextIsOneCodeSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := hostileText().Draw(t, "text")
		got := stored(text)
		if text == "" {
			if got != "(empty)" {
				t.Fatalf("%q", got)
			}
			return
		}
		hostile.WantHarmless(t, got)
		if strings.ContainsAny(got, "|\n") {
			t.Fatalf("%q ends a cell or a line: %q", text, got)
		}
		fence := got[:len(got)-len(strings.TrimLeft(got, "`"))]
		inner, closed := strings.CutSuffix(strings.TrimPrefix(got, fence), fence)
		if fence == "" || !closed || inner == "" {
			t.Fatalf("%q is no span: %q", text, got)
		}
		run := 0
		for _, r := range inner + " " {
			if r == '`' {
				run++
				continue
			}
			if run == len(fence) {
				t.Fatalf("%q ends the span within: %q", text, got)
			}
			run = 0
		}
		if strings.HasPrefix(inner, "`") || strings.HasSuffix(inner, "`") {
			t.Fatalf("%q makes the fence longer: %q", text, got)
		}
	})
}

// A record that is shown in a report reads as the stored one, and has nothing in it that cannot be seen.
func TestARecordInAReportIsTheStoredOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subject := strings.ReplaceAll(hostileText().Draw(t, "subject"), "\x00", "")
		q := audit.QueryAudit{Params: audit.QueryParams{Subject: &subject}, Attributes: map[string]any{subject: subject}}
		raw, err := q.Canonical()
		if err != nil {
			t.Skip(err)
		}
		line := visibleJSON(raw)
		hostile.WantHarmless(t, line)
		read, err := audit.ParseAudit([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		again, err := read.Canonical()
		if err != nil || string(again) != string(raw) {
			t.Fatalf("%s\n%s\n%v", again, raw, err)
		}
	})
}

// A line of code cannot end its block.
func TestABlockEndsAtItsEnd(t *testing.T) {
	got := block("console", "$ x '```'", "````")
	if want := "`````console\n$ x '```'\n````\n`````\n"; got != want {
		t.Errorf("%q", got)
	}
}
