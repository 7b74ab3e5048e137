package web_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/auditsql/auditsql/web"
)

// described are the paths and parameters of the API, from its description.
type described struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Ref, Name, In string
		}
	}
}

// Whatever a request is, it never makes the server fail, a refusal is a problem document, and a request that is refused has
// stored nothing.
func TestNoRequestMakesTheServerFail(t *testing.T) {
	r := serve(t, func(o *web.Options) { o.Limits.RecordBytes = 64 << 10 })
	ids := []string{r.put(record('a', 0, "")), r.put(record('b', 1, "")), hash('e').String()}
	r.applied()
	var api described
	if err := json.Unmarshal([]byte(strings.ReplaceAll(r.get("/v1/openapi.json"), `"$ref"`, `"ref"`)), &api); err != nil {
		t.Fatal(err)
	}
	var paths, names []string
	for path, operations := range api.Paths {
		paths = append(paths, path)
		for _, o := range operations {
			for _, p := range o.Parameters {
				if name := strings.TrimPrefix(strings.TrimPrefix(p.Ref, "#/components/parameters/filter_"), "#/components/parameters/own_"); name != "" {
					names = append(names, name)
				} else if p.In == "query" {
					names = append(names, p.Name)
				}
			}
		}
	}
	slices.Sort(paths)
	slices.Sort(names)
	names = slices.Compact(names)
	good := record('a', 7, "")
	records := r.records()

	rapid.Check(t, func(t *rapid.T) {
		anything := rapid.OneOf(rapid.StringN(0, 20, 60), rapid.SampledFrom([]string{"", "0", "-1", "1", "99999999999999999999", "true", "x=y", `"a=b"=c`,
			"2026-11-23", "yesterday", "5m", "json", "ndjson", "csv", "[", "*", "\x00", "\xff", "../..", "%", "a\nb", "‮", ids[0], ids[0][:9], ids[2], "supplier/Northwind", "account", "Proposed", "hour"}))
		template := rapid.SampledFrom(append(paths, "/", "/v1", "//v1/audits", "/v1/../v1/audits")).Draw(t, "path")
		path := template
		for strings.Contains(path, "{") {
			before, rest, _ := strings.Cut(path, "{")
			_, after, _ := strings.Cut(rest, "}")
			path = before + url.PathEscape(anything.Draw(t, "part")) + after
		}
		query := url.Values{}
		for range rapid.IntRange(0, 4).Draw(t, "parameters") {
			query.Add(rapid.OneOf(rapid.SampledFrom(names), anything).Draw(t, "name"), anything.Draw(t, "value"))
		}
		raw := query.Encode()
		if rapid.IntRange(0, 9).Draw(t, "spoil") == 0 {
			raw += anything.Draw(t, "rest")
		}
		body := rapid.OneOf(rapid.Just(good), rapid.Just(good+"\n"+good), rapid.Just(`{"label":"x"}`), rapid.Just("[]"), rapid.String(), rapid.Custom(func(t *rapid.T) string {
			at := rapid.IntRange(0, len(good)-1).Draw(t, "at")
			return good[:at] + anything.Draw(t, "in place") + good[min(len(good), at+rapid.IntRange(0, 10).Draw(t, "less")):]
		})).Draw(t, "body")
		methods := []string{"GET"}
		for method := range api.Paths[template] {
			methods = append(methods, strings.ToUpper(method))
		}
		slices.Sort(methods)
		method := rapid.OneOf(rapid.SampledFrom(methods), rapid.SampledFrom(methods), rapid.SampledFrom([]string{"GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}), rapid.StringMatching(`[A-Za-z]{1,9}`)).Draw(t, "method")

		logged := len(r.log.String())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if strings.HasSuffix(path, "/tail") {
			cancel() // it would go on for ever
		}
		request := (&http.Request{
			Method: method, URL: &url.URL{Path: path, RawPath: "", RawQuery: raw}, Host: "localhost", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), RequestURI: path,
		}).WithContext(ctx)
		if unescaped, err := url.PathUnescape(path); err == nil {
			request.URL.Path, request.URL.RawPath = unescaped, path
		}
		if rapid.Bool().Draw(t, "length unknown") {
			request.ContentLength = -1
		}
		request.Header.Set("Authorization", "Bearer all")
		request.Header.Set("Content-Type", rapid.SampledFrom([]string{"application/json", "application/x-ndjson", "application/json", "text/plain", "", "x;"}).Draw(t, "type"))
		for range rapid.IntRange(0, 2).Draw(t, "headers") {
			request.Header.Set(rapid.SampledFrom([]string{"Accept", "Last-Event-ID", "If-None-Match", "Accept-Encoding", "Origin", "Content-Encoding", "Range", "Expect", "Authorization"}).Draw(t, "header"),
				anything.Draw(t, "text"))
		}

		answer := httptest.NewRecorder()
		aborted := func() (aborted bool) {
			defer func() {
				if thrown := recover(); thrown == http.ErrAbortHandler {
					aborted = true
				} else if thrown != nil {
					t.Fatalf("it panicked: %v", thrown)
				}
			}()
			r.server.ServeHTTP(answer, request)
			return false
		}()
		if aborted {
			if !strings.HasSuffix(path, "/tail") {
				t.Fatalf("it was broken off with status %d\n%s", answer.Code, r.log.String()[logged:])
			}
			return
		}
		if answer.Code >= 500 {
			t.Fatalf("status %d, %s\n%s", answer.Code, answer.Body, r.log.String()[logged:])
		}
		if answer.Code >= 400 && method != http.MethodHead {
			var p web.Problem
			if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil || answer.Header().Get("Content-Type") != "application/problem+json" ||
				p.Status != answer.Code || p.RequestID == "" || p.Title == "" {
				t.Fatalf("status %d, %v, %q", answer.Code, answer.Header(), answer.Body)
			}
		}
		now := r.records()
		if answer.Code >= 400 && now != records {
			t.Fatalf("status %d, and %d records instead of %d", answer.Code, now, records)
		}
		records = now
	})
}
