package interop

import (
	"bytes"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/report"
	"github.com/auditsql/auditsql/internal/when"
)

// hostileTexts are what agents could write so that a report says something else, or leads somewhere.
var hostileTexts = []string{
	"`", "``", "` `", "a`b``c```d", "|", `\|`, `\`, "x\\`|y", "`|`", "[x](javascript:alert(1))", "![x](http://x/y.png)", "<script>alert(1)</script>", "<!-- ", " -->",
	"<a href=\"http://x\">", "https://evil.example/x", "www.evil.example", "a@evil.example", "<http://x>", "**bold**", "# head", "\n# head\n", "\n\n| a |\n|---|\n", "&lt;b&gt;",
	"&#96;", "~~~\n", "```\n", "  two  ", "---", "1. x", "* x", "- [ ] x", "[^1]: x", ":smile:", "==x==", "\u202e", "\x1b[31m", "{{ x }}", "$x$", "$ auditsql x; rm -rf /",
}

// A reader of Markdown as on GitHub (tables, and addresses that become links by themselves) finds no link, image or HTML in a report
// about such texts, and as many cells in each row as the table has columns.
func TestNoStoredTextIsMarkupInAReport(t *testing.T) {
	t.Parallel()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	agent := audit.AgentID{1}
	var ids []audit.QueryID
	var labels []audit.Label
	for i, s := range hostileTexts {
		assertion, source := audit.Hash{2, byte(i)}, audit.Hash{3, byte(i)}
		q := audit.QueryAudit{
			AgentID: &agent, Timestamp: 1795429152000 + uint64(i), Params: audit.QueryParams{Subject: &s, Predicate: &s, Lens: &s}, ResultHash: &assertion, ResultConfidence: 0.5,
			ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: assertion, Weight: 1, SourceHash: source, Lifecycle: audit.Proposed}},
			Attributes:             map[string]any{s: s, "n": 1.5},
		}
		for range 2 {
			id, err := db.PutAudit(t.Context(), &q)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
			q.Timestamp += 1000
		}
		if label := strings.TrimSpace(s); label != "" && !strings.ContainsAny(s, "\n\x1b\u202e") {
			labels = append(labels, audit.Label{Hash: assertion, Label: label}, audit.Label{Hash: source, Label: label})
		}
	}
	if err := db.PutLabels(t.Context(), labels); err != nil {
		t.Fatal(err)
	}
	known, err := db.Labels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := view.New(db, known, nil)
	size, _, err := db.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for begin := 0; begin < len(ids); begin += view.MaxReported {
		some := ids[begin:min(begin+view.MaxReported, len(ids))]
		r, err := v.Report(t.Context(), some, size)
		if err != nil {
			t.Fatal(err)
		}
		about := report.About{Clock: when.Clock{Unit: audit.Milliseconds}, Quote: func(s string) string { return s }}
		about.Clock.Zone = about.Clock.Now.Location()
		for _, id := range r.IDs() {
			raw, err := db.GetRaw(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			about.Raw = append(about.Raw, raw)
		}
		var out bytes.Buffer
		if err := report.Write(&out, r, about); err != nil {
			t.Fatal(err)
		}
		wantPlain(t, out.Bytes())
	}
}

// wantPlain fails when a text in Markdown has anything that leads somewhere or is HTML.
func wantPlain(t *testing.T, markdown []byte) {
	t.Helper()
	doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(markdown))
	tables, spans := 0, 0
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link, *ast.Image, *ast.AutoLink, *ast.RawHTML, *ast.HTMLBlock, *ast.Blockquote, *ast.ThematicBreak:
			t.Errorf("the report has a %s", n.Kind())
		case *east.Table:
			tables++
			columns := len(n.Alignments)
			for row := n.FirstChild(); row != nil; row = row.NextSibling() {
				if row.ChildCount() != columns {
					t.Errorf("a row has %d cells, and the table %d columns", row.ChildCount(), columns)
				}
			}
		case *ast.CodeSpan:
			spans++
		case *ast.Heading:
			if n.Level > 3 {
				t.Errorf("a heading of level %d, which is none of the report's", n.Level)
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil || tables < 10 || spans < 100 {
		t.Errorf("%d tables, %d spans, %v", tables, spans, err)
	}
}
