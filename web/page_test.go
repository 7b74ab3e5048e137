package web_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/auditsql/auditsql/audit"
)

// Every page, of a usual store and of one with hostile texts, is a page that a person can use: with eyes or without, with a mouse or a
// keyboard, and without a script. Whatever is stored stays text.
func TestPages(t *testing.T) {
	t.Parallel()
	for name, records := range map[string][]*audit.QueryAudit{"incident": incident(), "hostile": hostileRecords()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openPages(t, records)
			for i, q := range records {
				if q.QueryID.IsZero() || name == "incident" && i != 2 || i%20 != 2 {
					continue
				}
				for _, address := range pageAddresses(q, records[1]) {
					shown, page := p.open(address)
					checkPage(t, shown, page)
				}
			}
		})
	}
}

func checkPage(t *testing.T, address string, page *html.Node) {
	t.Helper()
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s: "+format, append([]any{address}, args...)...)
	}
	if h1 := elements(page, "h1"); len(h1) != 1 || text(h1[0]) == "" {
		wrong("has %d h1", len(h1))
	}
	if title := elements(page, "title"); !strings.HasSuffix(text(title[0]), " · auditsql") || len(text(title[0])) < len("x · auditsql") {
		wrong("has the title %q", text(title[0]))
	}
	for _, name := range []string{"main", "header", "footer"} {
		if len(elements(page, name)) != 1 {
			wrong("has %d %s", len(elements(page, name)), name)
		}
	}
	checkMarkup(page, wrong)
	checkTables(page, wrong)
	checkNames(page, wrong)
	last := 1
	for _, h := range nodes(page, func(n *html.Node) bool {
		return n.Type == html.ElementNode && len(n.Data) == 2 && n.Data[0] == 'h' && '1' <= n.Data[1] && n.Data[1] <= '6'
	}) {
		level := int(h.Data[1] - '0')
		if level > last+1 {
			wrong("has the heading %q of level %d after one of level %d", text(h), level, last)
		}
		last = level
	}
}

// checkMarkup finds what a policy without inline scripts would refuse, what would come from elsewhere, and texts that became something else.
func checkMarkup(page *html.Node, wrong func(string, ...any)) {
	known := strings.Fields("html head meta title link script body a svg defs pattern rect line circle text tspan title path header nav ul li form label input button p span main div h1 h2 h3 h4 " +
		"details summary strong datalist option section footer pre code dialog dl dt dd kbd table caption thead tbody tr th td time bdi figure figcaption data select small")
	for _, n := range nodes(page, func(n *html.Node) bool { return n.Type == html.ElementNode }) {
		if !slices.Contains(known, n.Data) {
			wrong("has an element %s", n.Data)
		}
		if n.Data == "script" && n.FirstChild != nil {
			wrong("has a script in it")
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "style" || strings.HasPrefix(a.Key, "on"):
				wrong("has the attribute %s=%q", a.Key, a.Val)
			case a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "data-path" || a.Key == "data-live":
				if !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") || strings.HasPrefix(a.Val, "//") || strings.ContainsAny(a.Val, " \\<>\"'`") {
					wrong("leads to %q", a.Val)
				}
			case a.Key == "srcset" || a.Key == "ping" || a.Key == "formaction" || a.Key == "xlink:href" || a.Key == "background":
				wrong("has the attribute %s", a.Key)
			}
			if strings.Contains(a.Val, "ZgotmplZ") {
				wrong("has %s=%q", a.Key, a.Val)
			}
			if a.Key != "value" && a.Key != "data-copy" { // these have what was stored, to be sent or copied as it is
				harmless(a.Val, wrong)
			}
		}
	}
	for _, n := range nodes(page, func(n *html.Node) bool { return n.Type == html.TextNode }) {
		harmless(strings.ReplaceAll(n.Data, "\n", ""), wrong)
	}
}

// harmless refuses text that could change what stands beside it, or that cannot be seen.
func harmless(s string, wrong func(string, ...any)) {
	if !utf8.ValidString(s) {
		wrong("has text that is no UTF-8: %q", s)
	}
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Bidi_Control, unicode.Noncharacter_Code_Point) {
			wrong("has %U in %q", r, s)
			return
		}
	}
}

