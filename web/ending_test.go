package web_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A server that ends does not wait for questions, exports and pages. It waits for puts whose records are on their way to the disk.
func TestAServerThatEndsWaitsForPutsAlone(t *testing.T) {
	asked, putting, stored := make(chan struct{}), make(chan struct{}), make(chan struct{})
	f := &fake{}
	f.raw = func(ctx context.Context, _ audit.Filter) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			asked <- struct{}{}
			<-ctx.Done()
			yield(nil, ctx.Err())
		}
	}
	f.top = func(ctx context.Context, _ audit.TopOptions) (*audit.TopList, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.put = func(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
		close(putting)
		<-stored
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return f.Store.PutAudits(ctx, records)
	}
	r := faked(t, f, func(o *web.Options) { o.Limits.Budget = time.Hour })
	put := make(chan *answered, 1)
	go func() { put <- r.do(http.MethodPost, "/v1/audits", record('a', 0, "")) }()
	<-putting
	paths := []string{"/v1/audits?format=ndjson", "/v1/audits", "/v1/top", "/top"}
	answers := make(chan string, len(paths))
	for _, path := range paths {
		go func() {
			a := r.do(http.MethodGet, path, "", "Accept", "*/*")
			answers <- fmt.Sprintf("%s %d %v", path, a.StatusCode, strings.Contains(a.body, "draining") || strings.Contains(a.body, "The server is ending"))
		}()
		<-asked
	}
	r.server.Drain()
	for range paths {
		select {
		case got := <-answers:
			if !strings.HasSuffix(got, " 503 true") {
				t.Errorf("%s", got)
			}
		case <-time.After(20 * time.Second): // only a test that fails waits so long
			t.Fatal("a question goes on")
		}
	}
	close(stored)
	if a := <-put; a.StatusCode != http.StatusCreated {
		t.Errorf("the put: status %d, %s", a.StatusCode, a.body)
	}
}

// A client that takes nothing of an export, or has sent a part of a body, does not keep a server from ending.
func TestAServerThatEndsDoesNotWaitForClients(t *testing.T) {
	row := record('a', 0, `,"query_id":"`+hash('d').String()+`","attributes":{"a":"`+strings.Repeat("x", 4<<10)+`"}`)
	r := serveStore(t, &listed{row: []byte(row), rows: 100_000}, func(o *web.Options) { o.Limits.Idle = time.Hour })
	head := "Host: localhost\r\nAuthorization: Bearer all\r\n"
	export := r.speak("GET /v1/audits?format=ndjson HTTP/1.1\r\n" + head + "\r\n")
	if _, err := io.ReadFull(export, make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	r.speak("POST /v1/audits HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{")
	r.speak("POST /v1/audits HTTP/1.1\r\n" + head + "Content-Type: application/x-ndjson\r\nContent-Length: 900\r\n\r\n{")
	r.speak("PUT /v1/labels HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nContent-Length: 900\r\n\r\n[")
	r.server.Drain()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.http.Config.Shutdown(ctx); err != nil {
		t.Errorf("the server waits for its clients: %v", err)
	}
}
