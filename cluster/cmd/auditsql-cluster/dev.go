package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/serving"
	"github.com/auditsql/auditsql/wal"
)

// devMembers is how many servers and nodes dev has.
const devMembers = 3

const (
	devDir          = "./auditsql-dev"
	devFirstPage    = 7071 // port of the pages of the first node, if it is free
	devFirstClient  = 4231
	devRestartAfter = 10 * time.Second
	devPatience     = 2 * time.Minute // for the servers to find each other
	devStateName    = "dev.json"
	devStream       = "AUDIT" // also the default of --stream, so that other commands need not name it
	devEnvName      = "env"
)

func (a *app) devCommand() *cobra.Command {
	var dir string
	var restart time.Duration
	var partitions int
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Try it on this machine: three servers, three nodes, and their pages",
		Long: `Dev starts three servers of NATS and three nodes on this machine, each server a
process of its own, and prints where they are and what to type next. Everything
is in one folder. Ctrl-C ends all of it in order. The same command starts it
again where it was.

Kill a server to see what happens: kill -9 PID. The other two go on.
Dev starts it again after --restart-after.

The servers listen on this machine alone, and have passwords that dev made. The
file env in the folder has them, for other commands in other terminals.

With --partitions N the records are divided among N streams, for good. A later
start in the same folder has as many, whatever it is told.

It is for trying out. Three servers on one disk survive the death of a server,
and not that of the disk.`,
		Example: `  auditsql-cluster dev
  auditsql-cluster dev -d /tmp/three --restart-after 1m
  auditsql-cluster dev -d /tmp/divided --partitions 2`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return errNoFolder
			}
			if partitions < 1 || partitions > cluster.MaxPartitions {
				return usageError{fmt.Errorf("--partitions %d: want 1 to %d", partitions, cluster.MaxPartitions)}
			}
			if err := a.dev(cmd.Context(), dir, restart, partitions); err != nil {
				return fmt.Errorf("dev: %w", err)
			}
			return nil
		},
	}
	cmd.PersistentFlags().StringVarP(&dir, "dir", "d", devDir, "the `folder` of all servers and nodes")
	cmd.Flags().DurationVar(&restart, "restart-after", devRestartAfter, "how long a server that was killed stays down")
	cmd.Flags().IntVar(&partitions, "partitions", 1, "among how `many` streams the records are divided")
	cmd.AddCommand(a.devLoadCommand(&dir))
	return cmd
}

// devSecrets are the passwords of dev's servers.
type devSecrets struct {
	aclPasswords
	Route string `json:"route"` // between servers
}

// devState is what dev keeps from one start to the next.
type devState struct {
	Secrets devSecrets `json:"secrets"`
	Clients []int      `json:"clients"` // ports, used again where they are free
	Routes  []int      `json:"routes"`
	Pages   []int      `json:"pages"`
	// Partitions is how many streams there are; 0 is one.
	Partitions int `json:"partitions,omitempty"`
}

// readDevState reads what the last start has kept, or makes passwords for the first one.
func readDevState(dir string, partitions int) (*devState, error) {
	s := &devState{}
	text, err := os.ReadFile(filepath.Join(dir, devStateName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.Secrets = devSecrets{
			aclPasswords: aclPasswords{Admin: rand.Text(), Node: rand.Text(), Reader: rand.Text(), System: rand.Text()}, Route: rand.Text(),
		}
		for i := range devMembers {
			s.Clients = append(s.Clients, devFirstClient+i)
			s.Routes = append(s.Routes, devFirstClient+devMembers+i)
			s.Pages = append(s.Pages, devFirstPage+i)
		}
		s.Partitions = partitions
		return s, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, devStateName), err)
	}
	if len(s.Clients) != devMembers || len(s.Routes) != devMembers || len(s.Pages) != devMembers {
		return nil, fmt.Errorf("%s: want %d ports of each kind", filepath.Join(dir, devStateName), devMembers)
	}
	return s, nil
}

func (s *devState) write(dir string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, devStateName), append(text, '\n'), 0o600)
}

// freePorts returns the wanted ports, or others where these are taken. Nobody holds them: whoever takes one before the server does makes
// that server end, and dev says so.
func freePorts(wanted []int) (ports []int, err error) {
	for _, port := range wanted {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				return nil, err
			}
		}
		defer l.Close() // after all are chosen, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// A devCluster is what dev runs.
type devCluster struct {
	a       *app
	dir     string
	wanted  int // partitions of a new folder
	logger  *slog.Logger
	restart time.Duration
	state   *devState
	servers []*devServer
	nodes   []*servedNode

	ending  context.Context
	endNow  context.CancelFunc
	running sync.WaitGroup // of those who start servers again
}

