package web

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit/ingest"
)

// A Server serves one store. It is an http.Handler for the root of a host. Its methods may be called from several goroutines.
type Server struct {
	store   Store
	options Options
	limits  Limits
	now     func() time.Time
	log     *slog.Logger

	mux    *http.ServeMux
	byPath map[string]*route // by pattern
	chain  http.Handler

	draining context.Context // ends when no new request is taken
	drain    context.CancelFunc
}

// Handler returns a server of a store, with the API and the pages. The caller closes the store after [Server.Drain], and after
// http.Server.Shutdown has waited for the requests that were under way.
func Handler(store Store, o Options) *Server {
	s := &Server{
		store: store, options: o, limits: o.Limits.orDefaults(), now: o.Now, log: o.Logger,
		mux: http.NewServeMux(), byPath: map[string]*route{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.options.MaxFuture == 0 {
		s.options.MaxFuture = ingest.UsualFuture
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	for _, one := range s.routes() {
		if one.writes && o.ReadOnly {
			one.handle = func(http.ResponseWriter, *http.Request, *question) error {
				return problem(kindReadOnly, "this server has the store open for reading only").stored(storedNothing)
			}
		}
		s.byPath[one.pattern()] = &one
		s.mux.Handle(one.pattern(), s.serve(&one))
	}
	s.chain = s.wrap(http.HandlerFunc(s.dispatch))
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.chain.ServeHTTP(w, r) }

// Drain makes the server take no new requests, and tells tails that it ends. Requests that are under way go on: wait for them
// with http.Server.Shutdown, and then close the store.
func (s *Server) Drain() { s.drain() }

// dispatch finds the route of a request, and whether whoever makes it may use it.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	handler, pattern := s.mux.Handler(r)
	route := s.byPath[pattern]
	if route == nil {
		s.unrouted(w, r, handler)
		return
	}
	about(r).route = route
	if s.draining.Err() != nil && !route.alive {
		w.Header().Set("Connection", "close")
		s.fail(w, r, problem(kindDraining, "the server is being stopped").stored(nothingIf(route.writes)))
		return
	}
	who, err := s.authenticate(r, route)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	about(r).principal = who.ID
	s.mux.ServeHTTP(w, r.WithContext(withPrincipal(r.Context(), who)))
}

func nothingIf(writes bool) string {
	if writes {
		return storedNothing
	}
	return ""
}

// serve runs the handler of a route, and answers with the problem that it returns.
func (s *Server) serve(route *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := parseQuestion(r, s.now(), &route.takes)
		if err == nil {
			err = route.handle(w, r, q)
		}
		if err == nil {
			return
		}
		if about(r).status != 0 {
			// The status is on its way, so nothing but a broken connection can tell the client that the answer is cut.
			note(r, s.problemOf(err))
			panic(http.ErrAbortHandler)
		}
		s.fail(w, r, err)
	})
}

// unrouted answers a request that no route fits. The mux knows why: there is no such path, it has other methods, or it is
// written in another way.
func (s *Server) unrouted(w http.ResponseWriter, r *http.Request, mux http.Handler) {
	found := &outline{header: http.Header{}}
	mux.ServeHTTP(found, r)
	switch {
	case found.status == http.StatusMethodNotAllowed:
		p := problem(kindMethod, "%s takes %s", pathShown(r), found.header.Get("Allow"))
		p.allow = found.header.Get("Allow")
		s.fail(w, r, p)
	case found.status >= 300 && found.status < 400:
		mux.ServeHTTP(w, r)
	default:
		s.fail(w, r, problem(kindNoRoute, "there is nothing under %s", pathShown(r)))
	}
}

// An outline is a response of which only the status and the header matter.
type outline struct {
	header http.Header
	status int
}

func (o *outline) Header() http.Header         { return o.header }
func (o *outline) WriteHeader(status int)      { o.status = status }
func (o *outline) Write(p []byte) (int, error) { return len(p), nil }
