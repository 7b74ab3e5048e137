package webtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// site is a running auditsql serve.
type site struct {
	t     testing.TB
	dir   string
	url   string // without a slash at the end
	token string // with all scopes

	cmd    *exec.Cmd
	said   *lines
	ended  chan struct{} // closed when the process has ended
	client *http.Client
}

// lines keeps what a process writes, and tells a reader about it.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// logIn is the link with which a person logs in once. serve prints one when it listens.
var logIn = regexp.MustCompile(`(http://[^/\s]+)/login\S+`)

// serve starts the program on a folder, and stops it at the end of the test.
func serve(t testing.TB, dir string, flags ...string) *site {
	t.Helper()
	s := &site{t: t, dir: dir, said: &lines{more: make(chan struct{}, 1)}, ended: make(chan struct{})}
	s.token = strings.TrimSpace(auditsql(t, dir, "token", "add", fmt.Sprintf("test%d", time.Now().UnixNano()), "--scope", "read,write,label,ops,metrics"))
	s.cmd = command(t, dir, append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		s.cmd.Wait()
	}()
	t.Cleanup(func() { s.stop(os.Interrupt) })
	limit := time.After(patience)
	for s.url == "" {
		select {
		case <-s.said.more:
			if found := logIn.FindStringSubmatch(s.said.String()); found != nil {
				s.url = found[1]
			}
		case <-s.ended:
			t.Fatalf("serve has ended:\n%s", s.said)
		case <-limit:
			t.Fatalf("serve does not listen:\n%s", s.said)
		}
	}
	s.client = &http.Client{Transport: s.described(&http.Transport{MaxIdleConnsPerHost: 100})}
	return s
}

// stop ends the program with a signal and waits until it has ended. A panic fails the test.
func (s *site) stop(signal os.Signal) {
	s.t.Helper()
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.ended
		s.t.Errorf("serve has not ended %v after %v:\n%s", patience, signal, s.said)
	}
	if said := s.said.String(); strings.Contains(said, "panic") {
		s.t.Errorf("serve has panicked:\n%s", said)
	} else if s.t.Failed() {
		for line := range strings.Lines(said) {
			if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") {
				s.t.Logf("serve has said: %s", line)
			}
		}
	}
}

// request prepares a request with the token.
func (s *site) request(method, path string, body io.Reader) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	return r
}

// ask sends a request and returns the status and the body of the answer.
func (s *site) ask(r *http.Request) (status int, body []byte, header http.Header) {
	s.t.Helper()
	answer, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return answer.StatusCode, body, answer.Header
}

// get returns the body of an answer that must be 200.
func (s *site) get(path string) []byte {
	s.t.Helper()
	status, body, _ := s.ask(s.request(http.MethodGet, path, nil))
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d\n%s", path, status, body)
	}
	return body
}

// put stores lines of NDJSON, and waits until pages show them.
func (s *site) put(lines []string) {
	s.t.Helper()
	r := s.request(http.MethodPost, "/v1/audits", strings.NewReader(strings.Join(lines, "\n")+"\n"))
	r.Header.Set("Content-Type", "application/x-ndjson")
	status, body, _ := s.ask(r)
	answers := bufio.NewScanner(strings.NewReader(string(body)))
	last := ""
	for answers.Scan() {
		last = answers.Text()
	}
	if want := fmt.Sprintf(`"inserted":%d`, len(lines)); status != http.StatusOK || !strings.Contains(last, `"done":true`) || !strings.Contains(last, want) {
		s.t.Fatalf("put of %d lines: %d\n%s", len(lines), status, body)
	}
	s.get("/v1/recent?limit=1&consistency=acknowledged")
}

// visit opens a tab that is logged in, and shows the page for now. The answer to the link sends the browser there: whoever opened
// another page before that would break it off, or be broken off.
func (s *site) visit(l look) *tab {
	s.t.Helper()
	b := newTab(s.t, l)
	b.open(logIn.FindString(auditsql(s.t, s.dir, "token", "link")))
	b.do(chromedp.WaitReady(chromedp.CSS("#frozen")))
	return b
}

// running reports whether the process has not ended.
func (s *site) running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return !errors.Is(s.cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone)
	}
}
