package webtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// described returns a transport that holds each answer of the API against the description that the server gives of its
// API: the status, the headers, the type and the body. An answer that does not fit fails the test.
func (s *site) described(next http.RoundTripper) http.RoundTripper {
	return &contract{site: s, next: next, load: sync.OnceValues(func() (routers.Router, error) {
		text, err := http.DefaultClient.Do(s.request(http.MethodGet, "/v1/openapi.json", nil))
		if err != nil {
			return nil, err
		}
		defer text.Body.Close()
		raw, err := io.ReadAll(text.Body)
		if err != nil {
			return nil, err
		}
		doc, err := openapi3.NewLoader().LoadFromData(raw)
		if err != nil {
			return nil, err
		}
		if err := doc.Validate(context.Background()); err != nil {
			return nil, err
		}
		doc.Servers = openapi3.Servers{{URL: s.url}}
		return gorillamux.NewRouter(doc)
	})}
}

type contract struct {
	site *site
	next http.RoundTripper
	load func() (routers.Router, error)
	said sync.Map // what was wrong with an answer, by the kind of request
}

// wrong fails the test, once for each kind of request and answer.
func (c *contract) wrong(r *http.Request, status int, format string, args ...any) {
	c.site.t.Helper()
	if _, again := c.said.LoadOrStore(r.Method+hashes.ReplaceAllString(r.URL.Path, "…")+http.StatusText(status), true); !again {
		c.site.t.Errorf("%s %s: status %d: %s", r.Method, r.URL, status, fmt.Sprintf(format, args...))
	}
}

var hashes = regexp.MustCompile(`[0-9a-f]{64}`)

// streams are the types of answers that do not end, or that have no schema for their whole body.
var streams = []string{"text/event-stream", "application/x-ndjson", "text/csv"}

func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err != nil || !strings.HasPrefix(r.URL.Path, "/v1/") {
		return answer, err
	}
	router, err := c.load()
	if err != nil {
		c.wrong(r, 0, "the description of the API: %v", err)
		return answer, nil
	}
	bare := r.Clone(r.Context())
	bare.Body = nil
	route, params, err := router.FindRoute(bare)
	if err != nil {
		// A request that no route takes is answered with a problem.
		if answer.StatusCode < 400 || answer.Header.Get("Content-Type") != "application/problem+json" {
			c.wrong(r, answer.StatusCode, "%s, and the description does not know it: %v", answer.Header.Get("Content-Type"), err)
		}
		return answer, nil
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: bare, PathParams: params, Route: route},
		Status:                 answer.StatusCode, Header: answer.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	contentType, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	stream := false
	for _, s := range streams {
		stream = stream || s == contentType
	}
	if stream || r.Method == http.MethodHead {
		input.Options.ExcludeResponseBody = true
	} else {
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return nil, err
		}
		answer.Body = io.NopCloser(bytes.NewReader(body))
		input.SetBodyBytes(body)
	}
	if err := openapi3filter.ValidateResponse(r.Context(), input); err != nil {
		c.wrong(r, answer.StatusCode, "the answer is not as the API is described: %v", err)
	}
	return answer, nil
}
