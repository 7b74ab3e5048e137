// Package serving runs the servers of one store in a process: the API and the pages for everybody on an address, and the unix socket
// through which the commands of the store's owner write.
//
//	s, err := serving.Listen(options)     // tokens, TLS, the port: mistakes are reported before the store is opened
//	store, err := …                       // which may take long
//	err = s.Start(store)
//	…                                     // until the run is interrupted, or s.Failed() says why it ends
//	s.Drain(); s.Shutdown(); err = s.Close()
//	err = store.Close()
//
// It promises what is the same for every kind of store: only this machine can connect unless there are TLS and a token, connections and
// headers are bounded, and a server ends in order. It leaves to others what is served (package web), and opening and closing the store.
package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/socket"
	"github.com/auditsql/auditsql/internal/tokens"
	"github.com/auditsql/auditsql/web"
)

const (
	headerWait = 10 * time.Second // for the header of a request
	idleWait   = 2 * time.Minute  // between two requests of a connection
	mostHeader = 64 << 10
	// serverWait is how long to wait to learn which server has a store, for the advice in an error.
	serverWait = time.Second
	// endWait is how long a server that is told to end waits for puts whose records are on their way to the disk. They wait less for room
	// in the backlog. What else is under way ends by itself within half a second.
	endWait = 6 * time.Second
	// silentWait is how long it waits for connections on which nothing is being answered: those of clients that have sent a part of a header.
	silentWait = 500 * time.Millisecond
)

// A Store is what is served. *audit.DB is one.
type Store interface {
	web.Store
	socket.Store
}

// Options say how a store is served.
type Options struct {
	*Flags
	Others []Address // other addresses of the command. The caller listens on them, and hands the listeners to Also

	Dir       string // of the store
	ReadOnly  bool
	AnyPort   bool          // listen on another port of this machine when that of the flag is taken
	MaxFuture time.Duration // as in web.Options
	Now       func() time.Time
	PageTime  func() time.Time // now for the API and the pages, if not Now
	Logger    *slog.Logger
	Metrics   *web.Metrics
	Version   string            // of the program
	AddToken  string            // what a person types to make a token
	Spans     func() *web.Spans // as in web.Options
}

// A Server is the servers of a store. Its methods belong to one goroutine.
type Server struct {
	opts     Options
	known    *tokens.File
	config   *tls.Config
	listener net.Listener

	public *web.Server
	local  *web.Server // for the socket; nil without one
	socket *socket.Listener

	servers []*http.Server
	conns   int // that a listener may have at the same time
	unused  unusedConns
	busy    atomic.Int64 // requests that are being answered
	failed  chan error   // of a listener
}

// Listen reads the tokens and the certificate, and takes the port. The caller calls Close at the end, also if it does not start the
// server.
func Listen(o Options) (*Server, error) {
	s := &Server{opts: o, failed: make(chan error, 2+len(o.Others))}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) listen() (err error) {
	o := &s.opts
	if s.known, err = tokens.Open(o.Dir); err != nil {
		return err
	}
	for _, l := range o.Addresses(o.Others...) {
		host, _, _ := net.SplitHostPort(l.Address)
		if !isLoopback(host) && s.known.Len() == 0 {
			return &advice.Error{Err: fmt.Errorf("--%s %s can be reached from other machines, and there is no token yet", l.Flag, l.Address), Try: o.AddToken}
		}
	}
	if s.config, err = o.TLS.load(o.Logger); err != nil {
		return err
	}
	// The port is taken before the store is opened, which may take long: a mistake in the address is reported at once.
	s.listener, err = net.Listen("tcp", o.Flags.Listen)
	if errors.Is(err, syscall.EADDRINUSE) && o.AnyPort {
		s.listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		// Most often this is the store's own server, and then another port does not help.
		if !o.ReadOnly && Running(o.Dir) != nil {
			return fmt.Errorf("%s: %w", o.Dir, audit.ErrLocked)
		}
		return &advice.Error{Err: fmt.Errorf("listen: %w", err), Try: "another port with --listen"}
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// Running is the server that has the store in dir open, as it describes itself; nil when there is none.
func Running(dir string) *socket.About {
	ctx, cancel := context.WithTimeout(context.Background(), serverWait)
	defer cancel()
	c, err := socket.Dial(ctx, dir)
	if err != nil {
		return nil
	}
	defer c.Close()
	about := c.About()
	return &about
}

// NewMetrics returns the measurements of a server, with which program it is.
func NewMetrics(version string) *web.Metrics {
	m := web.NewMetrics()
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "auditsql_build_info", Help: "Which program this is; always 1.", ConstLabels: prometheus.Labels{"version": version},
	})
	built.Set(1)
	m.Registry().MustRegister(built)
	return m
}

