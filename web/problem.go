package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A Problem says why a request failed, as RFC 9457 describes it. It is an error, so a handler can return it.
type Problem struct {
	Type      string `json:"type"` // /problems/KIND, which says more about it
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Field     string `json:"field,omitempty"` // of the record, or the name of the parameter
	Line      int    `json:"line,omitempty"`  // of the body, from 1
	RequestID string `json:"request_id,omitempty"`

	// Stored says what became of the records of a put that failed: "nothing", or "unknown" when the same put has to be sent
	// again to find out. It is "" for requests that store nothing.
	Stored string `json:"stored,omitempty"`

	Candidates []string `json:"candidates,omitempty"` // that may have been meant
	Records    *uint64  `json:"records,omitempty"`    // that the store has, where as_of is beyond them
	First      string   `json:"first,omitempty"`      // the id of the first event that is left, where older ones were trimmed
	Reasons    []string `json:"reasons,omitempty"`    // why the server is not ready

	kind       *kind
	retryAfter time.Duration
	allow      string // the Allow header
	cause      error  // for the log; a client does not see it
	sheet      *sheet // the page that was asked for, so that its error page can offer to correct what was typed; nil elsewhere
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// RetryAfter is after which time the same request may succeed; 0: that is not known.
func (p *Problem) RetryAfter() time.Duration { return p.retryAfter }

// Unwrap returns what caused the problem.
func (p *Problem) Unwrap() error { return p.cause }

// problem makes a problem of a kind. The detail is a sentence for the client: it must not have anything that only the server
// may know.
func problem(k *kind, format string, args ...any) *Problem {
	return &Problem{
		Type: "/problems/" + k.slug, Title: k.title, Status: k.status, Detail: fmt.Sprintf(format, args...),
		kind: k, retryAfter: k.retryAfter,
	}
}

func (p *Problem) at(field string) *Problem { p.Field = field; return p }

func (p *Problem) because(err error) *Problem { p.cause = err; return p }

func (p *Problem) stored(what string) *Problem { p.Stored = what; return p }

// The values of Problem.Stored.
const (
	storedNothing = "nothing"
	storedUnknown = "unknown"
)

// fail answers a request with the problem that err is.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problemOf(err)
	note(r, p)
	p.RequestID = requestID(r)
	h := w.Header()
	// What a handler has set was about the answer that it did not give.
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Disposition", "ETag", "Last-Modified", "Location", "Link", "Trailer"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="auditsql"`)
	}
	if wantsPage(r) && s.problemPage(w, r, p) {
		return
	}
	body, _ := json.Marshal(p) // has no value that cannot be encoded
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
