package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

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

	sessions sessions
	guesses  guesses

	questions slots                  // expensive questions
	exports   slots                  // lists without a limit
	begun     slots                  // questions that find none of their slots free after their answers have begun
	kept      *semaphore.Weighted    // bytes that long answers keep while clients read them
	parts     slots                  // expensive parts of pages
	folder    atomic.Pointer[string] // of the store; nil: not known yet
	verifies  slots
	streams   slots    // of records
	bodies    bodyRoom // of those that are held

	following *following // nil: the store has a journal of its own

	verified lastVerify
	metrics  *Metrics
	hub      hub
	tailing  slots
	catching slots // tails that read the journal by themselves

	draining context.Context // ends when no new request is taken
	drain    context.CancelFunc
	ending   context.Context // ends a moment after that
	end      context.CancelFunc
}

// catchUps is how many tails that have to catch up read the journal at the same time.
const catchUps = 4

// Handler returns a server of a store, with the API and the pages. The caller closes the store after [Server.Drain], and after
// http.Server.Shutdown has waited for the requests that were under way.
func Handler(store Store, o Options) *Server {
	s := &Server{
		store: store, options: o, limits: o.Limits.orDefaults(), now: o.Now, log: o.Logger, metrics: o.Metrics,
		mux: http.NewServeMux(), byPath: map[string]*route{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if f, ok := store.(Following); ok {
		s.following = &following{store: f}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.options.MaxFuture == 0 {
		s.options.MaxFuture = ingest.UsualFuture
	}
	s.questions, s.exports, s.verifies = newSlots(s.limits.Questions), newSlots(s.limits.Exports), newSlots(1)
	s.kept = semaphore.NewWeighted(s.limits.AnswerBytes)
	s.begun = newSlots(begunSlots)
	s.parts = newSlots(pageParts)
	s.streams, s.tailing, s.catching = newSlots(s.limits.Streams), newSlots(s.limits.Tails), newSlots(catchUps)
	s.bodies = newBodyRoom(s.limits.BodyBytes)
	s.draining, s.drain = context.WithCancel(context.Background())
	s.ending, s.end = context.WithCancel(context.Background())
	for _, one := range s.routes() {
		if one.writes && o.ReadOnly {
			one.handle = func(http.ResponseWriter, *http.Request, *question) error {
				return problem(kindReadOnly, "this server has the store open for reading only").stored(storedNothing)
			}
		}
		one.takes.known = one.takes.names()
		s.byPath[one.pattern()] = &one
		h := s.serve(&one)
		if one.compressed() {
			h = compress(h)
		}
		s.mux.Handle(one.pattern(), h)
	}
	if s.metrics != nil {
		s.metrics.serves(s)
	}
	s.chain = s.wrap(http.HandlerFunc(s.dispatch))
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.chain.ServeHTTP(w, r) }

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
	about(r).principal = who.ID // also of one that may not do this: the log names whose token it is
	if err != nil {
		err = s.problemOf(err).stored(nothingIf(route.writes))
		if !s.askToLogIn(w, r, route, err) {
			s.fail(w, r, err)
		}
		return
	}
	ctx := r.Context()
	if !route.open {
		var stop func()
		ctx, stop = s.whileValid(w, r, route)
		defer stop()
	}
	ctx, stop := s.untilEnd(ctx, w, route)
	defer stop()
	if strings.Contains(route.path, "{") {
		handler = s.mux // which finds the route again, and with it what stands for the variables of its path
	}
	handler.ServeHTTP(w, r.WithContext(withPrincipal(ctx, who)))
	if errors.Is(context.Cause(ctx), errRevoked) && about(r).problem == nil {
		panic(http.ErrAbortHandler) // the client must not take what it got for the whole, nor use the connection again
	}
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
		} else {
			err = s.problemOf(err).stored(nothingIf(route.writes))
		}
		if err == nil {
			return
		}
		if errors.Is(context.Cause(r.Context()), errRevoked) {
			w.Header().Set("Connection", "close")
			err = revoked(err, route.writes)
		} else if errors.Is(context.Cause(r.Context()), errEnding) {
			w.Header().Set("Connection", "close")
			err = problem(kindDraining, "%v", errEnding).because(err)
		}
		if a := about(r); a.begun || a.status != 0 {
			// The status is on its way, so nothing but a broken connection can tell the client that the answer is cut.
			p := s.problemOf(err)
			if a.gone {
				p = problem(kindGone, "the client has gone away").because(err)
			}
			note(r, p)
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
