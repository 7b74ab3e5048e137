package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/socket"
	"github.com/auditsql/auditsql/internal/tokens"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp/receive"
	"github.com/auditsql/auditsql/web"
)

// usualAddress is where a server listens unless it is told otherwise.
const usualAddress = "127.0.0.1:7070"

// serveOptions are the flags of serve.
type serveOptions struct {
	listen    string
	otlp      otlpOptions
	hosts     []string
	tls       tlsFiles
	signEvery durationFlag
	future    durationFlag
	logFormat string
	demo      func() time.Time // the time for the pages of the demo; nil for any other store
}

func (a *app) serveCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the store over HTTP: an API for programs, pages for people",
		Long: `Serve opens the store and keeps it open. Programs in any language write and ask
over HTTP; people look at pages. It prints where it listens, and a link with
which a person logs in once. Token link prints another one. Programs need a
token: see auditsql token.

It listens on this machine alone, unless --listen names another address. Then it
wants TLS (--tls-cert, --tls-key) and at least one token. The certificate is
read again when its file changes. With --client-ca only clients that have a
certificate of that authority get in; they need a token as well. Behind a proxy
that does TLS, let it listen on this machine and say with --host under which
name people call the proxy.

While it runs, put, import, name and log sign on the same machine write through
it. Commands that read work as beside any other writer.

--otlp takes spans of agents that are instrumented for OpenTelemetry, and makes
records of those that retrieve: see docs/opentelemetry.md. Each address takes
OTLP over HTTP (POST /v1/traces) and over gRPC. --otlp-grpc is a second one, for
exporters that look for gRPC at its usual port. A sender needs a token that may
write. --map, --lifecycle and --text are those of import --format. A trace
becomes records 6 seconds after its root has come, 20 seconds after its last
span, or 5 minutes after its first. --settle sets the second of these times, and
the others in proportion.

--read-only serves a store into which another process writes, or which nobody
may change: all that asks, and nothing that writes.

SIGTERM or Ctrl-C ends it in order: it takes no new requests, ends those that
are under way, brings everything into SQLite, and closes the store. The exit
code is 0 then. A second signal ends it at once, which loses nothing that was
acknowledged.

A line in the log (standard error) has the route, the status, the bytes, the
time and the name of the token of a request. It never has a body, a query
string or a token.`,
		Example: `  auditsql serve
  auditsql serve --listen :7443 --tls-cert cert.pem --tls-key key.pem
  auditsql serve --host audit.example.com --log-format json
  auditsql serve --otlp 127.0.0.1:4318 --otlp-grpc 127.0.0.1:4317`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(a, cmd); err != nil {
				return err
			}
			return a.serve(cmd.Context(), &o)
		},
		ValidArgsFunction: completeNothing,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", usualAddress, "the `address` to listen on: host:port, or :port for all addresses")
	flags.StringVar(&o.tls.cert, "tls-cert", "", "a `file` with the certificate, and those between it and the root")
	flags.StringVar(&o.tls.key, "tls-key", "", "the `file` with its private key")
	flags.StringVar(&o.tls.clientCA, "client-ca", "", "a `file` with the authorities whose clients may connect")
	flags.StringArrayVar(&o.hosts, "host", nil, "another `name` under which the server is called, as that of a proxy; may be repeated")
	flags.Var(&o.signEvery, "sign-every", "how often to sign the log meanwhile, if the store has one (default: as log init said)")
	flags.StringVar(&o.logFormat, "log-format", "text", "`text` or json")
	for _, name := range []string{"tls-cert", "tls-key", "client-ca"} {
		_ = cmd.MarkFlagFilename(name)
	}
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	o.future.addMaxFuture(cmd)
	o.otlp.add(cmd)
	a.addWriting(cmd)
	cmd.Flags().BoolVar(&a.readOnly, "read-only", false, "serve what SQLite has beside another writer, and nothing that writes")
	return cmd
}