// Start begins to answer.
func (s *Server) Start(store Store) error {
	o := &s.opts
	now := o.Now
	if o.PageTime != nil {
		now = o.PageTime
	}
	s.conns = connLimit(openFiles() / uint64(1+len(o.Others)))
	s.public = web.Handler(store, web.Options{
		Tokens: &serverTokens{file: s.known, now: o.Now, log: o.Logger}, Hosts: append(o.names(), certifiedNames(s.config)...),
		ReadOnly: o.ReadOnly, MaxFuture: o.MaxFuture, Now: now, Logger: o.Logger, Metrics: o.Metrics, Spans: o.Spans,
	})
	if !o.ReadOnly {
		if err := s.startSocket(store); err != nil {
			return err
		}
	}
	s.Also(s.public, s.listener, nil)
	return nil
}

// Also answers on another listener that others than the owner of the store can reach. Change, if it is not nil, changes the server first.
func (s *Server) Also(h http.Handler, listener net.Listener, change func(*http.Server)) {
	server := s.server(h)
	if change != nil {
		change(server)
	}
	bounded := boundListener(listener, s.conns)
	server.TLSConfig = s.config
	server.ConnState = func(c net.Conn, state http.ConnState) {
		s.unused.note(c, state)
		bounded.note(state)
	}
	s.run(server, func() error {
		if s.config != nil {
			return server.ServeTLS(bounded, "", "")
		}
		return server.Serve(bounded)
	})
}

// startSocket begins to answer the commands of the store's owner.
func (s *Server) startSocket(store Store) error {
	o := &s.opts
	l, err := socket.Listen(o.Dir)
	if errors.Is(err, socket.ErrUnsupported) {
		o.Logger.Warn("put, import, name and log sign cannot write while this server runs", "why", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	s.socket = l
	s.local = web.Handler(store, web.Options{
		Trusted: &web.Principal{ID: socketID, Scopes: web.AllScopes}, AnyHost: true, MaxFuture: ingest.UsualFuture,
		Spans: o.Spans, Now: o.Now, Logger: o.Logger,
	})
	mux := http.NewServeMux()
	mux.Handle("/local/", s.local.Observe(socket.Handler(store, socket.About{PID: os.Getpid(), Version: o.Version, URL: s.URL()}, s.Link)))
	mux.Handle("/", s.local)
	server := s.server(mux)
	s.run(server, func() error { return server.Serve(l) })
	return nil
}

// socketID is who has come through the socket.
const socketID = "socket"

// server bounds what a connection can cost. What a body and an answer may take is bounded by package web, since a tail and an export
// go on for long.
func (s *Server) server(h http.Handler) *http.Server {
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		defer s.busy.Add(-1)
		h.ServeHTTP(w, r)
	})
	server := &http.Server{
		Handler: counted, ReadHeaderTimeout: headerWait, IdleTimeout: idleWait, MaxHeaderBytes: mostHeader,
		ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn), ConnState: s.unused.note,
	}
	s.servers = append(s.servers, server)
	return server
}

func (s *Server) run(server *http.Server, serve func() error) {
	go func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve: %w", err)
		}
	}()
}

