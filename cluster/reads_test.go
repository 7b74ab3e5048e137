package cluster_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// What a node has answered is in the lists and pages that are asked of it next, although SQLite gets it a moment later: they are as of the
// number of records that the store has, which must not be looked at before.
func TestAListHasWhatWasPutBefore(t *testing.T) {
	t.Parallel()
	_, set := newSet(t, 4)
	for name, store := range map[string]web.Store{
		"a node": openNode(t, t.TempDir(), newLog(t), fast), "a set": openSet(t, t.TempDir(), set),
	} {
		t.Run(name, func(t *testing.T) {
			h := web.Handler(store, web.Options{Trusted: &web.Principal{ID: "reader", Scopes: web.ScopeRead}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
			for i := range 12 {
				if r, err := store.PutAudits(t.Context(), []*audit.QueryAudit{sample(i)}); err != nil || r[0].Err != nil {
					t.Fatal(r, err)
				}
				path, want := "/v1/audits", fmt.Sprintf(`"as_of":%d`, i+1)
				if i%2 == 1 {
					path, want = "/list", sample(i).QueryID.String()
				}
				got := httptest.NewRecorder()
				h.ServeHTTP(got, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
				if got.Code != http.StatusOK || !strings.Contains(got.Body.String(), want) {
					t.Fatalf("%d records: %s: %d, without %s: %.300s", i+1, path, got.Code, want, got.Body)
				}
			}
		})
	}
}
