package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A logFollower is a store that says how many messages of a log it lacks.
type logFollower struct {
	*fake
	behind uint64
	silent error
}

func (f *logFollower) Behind(context.Context) (uint64, error) { return f.behind, f.silent }

func serveFollower(t *testing.T, f *logFollower) *rig {
	t.Helper()
	db, err := audit.Open(t.TempDir(), audit.WithReads(audit.Applied))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	f.fake.Store = db
	return serveStore(t, f)
}

// A server of a store that follows a log says how many messages the store lacks, and is not ready when these are many, or when the log is silent.
func TestHowFarAFollowerIs(t *testing.T) {
	r := serveFollower(t, &logFollower{fake: &fake{}, behind: 3})
	if got := r.get("/readyz"); got != `{"ready":true,"writes":true,"behind":3}`+"\n" {
		t.Errorf("ready: %s", got)
	}
	if got := r.get("/metrics"); !strings.Contains(got, "auditsql_follow_behind_messages 3\n") || !strings.Contains(got, "auditsql_store_ready 1\n") {
		t.Errorf("metrics: %s", got)
	}
	if got := r.get("/health"); !strings.Contains(got, "3 messages") {
		t.Errorf("health: %s", got)
	}
	if got := r.get("/health"); strings.Contains(got, "log init") || strings.Contains(got, "journal ends at") || !strings.Contains(got, "auditsql-cluster serve") {
		t.Errorf("health says what is no use on a node: %s", got)
	}
	for why, f := range map[string]*logFollower{
		"far behind":      {fake: &fake{}, behind: 10_001},
		"does not answer": {fake: &fake{}, silent: errors.New("secret")},
		"cannot go on":    {fake: &fake{failed: errors.New("secret")}},
	} {
		r := serveFollower(t, f)
		p := r.fails(http.StatusServiceUnavailable, "failed", http.MethodGet, "/readyz", "")
		if len(p.Reasons) != 1 || !strings.Contains(p.Reasons[0], why) || strings.Contains(p.Detail, "secret") {
			t.Errorf("%s: %+v", why, p)
		}
		if got := r.get("/metrics"); !strings.Contains(got, "auditsql_store_ready 0\n") {
			t.Errorf("%s: %s", why, got)
		}
	}
}

// What was given to a log may be stored, whatever the reason is why that is not known.
func TestAPutThatIsNotDecided(t *testing.T) {
	for name, err := range map[string]error{
		"closed":   fmt.Errorf("x: %w: %w", audit.ErrUndecided, audit.ErrClosed),
		"deadline": fmt.Errorf("x: %w: %w", audit.ErrUndecided, context.DeadlineExceeded),
		"gap":      fmt.Errorf("x: %w: %w", audit.ErrUndecided, errors.New("a message is missing")),
	} {
		r := serveFollower(t, &logFollower{fake: &fake{put: func(context.Context, []*audit.QueryAudit) ([]audit.PutResult, error) { return nil, err }}})
		if p := r.fails(http.StatusServiceUnavailable, "outcome-open", http.MethodPost, "/v1/audits", record('a', 0, "")); p.Stored != "unknown" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	f := &logFollower{fake: &fake{put: func(context.Context, []*audit.QueryAudit) ([]audit.PutResult, error) {
		return nil, &audit.FollowsError{Dir: "/secret", Log: "x"}
	}}}
	if p := serveFollower(t, f).fails(http.StatusForbidden, "read-only", http.MethodPost, "/v1/audits", record('a', 0, "")); p.Stored != "nothing" || strings.Contains(p.Detail, "secret") {
		t.Errorf("%+v", p)
	}
}

var _ web.Following = (*logFollower)(nil)
