package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/serving"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/otlp/receive"
	"github.com/auditsql/auditsql/web"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	serving.Flags
	otlp      otlpOptions
	signEvery durationFlag
	future    importing.Future
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
may change. It answers every question, and refuses every write.

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
	o.Flags.Add(cmd)
	flags.Var(&o.signEvery, "sign-every", "how often to sign the log meanwhile, if the store has one (default: as log init said)")
	for _, name := range []string{"tls-cert", "tls-key", "client-ca"} {
		_ = cmd.MarkFlagFilename(name)
	}
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	o.future.Add(cmd)
	o.otlp.add(cmd)
	a.addWriting(cmd)
	cmd.Flags().BoolVar(&a.readOnly, "read-only", false, "serve what SQLite has beside another writer, and nothing that writes")
	return cmd
}

// check refuses flags that are wrong in every store.
func (o *serveOptions) check(a *app, cmd *cobra.Command) error {
	if err := contradict(cmd, "read-only", "sign-every", "max-future", "lock-wait", "otlp", "otlp-grpc"); err != nil {
		return err
	}
	if err := o.otlp.check(cmd); err != nil {
		return err
	}
	if cmd.Flags().Changed("sign-every") && o.signEvery.Duration <= 0 {
		return usage("--sign-every must be above 0")
	}
	return tryingInstead(o.Flags.Check(cmd, o.otlp.addresses()...))
}

// serve serves the store until ctx ends, which is no error.
func (a *app) serve(ctx context.Context, o *serveOptions) error {
	if err := a.needsStore(); err != nil {
		return err
	}
	least := slog.LevelInfo
	if o.demo != nil {
		least = slog.LevelWarn // a line for each click would hide the link
	}
	logger, metrics := o.Logger(a.err, least), serving.NewMetrics(version)
	s := &served{a: a, log: logger, takesSpans: len(o.otlp.addresses()) > 0}
	server, err := serving.Listen(serving.Options{
		Flags: &o.Flags, Others: o.otlp.addresses(), Dir: a.dir, ReadOnly: a.readOnly, AnyPort: o.demo != nil, MaxFuture: o.future.Limit(),
		Now: a.now, PageTime: o.demo, Logger: logger, Metrics: metrics, Version: version,
		Spans:    s.spans,
		AddToken: "auditsql -d " + shellQuote(a.dir) + " token add NAME --scope read,write",
	})
	if err != nil {
		return tryingInstead(err)
	}
	defer server.Close()
	receiving, err := o.otlp.listen(ctx)
	if err != nil {
		return err
	}
	defer closeAll(receiving)

	db, err := a.openServed(ctx, o, logger, metrics)
	if err != nil {
		return err
	}
	s.Server, s.db = server, db
	err = s.Start(db)
	if err == nil {
		err = s.startReceiver(o, receiving, metrics)
	}
	if err == nil {
		err = a.facts(a.form(""), append([]tui.Fact{fact("address", "address", tui.Text(s.URL())), {Name: "log_in", Title: "log in", Value: tui.Text(s.Link()), Whole: true}}, s.otlpFacts(o, receiving)...)...)
	}
	if err == nil {
		logger.Info("serving", "address", s.URL(), "store", a.dir, "read_only", a.readOnly, "pid", os.Getpid(), "version", version)
		select {
		case <-ctx.Done():
			logger.Info("ending", "why", context.Cause(ctx).Error())
		case err = <-s.Failed():
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
	return a.openExisting(ctx, audit.WithLogger(logger), audit.WithMetrics(m.Store()), audit.WithSignEvery(o.signEvery.Duration))
}

// served is a store that is being served.
type served struct {
	*serving.Server
	a   *app
	db  *audit.DB
	log *slog.Logger

	receiver   atomic.Pointer[receive.Receiver] // of spans; nil without one
	takesSpans bool                             // and not only makes records of those of an earlier run
}

// end ends the server in order: no new requests, tails are told, what is under way ends, the socket goes, and then the store is
// closed and with it the lock is free.
func (s *served) end() error {
	s.Drain()
	receiver := s.receiver.Load()
	if receiver != nil {
		receiver.Drain()
	}
	s.Shutdown()
	var err error
	if receiver != nil {
		err = receiver.Close() // before the store that it writes to
	}
	err = errors.Join(err, s.Close(), s.a.closeWriter(s.db))
	s.log.Info("closed")
	return err
}
