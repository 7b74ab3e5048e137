package web_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A discarded is a response that nobody reads.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header              { return d.header }
func (d *discarded) WriteHeader(int)                  {}
func (d *discarded) Write(p []byte) (int, error)      { return len(p), nil }
func (d *discarded) SetReadDeadline(time.Time) error  { return nil }
func (d *discarded) SetWriteDeadline(time.Time) error { return nil }
func (d *discarded) FlushError() error                { return nil }

// BenchmarkPut is what a server does with records beside storing them: one a request, and 100 a request.
func BenchmarkPut(b *testing.B) {
	server := web.Handler(putting{put: inserted}, web.Options{Tokens: usual, Now: func() time.Time { return noon }})
	q, err := audit.ParseAudit([]byte(record('a', 0, attribute("text", "of some length"))))
	if err != nil {
		b.Fatal(err)
	}
	one, err := q.Canonical()
	if err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind, body string
		records    int
	}{
		"one": {"application/json", string(one), 1},
		"100": {"application/x-ndjson", strings.Repeat(string(one)+"\n", 100), 100},
	} {
		b.Run(name, func(b *testing.B) {
			request := httptest.NewRequest(http.MethodPost, "http://localhost/v1/audits", nil)
			request.Header.Set("Authorization", "Bearer all")
			request.Header.Set("Content-Type", c.kind)
			request.ContentLength = int64(len(c.body))
			body := []byte(c.body)
			b.ReportAllocs()
			for n := 0; n < b.N; n += c.records {
				request.Body = io.NopCloser(bytes.NewReader(body))
				server.ServeHTTP(&discarded{http.Header{}}, request)
			}
		})
	}
}
