package serving

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A server has as many connections as it may have. One more is answered when another one ends, and the end of the server ends the wait.
func TestTheConnectionsOfAServerAreBounded(t *testing.T) {
	t.Parallel()
	const most = 3
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }))
	bounded := boundListener(server.Listener, most)
	server.Listener = bounded
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) { bounded.note(state) }
	server.Start()
	defer server.Close()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", bounded.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	answered := func(c net.Conn, wait time.Duration) error {
		t.Helper()
		if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 100))
		return err
	}
	var open []net.Conn
	for range most {
		c := dial()
		if err := answered(c, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	for range 3 { // a place that was given back is taken again, and no second one
		late := dial()
		if len(bounded.taken) != most {
			t.Fatalf("%d connections", len(bounded.taken))
		}
		done := make(chan error)
		go func() { done <- answered(late, 10*time.Second) }()
		select {
		case err := <-done:
			t.Fatalf("one more than may be was answered: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		open[0].Close()
		if err := <-done; err != nil {
			t.Fatalf("after another one has ended: %v", err)
		}
		open = append(open[1:], late)
	}
	for files, want := range map[uint64]int{0: 1, 1: 1, 256: 128, 1024: 512, 1 << 40: mostConns} {
		if got := connLimit(files); got != want {
			t.Errorf("of %d files: %d connections, want %d", files, got, want)
		}
	}
}
