package web_test

import (
	"context"
	"fmt"
	"html"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A damagedStore has some records that cannot be read. They count for the limit of a list, as they do in a store.
type damagedStore struct {
	web.Store
	damaged map[audit.QueryID]bool
}

func (s *damagedStore) RawAudits(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for raw, err := range s.Store.RawAudits(ctx, f) {
			q, bad := audit.ParseCanonical(raw)
			if bad == nil && s.damaged[q.QueryID] {
				raw, err = nil, &audit.RecordError{ID: q.QueryID}
			}
			if !yield(raw, err) {
				return
			}
		}
	}
}

func (s *damagedStore) Audits(ctx context.Context, f audit.Filter) iter.Seq2[audit.QueryAudit, error] {
	return func(yield func(audit.QueryAudit, error) bool) {
		for q, err := range s.Store.Audits(ctx, f) {
			if s.damaged[q.QueryID] {
				q, err = audit.QueryAudit{}, &audit.RecordError{ID: q.QueryID}
			}
			if !yield(q, err) {
				return
			}
		}
	}
}

// The pages of a list lead past damaged records, wherever those are and however many there are, to every record that can be read. What is
// left out is told.
func TestThePagesOfAListLeadPastDamagedRecords(t *testing.T) {
	s := &damagedStore{}
	r := serve(t)
	s.Store = r.db
	var ids []string
	for i := range 10 {
		ids = append(ids, r.put(record('a', i, "")))
	}
	r.applied()
	r = serveStore(t, s)
	for _, damaged := range []string{"x.........", ".x........", "..x.......", ".xx.......", "xxxxxxx...", ".xxxxxxxx.", "..xxxxxxxx", "xxxxxxxxxx", "x.x.x.x.x."} {
		s.damaged = map[audit.QueryID]bool{}
		var whole []string
		for i, id := range ids {
			if damaged[i] == '.' {
				whole = append(whole, id)
				continue
			}
			id, err := audit.ParseHash(id)
			if err != nil {
				t.Fatal(err)
			}
			s.damaged[id] = true
		}
		var got []string
		told := map[string]bool{}
		for path, n := "/v1/audits?limit=2", 0; path != ""; n++ {
			a := r.do(http.MethodGet, path, "")
			if a.StatusCode != http.StatusOK || n > len(ids) {
				t.Fatalf("%s: page %d has status %d, %s", damaged, n, a.StatusCode, a.body)
			}
			for _, part := range strings.Split(a.body, `"query_id":"`)[1:] {
				got = append(got, part[:64])
			}
			for _, id := range strings.Fields(a.Header.Get("Auditsql-Left-Out")) {
				told[id] = true
			}
			path, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
			if ended := strings.Contains(a.body, `"next":null`); ended != (path == "") {
				t.Errorf("%s: the link is %q, and the page %s", damaged, path, a.body)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(whole) {
			t.Errorf("%s: the pages have %d records, want %d", damaged, len(got), len(whole))
		}
		for id := range s.damaged {
			if !told[id.String()] {
				t.Errorf("%s: no page says that %s was left out", damaged, id)
			}
		}
		// The same for somebody who looks.
		shown := ""
		for path, n := "/list?limit=2", 0; path != ""; n++ {
			if n > len(ids) {
				t.Fatalf("%s: there is no last page", damaged)
			}
			page := r.get(path, "Accept", "text/html")
			shown += page
			_, path, _ = strings.Cut(page, `rel="next" href="`)
			path, _, _ = strings.Cut(path, `"`)
			path = html.UnescapeString(path)
		}
		for _, id := range ids {
			if !strings.Contains(shown, "/q/"+id) {
				t.Errorf("%s: no page shows %s", damaged, id)
			}
		}
	}
}