func (a *app) dev(ctx context.Context, dir string, restart time.Duration, partitions int) (err error) {
	if err := devFolder(dir); err != nil {
		return err
	}
	lock, err := wal.TakeLock(ctx, dir, wal.Options{LockNote: "auditsql-cluster dev"})
	if err != nil {
		return err
	}
	defer lock.Unlock()
	d := &devCluster{a: a, dir: dir, wanted: partitions, restart: restart, logger: slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	d.ending, d.endNow = context.WithCancel(context.Background())
	defer func() { err = errors.Join(err, d.end()) }()
	if err := d.startServers(); err != nil {
		return err
	}
	a.progress("three servers are starting; that takes some seconds")
	if err := d.startNodes(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // it was interrupted
		}
		return err
	}
	if err := d.screen(ctx); err != nil {
		return err
	}
	for _, s := range d.servers {
		d.running.Go(func() { d.supervise(s) })
	}
	failed := make(chan error, len(d.nodes))
	for _, n := range d.nodes {
		go func() {
			select {
			case err := <-n.server.Failed():
				failed <- err
			case <-d.ending.Done():
			}
		}()
	}
	select {
	case <-ctx.Done():
		a.progress("ending")
		return nil
	case err := <-failed:
		return err
	}
}

// devFolder makes the folder, and refuses one that has something else.
func devFolder(dir string) error {
	err := os.Mkdir(dir, 0o700) // it has passwords
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == devStateName }) {
		return err
	}
	return usageError{fmt.Errorf("-d %s: the folder has something else than what dev makes; name one that does not exist yet", dir)}
}

// progress says on standard error what dev is doing.
func (a *app) progress(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

func (d *devCluster) startServers() (err error) {
	if d.state, err = readDevState(d.dir, d.wanted); err != nil {
		return err
	}
	ports, err := freePorts(slices.Concat(d.state.Clients, d.state.Routes))
	if err != nil {
		return err
	}
	d.state.Clients, d.state.Routes = ports[:devMembers], ports[devMembers:]
	if err := d.state.write(d.dir); err != nil {
		return err
	}
	for i := range devMembers {
		name := fmt.Sprint("s", i+1)
		home, err := filepath.Abs(filepath.Join(d.dir, name))
		if err != nil {
			return err
		}
		d.servers = append(d.servers, &devServer{name: name, dir: home, client: d.state.Clients[i], routes: d.state.Routes[i]})
	}
	for _, s := range d.servers {
		if err := s.configure(d.servers, &d.state.Secrets, d.state.Partitions); err != nil {
			return err
		}
	}
	for _, s := range d.servers {
		if err := s.start(d.a.err); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(d.dir, devEnvName), []byte(d.env()), 0o600)
}

// env is what other commands need to connect.
func (d *devCluster) env() string {
	return fmt.Sprintf("export AUDITSQL_NATS_URL=%s\nexport AUDITSQL_NATS_USER=node:%s\nexport AUDITSQL_NATS_SYSTEM=sys:%s\n",
		d.urls(), d.state.Secrets.Node, d.state.Secrets.System)
}

func (d *devCluster) urls() string {
	var urls []string
	for _, port := range d.state.Clients {
		urls = append(urls, (&devServer{client: port}).url())
	}
	return strings.Join(urls, ",")
}

// options are how a user connects.
func (d *devCluster) options(user, password string) jetstream.Options {
	return jetstream.Options{
		URL: d.urls(), Stream: devStream, Connect: []nats.Option{nats.UserInfo(user, password)},
		System: []nats.Option{nats.UserInfo("sys", d.state.Secrets.System)},
	}
}

func (d *devCluster) asNode() jetstream.Options { return d.options("node", d.state.Secrets.Node) }

// startNodes makes the stream, if there is none, and opens the nodes.
func (d *devCluster) startNodes(ctx context.Context) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	for i := range devMembers {
		o := &serveOptions{
			Flags: serving.Flags{Listen: fmt.Sprintf("127.0.0.1:%d", d.state.Pages[i]), LogFormat: "text"},
			dir:   d.node(i), maxFuture: ingest.UsualFuture, anyPort: true,
		}
		n, err := d.a.startNode(ctx, d.asNode(), o, d.logger)
		if err != nil {
			return fmt.Errorf("node n%d: %w", i+1, err)
		}
		d.nodes = append(d.nodes, n)
		d.state.Pages[i] = n.server.Port()
	}
	return d.state.write(d.dir)
}

// node is the folder of a node.
func (d *devCluster) node(i int) string { return devNode(d.dir, i) }

func devNode(dir string, i int) string { return filepath.Join(dir, fmt.Sprint("n", i+1)) }