// check refuses flags that are wrong in every store.
func (o *serveOptions) check(a *app, cmd *cobra.Command) error {
	for _, name := range []string{"tls-cert", "tls-key", "client-ca"} {
		if flag := cmd.Flags().Lookup(name); flag.Changed && flag.Value.String() == "" {
			return usage("--%s names no file", name)
		}
	}
	if err := contradict(cmd, "read-only", "sign-every", "max-future", "lock-wait", "otlp", "otlp-grpc"); err != nil {
		return err
	}
	if err := o.otlp.check(cmd); err != nil {
		return err
	}
	switch {
	case o.logFormat != "text" && o.logFormat != "json":
		return usage("--log-format %s: want text or json", o.logFormat)
	case cmd.Flags().Changed("sign-every") && o.signEvery.Duration <= 0:
		return usage("--sign-every must be above 0")
	case (o.tls.cert == "") != (o.tls.key == ""):
		return usage("--tls-cert and --tls-key go together")
	case o.tls.clientCA != "" && o.tls.cert == "":
		return usage("--client-ca needs --tls-cert and --tls-key")
	}
	for _, host := range o.hosts {
		if host == "" || strings.ContainsAny(host, "/:*@ \t") && net.ParseIP(strings.Trim(host, "[]")) == nil {
			return trying(usage("--host %s is no name of a host", shellQuote(host)), "the name alone, without https:// and without a port")
		}
	}
	for _, l := range o.addresses() {
		host, _, err := net.SplitHostPort(l.address)
		if err != nil {
			return trying(usage("--%s %s: %w", l.flag, l.address, err), "--%s %s", l.flag, l.usual)
		}
		if !isLoopback(host) && o.tls.cert == "" {
			return trying(usage("--%s %s can be reached from other machines, and tokens and records would go there in the clear", l.flag, l.address),
				"--tls-cert and --tls-key; or --%s %s with a proxy on this machine that does TLS, and --host NAME for the name of that", l.flag, l.usual)
		}
	}
	return nil
}

// An addressFlag is a flag that names an address to listen on.
type addressFlag struct{ flag, address, usual string }

// addresses are those to listen on, that of --listen first.
func (o *serveOptions) addresses() []addressFlag {
	all := []addressFlag{{"listen", o.listen, usualAddress}}
	for _, l := range []addressFlag{{"otlp", o.otlp.http, usualOTLP}, {"otlp-grpc", o.otlp.grpc, usualOTLPGRPC}} {
		if l.address != "" {
			all = append(all, l)
		}
	}
	return all
}

// isLoopback reports whether only this machine can reach an address.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

const (
	headerWait = 10 * time.Second // for the header of a request
	idleWait   = 2 * time.Minute  // between two requests of a connection
	mostHeader = 64 << 10
	// serverWait is how long a command waits to learn which server has a store, for the advice in an error.
	serverWait = time.Second
	// endWait is how long a server that is told to end waits for the requests that are under way. A put waits less for room in the
	// backlog, and tails end at once.
	endWait = 6 * time.Second
)

