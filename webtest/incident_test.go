package webtest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/auditsql/auditsql/audit"
)

// A hand is a way to use a page: it opens the link that a selector finds, or types a text into the box that finds things.
type hand interface {
	find(b *tab, text string)
	follow(b *tab, selector string)
}

// mouse clicks.
type mouse struct{}

func (mouse) find(b *tab, text string) {
	b.t.Helper()
	b.leaves(chromedp.Click(chromedp.ID("find")), chromedp.KeyEvent(text), chromedp.Click(chromedp.CSS("form.find button")))
}

func (mouse) follow(b *tab, selector string) {
	b.t.Helper()
	b.leaves(chromedp.Click(chromedp.CSS(selector)))
}

// keyboard presses keys, and nothing else.
type keyboard struct{}

func (keyboard) find(b *tab, text string) {
	b.t.Helper()
	b.do(press("/"))
	b.await(`document.activeElement.id === 'find'`)
	b.leaves(chromedp.KeyEvent(text), press(kb.Enter))
}

func (keyboard) follow(b *tab, selector string) {
	b.t.Helper()
	const most = 300
	for range most {
		b.do(press(kb.Tab))
		if eval[bool](b, fmt.Sprintf(`document.activeElement === document.querySelector(%q)`, selector)) {
			if !eval[bool](b, focusShown) {
				b.t.Errorf("%s: the link that has the focus looks like any other: %s", b.where(), selector)
			}
			b.leaves(press(kb.Enter))
			return
		}
	}
	b.t.Fatalf("%s: %d presses of the Tab key do not lead to %s", b.where(), most, selector)
}

// press presses a key as a keyboard does: what it would write is written only if the page lets it. chromedp.KeyEvent writes it in any case.
func press(key string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		r, _ := utf8.DecodeRuneInString(key)
		k := kb.Keys[r]
		down := input.DispatchKeyEventParams{
			Type: input.DispatchKeyEventTypeRawKeyDown, Key: k.Key, Code: k.Code,
			WindowsVirtualKeyCode: k.Windows, NativeVirtualKeyCode: k.Native,
		}
		if k.Text != "" {
			down.Type, down.Text, down.UnmodifiedText = input.DispatchKeyEventTypeKeyDown, k.Text, k.Unmodified
		}
		up := down
		up.Type, up.Text, up.UnmodifiedText = input.DispatchKeyEventTypeKeyUp, "", ""
		for _, event := range []input.DispatchKeyEventParams{down, up} {
			if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, event); err != nil {
				return err
			}
		}
		return nil
	})
}

// focusShown is whether a person sees which element has the focus.
const focusShown = `(() => {
	const s = getComputedStyle(document.activeElement)
	return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== 'none'
})()`

// leaves runs actions that lead to another page, and waits until it is there.
func (b *tab) leaves(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, actions...)
	if err != nil {
		b.t.Fatalf("%v\nat %s\n%s", err, b.where(), b.rendered())
	}
	if answer != nil && answer.Status >= 400 {
		b.t.Fatalf("%s: status %d\n%s", b.where(), answer.Status, b.rendered())
	}
}

// content is what a page says beside its frame.
func (b *tab) content() string {
	b.t.Helper()
	return eval[string](b, `document.querySelector('main').innerText`)
}

// says fails the test unless the page has all of the texts.
func (b *tab) says(wants ...string) {
	b.t.Helper()
	text := b.content()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			b.t.Errorf("%s does not say %q:\n%s", b.where(), want, text)
		}
	}
}

// frozen returns the link of the page that a person copies into an incident.
func (b *tab) frozen(s *site) string {
	b.t.Helper()
	link := eval[string](b, `document.getElementById('frozen').getAttribute('href')`)
	if !strings.Contains(link, "as_of=") {
		b.t.Errorf("%s: the link to copy is %q, which says nothing of when", b.where(), link)
	}
	return s.url + link
}

