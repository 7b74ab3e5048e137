package legible_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/hostile"
	"github.com/auditsql/auditsql/internal/legible"
)

// A shell reads every quoted word as it was, and a person who copies it sees all of it.
func TestAShellReadsTheWordsAsTheyWere(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	check := func(t interface {
		Fatalf(string, ...any)
		Helper()
	}, words []string) {
		t.Helper()
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = legible.ShellQuote(w)
			if legible.Text(quoted[i]) != quoted[i] {
				t.Fatalf("%q is written %q, which is not what somebody sees", w, quoted[i])
			}
		}
		out, err := exec.Command(shell, "-c", `printf '%s\0' `+strings.Join(quoted, " ")).Output()
		if want := strings.Join(words, "\x00") + "\x00"; err != nil || !bytes.Equal(out, []byte(want)) {
			t.Fatalf("%v: the shell reads %q, want %q", err, out, want)
		}
	}
	check(t, []string{"", "a", "it's", `\`, `'\''`, "a b", "$(id)", "`id`", "!x", "*", "~", "\n", "\t", "a\\nb", "\x01\x011", "\xff", "\u202e", "\u0301", "ö", "東京", "$'x'"})
	rapid.Check(t, func(t *rapid.T) {
		var words []string
		for _, w := range rapid.SliceOfN(hostile.Text(), 1, 20).Draw(t, "words") {
			words = append(words, strings.ReplaceAll(w, "\x00", ""))
		}
		check(t, words)
	})
}