// serve serves the store until ctx ends, which is no error.
func (a *app) serve(ctx context.Context, o *serveOptions) error {
	if err := a.needsStore(); err != nil {
		return err
	}
	logger := o.logger(a)
	known, err := tokens.Open(a.dir)
	if err != nil {
		return err
	}
	defer known.Close()
	for _, l := range o.addresses() {
		host, _, _ := net.SplitHostPort(l.address)
		if !isLoopback(host) && known.Len() == 0 {
			return trying(fmt.Errorf("--%s %s can be reached from other machines, and there is no token yet", l.flag, l.address),
				"auditsql -d %s token add NAME --scope read,write", shellQuote(a.dir))
		}
	}
	config, err := o.tls.load(logger)
	if err != nil {
		return err
	}
	// The port is taken before the store is opened, which may take long: a mistake in the address is told at once.
	listener, err := net.Listen("tcp", o.listen)
	if errors.Is(err, syscall.EADDRINUSE) && o.demo != nil {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		// Most often this is the store's own server, and then another port does not help.
		if !a.readOnly && a.server() != nil {
			return fmt.Errorf("%s: %w", a.dir, audit.ErrLocked)
		}
		return trying(fmt.Errorf("listen: %w", err), "another port with --listen")
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	receiving, err := o.otlp.listen(ctx)
	if err != nil {
		return err
	}
	defer closeAll(receiving)

	metrics := newMetrics()
	db, err := a.openServed(ctx, o, logger, metrics)
	if err != nil {
		return err
	}
	s := &serving{
		a: a, db: db, log: logger, url: serverURL(listener.Addr(), o, config), takesSpans: len(receiving) > 0,
		failed: make(chan error, 2+len(receiving)), conns: connLimit(openFiles() / uint64(1+len(receiving))),
	}
	options := o.web(a, known, logger, metrics, config)
	options.Spans = s.spans
	s.public = web.Handler(db, options)
	// The receiver is there before somebody can ask how it is.
	err = s.startReceiver(o, receiving, config, metrics)
	if err == nil {
		err = s.start(listener, config)
	}
	if err == nil {
		err = a.facts(a.form(""), append([]tui.Fact{fact("address", "address", tui.Text(s.url)), fact("log_in", "log in", tui.Text(s.link()))}, s.otlpFacts(o, receiving, config)...)...)
	}
	if err == nil {
		logger.Info("serving", "address", s.url, "store", a.dir, "read_only", a.readOnly, "pid", os.Getpid(), "version", version)
		select {
		case <-ctx.Done():
			logger.Info("ending", "why", context.Cause(ctx).Error())
		case err = <-s.failed:
			logger.Error("ending", "why", err.Error())
		}
	}
	if err = errors.Join(err, s.end()); err != nil {
		return &endError{err}
	}
	return nil
}

// openServed opens the store: for writing, or with --read-only as it is.
func (a *app) openServed(ctx context.Context, o *serveOptions, logger *slog.Logger, m *web.Metrics) (*audit.DB, error) {
	if a.readOnly {
		return a.openReader(ctx)
	}
	return a.openExisting(ctx, audit.WithLogger(logger), audit.WithMetrics(m.Store()), audit.WithSignEvery(o.signEvery.Duration),
		audit.WithReads(audit.Applied))
}

// logger writes the log to standard error.
func (o *serveOptions) logger(a *app) *slog.Logger {
	var level slog.HandlerOptions
	if o.demo != nil {
		level.Level = slog.LevelWarn // a line for each click would hide the link
	}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.err, &level))
	}
	return slog.New(slog.NewTextHandler(a.err, &level))
}

// web are the options of the handler for everybody.
func (o *serveOptions) web(a *app, known *tokens.File, logger *slog.Logger, m *web.Metrics, config *tls.Config) web.Options {
	hosts := slices.Clone(o.hosts)
	if host, _, _ := net.SplitHostPort(o.listen); host != "" {
		hosts = append(hosts, host)
	}
	now := a.now
	if o.demo != nil {
		now = o.demo
	}
	return web.Options{
		Tokens: &serverTokens{file: known, now: a.now, log: logger}, Hosts: append(hosts, certifiedNames(config)...),
		ReadOnly: a.readOnly, MaxFuture: o.maxFuture(), Now: now, Logger: logger, Metrics: m,
	}
}

// maxFuture is how far after now a timestamp may lie, as packages web and receive have it.
func (o *serveOptions) maxFuture() time.Duration {
	if o.future.Duration == 0 {
		return -1 // no limit
	}
	return o.future.Duration
}

// newMetrics returns the measurements of a server, with which program it is.
func newMetrics() *web.Metrics {
	m := web.NewMetrics()
	built := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "auditsql_build_info", Help: "Which program this is; always 1.", ConstLabels: prometheus.Labels{"version": version},
	})
	built.Set(1)
	m.Registry().MustRegister(built)
	return m
}

// A serving is a server that runs.
type serving struct {
	a   *app
	db  *audit.DB
	log *slog.Logger
	url string

	public *web.Server
	local  *web.Server // for the socket; nil without one
	socket *socket.Listener

	receiver   *receive.Receiver // of spans; nil without one
	takesSpans bool              // and not only makes records of those of an earlier run

	servers []*http.Server
	conns   int // that a listener may have at the same time
	unused  unusedConns
	failed  chan error // of a listener
}

// start begins to answer.
func (s *serving) start(listener net.Listener, config *tls.Config) error {
	if !s.a.readOnly {
		if err := s.startSocket(); err != nil {
			return err
		}
	}
	s.listen(s.server(s.public), listener, config)
	return nil
}

