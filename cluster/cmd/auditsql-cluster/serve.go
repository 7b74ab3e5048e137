package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/serving"
	"github.com/auditsql/auditsql/internal/tui"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	serving.Flags
	dir       string
	unproven  bool
	maxFuture time.Duration
	anyPort   bool             // of this machine, when that of --listen is taken
	log       audit.LogOptions // how this node signs; no key: it does not, unless its folder says so
	witness   witnessFlags
}

// usualWitness is where a witness listens unless a flag says otherwise.
const usualWitness = "127.0.0.1:7071"

// witnessFlags say for which logs the node is a witness.
type witnessFlags struct {
	key    string // a file; "": the node is no witness
	listen string
	logs   []string // verifier keys
}

// addresses are those to listen on beside that of --listen.
func (f *witnessFlags) addresses() []serving.Address {
	if f.key == "" {
		return nil
	}
	return []serving.Address{{Flag: "witness-listen", Address: f.listen, Usual: usualWitness}}
}

func (o *serveOptions) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	switch {
	case o.witness.key == "" && (changed("witness-listen") || changed("witness-log")):
		return usageError{errors.New("--witness-listen and --witness-log go with --witness-key")}
	case o.witness.key != "" && len(o.witness.logs) == 0:
		return usageError{errors.New("--witness-log is missing: the verifier key of the log that is signed")}
	case o.log.Key == "" && o.log.Policy != "":
		return usageError{errors.New("--policy goes with --key")}
	}
	return refused(o.Flags.Check(cmd, o.witness.addresses()...))
}

// ofOneTree is the flag, if one was given, that is about the tree of one stream.
func (o *serveOptions) ofOneTree() string {
	switch {
	case o.log.Key != "":
		return "--key"
	case o.witness.key != "":
		return "--witness-key"
	}
	return ""
}

