package web

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// checkEvery is how often a request that goes on for long is checked again.
const checkEvery = time.Second

// errRevoked is why a request ends whose token was revoked or has expired meanwhile.
var errRevoked = errors.New("the token is not valid any more")

// revoked is the answer to a request that ended because its token is not valid any more. The error that the handler came to is a
// consequence of that, or did not matter any more. It still knows what became of the records of a put.
func revoked(err error, writes bool) *Problem {
	p := problem(kindUnauthorized, "%v", errRevoked).because(err)
	if writes {
		p.Stored = storedUnknown
	}
	if known := (*Problem)(nil); errors.As(err, &known) {
		p.Stored = known.Stored
	}
	return p
}

// whileValid returns a context for a request that ends when whoever makes it may not make it any more: a tail, an export or a
// stream of records can go on for days. A read of the body that waits is ended too. The caller calls stop when the request has been
// answered.
func (s *Server) whileValid(w http.ResponseWriter, r *http.Request, route *route) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(r.Context())
	var mu sync.Mutex // the response must not be touched when the request has been answered
	answered := false
	var again *time.Timer
	check := func() {
		mu.Lock()
		defer mu.Unlock()
		if answered {
			return
		}
		if p, known, err := s.principal(r); err != nil || !known || !p.Scopes.Has(route.scope) {
			cancel(errRevoked)
			_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // not every connection has one
			return
		}
		again.Reset(checkEvery)
	}
	mu.Lock()
	again = time.AfterFunc(checkEvery, check)
	mu.Unlock()
	return ctx, func() {
		mu.Lock()
		answered = true
		mu.Unlock()
		again.Stop()
		cancel(nil)
	}
}
