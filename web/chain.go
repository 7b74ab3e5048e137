package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A request is what the server notes about a request while it runs, for the log and the metrics.
type request struct {
	id        string
	route     *route // nil until it is found
	principal string
	problem   *Problem
	status    int    // that was sent; 0: none yet
	gone      bool   // the client takes no more of the answer
	pattern   string // of a handler beside the routes, see Observe
	begun     bool   // the body is being sent, though perhaps still in a buffer
	bytes     int64
}

// about returns what is noted about a request.
func about(r *http.Request) *request {
	if a, ok := r.Context().Value(requestKey).(*request); ok {
		return a
	}
	return &request{} // of a handler that a test calls alone
}

// note keeps a problem for the log.
func note(r *http.Request, p *Problem) { about(r).problem = p }

func requestID(r *http.Request) string { return about(r).id }

// wrap puts around the routes what every request passes.
func (s *Server) wrap(routes http.Handler) http.Handler {
	return s.observed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			// net/http reads what the handler has left of a body, and waits for it as long as the client likes: also of one that has
			// no token. A handler that reads the body sets deadlines of its own.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.limits.Idle))
		}
		if err := s.checkSender(r); err != nil {
			s.fail(w, r, err)
			return
		}
		routes.ServeHTTP(w, r)
	}))
}

// Observe returns a handler that runs h for the server's owner, and logs and measures its requests as the server does its own: under
// the pattern with which h's own http.ServeMux has found the route, and as made by Options.Trusted. A panic is a problem, and a line
// in the log. It checks neither who makes a request nor where it was sent, so it is for a listener that nobody else can reach.
func (s *Server) Observe(h http.Handler) http.Handler {
	return s.observed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := about(r)
		if t := s.options.Trusted; t != nil {
			a.principal = t.ID
		}
		defer func() { a.pattern = r.Pattern }()
		h.ServeHTTP(w, r)
	}))
}

// observed notes, logs and measures the requests of a handler, and makes problems of panics.
func (s *Server) observed(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &request{id: rand.Text()}
		r = r.WithContext(context.WithValue(r.Context(), requestKey, a))
		counted := &countedWriter{ResponseWriter: w, wire: http.NewResponseController(w), idle: s.limits.Idle, ending: s.ending, about: a}
		setHeaders(w.Header(), a.id)
		begun := time.Now()
		defer func() {
			thrown := recover()
			if thrown != nil && thrown != http.ErrAbortHandler {
				s.log.Error("a handler has panicked", "request_id", a.id, "route", routeName(a), "panic", fmt.Sprint(thrown), "stack", string(debug.Stack()))
				if a.status == 0 {
					p := problem(kindInternal, "the server has failed; its log says why")
					if a.route != nil && a.route.writes {
						p.Stored = storedUnknown
					}
					s.fail(counted, r, p)
					thrown = nil
				} else {
					thrown = http.ErrAbortHandler // a client must not take the part that was sent for the whole
				}
			}
			took := time.Since(begun)
			s.metrics.request(methodName(r.Method), routeName(a), a.status, took, a.bytes)
			s.logRequest(r, a, took, thrown != nil)
			if thrown != nil {
				panic(thrown)
			}
		}()
		inner.ServeHTTP(counted, r)
	})
}

// contain runs a part of a request in a goroutine that is not that of its handler. A panic there would end the whole server, with
// every request that is under way. It becomes an error, and a line in the log.
func (s *Server) contain(id string, part func()) (err error) {
	defer func() {
		if thrown := recover(); thrown != nil {
			s.log.Error("a part of a request has panicked", "request_id", id, "panic", fmt.Sprint(thrown), "stack", string(debug.Stack()))
			err = problem(kindInternal, "the server has failed; its log says why")
		}
	}()
	part()
	return nil
}

// logRequest writes the line of a request. It has nothing that the client wrote: no path, no query string, no header.
func (s *Server) logRequest(r *http.Request, a *request, took time.Duration, cut bool) {
	level := slog.LevelInfo
	if a.problem != nil && a.problem.Status >= 500 {
		level = slog.LevelError
	}
	ctx := context.WithoutCancel(r.Context())
	if !s.log.Enabled(ctx, level) {
		return
	}
	args := []any{"request_id", a.id, "method", methodName(r.Method), "route", routeName(a), "status", a.status, "bytes", a.bytes,
		"ms", float64(took.Microseconds()) / 1000, "token", a.principal}
	if cut {
		args = append(args, "cut", true)
	}
	if p := a.problem; p != nil {
		args = append(args, "problem", p.kind.slug)
		if p.Status >= 500 && p.cause != nil {
			args = append(args, "error", p.cause.Error())
		}
	}
	s.log.Log(ctx, level, "request", args...)
}

