package webtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// recorder keeps what a check says in place of failing the test.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

// badPage has one of everything that no page may have.
const badPage = `<!doctype html><html><head><title></title><style>p { color: #ccc }</style></head><body>
<img src="/x.png"><p>grey on white</p><a href="http://evil.example/">elsewhere</a><b onclick="f()">x</b>
<pre style="width: 3000px">wide</pre><script>window.owned = 1; console.log("hello")</script><p>a&#x202e;b</p></body></html>`

// The checks of the pages find what they look for. Without this test they could pass because they look at nothing.
func TestTheChecksFindWhatTheyLookFor(t *testing.T) {
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, badPage)
	}))
	defer bad.Close()
	b := newTab(t, wide)
	b.open(bad.URL)
	r := &recorder{TB: t}
	b.t = r
	b.accessible("bad")
	b.harmless("bad")
	b.wellMade("bad")
	b.t = t
	said := strings.Join(r.said, "\n")
	for _, want := range []string{"axe: image-alt", "axe: color-contrast", "a script of a record has run", "202e", "wider than the window",
		"headings of the first order", "has no title", "leads elsewhere", "handler onclick", "script:", "style:", "console.log"} {
		if !strings.Contains(said, want) {
			t.Errorf("no check has said %q:\n%s", want, said)
		}
	}
}