func (a *app) serveCommand() *cobra.Command {
	var o serveOptions
	var future importing.Future
	cmd := &cobra.Command{
		Use:   "serve -d DIR",
		Short: "Follow the stream, and serve the copy over HTTP: put, ask, pages",
		Long: `Serve keeps a copy of the stream in a folder, as follow does, and serves it over
HTTP as auditsql serve does: the same API, the same pages, the same tokens. A
put is answered when it is decided: a majority of the servers has it on disk,
and this node has read the stream up to its place. Every node takes puts. The
first record under an id stays, whichever node it came through.

Reads show what this node has read of the stream. With consistency=acknowledged
they wait until it has everything that was acknowledged by any node.

If the records are divided among several streams (init --partitions), the folder
has a copy of each, and questions are answered from all of them. What needs one
order of all records is refused: tails, lists in the order of admission, proofs.

/readyz is 503 while the node is more than 10,000 messages behind the stream,
cannot go on in it, or gets no answer from it. It says how many messages the
node is behind; so does auditsql_follow_behind_messages in /metrics.

It listens on this machine alone, unless --listen names another address. Then it
wants TLS (--tls-cert, --tls-key) and at least one token. auditsql -d DIR token
add makes one, once the folder exists: serve, or follow --once, makes it. The
flags --tls-cert and --tls-key are those of this server. --nats-cert and
--nats-key are for the connection to NATS.

While it runs, auditsql -d DIR put, import and name write through it. Labels
belong to the node. Spans are not taken here: a span would be acknowledged when
it is on the disk of one machine, and the spans of a trace could come to several
nodes. Collect them in files, and import these: import --format otlp.

With --key this node signs the log: the root over its records, every minute, as
auditsql log sign does on one machine. One node does so. The others can be
witnesses (--witness-key): they cosign what it has signed if their own copies
have the same records. --policy names them for the node that signs. The guide
docs/cluster.md has an example. Both are for one stream: the streams of a set
have a tree each, and one key must not sign two.

SIGTERM or Ctrl-C ends it in order. A put that is not decided by then is
answered with outcome-open: it may be stored, and sending it again is safe.`,
		Example: `  auditsql-cluster serve -d ./n1
  auditsql-cluster serve -d ./n1 --nats nats://a:4222,nats://b:4222,nats://c:4222
  auditsql-cluster serve -d ./n1 --listen :7443 --tls-cert cert.pem --tls-key key.pem`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.dir == "" {
				return errNoFolder
			}
			if err := o.check(cmd); err != nil {
				return err
			}
			connect, err := a.options()
			if err != nil {
				return err
			}
			o.maxFuture = future.Limit()
			return a.serve(cmd.Context(), connect, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.dir, "dir", "d", "", "the copy's `folder`")
	o.Flags.Add(cmd)
	addUnproven(cmd, &o.unproven)
	future.Add(cmd)
	flags.StringVar(&o.log.Key, "key", "", "sign the log with the key in this `file`; one node does so")
	flags.StringVar(&o.log.Policy, "policy", "", "a `file` with the witnesses that are asked to cosign")
	flags.StringVar(&o.witness.key, "witness-key", "", "cosign with the witness's key in this `file` what another node signs")
	flags.StringVar(&o.witness.listen, "witness-listen", usualWitness, "the `address` where the other node asks this witness")
	flags.StringArrayVar(&o.witness.logs, "witness-log", nil, "the `verifier key` of the log that is cosigned; may be repeated")
	return cmd
}

// serve serves a node until ctx ends, which is no error.
func (a *app) serve(ctx context.Context, connect jetstream.Options, o *serveOptions) error {
	logger := o.Logger(a.err, slog.LevelInfo)
	n, err := a.startNode(ctx, connect, o, logger)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	err = a.screen().Facts(a.form(),
		tui.Fact{Name: "address", Title: "address", Value: tui.Text(n.server.URL())},
		tui.Fact{Name: "log_in", Title: "log in", Value: tui.Text(n.server.Link()), Whole: true})
	if err == nil {
		logger.Info("serving", "address", n.server.URL(), "store", o.dir, "cursors", n.store.cursors(), "pid", os.Getpid())
		select {
		case <-ctx.Done():
			logger.Info("ending")
		case err = <-n.server.Failed():
			logger.Error("ending", "why", err.Error())
		}
	}
	if err = errors.Join(err, n.end()); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// A servedNode is a node and its servers.
type servedNode struct {
	store   *copies
	witness *cluster.Witness // nil: the node is none
	server  *serving.Server
	logger  *slog.Logger
}

// startNode opens a node and begins to serve it.
func (a *app) startNode(ctx context.Context, connect jetstream.Options, o *serveOptions, logger *slog.Logger) (_ *servedNode, err error) {
	n := &servedNode{logger: logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.end())
		}
	}()
	metrics := serving.NewMetrics(version())
	n.server, err = serving.Listen(serving.Options{
		Flags: &o.Flags, Others: o.witness.addresses(), Dir: o.dir, AnyPort: o.anyPort, MaxFuture: o.maxFuture, Now: time.Now, Logger: logger, Metrics: metrics,
		Version: version(), AddToken: "auditsql -d " + legible.ShellQuote(o.dir) + " token add NAME --scope read,write",
	})
	if err != nil {
		return n, refused(err)
	}
	var cosigner *evidence.Cosigner
	var asked net.Listener
	if o.witness.key != "" {
		if cosigner, err = keyfile.ReadWitness(o.witness.key); err != nil {
			return n, fmt.Errorf("--witness-key: %w", err)
		}
		if asked, err = net.Listen("tcp", o.witness.listen); err != nil {
			return n, fmt.Errorf("--witness-listen: listen: %w", err)
		}
		defer func() {
			if err != nil {
				asked.Close()
			}
		}()
	}
	store := []audit.Option{
		audit.WithLogger(logger), audit.WithMetrics(metrics.Store()), audit.WithCreatedBy("auditsql-cluster " + version()),
	}
	if o.log.Key != "" {
		store = append(store, audit.WithSigner(o.log))
	}
	n.store, err = a.openCopies(ctx, connect, o.dir, o.ofOneTree(), cluster.Options{
		Unproven: o.unproven, Logger: logger, Store: store,
	})
	if err != nil {
		return n, err
	}
	if err := n.server.Start(n.store); err != nil {
		return n, err
	}
	if cosigner == nil {
		return n, nil
	}
	// The memory is beside the key, as that of a log's key is.
	n.witness, err = n.store.nodes[0].Witness(ctx, cluster.WitnessOptions{Key: cosigner, Memory: o.witness.key + ".witnessed", Logs: o.witness.logs})
	if err != nil {
		return n, err
	}
	n.server.Also(n.witness, asked, nil)
	logger.Info("a witness", "name", cosigner.Name(), "address", asked.Addr().String())
	return n, nil
}

// end ends the servers, then the node, then its connections: no new requests, tails are told, what is under way ends.
func (n *servedNode) end() error {
	var err error
	if n.server != nil {
		n.server.Drain()
		n.server.Shutdown()
		err = n.server.Close()
	}
	if n.witness != nil {
		err = errors.Join(err, n.witness.Close())
	}
	if n.store != nil {
		err = errors.Join(err, n.store.Close())
	}
	n.logger.Info("closed")
	return err
}

// refused makes an error of this command of what package serving refuses.
func refused(err error) error {
	var r *advice.Error
	if !errors.As(err, &r) {
		return err
	}
	if r.Usage {
		err = usageError{err}
	}
	return err
}