func routeName(a *request) string {
	if a.route == nil {
		return a.pattern
	}
	return a.route.pattern()
}

// methodName is a method as it may stand in a log or a metric: clients make up methods.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return method
	}
	return "other"
}

// pathShown is the path of a request for an error: a short one as it is, and the beginning of a long one.
func pathShown(r *http.Request) string {
	const most = 100
	path := r.URL.EscapedPath()
	if len(path) > most {
		path = path[:most] + "…"
	}
	if !utf8.ValidString(path) {
		return strconv.QuoteToASCII(path)
	}
	return path
}

// A countedWriter notes the status and the bytes of a response. A client that takes nothing of it for so long is cut off: it would
// hold the request, and what that holds, for ever.
type countedWriter struct {
	http.ResponseWriter
	wire   *http.ResponseController
	idle   time.Duration
	ending context.Context // of the server
	about  *request
}

// takenAtOnce is how much a client must take of an answer within the time for which it may take nothing. A larger part would cut off
// one that is slow.
const takenAtOnce = 64 << 10

// Unwrap is for http.ResponseController.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countedWriter) WriteHeader(status int) {
	if w.about.status == 0 && status >= 200 {
		w.about.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedWriter) Write(p []byte) (int, error) {
	if w.about.status == 0 {
		w.about.status = http.StatusOK
	}
	written := 0
	for {
		part := p[written:min(len(p), written+takenAtOnce)]
		w.setDeadline()
		n, err := w.ResponseWriter.Write(part)
		written += n
		w.about.bytes += int64(n)
		if err != nil || written == len(p) {
			w.about.gone = w.about.gone || err != nil
			return written, err
		}
	}
}

// setDeadline bounds how long the client may take for the next part.
func (w *countedWriter) setDeadline() {
	_ = w.wire.SetWriteDeadline(time.Now().Add(w.idle)) // not every connection has one
	if w.ending.Err() != nil {                          // this may have replaced the deadline that untilEnd has set
		_ = w.wire.SetWriteDeadline(time.Now().Add(endGrace))
	}
}

// FlushError is for http.ResponseController.
func (w *countedWriter) FlushError() error {
	w.setDeadline()
	err := w.wire.Flush()
	w.about.gone = w.about.gone || err != nil && !errors.Is(err, errors.ErrUnsupported)
	return err
}

// contentPolicy lets a page load only what this server serves as a file. It has no inline script or style, so stored text
// that became markup by a mistake could still not run.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// usualHeaders are what every response has. Nothing changes their values in place, so all responses share them.
var usualHeaders = http.Header{
	"Content-Security-Policy":      {contentPolicy},
	"X-Content-Type-Options":       {"nosniff"},
	"X-Frame-Options":              {"DENY"},
	"Referrer-Policy":              {"no-referrer"}, // URLs say what somebody looks for
	"Cross-Origin-Opener-Policy":   {"same-origin"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Cache-Control":                {"no-store"},
}

// setHeaders sets what every response has.
func setHeaders(h http.Header, id string) {
	maps.Copy(h, usualHeaders)
	h.Set("X-Request-Id", id)
}

// origins says which requests a page of another site has made. Nothing changes it.
var origins http.CrossOriginProtection

// checkSender refuses requests that were sent to another name, and those that a page of another site has made. A page of a stranger can
// make its own name lead to this machine (DNS rebinding); the browser then takes this server for that page's own.
func (s *Server) checkSender(r *http.Request) error {
	if !s.options.AnyHost && !s.knowsHost(r.Host) {
		return problem(kindHost, "this server has other names than the one in the Host header; --host NAME adds one")
	}
	if err := origins.Check(r); err != nil {
		return problem(kindOrigin, "a page of another site has made this request").stored(storedNothing)
	}
	return nil
}

func (s *Server) knowsHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if ip := net.ParseIP(name); name == "localhost" || ip != nil && ip.IsLoopback() {
		return true
	}
	for _, known := range s.options.Hosts {
		if strings.EqualFold(strings.Trim(known, "[]"), name) {
			return true
		}
	}
	return false
}