// Failed yields why a listener takes no more connections.
func (s *Server) Failed() <-chan error { return s.failed }

// TLS reports whether the server does TLS.
func (s *Server) TLS() bool { return s.config != nil }

// Public is what is served to everybody.
func (s *Server) Public() *web.Server { return s.public }

// Link is a link with which a person logs in once.
func (s *Server) Link() string { return s.URL() + s.public.LoginLink() }

// Drain takes no new requests, and tells tails that the server ends.
func (s *Server) Drain() {
	if s.public != nil {
		s.public.Drain()
	}
	if s.local != nil {
		s.local.Drain()
	}
}

// Shutdown waits until the requests have ended that are under way. What is still under way after some seconds is cut off.
func (s *Server) Shutdown() {
	s.unused.close()
	ctx, cancel := context.WithTimeout(context.Background(), endWait)
	defer cancel()
	go s.whileBusy(ctx, cancel)
	for _, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil {
			s.opts.Logger.Warn("requests were cut off", "why", err.Error())
			_ = server.Close()
		}
	}
}

// whileBusy calls end when nothing is being answered any more, but not before silentWait.
func (s *Server) whileBusy(ctx context.Context, end func()) {
	for wait := silentWait; ; wait = silentWait / 10 {
		idle := s.busy.Load() == 0
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if idle && s.busy.Load() == 0 { // the last answer has gone out meanwhile
			end()
			return
		}
	}
}

// Close removes the socket and gives back what Listen took. The store is closed after that: it waits for its puts, and then the lock is
// free.
func (s *Server) Close() error {
	var err error
	if s.socket != nil {
		err = s.socket.Close()
		s.socket = nil
	}
	if s.listener != nil {
		s.listener.Close()
	}
	if s.known != nil {
		s.known.Close()
	}
	return err
}

// unusedConns are the connections on which nothing has been asked yet. Browsers open some in advance. http.Server.Shutdown would wait
// five seconds for a request on each.
type unusedConns struct {
	mu    sync.Mutex
	all   map[net.Conn]bool
	ended bool
}

// note is for http.Server.ConnState.
func (u *unusedConns) note(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(u.all, c)
	case u.ended:
		c.Close()
	default:
		if u.all == nil {
			u.all = map[net.Conn]bool{}
		}
		u.all[c] = true
	}
}

// close closes them, and those that come later.
func (u *unusedConns) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	for c := range u.all {
		c.Close()
	}
}

// URL is where people find the server.
func (s *Server) URL() string {
	scheme := "http"
	host, port, _ := net.SplitHostPort(s.listener.Addr().String())
	if s.config != nil {
		scheme = "https"
		if len(s.opts.Hosts) > 0 {
			host = s.opts.Hosts[0]
		}
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Port is the port that it listens on.
func (s *Server) Port() int {
	if at, ok := s.listener.Addr().(*net.TCPAddr); ok {
		return at.Port
	}
	return 0
}

// serverTokens finds tokens for package web.
type serverTokens struct {
	file *tokens.File
	now  func() time.Time
	log  *slog.Logger
	said atomic.Pointer[string] // why no token is valid, as the log has it already; nil: they are
}

// Lookup implements web.Tokens. When the file cannot be used, nobody has a token: the log says why, once.
func (t *serverTokens) Lookup(secret string) (web.Principal, bool) {
	found, err := t.file.Lookup(tokens.Digest(secret), t.now())
	if err != nil {
		if !errors.Is(err, tokens.ErrUnknown) && !errors.Is(err, tokens.ErrExpired) {
			why := err.Error()
			if before := t.said.Swap(&why); before == nil || *before != why {
				t.log.Error("no token is valid", "why", why)
			}
		}
		return web.Principal{}, false
	}
	if t.said.Load() != nil {
		t.said.Store(nil)
	}
	scopes, err := web.ParseScope(strings.Join(found.Scopes, ","))
	return web.Principal{ID: found.Name, Scopes: scopes, Agent: found.Agent}, err == nil
}
