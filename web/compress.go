package web

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"

	"github.com/auditsql/auditsql/internal/tui"
)

// compressed reports whether the answers of a route are compressed for clients that take that. A stored record is not: it has a
// strong ETag, which is that of its bytes. Nor is a tail, whose events must not wait in a buffer.
func (r *route) compressed() bool {
	forms := r.takes.forms
	return r.method == http.MethodGet && (r.page || len(forms) > 0 && forms[0] != events || r.path == "/v1/openapi.json")
}

var compressor = func() func(http.Handler) http.HandlerFunc {
	wrap, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.CompressionLevel(3), gzhttp.MinSize(1<<10), gzhttp.SetContentType(false),
		gzhttp.ContentTypes([]string{contentType(tui.JSON), contentType(tui.NDJSON), "text/csv", typeHTML, "text/css", "text/javascript", "image/svg+xml", "application/problem+json"}))
	if err != nil {
		panic(err) // the options are constants
	}
	return wrap
}()

func compress(h http.Handler) http.Handler { return compressor(h) }
