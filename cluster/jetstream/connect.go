package jetstream

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

// stuckAfter is for how long a server may take nothing of what is written to it, until its connection ends. A server that was stopped takes
// what fits into the buffers of the network. After that a write would wait for as long as the library lets it, with the lock of the connection:
// every other call that uses the connection would wait with it, whatever its context says.
const stuckAfter = 2 * time.Second

// errNoConnection says that nothing can be given to a server now.
var errNoConnection = errors.New("no server of NATS is connected")

// dial connects to one of these servers.
func dial(urls []string, options ...nats.Option) (*nats.Conn, error) {
	o := nats.GetDefaultOptions()
	o.Servers = urls
	for _, option := range options {
		if option == nil {
			continue
		}
		if err := option(&o); err != nil {
			return nil, err
		}
	}
	if o.CustomDialer == nil {
		inner := o.Dialer
		if inner == nil {
			inner = &net.Dialer{Timeout: o.Timeout}
		}
		// The dialer looks up the names of servers itself, so that its timeout is for all of that.
		o.CustomDialer, o.SkipHostLookup = inner, true
	}
	o.CustomDialer = dialer{o.CustomDialer}
	o.FlusherTimeout = 0 // its limit is for all bytes of a write, however many there are and however slow the network is
	// The library would keep what is published while it connects to another server, and send it then. But what was published before may be
	// lost with the connection, and would come after it.
	o.ReconnectBufSize = -1
	return o.Connect()
}

// dialer makes connections that end when the server is stuck.
type dialer struct{ nats.CustomDialer }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.CustomDialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &link{c}, nil
}

// SkipTLSHandshake passes on what the dialer of the options says.
func (d dialer) SkipTLSHandshake() bool {
	inner, ok := d.CustomDialer.(interface{ SkipTLSHandshake() bool })
	return ok && inner.SkipTLSHandshake()
}

// link is a connection that ends when the server takes nothing for a while, and when a write fails. The library goes on after a write that
// failed as if the bytes had been sent.
type link struct{ net.Conn }

func (l *link) Write(b []byte) (n int, err error) {
	for {
		if err := l.SetWriteDeadline(time.Now().Add(stuckAfter)); err != nil {
			return n, err
		}
		wrote, err := l.Conn.Write(b[n:])
		n += wrote
		switch {
		case err == nil:
			return n, nil
		case wrote > 0 && errors.Is(err, os.ErrDeadlineExceeded):
			continue // it is slow
		}
		l.Close()
		return n, err
	}
}

// awaitConnection waits while another server is being connected, but no longer than a request may take.
func (l *Log) awaitConnection(ctx context.Context) {
	if l.conn.IsConnected() {
		return
	}
	changed := l.conn.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer l.conn.RemoveStatusListener(changed)
	t := time.NewTimer(l.opts.Timeout)
	defer t.Stop()
	for !l.conn.IsConnected() && !l.conn.IsClosed() {
		select {
		case <-changed:
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// unconnected says in plain words that a request was not sent because no server is connected.
func unconnected(err error) error {
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return errNoConnection
	}
	return err
}