// listen runs a server on a listener that others than the owner of the store can reach.
func (s *serving) listen(server *http.Server, listener net.Listener, config *tls.Config) {
	bounded := boundListener(listener, s.conns)
	server.TLSConfig = config
	server.ConnState = func(c net.Conn, state http.ConnState) {
		s.unused.note(c, state)
		bounded.note(state)
	}
	s.run(server, func() error {
		if config != nil {
			return server.ServeTLS(bounded, "", "")
		}
		return server.Serve(bounded)
	})
}

// startSocket begins to answer the commands of the store's owner.
func (s *serving) startSocket() error {
	l, err := socket.Listen(s.a.dir)
	if errors.Is(err, socket.ErrUnsupported) {
		s.log.Warn("put, import, name and log sign cannot write while this server runs", "why", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	s.socket = l
	s.local = web.Handler(s.db, web.Options{
		Trusted: &web.Principal{ID: socketID, Scopes: web.AllScopes}, AnyHost: true, MaxFuture: ingest.UsualFuture,
		Spans: s.spans, Now: s.a.now, Logger: s.log,
	})
	mux := http.NewServeMux()
	mux.Handle("/local/", s.local.Observe(socket.Handler(s.db, socket.About{PID: os.Getpid(), Version: version, URL: s.url}, s.link)))
	mux.Handle("/", s.local)
	server := s.server(mux)
	s.run(server, func() error { return server.Serve(l) })
	return nil
}

// socketID is who has come through the socket.
const socketID = "socket"

// server bounds what a connection can cost. What a body and an answer may take is bounded by package web, since a tail and an export
// go on for long.
func (s *serving) server(h http.Handler) *http.Server {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: headerWait, IdleTimeout: idleWait, MaxHeaderBytes: mostHeader,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn), ConnState: s.unused.note,
	}
	s.servers = append(s.servers, server)
	return server
}

func (s *serving) run(server *http.Server, serve func() error) {
	go func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve: %w", err)
		}
	}()
}

// link is a link with which a person logs in once.
func (s *serving) link() string { return s.url + s.public.LoginLink() }

// end ends the server in order: no new requests, tails are told, what is under way ends, the socket goes, and then the store is
// closed and with it the lock is free. What is still under way after endWait is cut off; the store waits for its puts.
func (s *serving) end() error {
	s.public.Drain()
	if s.local != nil {
		s.local.Drain()
	}
	if s.receiver != nil {
		s.receiver.Drain()
	}
	s.unused.close()
	ctx, cancel := context.WithTimeout(context.Background(), endWait)
	defer cancel()
	for _, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil {
			s.log.Warn("requests were cut off", "why", err.Error())
			_ = server.Close()
		}
	}
	var err error
	if s.receiver != nil {
		err = s.receiver.Close() // before the store that it writes to
	}
	if s.socket != nil {
		err = errors.Join(err, s.socket.Close())
	}
	err = errors.Join(err, s.a.closeWriter(s.db))
	s.log.Info("closed")
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

// serverURL is where people find the server.
func serverURL(at net.Addr, o *serveOptions, config *tls.Config) string {
	scheme := "http"
	host, port, _ := net.SplitHostPort(at.String())
	if config != nil {
		scheme = "https"
		if len(o.hosts) > 0 {
			host = o.hosts[0]
		}
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// serverTokens finds tokens for package web.
type serverTokens struct {
	file *tokens.File
	now  func() time.Time
	log  *slog.Logger
}

// Lookup implements web.Tokens. When the file cannot be used, nobody has a token: the log says why.
func (t *serverTokens) Lookup(secret string) (web.Principal, bool) {
	found, err := t.file.Lookup(tokens.Digest(secret), t.now())
	if err != nil {
		if !errors.Is(err, tokens.ErrUnknown) && !errors.Is(err, tokens.ErrExpired) {
			t.log.Error("no token is valid", "why", err.Error())
		}
		return web.Principal{}, false
	}
	scopes, err := web.ParseScope(strings.Join(found.Scopes, ","))
	return web.Principal{ID: found.Name, Scopes: scopes, Agent: found.Agent}, err == nil
}
