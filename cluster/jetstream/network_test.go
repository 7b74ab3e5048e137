package jetstream_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// network is what leads from one server to another. Each server reaches each other one by a link of its own, so that a test can cut a
// server off from the others while its clients reach it.
type network struct {
	t     testing.TB
	links []*link
}

// join makes a server reach the others by links. What a server tells the others about itself leads nowhere, or they would find ways
// around the links.
func (w *network) join(spec *serverSpec) {
	for i, port := range spec.Routes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		one := &link{from: spec.Cluster, to: port, listener: l, conns: map[net.Conn]bool{}}
		w.links = append(w.links, one)
		spec.Routes[i] = l.Addr().(*net.TCPAddr).Port
		done := make(chan struct{})
		go func() {
			defer close(done)
			one.run()
		}()
		w.t.Cleanup(func() {
			l.Close()
			one.cut(true)
			<-done
		})
	}
	spec.Advertise = 1 // nobody listens there
}

// cutOff cuts a server off from the others, or connects it again.
func (w *network) cutOff(spec serverSpec, off bool) {
	for _, l := range w.links {
		if l.from == spec.Cluster || l.to == spec.Cluster {
			l.cut(off)
		}
	}
}

// link passes on what one server says to another.
type link struct {
	from, to int // their ports
	listener net.Listener

	mu    sync.Mutex
	off   bool
	conns map[net.Conn]bool
}

func (l *link) run() {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		c, err := l.listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() { l.pass(c) })
	}
}

// pass connects both ends until one of them closes, or the link is cut.
func (l *link) pass(a net.Conn) {
	defer a.Close()
	b, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.to))
	if err != nil {
		return
	}
	defer b.Close()
	l.mu.Lock()
	off := l.off
	l.conns[a], l.conns[b] = true, true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.conns, a)
		delete(l.conns, b)
		l.mu.Unlock()
	}()
	if off {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { io.Copy(a, b); a.Close(); b.Close() })
	both.Go(func() { io.Copy(b, a); a.Close(); b.Close() })
	both.Wait()
}

func (l *link) cut(off bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off = off; off {
		for c := range l.conns {
			c.Close()
		}
	}
}
