package jetstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/auditsql/auditsql/cluster/jetstream"
)

// serverEnv makes the test binary a server of NATS. Its argument is a serverSpec as JSON.
const serverEnv = "AUDITSQL_TEST_NATS"

func TestMain(m *testing.M) {
	for env, be := range map[string]func(string) error{serverEnv: beServer, bootstrapEnv: beBootstrap} {
		arg := os.Getenv(env)
		if arg == "" {
			continue
		}
		if err := be(arg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serverSpec says which server the test binary becomes. All addresses are of this machine alone.
type serverSpec struct {
	Name      string
	Dir       string
	Client    int
	Cluster   int   // 0: it is in no cluster
	Routes    []int // ports of the other servers, or of what leads to them
	Advertise int   // the port that it tells the other servers; 0: that of Cluster
	Default   bool  // it syncs when NATS does by default, and not each write

	Domain   string   // of its JetStream; "": none
	Leaf     int      // port for the leaf nodes of another region; 0: it takes none
	Remotes  []string // URLs of the other region's servers, to which it connects as a leaf node
	Accounts string   // the users; "": audit, who may do everything without a password, and sys
}

// beServer is a server until it is killed.
func beServer(arg string) error {
	var spec serverSpec
	if err := json.Unmarshal([]byte(arg), &spec); err != nil {
		return err
	}
	var conf strings.Builder
	interval := "always"
	if spec.Default {
		interval = "2m"
	}
	domain := ""
	if spec.Domain != "" {
		domain = ", domain: " + spec.Domain
	}
	if spec.Accounts == "" {
		spec.Accounts = `accounts {
  AUDIT { jetstream: enabled, users: [{user: audit, password: audit}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
no_auth_user: audit
`
	}
	fmt.Fprintf(&conf, `server_name: %s
listen: 127.0.0.1:%d
max_payload: 17MB
jetstream { store_dir: %q, sync_interval: %s%s }
%s
`, spec.Name, spec.Client, spec.Dir, interval, domain, spec.Accounts)
	if spec.Leaf != 0 {
		fmt.Fprintf(&conf, "leafnodes { listen: 127.0.0.1:%d }\n", spec.Leaf)
	}
	if len(spec.Remotes) > 0 {
		fmt.Fprintf(&conf, "leafnodes { remotes: [{ urls: [%s], account: AUDIT }] }\n", strings.Join(spec.Remotes, ", "))
	}
	if spec.Cluster != 0 {
		var routes []string
		for _, r := range spec.Routes {
			routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", r))
		}
		told := spec.Cluster
		if spec.Advertise != 0 {
			told = spec.Advertise
		}
		fmt.Fprintf(&conf, "cluster { name: C%s, listen: 127.0.0.1:%d, cluster_advertise: \"127.0.0.1:%d\", routes: [%s] }\n", spec.Domain, spec.Cluster, told, strings.Join(routes, ", "))
	}
	name := filepath.Join(spec.Dir, "server.conf")
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(conf.String()), 0o600); err != nil {
		return err
	}
	opts, err := server.ProcessConfigFile(name)
	if err != nil {
		return err
	}
	opts.NoSigs = true
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.Start()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() {
		<-end
		s.Shutdown()
	}()
	s.WaitForShutdown()
	return nil
}

// servers are the servers of one cluster, each a process of its own.
type servers struct {
	t       testing.TB
	specs   []serverSpec
	running []*exec.Cmd
}

// freePorts returns ports that nobody listens on now.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// startServers starts a cluster of so many servers.
func startServers(t testing.TB, n int, change func(*serverSpec)) *servers {
	t.Helper()
	c := &servers{t: t, running: make([]*exec.Cmd, n)}
	ports := freePorts(t, 2*n)
	dir := t.TempDir()
	for i := range n {
		spec := serverSpec{Name: fmt.Sprint("s", i+1), Dir: filepath.Join(dir, fmt.Sprint("s", i+1)), Client: ports[i]}
		if n > 1 {
			spec.Cluster = ports[n+i]
			for j := range n {
				if j != i {
					spec.Routes = append(spec.Routes, ports[n+j])
				}
			}
		}
		if change != nil {
			change(&spec)
		}
		c.specs = append(c.specs, spec)
	}
	t.Cleanup(func() {
		for i := range c.running {
			c.kill(i)
		}
	})
	for i := range n {
		c.start(i)
	}
	c.ready()
	return c
}

func (c *servers) start(i int) {
	c.t.Helper()
	arg, err := json.Marshal(c.specs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+string(arg))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.running[i] = cmd
}

// kill ends a server as the death of its process does. What it gave to the kernel is written.
func (c *servers) kill(i int) {
	if cmd := c.running[i]; cmd != nil {
		cmd.Process.Kill()
		cmd.Wait()
		c.running[i] = nil
	}
}

// stop ends a server in order: it writes down what it has.
func (c *servers) stop(i int) {
	c.t.Helper()
	cmd := c.running[i]
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	cmd.Wait()
	c.running[i] = nil
}

// pause stops a server, which keeps its connections, until resume. It returns when the server has stopped: on a busy machine the server may
// still answer after the signal was sent.
func (c *servers) pause(i int) {
	c.t.Helper()
	p := c.running[i].Process
	p.Signal(syscall.SIGSTOP)
	for began := time.Now(); time.Since(began) < 10*time.Second; c.pauseFor(context.Background(), time.Millisecond) {
		if pid, _ := syscall.Wait4(p.Pid, nil, syscall.WUNTRACED|syscall.WNOHANG, nil); pid == p.Pid {
			return
		}
	}
	c.t.Error("a server does not stop")
}

func (c *servers) resume(i int) { c.running[i].Process.Signal(syscall.SIGCONT) }

func (c *servers) options() jetstream.Options {
	var urls []string
	for _, s := range c.specs {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", s.Client))
	}
	return jetstream.Options{URL: strings.Join(urls, ","), System: []nats.Option{nats.UserInfo("sys", "sys")}}
}

// ready waits until the cluster can make streams.
func (c *servers) ready() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for {
		conn, err := nats.Connect(c.options().URL, nats.Timeout(time.Second))
		if err == nil {
			_, err = conn.Request("$JS.API.INFO", nil, time.Second)
			if err == nil {
				var answer *nats.Msg
				if answer, err = conn.Request("$JS.API.STREAM.NAMES", nil, time.Second); err == nil && strings.Contains(string(answer.Data), `"error"`) {
					err = fmt.Errorf("%s", answer.Data)
				}
			}
			conn.Close()
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			c.t.Fatalf("the servers are not ready: %v", err)
		}
		c.pauseFor(ctx, 50*time.Millisecond)
	}
}

// pauseFor lets the processes of the servers go on.
func (c *servers) pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// initStream makes the stream. The servers may still be finding each other.
func (c *servers) initStream(spec jetstream.Spec) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for {
		created, differences, err := jetstream.Init(ctx, c.options(), spec)
		if err == nil && (created || len(differences) == 0) {
			return
		}
		if ctx.Err() != nil {
			c.t.Fatalf("init: %v, %v", differences, err)
		}
		c.pauseFor(ctx, 100*time.Millisecond)
	}
}

func (c *servers) open() *jetstream.Log {
	c.t.Helper()
	l, err := jetstream.Open(context.Background(), c.options())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(l.Close)
	return l
}

func removeStream(t testing.TB, c *servers, name string) {
	t.Helper()
	conn, err := nats.Connect(c.options().URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Request("$JS.API.STREAM.DELETE."+name, nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
}
