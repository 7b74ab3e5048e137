package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/auditsql/auditsql/cluster/jetstream"
)

// natsMembers is how many servers keep the log. Each has a copy of it.
const natsMembers = 3

// natsSpec says which server of NATS a process becomes. All addresses are of this machine alone.
type natsSpec struct {
	Name   string
	Dir    string
	Client int // the port for clients
	Route  int // the port for the other servers
	Routes []int
}

// config is its configuration: what docs/cluster.md says to set, and nothing else.
func (s natsSpec) config() string {
	var routes []string
	for _, port := range s.Routes {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	return fmt.Sprintf(`server_name: %s
listen: 127.0.0.1:%d
max_payload: 17MB
jetstream { store_dir: %q, sync_interval: always }
accounts {
  AUDIT { jetstream: enabled, users: [{user: audit, password: audit}] }
  SYS { users: [{user: sys, password: sys}] }
}
system_account: SYS
no_auth_user: audit
cluster { name: bench, listen: 127.0.0.1:%d, routes: [%s] }
`, s.Name, s.Client, s.Dir, s.Route, strings.Join(routes, ", "))
}

// runNATS is a server of NATS until standard input ends. It says on standard output when it has started.
func runNATS(_ context.Context, j job) ([]row, error) {
	var spec natsSpec
	if err := json.Unmarshal([]byte(j.Input), &spec); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(spec.Dir, "server.conf")
	if err := os.WriteFile(name, []byte(spec.config()), 0o600); err != nil {
		return nil, err
	}
	opts, err := natsserver.ProcessConfigFile(name)
	if err != nil {
		return nil, err
	}
	opts.NoSigs = true
	s, err := natsserver.NewServer(opts)
	if err != nil {
		return nil, err
	}
	s.Start()
	told := untilTold()
	if _, err := fmt.Print(ready); err != nil {
		return nil, err
	}
	<-told
	s.Shutdown()
	s.WaitForShutdown()
	return []row{}, nil
}

// natsServers are the servers that keep a log, each a process of its own.
type natsServers struct {
	specs   []natsSpec
	running map[string]*attached // by their names
}

// startNATS starts the servers of a folder, and makes the stream if there is none.
//
// If profile is not "", each server writes a CPU profile into that folder when it ends, named after it and the number of writers.
func startNATS(ctx context.Context, dir string, writers int, profile string) (_ *natsServers, err error) {
	ports, err := freePorts(2 * natsMembers)
	if err != nil {
		return nil, err
	}
	c := &natsServers{running: map[string]*attached{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for i := range natsMembers {
		name := fmt.Sprintf("s%d", i+1)
		spec := natsSpec{Name: name, Dir: filepath.Join(dir, name), Client: ports[2*i], Route: ports[2*i+1]}
		for other := range natsMembers {
			if other != i {
				spec.Routes = append(spec.Routes, ports[2*other+1])
			}
		}
		c.specs = append(c.specs, spec)
		text, err := json.Marshal(spec)
		if err != nil {
			return nil, err
		}
		process, err := attach(ctx, job{Step: "nats", Store: name, Input: string(text), Writers: writers, Profile: profile})
		if err != nil {
			return nil, err
		}
		c.running[name] = process
		if err := process.isReady(); err != nil {
			delete(c.running, name)
			return nil, fmt.Errorf("server %s: %w", name, err)
		}
	}
	return c, c.makeStream(ctx)
}

// freePorts returns ports that nobody listens on now.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are known, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// options are how a node connects to the servers.
func (c *natsServers) options() jetstream.Options {
	var urls []string
	for _, s := range c.specs {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", s.Client))
	}
	return natsOptions(strings.Join(urls, ","))
}

func natsOptions(urls string) jetstream.Options {
	return jetstream.Options{URL: urls, System: []nats.Option{nats.UserInfo("sys", "sys")}}
}

// makeStream makes the stream, as soon as the servers have found each other.
func (c *natsServers) makeStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		one, cancelOne := context.WithTimeout(ctx, 5*time.Second)
		_, differences, err := jetstream.Init(one, c.options(), jetstream.Spec{Replicas: natsMembers})
		cancelOne()
		switch {
		case err == nil && len(differences) > 0:
			return fmt.Errorf("the stream is not as wanted: %v", differences)
		case err == nil:
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("make the stream: %w", err)
		}
	}
}

// pids returns the ids of the servers that run.
func (c *natsServers) pids() (pids []int) {
	for _, process := range c.running {
		pids = append(pids, process.pid)
	}
	return pids
}

// kill kills a server.
func (c *natsServers) kill(name string) error {
	process := c.running[name]
	if process == nil {
		return fmt.Errorf("no server %q runs", name)
	}
	delete(c.running, name)
	return process.kill()
}

// close ends the servers, all at the same time.
func (c *natsServers) close() error {
	ends := make(chan error, len(c.running))
	for name, process := range c.running {
		go func() {
			_, err := process.end()
			if err != nil {
				err = fmt.Errorf("server %s: %w", name, err)
			}
			ends <- err
		}()
	}
	var err error
	for range c.running {
		err = errors.Join(err, <-ends)
	}
	c.running = nil
	return err
}
