package phrase_test

import (
	"bytes"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/hostile"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/web/internal/phrase"
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
			quoted[i] = phrase.Quote(w)
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

func TestCommand(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		dir   string
		words []string
		want  string
	}{
		{"", []string{"list", "--subject", "Tesla*"}, "auditsql list --subject 'Tesla*'"},
		{"/var/lib/a b", []string{"trace", "4058e593"}, "auditsql -d '/var/lib/a b' trace 4058e593"},
		{"x", []string{"answers", "a\x00b", "c"}, ""},
	} {
		if got := phrase.Command(test.dir, test.words...); got != test.want {
			t.Errorf("%q: %s, want %s", test.words, got, test.want)
		}
	}
}

// An address is a path of this server, whatever the values are.
func TestTo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key, value := hostile.Text().Draw(t, "key"), hostile.Text().Draw(t, "value")
		got := string(phrase.To("/list", url.Values{key: {value}}))
		u, err := url.Parse(got)
		if err != nil || u.Host != "" || u.Scheme != "" || u.Path != "/list" || u.Fragment != "" || u.Query().Get(key) != value {
			t.Fatalf("%v: %s", err, got)
		}
	})
	for _, path := range []string{"", "list", "//evil.example", "https://evil.example"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q makes an address", path)
				}
			}()
			phrase.To(path, nil)
		}()
	}
}