func checkTables(page *html.Node, wrong func(string, ...any)) {
	for _, table := range elements(page, "table") {
		if c := elements(table, "caption"); len(c) != 1 || text(c[0]) == "" {
			wrong("has a table without a caption")
		}
		for _, th := range elements(table, "th") {
			if scope, _ := attributeOf(th, "scope"); scope != "col" && scope != "row" {
				wrong("has a th %q with the scope %q", text(th), scope)
			}
		}
		columns := len(elements(elements(table, "thead")[0], "th"))
		for _, tr := range elements(elements(table, "tbody")[0], "tr") {
			heads, cells := elements(tr, "th"), elements(tr, "td")
			if len(heads) != 1 || len(heads)+len(cells) != columns {
				wrong("has a row with %d th and %d td below %d columns", len(heads), len(cells), columns)
			}
			// Who does not see colours sees a sign.
			if class, _ := attributeOf(tr, "class"); strings.Contains(class, "marked") && !strings.Contains(text(heads[0]), "!") {
				wrong("has a marked row without a sign: %s", text(tr))
			}
		}
	}
}

// checkNames finds what a screen reader could not name, and ids that are there twice.
func checkNames(page *html.Node, wrong func(string, ...any)) {
	ids := map[string]bool{}
	for _, n := range nodes(page, func(n *html.Node) bool { return n.Type == html.ElementNode }) {
		if id, ok := attributeOf(n, "id"); ok {
			if ids[id] {
				wrong("has the id %q twice", id)
			}
			ids[id] = true
		}
	}
	labelled := map[string]bool{}
	for _, l := range elements(page, "label") {
		id, _ := attributeOf(l, "for")
		labelled[id] = true
		for _, input := range elements(l, "input") {
			id, _ := attributeOf(input, "id")
			labelled[id] = true
		}
	}
	for _, n := range slices.Concat(elements(page, "input"), elements(page, "select")) {
		kind, _ := attributeOf(n, "type")
		if id, _ := attributeOf(n, "id"); kind != "hidden" && (id == "" || !labelled[id]) {
			wrong("has a field without a label: %v", n.Attr)
		}
	}
	for _, a := range slices.Concat(elements(page, "a"), elements(page, "button"), elements(page, "summary")) {
		label, _ := attributeOf(a, "aria-label")
		if text(a) == "" && label == "" {
			wrong("has a link or button without a name: %v", a.Attr)
		}
	}
	for _, n := range nodes(page, func(n *html.Node) bool { return n.Type == html.ElementNode }) {
		for _, name := range []string{"aria-labelledby", "for", "list"} {
			if id, ok := attributeOf(n, name); ok && !ids[id] {
				wrong("has %s=%q, and there is no such id", name, id)
			}
		}
	}
	for _, svg := range elements(page, "svg") {
		hidden, _ := attributeOf(svg, "aria-hidden")
		label, _ := attributeOf(svg, "aria-label")
		class, _ := attributeOf(svg, "class")
		if hidden != "true" && label == "" && class != "place" {
			wrong("has a picture without a name")
		}
	}
}

// Whoever clicks on anything gets an answer.
func TestEveryLinkAnswers(t *testing.T) {
	t.Parallel()
	for name, records := range map[string][]*audit.QueryAudit{"incident": incident(), "hostile": hostileRecords()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openPages(t, records)
			most := 500
			if testing.Short() {
				most = 200
			}
			from := map[string]string{}
			var queue []string
			add := func(address, on string) {
				address, _, _ = strings.Cut(address, "#")
				if _, seen := from[address]; !seen && address != "" && len(from) < most {
					from[address] = on
					queue = append(queue, address)
				}
			}
			for _, address := range pageAddresses(records[2], records[1]) {
				add(address, "the list of pages")
			}
			for len(queue) > 0 {
				address := queue[0]
				queue = queue[1:]
				w := p.fetch(address)
				if to := w.Header().Get("Location"); to != "" {
					add(to, address)
					continue
				}
				if strings.HasPrefix(address, "/q/00000000") {
					continue // a case names a record that is not there
				}
				if w.Code != http.StatusOK {
					t.Errorf("%s, which is on %s: status %d: %.400s", address, from[address], w.Code, w.Body)
					continue
				}
				if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
					continue
				}
				page, err := html.Parse(w.Body)
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range nodes(page, func(n *html.Node) bool { return n.Type == html.ElementNode && (n.Data == "a" || n.Data == "link") }) {
					to, _ := attributeOf(a, "href")
					add(to, address)
				}
			}
			if len(from) < 100 {
				t.Errorf("only %d links were found", len(from))
			}
		})
	}
}

