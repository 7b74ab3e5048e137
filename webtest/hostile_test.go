package webtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/hostile"
)

// attacks are texts that become more than text on a page that does not take care.
var attacks = []string{
	`<script>window.owned=1</script>`,
	`<img src=x onerror="window.owned=1">`,
	`"><svg onload=window.owned=1>`,
	`' onmouseover='window.owned=1`,
	"`${window.owned=1}`",
	`javascript:window.owned=1`,
	`JaVaScRiPt:window.owned=1//`,
	`data:text/html,<script>window.owned=1</script>`,
	`//evil.example/x`,
	`http://evil.example/x`,
	`</title></textarea></style></script><script>window.owned=1</script>`,
	`<base href="//evil.example/">`,
	`<meta http-equiv="refresh" content="0;url=javascript:window.owned=1">`,
	`<iframe srcdoc="<script>parent.owned=1</script>"></iframe>`,
	`{{.}} {{template "x"}} ${7*7} <%= 7*7 %>`,
	`<!-- <b> -->`, `]]><b>`, `&lt;script&gt;window.owned=1&lt;/script&gt;`, `&#x3c;script&#x3e;`,
	"\u202egnp.exe\u202c", "\u2066\u2067isolated", "a\u0000b", "a\u001b[31mred", "line one\nline two\r\nline three", "tab\tand\vvertical",
	strings.Repeat("x", 5000), strings.Repeat("wide東", 800), strings.Repeat("a/", 1500), strings.Repeat("e\u0301", 500),
	`../../etc/passwd`, `?a=b&c=d#e`, `%3Cscript%3E`, `a+b c%20d`, ` `, `.`, `..`,
}

// hostileRecords are records whose every text is an attack, and records whose every text is drawn from what has fooled people before.
func hostileRecords(t testing.TB) (records []*audit.QueryAudit) {
	texts := attacks
	drawn := 10
	if *everything {
		drawn = 200
	}
	for i := range drawn {
		texts = append(texts, hostile.Text().Example(i))
	}
	for i, text := range texts {
		agent := audit.Hash{0xe1, byte(i % 5)}
		fact := audit.Hash{0xfa, byte(i % 4)}
		q := &audit.QueryAudit{
			AgentID: &agent, Timestamp: incidentDay + uint64(i)*1000,
			Params:           audit.QueryParams{Subject: &text, Predicate: &text, Lens: &text},
			ResultHash:       &fact,
			ResultConfidence: 0.5,
			ContributingAssertions: []audit.ContributingAssertion{
				{AssertionHash: fact, SourceHash: audit.Hash{0x50, byte(i % 3)}, Weight: 0.5, Lifecycle: audit.Proposed},
			},
			Attributes: map[string]any{"text": text, text: "a name", "n": i},
		}
		if _, err := q.Canonical(); err != nil {
			// A text that no record may have is refused before it can get onto a page.
			q.Attributes = map[string]any{"n": i}
			if _, err = q.Canonical(); err != nil {
				continue
			}
		}
		if q.QueryID, _ = q.ID(); true {
			records = append(records, q)
		}
	}
	if len(records) < len(attacks) {
		t.Fatalf("only %d records of %d texts", len(records), len(texts))
	}
	return records
}

// Stored text stays text on every page, whatever it is: no element, no handler, no link elsewhere, no control of the page's
// direction, and nothing wider than the window.
func TestHostileRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	auditsql(t, dir, "init")
	s := serve(t, dir)
	records := hostileRecords(t)
	var lines []string
	for _, q := range records {
		lines = append(lines, canonical(t, q))
	}
	s.put(lines)
	for i := range 5 {
		name := attacks[i]
		auditsql(t, dir, "name", audit.Hash{0xe1, byte(i)}.String(), name)
	}
	for _, l := range []look{narrow, wide} {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			b := s.as(t).visit(l)
			for i, q := range records {
				pages := pagesOf(q, records[(i+1)%len(records)])
				for _, p := range pages {
					// All pages show the first record. The others are shown by the pages that show nothing else, and where there is little
					// room by those that lead there.
					only := p.name == "query" || p.name == "record" || l == narrow && (p.name == "answers" || p.name == "find")
					if i > 0 && !only && !*everything {
						continue
					}
					b.visitPage(s, p)
					where := fmt.Sprintf("%s of %.60q", p.name, *q.Params.Subject)
					b.wellMade(where)
					b.harmless(where)
				}
			}
		})
	}
}

// harmless checks that no script of a record has run, and that no character of the text can control how a page reads.
func (b *tab) harmless(where string) {
	b.t.Helper()
	if eval[bool](b, `window.owned !== undefined`) {
		b.t.Errorf("%s: a script of a record has run", where)
	}
	if found := eval[[]string](b, `(document.body.textContent.match(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]/g) || []).map(c => c.codePointAt(0).toString(16))`); len(found) > 0 {
		b.t.Errorf("%s: characters that control how the page reads: %v", where, found)
	}
}
