package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/hostile"
	"github.com/auditsql/auditsql/internal/legible"
)

// Whatever is stored, Graphviz reads a graph as it was meant: with the nodes and edges of the records, and with the texts as texts.
func TestAGraphHasTheTextsOfRecordsAsTexts(t *testing.T) {
	dot, err := exec.LookPath("dot")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Graphviz is missing")
		}
		t.Skip(err)
	}
	texts := []string{`"`, `\`, `\"`, `\\`, `a"]; evil [label="`, `\N \G \L \T \E`, `\n\l\r`, `&lt;b&gt; &amp;`, `<b>html</b>`, `}{|<port>`, "ends in \\", "a\nb", `// no comment`, `# none`, `{ } ; -> --`}
	for seed := range 40 {
		texts = append(texts, hostile.Text().Example(seed))
	}
	dir := filepath.Join(t.TempDir(), "store")
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	fact, source := audit.Hash{1}, audit.Hash{9}
	var ids []audit.QueryID
	var want []string
	result := fact
	for i, text := range texts {
		agent := audit.Hash{2, byte(i)}
		q := audit.QueryAudit{AgentID: &agent, Timestamp: uint64(i), ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: result, SourceHash: source, Weight: 1, Lifecycle: audit.Proposed}}}
		q.Params.Subject = &text
		next := audit.Hash{3, byte(i)}
		q.ResultHash, result = &next, next
		id, err := db.PutAudit(context.Background(), &q)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		if shown := legible.Visible(text); len(shown) <= 20 && shown != "" {
			want = append(want, shown+" / -")
		}
	}
	if err := db.PutLabels(context.Background(), []audit.Label{{Hash: fact, Label: `the "fact"\`}, {Hash: source, Label: `<from> & "here"`}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"impact", fact.String(), "--depth", "all"}, {"trace", "--up", ids[len(ids)-1].String()}} {
		var out bytes.Buffer
		s := testStreams()
		s.out = &out
		if code := run(context.Background(), append([]string{"-d", dir, "-o", "dot"}, args...), s); code != exitDone {
			t.Fatalf("%q: exit code %d", args, code)
		}
		nodes, edges, drawn := drawing(t, dot, out.String())
		// Each record is used by the next one, so there are as many edges as records.
		if nodes != len(ids)+1 || edges != len(ids) {
			t.Errorf("%q: %d nodes and %d edges, want %d and %d:\n%s", args, nodes, edges, len(ids)+1, len(ids), &out)
		}
		if args[0] != "impact" {
			want = []string{`<from> & "here" 09000000`}
		}
		for _, text := range want {
			if !slices.ContainsFunc(drawn, func(s string) bool { return strings.Contains(spaced(s), spaced(text)) }) {
				t.Errorf("%q: the text %q is not drawn; these are: %q", args, text, drawn)
			}
		}
	}
}

// spaced is a text as Graphviz draws it: it writes a blank as one that does not break.
func spaced(s string) string { return strings.ReplaceAll(s, "\u00a0", " ") }

// drawing lets Graphviz draw, and returns what it drew.
func drawing(t *testing.T, dot, graph string) (nodes, edges int, texts []string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), dot, "-Tsvg")
	c.Stdin = strings.NewReader(graph)
	var said bytes.Buffer
	c.Stderr = &said
	svg, err := c.Output()
	if err != nil || strings.Contains(said.String(), "rror") {
		t.Fatalf("%v: %s\n%s", err, &said, graph)
	}
	decode := xml.NewDecoder(bytes.NewReader(svg))
	decode.Strict = true
	inText := false
	for {
		token, err := decode.Token()
		if errors.Is(err, io.EOF) {
			return nodes, edges, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
			for _, a := range token.Attr {
				switch {
				case a.Name.Local == "class" && a.Value == "node":
					nodes++
				case a.Name.Local == "class" && a.Value == "edge":
					edges++
				}
			}
		case xml.CharData:
			if inText {
				texts = append(texts, string(token))
			}
		case xml.EndElement:
			inText = false
		}
	}
}
