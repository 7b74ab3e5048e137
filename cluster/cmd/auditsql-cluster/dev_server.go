package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/wal"
)

// devServerName is the command as which dev starts this program again: one process for each server, so that killing one is real.
const devServerName = "dev-server"

// devServerCommand is a server of NATS until its standard input ends: until dev ends it, or has died.
func (a *app) devServerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    devServerName + " FILE",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			signal.Ignore(os.Interrupt) // Ctrl-C reaches this process too, and dev ends it after the nodes
			return beServer(cmd.Context(), args[0], a.in)
		},
	}
}

// lockWait is how long a server waits for the one before it, which may still be ending.
const lockWait = 10 * time.Second

func beServer(ctx context.Context, config string, until io.Reader) error {
	// Two servers must not have the same folder.
	lock, err := wal.TakeLock(ctx, filepath.Dir(config), wal.Options{LockWait: lockWait})
	if err != nil {
		return err
	}
	defer lock.Unlock()
	opts, err := server.ProcessConfigFile(config)
	if err != nil {
		return err
	}
	opts.NoSigs = true
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	defer context.AfterFunc(ctx, s.Shutdown)() // SIGTERM
	go func() {
		_, _ = io.Copy(io.Discard, until)
		s.Shutdown()
	}()
	s.WaitForShutdown()
	return nil
}

// A devServer is one of the servers of dev.
type devServer struct {
	name           string
	dir            string // absolute
	client, routes int    // its ports
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	ended          chan struct{} // closed when the process has ended
}

// url is where clients connect.
func (s *devServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.client) }

// pid is that of its process.
func (s *devServer) pid() int { return s.cmd.Process.Pid }

func (s *devServer) config() string { return filepath.Join(s.dir, "server.conf") }

// configure writes its configuration, which is an example of what a server needs.
func (s *devServer) configure(all []*devServer, secrets *devSecrets, partitions int) error {
	var routes []string
	for _, other := range all {
		if other != s {
			routes = append(routes, fmt.Sprintf("nats://route:%s@127.0.0.1:%d", secrets.Route, other.routes))
		}
	}
	text := fmt.Sprintf(`# Written by auditsql-cluster dev at each start.
server_name: %s
listen: 127.0.0.1:%d
log_file: %q
max_payload: 17MB

# Without sync_interval: always a power cut at all servers loses minutes of what was acknowledged.
jetstream { store_dir: %q, sync_interval: always }

%s
cluster {
  name: dev
  listen: 127.0.0.1:%d
  authorization { user: route, password: %q }
  routes: [%s]
}
`, s.name, s.client, filepath.Join(s.dir, "server.log"), s.dir, acl(devStream, partitions, "", secrets.aclPasswords), s.routes, secrets.Route, strings.Join(routes, ", "))
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(s.config(), []byte(text), 0o600)
}

// start starts its process.
func (s *devServer) start(errs io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.cmd = exec.Command(self, devServerName, s.config())
	s.cmd.Stderr = errs
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start server %s: %w", s.name, err)
	}
	ended := make(chan struct{})
	s.ended = ended
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // how it has ended does not matter: dev starts it again
		close(ended)
	}(s.cmd)
	return nil
}

// endWait is how long a server may take to end in order.
const endWait = 20 * time.Second

// end ends its process.
func (s *devServer) end() error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	s.stdin.Close()
	select {
	case <-s.ended:
		return nil
	case <-time.After(endWait):
		return errors.Join(fmt.Errorf("server %s did not end within %v, and was killed", s.name, endWait), s.cmd.Process.Kill())
	}
}
