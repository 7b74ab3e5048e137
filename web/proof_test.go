package web_test

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/tree"
)

// What the API gives is evidence for somebody who has the key of the log and nothing else.
func TestTheLogOverTheAPI(t *testing.T) {
	dir, key := t.TempDir(), filepath.Join(t.TempDir(), "key")
	public, err := keyfile.Create(key, "log.example.com/test")
	if err != nil {
		t.Fatal(err)
	}
	db, err := audit.Open(dir, audit.WithReads(audit.Applied), audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := serveStore(t, db)
	r.db = db
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/checkpoint", "")
	const n = 300 // more than a tile
	var body bytes.Buffer
	for i := range n {
		body.WriteString(record('a', i, "") + "\n")
	}
	answers := lines(t, r.doWith(http.MethodPost, "/v1/audits", &body, "Content-Type", "application/x-ndjson").body)
	first := answers[0]["query_id"].(string)
	r.applied()
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/audits/"+first+"/proof", "")
	signed, err := db.Sign(t.Context())
	if err != nil || signed.Size != n {
		t.Fatalf("%+v, %v", signed, err)
	}
	checkpoint := r.get("/v1/checkpoint")
	if checkpoint != r.get("/checkpoint") || !strings.HasPrefix(checkpoint, fmt.Sprintf("log.example.com/test\n%d\n", n)) {
		t.Errorf("%s", checkpoint)
	}
	proof := r.do(http.MethodGet, "/v1/audits/"+first[:16]+"/proof", "")
	raw := r.get("/v1/audits/" + first)
	policy, err := evidence.ParsePolicy([]byte("log " + public + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	if v := evidence.Verify([]byte(raw), []byte(proof.body), policy); v.Outcome != evidence.Proven || v.Index != 0 {
		t.Errorf("%+v\n%s", v, proof.body)
	}
	shown := r.get("/q/"+first+"/record", "Accept", "text/html")
	for _, want := range []string{`auditsql check --record record.json record.tlog-proof --key &#34;$(cat verifier)&#34;`, "by another way", `href="/v1/audits/` + first + `/proof"`, `href="/v1/checkpoint"`, "prove " + first[:8] + " -o evidence.zip"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page of a stored record lacks %q", want)
		}
	}
	later := r.put(record('b', 1, ""))
	r.applied()
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/audits/"+later+"/proof", "")

	// A reader computes the root from the tiles.
	root, err := tree.Root(tilesOf{r}, n)
	if err != nil || root != signed.Root {
		t.Errorf("the root of the tiles is %v, %v; signed is %v", root, err, signed.Root)
	}
	for _, path := range []string{"/tile/0/002", "/tile/0/001.p/50", "/tile/0/1", "/tile/9/000", "/tile/entries/000", "/tile/0/000.p/0", "/tile/0/000.p/256", "/tile/0/x001/000", "/tile/", "/tile/0/000.p/1/2", "/tile/-1/000"} {
		r.fails(http.StatusNotFound, "not-found", http.MethodGet, path, "")
	}
}

// tilesOf reads tiles over HTTP.
type tilesOf struct{ r *rig }

func (t tilesOf) ReadTile(tile tree.Tile) ([]byte, error) {
	a := t.r.do(http.MethodGet, "/"+tile.Path(), "")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
		return nil, fmt.Errorf("%s: %s %s", tile.Path(), a.Status, a.body)
	}
	return []byte(a.body), nil
}

func TestAStoreWithoutALog(t *testing.T) {
	r := serve(t)
	id := r.put(record('a', 0, ""))
	r.applied()
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/checkpoint", "")
	r.fails(http.StatusNotFound, "not-found", http.MethodGet, "/v1/audits/"+id+"/proof", "")
}

func TestAVerificationIsARunWithProgress(t *testing.T) {
	r := serve(t)
	r.put(record('a', 0, ""))
	r.applied()
	a := r.do(http.MethodPost, "/v1/verify", "")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"ok":true`) {
		t.Errorf("status %d, %s", a.StatusCode, a.body)
	}
	steps := lines(t, r.do(http.MethodPost, "/v1/verify", "", "Accept", "application/x-ndjson").body)
	last := steps[len(steps)-1]
	if len(steps) < 2 || steps[0]["stage"] == nil || last["done"] != true || last["verification"].(map[string]any)["ok"] != true {
		t.Errorf("%v", steps)
	}
	if quick := r.do(http.MethodPost, "/v1/verify?quick", ""); !strings.Contains(quick.body, `"quick":true`) {
		t.Errorf("%s", quick.body)
	}
}