// ready waits until the servers have found each other, the stream is there, and every replica of it answers.
func (d *devCluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, devPatience, errors.New("the servers did not find each other in time"))
	defer cancel()
	for {
		err := d.readyNow(ctx)
		if err == nil || errors.Is(err, cluster.ErrMismatch) {
			return err
		}
		for _, s := range d.servers {
			select {
			case <-s.ended:
				return fmt.Errorf("server %s has ended; %s says why", s.name, filepath.Join(d.dir, s.name, "server.log"))
			default:
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func (d *devCluster) readyNow(ctx context.Context) error {
	admin := d.options("admin", d.state.Secrets.Admin)
	admin.Timeout = 2 * time.Second
	made, err := makeStreams(ctx, admin, jetstream.Spec{}, d.state.Partitions, "")
	if err != nil {
		return err
	}
	for _, m := range made {
		if len(m.Differences) > 0 {
			return fmt.Errorf("%w: stream %s differs in %s", cluster.ErrMismatch, m.Stream, m.Differences[0].What)
		}
	}
	o := d.asNode()
	o.Timeout = 2 * time.Second
	return eachStream(ctx, o, "", nil, func(log *jetstream.Log, _ string) error {
		report, err := cluster.Check(ctx, log)
		switch {
		case err != nil:
			return err
		case len(report.Info.Unproven) > 0:
			return &cluster.UnprovenError{Log: report.Info.Name, Reasons: report.Info.Unproven}
		case len(report.Silent) > 0 || len(report.Info.Replicas) < devMembers:
			return errors.New("not every replica answers")
		}
		return nil
	})
}

// screen prints where everything is, and what to type next. Lines to type begin with two blanks.
func (d *devCluster) screen(ctx context.Context) error {
	logs, err := jetstream.OpenSet(ctx, d.asNode())
	if err != nil {
		return err
	}
	defer closeLogs(logs)
	info, err := logs[0].Info(ctx) // each stream has a leader of its own; one server may lead several
	if err != nil {
		return err
	}
	leader := d.servers[0]
	for _, r := range info.Replicas {
		for _, s := range d.servers {
			if r.Leader && r.Name == s.name {
				leader = s
			}
		}
	}
	self, dir := legible.ShellQuote(selfName()), legible.ShellQuote(d.dir)
	var b strings.Builder
	fmt.Fprintf(&b, "\nThree servers of NATS and three nodes are in %s.\n\n", d.dir)
	divided, read := "", legible.ShellQuote(d.node(0))
	if n := len(logs); n > 1 {
		fmt.Fprintf(&b, "The records are divided among %d streams, by their ids.\n\n", n)
		divided, read = " one of the streams", legible.ShellQuote(cluster.PartitionDir(d.node(0), 0))
	}
	for i, n := range d.nodes {
		s := d.servers[i]
		fmt.Fprintf(&b, "server %s   %s, pid %d\nnode n%d     %s\n", s.name, s.url(), s.pid(), i+1, n.server.Link())
	}
	fmt.Fprintf(&b, `
Each link logs a browser in once. In other terminals, type:

# Put records through all nodes for 10 seconds. Then look for each acknowledged
# record on every node, and compare the nodes.
  %[1]s dev load -d %[2]s

# Meanwhile: kill server %[3]s, which leads%[9]s. It is started again after %[4]v.
  kill -9 %[5]d

# What the servers say of the stream and of each replica.
  . %[6]s && %[1]s check

# Store a record through one node.
  echo '{"timestamp":%[7]d,"params":{"subject":"Tesla"},"result_confidence":0.9}' | %[1]s put -d %[8]s

auditsql -d %[10]s recent, and other commands that read, work on the folder of each copy.
Ctrl-C ends everything. The same command starts it again.
`, self, dir, leader.name, d.restart, leader.pid(), legible.ShellQuote(envPath(d.dir)), time.Now().UnixMilli(), legible.ShellQuote(d.node(0)), divided, read)
	_, err = io.WriteString(d.a.out, b.String())
	return err
}

// envPath is the file of the environment, as a shell finds it: without a slash it would look in PATH.
func envPath(dir string) string {
	name := filepath.Join(dir, devEnvName)
	if !filepath.IsAbs(name) {
		name = "./" + name
	}
	return name
}

// selfName is how this program was called.
func selfName() string {
	if strings.ContainsRune(os.Args[0], filepath.Separator) {
		return os.Args[0]
	}
	return "auditsql-cluster"
}

// supervise starts a server again when it has ended.
func (d *devCluster) supervise(s *devServer) {
	for {
		select {
		case <-s.ended:
		case <-d.ending.Done():
			return
		}
		d.a.progress("server %s has ended; it is started again in %v", s.name, d.restart)
		select {
		case <-time.After(d.restart):
		case <-d.ending.Done():
			return
		}
		if err := s.start(d.a.err); err != nil {
			d.a.progress("%v", err)
			return
		}
		d.a.progress("server %s runs again, pid %d", s.name, s.pid())
	}
}

// end ends the nodes, and then the servers.
func (d *devCluster) end() error {
	d.endNow()
	d.running.Wait()
	errs := make([]error, len(d.nodes)+len(d.servers))
	var all sync.WaitGroup
	for i, n := range d.nodes {
		all.Go(func() { errs[i] = n.end() })
	}
	all.Wait()
	for i, s := range d.servers {
		all.Go(func() { errs[len(d.nodes)+i] = s.end() })
	}
	all.Wait()
	return errors.Join(errs...)
}
