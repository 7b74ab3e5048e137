package webtest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// memoryLimit is how much memory the server may have at most under abuse, in megabytes: 64 MiB of bodies, the caches of SQLite,
// the backlog, and what Go's collector lets grow.
const memoryLimit = 700

// peak returns the highest resident memory of the server, in megabytes.
func (s *site) peak() int {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		s.t.Fatalf("no VmHWM in\n%s", status)
	}
	kb, _ := strconv.Atoi(string(found[1]))
	return kb / 1024
}

// goroutines returns how many goroutines the server has.
func (s *site) goroutines() int {
	s.t.Helper()
	found := regexp.MustCompile(`(?m)^auditsql_go_goroutines (\d+)`).FindSubmatch(s.get("/metrics"))
	if found == nil {
		s.t.Fatal("/metrics has no auditsql_go_goroutines")
	}
	n, _ := strconv.Atoi(string(found[1]))
	return n
}

// abused starts a server with a few records. At the end of the test the server must have as many goroutines as before, and
// must not have needed more memory than its limits allow.
func abused(t *testing.T) *site {
	dir := filepath.Join(t.TempDir(), "store")
	auditsql(t, dir, "init")
	s := serve(t, dir)
	s.put(recordsFrom(t, 0, 50))
	before := s.goroutines()
	t.Cleanup(func() {
		if !s.running() {
			t.Errorf("the server has ended:\n%s", s.said)
			return
		}
		s.client.CloseIdleConnections()
		now := 0
		await(t, fmt.Sprintf("%d goroutines", before), func() bool {
			now = s.goroutines()
			return now <= before+3 // the connection of this question
		})
		if peak := s.peak(); peak > memoryLimit {
			t.Errorf("the server has needed %d MB, and may need %d", peak, memoryLimit)
		} else {
			t.Logf("%d goroutines before, %d after; %d MB at most", before, now, peak)
		}
	})
	return s
}

// dial opens connections to the server. They are closed at the end of the test, before the goroutines are counted.
func (s *site) dial(n int) []net.Conn {
	s.t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			s.t.Fatal(err)
		}
		conns[i] = conn
	}
	s.t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	return conns
}

// Bodies that never come to their end do not keep anybody else from being served.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	s := abused(t)
	for i, conn := range s.dial(300) {
		// Each says that 16 MiB come, which would be 4.7 GiB if the server believed all of them.
		fmt.Fprintf(conn, "POST /v1/audits HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/%s\r\nContent-Length: %d\r\n\r\n{",
			strings.TrimPrefix(s.url, "http://"), s.token, []string{"json", "x-ndjson"}[i%2], 16<<20)
	}
	s.put(recordsFrom(t, 100, 10))
	s.get("/v1/recent?limit=1")
}

// Connections on which nothing comes cost little.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	s := abused(t)
	conns := s.dial(1000)
	for i, conn := range conns {
		if i%2 == 0 { // half of a request
			fmt.Fprint(conn, "GET /v1/recent HTTP/1.1\r\nHost: ")
		}
	}
	s.put(recordsFrom(t, 100, 10))
	s.get("/v1/recent?limit=1")
}

// Many tails see every record, or are told that the server takes no more of them.
func TestManyTails(t *testing.T) {
	t.Parallel()
	s := abused(t)
	var open, refused atomic.Int64
	var seen sync.WaitGroup
	var done sync.WaitGroup
	const puts = 20
	first := make(chan struct{})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: -1}}
	var cancels []func()
	for range *tails {
		r, cancel := s.withCancel(http.MethodGet, "/v1/tail")
		cancels = append(cancels, cancel)
		r.Header.Set("Accept", "text/event-stream")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != http.StatusOK {
			if answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("a tail too many: status %d", answer.StatusCode)
			}
			answer.Body.Close()
			refused.Add(1)
			continue
		}
		open.Add(1)
		seen.Add(1)
		done.Go(func() {
			defer answer.Body.Close()
			<-first
			events := 0
			lines := bufio.NewScanner(answer.Body)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				if lines.Text() == "event: audit" {
					if events++; events == puts {
						seen.Done()
					}
				}
			}
			if events != puts {
				t.Errorf("a tail has seen %d records of %d", events, puts)
			}
		})
	}
	close(first)
	s.put(recordsFrom(t, 100, puts))
	seen.Wait()
	for _, cancel := range cancels {
		cancel()
	}
	done.Wait()
	t.Logf("%d tails have seen all, %d were refused", open.Load(), refused.Load())
	if open.Load() == 0 {
		t.Error("no tail was open")
	}
}

// A name that somebody else has made to lead here is not answered: a page of theirs could read the store through it.
func TestAHostThatIsNotOurs(t *testing.T) {
	t.Parallel()
	s := abused(t)
	for _, host := range []string{"evil.example", "127.0.0.1.evil.example", "evil.example:80", "localhost.evil.example"} {
		for _, path := range []string{"/", "/v1/recent", "/healthz", "/v1/audits"} {
			r := s.request(http.MethodGet, path, nil)
			r.Host = host
			if status, body, _ := s.ask(r); status != http.StatusMisdirectedRequest {
				t.Errorf("GET %s for %s: status %d: %s", path, host, status, body)
			}
		}
	}
}

// A small compressed body that would become a large one is not unpacked.
func TestCompressedBomb(t *testing.T) {
	t.Parallel()
	s := abused(t)
	// Compressed parts one after the other are one compressed body.
	var part bytes.Buffer
	z := gzip.NewWriter(&part)
	z.Write(make([]byte, 16<<20))
	z.Close()
	bomb := bytes.Repeat(part.Bytes(), 64) // 1 GiB
	for _, contentType := range []string{"application/json", "application/x-ndjson"} {
		r := s.request(http.MethodPost, "/v1/audits", bytes.NewReader(bomb))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Content-Encoding", "gzip")
		if status, body, _ := s.ask(r); status < 400 || status >= 500 {
			t.Errorf("%s: status %d: %s", contentType, status, body)
		}
	}
}

// A line of more than 16 MiB is refused, and stops neither the lines before it nor those after it.
func TestHugeLines(t *testing.T) {
	t.Parallel()
	s := abused(t)
	var body strings.Builder
	body.WriteString(recordsFrom(t, 100, 1)[0] + "\n")
	body.WriteString(`{"query_id":"` + strings.Repeat("x", 17<<20) + `"}` + "\n")
	body.WriteString(recordsFrom(t, 101, 1)[0] + "\n")
	for range 8 {
		r := s.request(http.MethodPost, "/v1/audits", strings.NewReader(body.String()))
		r.Header.Set("Content-Type", "application/x-ndjson")
		status, answer, _ := s.ask(r)
		if status != http.StatusOK || !strings.Contains(string(answer), `"done":true`) || !strings.Contains(string(answer), `"rejected":1`) {
			t.Fatalf("status %d: %.500s", status, answer)
		}
	}
	r := s.request(http.MethodPost, "/v1/audits", io.LimitReader(endless{}, 17<<20))
	r.Header.Set("Content-Type", "application/json")
	if status, answer, _ := s.ask(r); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a record of 17 MiB: status %d: %s", status, answer)
	}
	s.get("/v1/audits/" + idOf(t, 100))
	s.get("/v1/audits/" + idOf(t, 101))
}

func idOf(t testing.TB, no int) string {
	id, _ := record(t, no)
	return id.String()
}

// endless is a body that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
