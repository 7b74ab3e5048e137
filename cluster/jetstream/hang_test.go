package jetstream_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/cluster/jetstream"
)

// Servers that hang take connections and say nothing. However many calls read from them, each ends with its context, and the log is closed as soon
// as the connections that are being made have failed.
func TestReadsWhileServersHang(t *testing.T) {
	c := startServers(t, 3, nil)
	c.initStream(jetstream.Spec{})
	o := c.options()
	var dials atomic.Int64
	o.Connect = []nats.Option{nats.SetCustomDialer(dialFunc(func(network, address string) (net.Conn, error) {
		dials.Add(1)
		return net.Dial(network, address)
	}))}
	l, err := jetstream.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		c.pause(i)
		defer c.resume(i)
	}
	const most = 15 * time.Second // one connection after the other would take minutes
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			if _, err := l.Read(ctx, c.specs[i%3].Name, 1, 1); err == nil {
				t.Error("a server that hangs has answered")
			}
		})
	}
	all.Wait()
	if n := dials.Load(); n > 20 {
		t.Errorf("%d connections were begun for %d reads", n, 60)
	}
	if took := time.Since(began); took > most {
		t.Errorf("reads with a context of 1 s ended after %v", took)
	}
	began = time.Now()
	l.Close()
	if took := time.Since(began); took > most {
		t.Errorf("to close the log took %v", took)
	}
}

// blank returns so many messages of so many bytes.
func blank(n, bytes int) (ms []cluster.Message) {
	for range n {
		ms = append(ms, cluster.Message{Payload: make([]byte, bytes)})
	}
	return ms
}

// Much more is given to a server that hangs than the buffers of the network take. Calls end soon after their contexts.
func TestMuchIsUnderWayWhenTheServerHangs(t *testing.T) {
	c := startServers(t, 1, func(s *serverSpec) { s.Default = true })
	c.initStream(jetstream.Spec{Replicas: 1})
	l := c.open()
	c.pause(0)
	defer c.resume(0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, done := range l.Append(ctx, blank(2, 16<<20)) {
				if done.Err == nil {
					t.Error("a server that hangs has answered")
				}
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("appends with a context of 2 s ended after %v", took)
	}
}

// cutDialer makes connections that can be cut.
type cutDialer struct {
	mu    sync.Mutex
	conns []*cutConn
}

func (d *cutDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, &cutConn{Conn: c})
	return d.conns[len(d.conns)-1], nil
}

// first is the connection that was made first.
func (d *cutDialer) first() *cutConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conns[0]
}

// cutConn is a connection that loses what is written, as one does whose other end is gone and that does not know it yet.
type cutConn struct {
	net.Conn
	loses atomic.Bool
	lost  atomic.Int64 // bytes
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.loses.Load() {
		c.lost.Add(int64(len(b)))
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// All calls that share a connection have a limit of bytes under way together.
func TestTheBytesThatAllCallsHaveUnderWay(t *testing.T) {
	c := startServers(t, 1, func(s *serverSpec) { s.Default = true })
	c.initStream(jetstream.Spec{Replicas: 1})
	d := &cutDialer{}
	o := c.options()
	o.Connect = []nats.Option{nats.SetCustomDialer(d)}
	l, err := jetstream.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d.first().loses.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { l.Append(ctx, blank(8, 1<<20)) })
	}
	all.Wait()
	if lost := d.first().lost.Load(); lost < 3<<20 || lost > 5<<20 {
		t.Errorf("%d bytes were under way", lost)
	}
	// Nothing of the limit is lost with the calls that ended.
	l.Close()
	if l, err = jetstream.Open(t.Context(), c.options()); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 16 {
		all.Go(func() {
			for _, done := range l.Append(t.Context(), blank(8, 1<<20)) {
				if done.Err != nil {
					t.Error(done.Err)
				}
			}
		})
	}
	all.Wait()
}

// between is a context that does something when it was looked at so many times.
type between struct {
	context.Context
	looks, at int
	do        func()
}

func (b *between) Err() error {
	if b.looks++; b.looks == b.at {
		b.do()
	}
	return b.Context.Err()
}