// The link that a page offers to copy shows the same after 1,000 more records, which say something about everything that the page shows.
func TestTheLinkToCopyShowsTheSame(t *testing.T) {
	t.Parallel()
	records := incident()
	p := openPages(t, records)
	before := map[string]string{}
	content := func(address string) (string, string) {
		_, page := p.open(address)
		frozen := frozenLink(page)
		main := elements(page, "main")[0]
		for _, n := range nodes(main, func(n *html.Node) bool {
			c, _ := attributeOf(n, "class")
			return n.Type == html.ElementNode && (c == "asof" || c == "tools")
		}) {
			n.Parent.RemoveChild(n) // says that it is the past
		}
		return markup(t, main), frozen
	}
	for _, address := range append(pageAddresses(records[2], records[1]), "/list?from=1h", "/timeline?around=10m&window=2h", "/agents?from=90m&to=now") {
		if _, frozen := content(address); frozen != "" {
			before[frozen], _ = content(frozen)
		}
	}
	if len(before) < 18 {
		t.Fatalf("only %d pages have a link to copy", len(before))
	}
	var more []*audit.QueryAudit
	for i := range 1000 {
		q := *records[i%len(records)]
		q.QueryID = audit.QueryID{}
		q.Timestamp += uint64(i%7) - 3
		q.Attributes = map[string]any{"trace_id": "x", "n": i}
		more = append(more, &q)
	}
	p.put(more)
	p.now = p.now.Add(30 * time.Hour)
	for frozen, was := range before {
		if now, _ := content(frozen); now != was {
			t.Errorf("%s shows something else:\n%s", frozen, firstDifference(was, now))
		}
	}
}

// frozenLink is the link to copy of a page, or "".
func frozenLink(page *html.Node) (to string) {
	for _, a := range elements(page, "a") {
		if id, _ := attributeOf(a, "id"); id == "frozen" {
			to, _ = attributeOf(a, "href")
		}
	}
	return to
}

func firstDifference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	around := func(s string) string { return s[max(i-120, 0):min(i+200, len(s))] }
	return fmt.Sprintf("was …%s…\nis  …%s…", around(a), around(b))
}

// The incident is solved by following links, without a script: from the trace id of the alarm to the record, to the mail, to who else was
// told, and to what was asked in another way.
func TestTheIncidentIsSolvedByLinks(t *testing.T) {
	t.Parallel()
	p := openPages(t, incident())
	at, page := p.open("/find?q=pay-20931")
	follow := func(words string) {
		t.Helper()
		for _, a := range elements(page, "a") {
			label, _ := attributeOf(a, "aria-label")
			if strings.Contains(text(a), words) || strings.Contains(label, words) {
				to, _ := attributeOf(a, "href")
				at, page = p.open(to)
				return
			}
		}
		t.Fatalf("%s has no link %q", at, words)
	}
	has := func(words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(text(elements(page, "main")[0]), w) {
				t.Errorf("%s does not say %q", at, w)
			}
		}
	}
	id := incident()[2]
	brief, err := id.ID()
	if err != nil {
		t.Fatal(err)
	}
	has("pay-20931", brief.String()[:8], "1 of 2")
	follow(brief.String()[:8])
	has("the answer itself is Proposed, not Approved", "mail 7731", "7 minutes before", "mailbot", "48200")
	trace := at
	follow("Where else")
	has("3 answers of 3 agents", "mailbot", "planner")
	follow("What else came from mail 7731")
	has("with", "mail 7731", "3 answers")
	at, page = p.open(trace)
	follow("How the answer to this question changed")
	has("1 change.")
	at, page = p.open(trace)
	follow("What changed since this agent last asked it")
	has("The answer is another one", "Approved", "Consensus", "Recency", "+ came")
	at, page = p.open("/")
	has("3 records have evidence that nobody approved", "mail 7731", "payment_account")
}
