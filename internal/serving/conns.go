package serving

import (
	"net"
	"net/http"
	"sync"
)

// mostConns is how many connections a server has at the same time, where the system allows as many.
const mostConns = 8192

// usualFiles is how many files a process may have open where the system does not say it.
const usualFiles = 1024

// connLimit is how many connections a server may have. The store needs files too: when there are none left, the journal cannot begin a
// new segment, and takes no more records until the server is started again. Whoever can connect must not be able to do that.
func connLimit(files uint64) int { return int(min(mostConns, max(files/2, 1))) }

// A boundedListener has so many connections at the same time, and no more. Others wait in the queue of the system.
type boundedListener struct {
	net.Listener
	taken chan struct{} // an element for each connection
	ended chan struct{}
	once  sync.Once
}

func boundListener(l net.Listener, most int) *boundedListener {
	return &boundedListener{Listener: l, taken: make(chan struct{}, most), ended: make(chan struct{})}
}

// Accept returns the next connection.
func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.taken <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.taken
		return nil, err
	}
	return c, nil
}

// Close ends Accept, also one that waits for a connection to end.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

// note is for http.Server.ConnState: a connection that has ended gives its place back.
func (l *boundedListener) note(state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		<-l.taken
	}
}
