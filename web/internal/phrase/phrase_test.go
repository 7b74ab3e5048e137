package phrase_test

import (
	"net/url"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/internal/hostile"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

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
