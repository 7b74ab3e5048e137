package receive

import (
	"fmt"
	"net/http"
	"time"
)

// A kind is a row of the table of answers: what an exporter is told by either protocol.
type kind struct {
	status int // of HTTP
	code   int // of gRPC
}

// The codes of gRPC that are answered.
const (
	grpcOK                = 0
	grpcInvalidArgument   = 3
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// The rows. Exporters send again what had 429 or 503, or UNAVAILABLE. They drop what had anything else.
var (
	malformed   = kind{http.StatusBadRequest, grpcInvalidArgument}
	tooLarge    = kind{http.StatusRequestEntityTooLarge, grpcResourceExhausted}
	otherForm   = kind{http.StatusUnsupportedMediaType, grpcUnimplemented}
	otherSignal = kind{http.StatusNotFound, grpcUnimplemented}
	otherMethod = kind{http.StatusMethodNotAllowed, grpcUnimplemented}
	unknown     = kind{http.StatusUnauthorized, grpcUnauthenticated}
	forbidden   = kind{http.StatusForbidden, grpcPermissionDenied}
	misdirected = kind{http.StatusMisdirectedRequest, grpcPermissionDenied}
	full        = kind{http.StatusTooManyRequests, grpcUnavailable}
	unavailable = kind{http.StatusServiceUnavailable, grpcUnavailable}
	// gone is a client that does not wait for its answer. HTTP has none for it: the connection is closed.
	gone = kind{0, grpcUnavailable}
)

// A fault is why a request is refused.
type fault struct {
	kind
	text  string // a sentence for the client
	retry time.Duration
	cause error // for the log
}

func (f *fault) Error() string {
	if f.cause != nil {
		return f.text + ": " + f.cause.Error()
	}
	return f.text
}

func (f *fault) Unwrap() error { return f.cause }

func refuse(k kind, format string, args ...any) *fault {
	f := &fault{kind: k, text: fmt.Sprintf(format, args...)}
	switch k {
	case full:
		f.retry = time.Second
	case unavailable:
		f.retry = 5 * time.Second
	}
	return f
}

func (f *fault) because(err error) *fault { f.cause = err; return f }

// fault turns a refusal of Options.Allow into an answer.
func (r *Refusal) fault() *fault {
	f := &fault{kind: forbidden, text: r.Text}
	for _, k := range []kind{unknown, misdirected, full} {
		if k.status == r.Status {
			f = refuse(k, "%s", r.Text)
		}
	}
	if r.RetryAfter > 0 {
		f.retry = r.RetryAfter
	}
	return f
}

// An outcome is what became of the spans of a request that was taken.
type outcome struct {
	taken    int
	unusable int
	why      string // the first reason
}

// partial is the text of a partial success, "" if all spans were taken.
func (o *outcome) partial() string {
	switch {
	case o.unusable == 0:
		return ""
	case o.unusable == 1:
		return "1 span was refused: " + o.why
	}
	return fmt.Sprintf("%d spans were refused, the first because: %s", o.unusable, o.why)
}
