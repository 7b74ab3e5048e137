package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var serveKills = flag.Int("serve-kills", 3, "how often TestWhatAServerAnsweredSurvivesAKill kills its server")

// told is what writers were told to be stored.
type told struct {
	mu     sync.Mutex
	ids    []string
	enough int           // answers after which the server is killed
	is     chan struct{} // closed when they are there
}

func (a *told) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids = append(a.ids, id); len(a.ids) == a.enough {
		close(a.is)
	}
}

// Whoever got a 2xx for a record, the line of it or its id from import --ack finds it in the store, however the server was killed.
// A command that was writing through the server says that the outcome is open, or that nothing of its lines was taken.
func TestWhatAServerAnsweredSurvivesAKill(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	t.Logf("-serve-kills=%d -kill-seed=%d", *serveKills, *killSeed)
	random := rand.New(rand.NewPCG(*killSeed, 1))
	dir := filepath.Join(t.TempDir(), "store")
	if _, said, code := auditsql("-d", dir, "init", "--segment-bytes", "64KiB"); code != exitDone {
		t.Fatal(said)
	}
	next := 1
	var all []string
	for round := range *serveKills {
		s := serveDir(t, dir)
		token := ""
		if round == 0 {
			token = s.token(t, "writer", "--scope", "write")
		} else {
			auditsql("-d", dir, "token", "revoke", "writer")
			token = s.token(t, "writer", "--scope", "write")
		}
		got := &told{enough: 200 + random.IntN(600), is: make(chan struct{})}
		var writers sync.WaitGroup
		const each = 1_000_000
		// A command that writes through the socket.
		p := start(t, "-d", dir, "import", "-", "--ack")
		ids := feed(p, next+6*each)
		got.add(<-ids) // it has found the server; otherwise it would open the store by itself
		writers.Go(func() {
			for id := range ids {
				got.add(id)
			}
		})
		// One record a request.
		for w := range 4 {
			writers.Go(func() {
				for i := next + w*each; ; i++ {
					line, id := record(i)
					r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/audits", strings.NewReader(line))
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("Authorization", "Bearer "+token)
					resp, err := http.DefaultClient.Do(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusOK {
						got.add(id)
					}
				}
			})
		}
		// A line for each record.
		writers.Go(func() {
			for first := next + 5*each; ; first += 50 {
				var body bytes.Buffer
				for i := range 50 {
					line, _ := record(first + i)
					body.WriteString(line + "\n")
				}
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/audits", &body)
				r.Header.Set("Content-Type", "application/x-ndjson")
				r.Header.Set("Authorization", "Bearer "+token)
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					return
				}
				lines := json.NewDecoder(resp.Body)
				for {
					var answer struct {
						Status int    `json:"status"`
						ID     string `json:"query_id"`
						Done   bool   `json:"done"`
					}
					if lines.Decode(&answer) != nil {
						break
					}
					if answer.Status == http.StatusCreated || answer.Status == http.StatusOK {
						got.add(answer.ID)
					}
				}
				resp.Body.Close()
			}
		})
		<-got.is
		if err := s.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = s.Wait()
		writers.Wait()
		_ = p.Wait()
		said := p.said.String()
		switch code := p.ProcessState.ExitCode(); {
		case code == exitFailed && strings.Contains(said, "is not known, and storing them again is harmless"):
		case code == exitLocked && strings.Contains(said, "took nothing of this"):
		default:
			t.Errorf("round %d: the command ended with exit code %d: %s", round, code, said)
		}
		all = append(all, got.ids...)
		next += 10 * each
	}
	wantAnswered(t, dir, all)
	if out, said, code := auditsql("-d", dir, "verify"); code != exitDone {
		t.Errorf("verify: %s%s", out, said)
	}
	t.Logf("%d kills, %d records answered, none lost", *serveKills, len(all))
}

// A command that is killed while it writes through the server loses nothing that it has answered, and the server goes on.
func TestAKilledCommandLeavesTheServerAlone(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	p := start(t, "-d", s.dir, "import", "-", "--ack")
	var ids []string
	for id := range feed(p, 1) {
		if ids = append(ids, id); len(ids) == 300 {
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = p.Wait()
	line, id := record(1_000_000)
	if _, said, code := auditsqlReading(line, "-d", s.dir, "put"); code != exitDone {
		t.Fatal(said)
	}
	s.stop(t)
	wantAnswered(t, s.dir, append(ids, id))
}

// A server that is told to end while commands and requests write takes nothing more, and keeps what it has answered. Who comes later
// finds the store free.
func TestAServerEndsInOrderUnderWriters(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t)
	p := start(t, "-d", s.dir, "import", "-", "--ack")
	var ids []string
	for id := range feed(p, 1) {
		if ids = append(ids, id); len(ids) == 200 {
			s.stop(t)
		}
	}
	_ = p.Wait()
	if code := p.ProcessState.ExitCode(); code != exitLocked && code != exitFailed {
		t.Errorf("exit code %d: %s", code, p.said)
	}
	wantAnswered(t, s.dir, ids)
	line, _ := record(2_000_000)
	if _, said, code := auditsqlReading(line, "-d", s.dir, "put"); code != exitDone {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// A client that has sent a part of a request, and then nothing, does not keep a server from ending: puts alone are waited for so long that
// the rest is cut off.
func TestAServerEndsWithoutClientsThatSendNothing(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	s := serveStore(t, "--otlp", "127.0.0.1:0")
	token := s.token(t, "all", "--scope", "read,write")
	var told struct {
		OTLP string `json:"otlp"`
	}
	if err := json.Unmarshal([]byte(s.told), &told); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{s.url, told.OTLP} {
		head := "Host: localhost\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 900\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\r\n"
		for path, awaited := range map[string]string{"POST /v1/audits HTTP/1.1\r\n" + head: "HTTP/1.1 ", "POST /v1/traces HTTP/1.1\r\n" + head: "HTTP/1.1 ", "GET /healthz HT": ""} {
			c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute)) // only a test that fails waits so long
			if _, err := io.WriteString(c, path); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, len(awaited))); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.stop(t)
	if strings.Contains(s.said.String(), "deadline exceeded") {
		t.Errorf("the server has waited for its clients: %s", s.said)
	}
}
