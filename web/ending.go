package web

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// endGrace is for requests that are under way when the server is told to end: how long a question may still take, a client for the rest of
// a body, and after that a client for what was written. Puts whose records are on their way to the disk have longer.
const endGrace = 250 * time.Millisecond

// errEnding is why a request ends that is no put.
var errEnding = errors.New("the server is being stopped")

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// Drain makes the server take no new requests, and tells tails that it ends. A moment later questions, exports and bodies that have not
// come whole are ended too. Puts whose records are on their way to the disk go on: wait for them with http.Server.Shutdown, and then
// close the store.
func (s *Server) Drain() {
	s.drain()
	time.AfterFunc(endGrace, s.end)
}

// untilEnd returns a context for a request that ends when the server does, unless the request writes. A write of the answer that waits for
// the client is ended in any case. The caller calls stop when the request has been answered.
func (s *Server) untilEnd(ctx context.Context, w http.ResponseWriter, route *route) (until context.Context, stop func()) {
	until, cancel := context.WithCancelCause(ctx)
	stopped := s.atEnd(func() {
		wire := http.NewResponseController(w)
		if !route.writes {
			cancel(errEnding)
			_ = wire.SetReadDeadline(past) // not every connection has one
		}
		_ = wire.SetWriteDeadline(time.Now().Add(endGrace))
	})
	return until, func() {
		stopped()
		cancel(nil)
	}
}

// atEnd runs something when the server ends. It does not run any more when stop has returned.
func (s *Server) atEnd(do func()) (stop func()) {
	var mu sync.Mutex
	over := false
	unhook := context.AfterFunc(s.ending, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			do()
		}
	})
	return func() {
		if !unhook() {
			mu.Lock()
			over = true
			mu.Unlock()
		}
	}
}

// lingering is how long what follows the last answer of a stream is read and forgotten.
func (s *Server) lingering() time.Duration {
	if s.draining.Err() != nil {
		return endGrace
	}
	return lingering
}
