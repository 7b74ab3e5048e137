package webtest

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// The page of the tail shows each record once that comes while somebody looks at it: in a store that was empty, and after a pause.
func TestTheTailShowsEachRecordOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	auditsql(t, dir, "init")
	s := serve(t, dir)
	b := s.visit(wide)
	put := func(n int) {
		s.put([]string{fmt.Sprintf(`{"agent_id":null,"timestamp":%d,"params":{"subject":"s%d","predicate":"p"},"result_hash":null,"result_confidence":0,"contributing_assertions":[]}`, n, n)})
	}
	rows := func(n int) {
		t.Helper()
		b.await(fmt.Sprintf(`document.querySelectorAll("main tbody tr").length === %d`, n))
	}
	press := func() { b.do(chromedp.Click(chromedp.CSS(".pause"))) }
	b.open(s.url + "/tail")
	press() // before the first record
	put(1)
	press()
	rows(1)
	b.await(`document.querySelector("main .empty") === null`)
	put(2)
	rows(2)
	press()
	put(3)
	press()
	rows(3)
	// The stream of a page that is opened now has what the page has as well, if that is not in SQLite yet when the page is asked for.
	b.open(s.url + "/tail")
	put(4)
	rows(4)
	if n := eval[int](b, `new Set([...document.querySelectorAll("main tbody a[href^='/q/']")].map((a) => a.href)).size`); n != 4 {
		t.Errorf("%d records in 4 rows", n)
	}
	b.quiet()
}
