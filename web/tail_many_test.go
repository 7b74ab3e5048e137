package web_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/web"
)

var manyTails = flag.Int("tails", 200, "how many tails are open at the same time")

// pipes is a listener whose connections are in memory, so that no limit of open files matters.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// memory is what the process has of the heap and for stacks, and how many goroutines.
func memory() (bytes uint64, goroutines int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse, runtime.NumGoroutine()
}

// Any number of tails that the limit allows see every record, whole and in order. Each costs a little memory, and nothing is left of it
// when it has ended.
func TestTailsCostLittle(t *testing.T) {
	const (
		records = 300
		most    = 96 << 10 // bytes for a tail and its client
	)
	r := serve(t, func(o *web.Options) { o.Limits.Tails = *manyTails })
	r.put(record('a', 0, ""))
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: r.server}
	go server.Serve(l)
	defer server.Close()

	bytesBefore, goroutinesBefore := memory()
	var conns []net.Conn
	var begun, seen, ended sync.WaitGroup
	for i := range *manyTails {
		conn := l.dial()
		conns = append(conns, conn)
		begun.Add(1)
		seen.Add(1)
		ended.Go(func() {
			accept := []string{"text/event-stream", "application/x-ndjson"}[i%2]
			fmt.Fprintf(conn, "GET /v1/tail HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer all\r\nAccept: %s\r\n\r\n", accept)
			in := bufio.NewReaderSize(conn, 1<<10)
			answer, err := http.ReadResponse(in, nil)
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("tail %d: %v, %v", i, answer, err)
				begun.Done()
				seen.Done()
				return
			}
			body := bufio.NewReaderSize(answer.Body, 1<<10)
			n := 0
			for {
				line, err := body.ReadSlice('\n')
				if err != nil {
					break
				}
				if bytes.Contains(line, []byte(`"begin":`)) || bytes.HasPrefix(line, []byte("retry: ")) {
					begun.Done()
				}
				if !bytes.Contains(line, []byte(`"query_id":`)) {
					continue
				}
				if !bytes.Contains(line, fmt.Appendf(nil, `"i":%d}`, n)) {
					t.Errorf("tail %d has another record than %d: %s", i, n, line)
				}
				if n++; n == records {
					seen.Done()
				}
			}
			if n < records {
				t.Errorf("tail %d has seen %d records of %d", i, n, records)
				seen.Done()
			}
		})
	}
	begun.Wait()
	var body strings.Builder
	for i := range records {
		body.WriteString(record('a', i, attribute("i", i)) + "\n")
	}
	if a := r.do(http.MethodPost, "/v1/audits", body.String(), "Content-Type", "application/x-ndjson"); !strings.Contains(a.body, fmt.Sprintf(`"inserted":%d`, records)) {
		t.Fatal(a.body)
	}
	seen.Wait()
	bytesOpen, goroutinesOpen := memory()
	each := int64(bytesOpen-bytesBefore) / int64(*manyTails)
	t.Logf("%d tails, with %d goroutines and %d kB for each", *manyTails, (goroutinesOpen-goroutinesBefore) / *manyTails, each>>10)
	if each > most {
		t.Errorf("a tail takes %d bytes, and may take %d", each, most)
	}
	for _, c := range conns {
		c.Close()
	}
	ended.Wait()
	r.http.Client().CloseIdleConnections()
	for { // until the server has noticed
		if _, now := memory(); now <= goroutinesBefore {
			break
		}
	}
	if bytesAfter, _ := memory(); int64(bytesAfter-bytesBefore) > 64<<20 {
		t.Errorf("%d bytes are left", bytesAfter-bytesBefore)
	}
}