// A connection ends in the middle of a call, and what was published is lost. What follows must not be stored before it: neither while another connection
// is made nor through that one.
func TestTheOrderOfACallWhoseConnectionEnds(t *testing.T) {
	c := startServers(t, 1, func(s *serverSpec) { s.Default = true })
	for name, wait := range map[string]func(ended, again chan bool){
		"while it is made again": func(ended, again chan bool) { <-ended },
		"when it is there again": func(ended, again chan bool) { <-again },
	} {
		t.Run(name, func(t *testing.T) {
			removeStream(t, c, "AUDIT") // of the case before
			c.initStream(jetstream.Spec{Replicas: 1})
			d := &cutDialer{}
			ended, again := make(chan bool, 10), make(chan bool, 10)
			o := c.options()
			o.Connect = []nats.Option{nats.SetCustomDialer(d),
				nats.DisconnectErrHandler(func(*nats.Conn, error) { ended <- true }), nats.ReconnectHandler(func(*nats.Conn) { again <- true })}
			l, err := jetstream.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			const messages = 900
			var ms []cluster.Message
			for i := range messages {
				raw, _ := sample(i).Canonical()
				ms = append(ms, cluster.NewRecord(sample(i).QueryID, raw))
			}
			ctx := &between{Context: t.Context(), at: 400, do: func() { // the context is looked at once for each message
				d.first().Close()
				wait(ended, again)
			}}
			d.first().loses.Store(true)
			given := l.Append(ctx, ms)
			if ctx.looks < ctx.at {
				t.Fatalf("the connection did not end: the context was looked at %d times", ctx.looks)
			}
			for i, done := range given {
				if done.Err == nil {
					t.Errorf("message %d was stored, and those before it were not", i)
					break
				}
			}
			var numbers [messages]uint64
			for open := true; open && t.Context().Err() == nil; {
				open = false
				for i, done := range l.Append(t.Context(), ms) {
					if open = open || done.Err != nil; done.Err == nil {
						numbers[i] = done.Sequence
					}
				}
			}
			if !slices.IsSorted(numbers[:]) {
				t.Error("the messages of one call stand in another order")
			}
		})
	}
}

// dialFunc dials as it says.
type dialFunc func(network, address string) (net.Conn, error)

func (f dialFunc) Dial(network, address string) (net.Conn, error) { return f(network, address) }

// The servers were found to sync each write, and cannot be asked for a moment. That is no reason to refuse puts. A log that was just opened has
// found nothing yet.
func TestAMomentWithoutTheSystemAccount(t *testing.T) {
	c := startServers(t, 3, nil)
	c.initStream(jetstream.Spec{})
	o := c.options()
	var off atomic.Bool
	o.System = append(o.System, nats.SetCustomDialer(dialFunc(func(network, address string) (net.Conn, error) {
		if off.Load() {
			return nil, errors.New("cut off")
		}
		return net.Dial(network, address)
	})))
	open := func() *jetstream.Log {
		t.Helper()
		l, err := jetstream.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		return l
	}
	l := open()
	eventually(t, "each server was asked", func(ctx context.Context) error {
		info, err := l.Info(ctx)
		if err == nil && len(info.Unproven) > 0 {
			err = errors.New(strings.Join(info.Unproven, "; "))
		}
		return err
	})
	off.Store(true)
	if info, err := l.Info(t.Context()); err != nil || len(info.Unproven) > 0 {
		t.Errorf("servers that were found to be right: %v, %v", info.Unproven, err)
	}
	cannotBeAsked := func(what string, l *jetstream.Log) {
		t.Helper()
		if info, err := l.Info(t.Context()); err != nil || !strings.Contains(strings.Join(info.Unproven, "; "), "cannot be asked") {
			t.Errorf("%s: %v, %v", what, info.Unproven, err)
		}
	}
	cannotBeAsked("servers of which nothing is known", open())
	off.Store(false)
	// One that does not lead: with so short a timeout nobody waits for an election.
	info, err := l.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.kill(slices.IndexFunc(c.specs, func(s serverSpec) bool {
		return slices.ContainsFunc(info.Replicas, func(r cluster.Replica) bool { return r.Name == s.Name && !r.Leader })
	}))
	o.Timeout = time.Second
	l = open()
	eventually(t, "the others were asked", func(ctx context.Context) error {
		info, err := l.Info(ctx)
		if err == nil && !slices.ContainsFunc(info.Replicas, func(r cluster.Replica) bool { return r.Answers }) {
			err = errors.New("no replica answers")
		}
		return err
	})
	off.Store(true)
	cannotBeAsked("a server that was never asked", l)
}

// A stream that is full refuses a message, and says so at once.
func TestAFullStream(t *testing.T) {
	for name, servers := range map[string]int{"one server": 1, "three servers": 3} {
		t.Run(name, func(t *testing.T) {
			c := startServers(t, servers, func(s *serverSpec) { s.Default = true })
			c.initStream(jetstream.Spec{Replicas: servers, MaxBytes: 64 << 10})
			l := c.open()
			for i := range 100 {
				done := l.Append(t.Context(), []cluster.Message{large(i)})[0]
				if done.Err == nil {
					continue
				}
				if !errors.Is(done.Err, cluster.ErrRefused) || !strings.Contains(done.Err.Error(), "it is full") {
					t.Error(done.Err)
				}
				return
			}
			t.Error("it does not become full")
		})
	}
}
