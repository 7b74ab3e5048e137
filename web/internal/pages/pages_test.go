package pages_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/web/internal/pages"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

// Values get into links only as a phrase.Address, through the function href, and into attributes of scripts and styles not at all.
func TestTemplatesMakeLinksInOneWay(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.html")
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	links := regexp.MustCompile(`(?:href|src|action|data-path|data-live)="([^"]*)"`)
	fixed := regexp.MustCompile(`^(?:/[a-z]*|#[a-z-]+|\{\{href [.$A-Za-z]+\}\})$`)
	found := 0
	for _, name := range append(names, filepath.Join("..", "chart", "chart.html")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range links.FindAllStringSubmatch(string(text), -1) {
			found++
			if !fixed.MatchString(m[1]) {
				t.Errorf("%s: %s", name, m[0])
			}
		}
		for _, not := range []string{" style=", "<style", " onclick", " onload", "javascript:", "http://", "https://", "safeHTML", "innerHTML"} {
			if strings.Contains(string(text), not) {
				t.Errorf("%s has %q", name, not)
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d links were found", found)
	}
}

// An Address is made in package phrase alone. What is converted to one elsewhere was not encoded by it.
func TestAddressesAreMadeInOneWay(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"*.go", "../chart/*.go", "../../*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			if strings.Contains(string(text), "phrase.Address(") {
				t.Errorf("%s makes an address by itself", name)
			}
			if strings.Contains(string(text), "template.HTML(") && !strings.HasSuffix(name, "chart.go") && name != "parts.go" {
				t.Errorf("%s makes markup by itself", name)
			}
		}
	}
}

// The script writes texts as texts, so it needs no exception from Trusted Types.
func TestTheScriptWritesNoMarkup(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("script.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, not := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "new Function", "setTimeout(\"", ".style", "srcdoc", "createPolicy"} {
		if strings.Contains(string(text), not) {
			t.Errorf("the script has %s", not)
		}
	}
	if len(text) > 12<<10 {
		t.Errorf("the script has %d bytes", len(text))
	}
}

// The style sheet loads nothing, and the colours of text are readable on what is behind them.
func TestTheStyleSheetLoadsNothing(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("url(")) || bytes.Contains(text, []byte("@import")) || bytes.Contains(text, []byte("@font-face")) {
		t.Error("the style sheet loads something")
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	for address, want := range map[phrase.Address]string{pages.StyleSheet: "text/css", pages.Script: "text/javascript", pages.Icon: "image/svg+xml"} {
		w := httptest.NewRecorder()
		if is := pages.ServeAsset(w, httptest.NewRequest(http.MethodGet, string(address), nil)); !is || w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), want) || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Body.Len() == 0 {
			t.Errorf("%s: status %d, %v", address, w.Code, w.Header())
		}
	}
	w := httptest.NewRecorder()
	if pages.ServeAsset(w, httptest.NewRequest(http.MethodGet, pages.AssetsPath+"style.css", nil)) || w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("an old name: %q, %v", w.Body, w.Header())
	}
}

// What is stored is shown legibly, and never as markup, in every place that has it.
func TestRenderKeepsStoredTextApart(t *testing.T) {
	t.Parallel()
	const bad = "<b>\u202eevil\x1b[31m"
	part := []pages.Part{{Text: bad, Stored: true, Full: bad, Copy: true, Link: phrase.To("/x", nil)}, {Text: bad, Stored: true}}
	page := &pages.Page{Frame: pages.Frame{Title: bad, Heading: part, Find: bad, Notes: []string{bad}, Command: bad, SQL: bad}, Sections: []pages.Section{{
		Heading: bad, Failed: bad, About: part, Findings: [][]pages.Part{part}, Facts: []pages.Fact{{Name: bad, Value: part}}, Stored: &pages.Stored{Text: bad},
		Table: &pages.Table{Caption: bad, Columns: []pages.Column{{Name: "a"}}, Rows: []pages.Row{{Cells: [][]pages.Part{part}}}},
		Form:  &pages.Form{Action: phrase.To("/x", nil), Chips: []pages.Chip{{Name: "a", Value: bad, Remove: phrase.To("/x", nil)}}}, Notes: [][]pages.Part{part}, Links: part,
	}}}
	var b bytes.Buffer
	if err := pages.Render(&b, page); err != nil {
		t.Fatal(err)
	}
	copied := regexp.MustCompile(`data-copy="[^"]*"`) // what a button copies is exact
	shown := copied.ReplaceAllString(b.String(), "")
	if strings.ContainsAny(shown, "\u202e\x1b") || strings.Contains(shown, "<b>") {
		t.Errorf("the page has the text as it is:\n%s", shown)
	}
	if n := strings.Count(shown, `\u202eevil`); n < 18 {
		t.Errorf("the text is shown %d times", n)
	}
}

// A page that cannot be laid out is not sent in part.
func TestRenderWritesAllOrNothing(t *testing.T) {
	t.Parallel()
	broken := &pages.Page{Sections: []pages.Section{{Table: &pages.Table{Columns: []pages.Column{{Name: "a"}}, Rows: []pages.Row{{Cells: [][]pages.Part{{}, {}}}}}}}}
	var b bytes.Buffer
	if err := pages.Render(&b, broken); err == nil || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}