// The incident of the demo, solved in the browser: by mouse, by keyboard alone, and without scripts. Every link that was copied on the way
// shows the same after 1,000 more records.
func TestTheIncident(t *testing.T) {
	s := serve(t, demo(t))
	paid, _ := s.payment()
	type opened struct {
		look look
		link string
	}
	b := s.visit(wide)            // without a browser the test ends here
	copied := map[opened]string{} // what each copied link showed
	for _, way := range []struct {
		name string
		hand hand
		look look
	}{
		{"mouse", mouse{}, wide},
		{"keyboard", keyboard{}, wide},
		{"no scripts", mouse{}, wide.withoutScripts()},
		{"narrow", mouse{}, narrow},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := s.as(t)
			b := s.visit(way.look)
			links := b.solve(s, way.hand, paid)
			for _, link := range links {
				b.open(link)
				copied[opened{way.look, link}] = b.content()
			}
			b.quiet()
		})
	}
	if len(copied) == 0 {
		t.Fatal("no link was copied")
	}
	s.put(moreOfTheIncident(t, paid, 1000))
	changed := 0
	for of, before := range copied {
		b.show(of.look)
		b.open(of.link)
		if now := b.content(); now != before {
			t.Errorf("%s, %v, shows, after 1,000 more records,\n%s\nand showed\n%s", of.link, of.look, now, before)
		}
		b.open(asOf.ReplaceAllString(of.link, ""))
		if b.content() != before {
			changed++
		}
	}
	if changed < len(copied)/2 {
		t.Errorf("without as_of only %d of %d links show something else: the test proves little", changed, len(copied))
	}
}

// asOf is the part of a link that says how many records the store had.
var asOf = regexp.MustCompile(`as_of=\d+&?`)

// solve goes from the trace id of the payment to what went wrong, and returns the links that were copied on the way.
func (b *tab) solve(s *site, h hand, paid *audit.QueryAudit) (links []string) {
	b.t.Helper()
	rumour := paid.ContributingAssertions[0].AssertionHash.String()

	// Why did planner think that this is the account?
	b.open(s.url + "/")
	links = append(links, b.frozen(s))
	h.find(b, "trace_id=pay-20931")
	if !strings.Contains(b.where(), "/q/"+paid.QueryID.String()) {
		// Several may be found. There is one.
		h.follow(b, `main a[href^="/q/`+paid.QueryID.String()[:12]+`"]`)
	}
	b.says("planner", "mail 7731", "Proposed", "contract 2024-118")
	links = append(links, b.frozen(s))
	trace := b.where()

	// Who else was given the false account?
	h.follow(b, `main a[href^="/impact/`+rumour+`"]`)
	b.says("support", "mailbot", "planner")
	links = append(links, b.frozen(s))

	// What was answered before, and since when is it another account?
	b.open(trace)
	h.follow(b, `main a[href^="/answers?"]`)
	b.says("supplier/Northwind", "payment_account", "treasury")
	links = append(links, b.frozen(s))

	// What did planner do differently at 10:19 than at 09:41?
	b.open(trace)
	h.follow(b, `main a[href^="/diff/"]`)
	b.says("Consensus", "Recency", "Approved")
	return append(links, b.frozen(s))
}

// moreOfTheIncident returns records that change every answer about the payment: they are of the same agents, around the same time, and
// use the same evidence for the same subject.
func moreOfTheIncident(t testing.TB, paid *audit.QueryAudit, n int) (lines []string) {
	for i := range n {
		q := *paid
		q.Timestamp = paid.Timestamp - 600_000 + uint64(i)*1000
		q.Attributes = map[string]any{"no": i, "trace_id": "pay-20931"}
		if i%2 == 1 {
			other := audit.Hash{0xa0, byte(i)}
			q.AgentID = &other
		}
		if i%3 == 0 {
			q.ResultHash = &q.ContributingAssertions[1].AssertionHash
		}
		q.QueryID = audit.Hash{}
		q.QueryID, _ = q.ID()
		lines = append(lines, canonical(t, &q))
	}
	return lines
}
