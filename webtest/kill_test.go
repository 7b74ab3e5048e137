package webtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// ledger is what the writers were told: the records that they gave, and those that were acknowledged.
type ledger struct {
	mu    sync.Mutex
	given map[audit.QueryID]string
	there map[audit.QueryID]bool
	next  atomic.Int64
}

func newLedger() *ledger {
	return &ledger{given: map[audit.QueryID]string{}, there: map[audit.QueryID]bool{}}
}

// give returns a record that nobody has given before.
func (l *ledger) give(t testing.TB) (audit.QueryID, string) {
	id, line := record(t, int(l.next.Add(1)))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given[id] = line
	return id, line
}

func (l *ledger) acknowledged(id audit.QueryID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.there[id] = true
}

// check asks for every record. An acknowledged one must be there, and one that is there must be as it was given.
func (l *ledger) check(s *site) {
	s.t.Helper()
	missing, extra := 0, 0
	client := &http.Client{Transport: &http.Transport{}} // many answers, of one kind
	defer client.CloseIdleConnections()
	for id, line := range l.given {
		answer, err := client.Do(s.request(http.MethodGet, "/v1/audits/"+id.String(), nil))
		if err != nil {
			s.t.Fatal(err)
		}
		status := answer.StatusCode
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		switch {
		case status == http.StatusNotFound && l.there[id]:
			missing++
			s.t.Errorf("%s was acknowledged, and is not there", id)
		case status == http.StatusOK && string(body) != line:
			s.t.Errorf("%s is there with other bytes:\n%s\nwant\n%s", id, body, line)
		case status == http.StatusOK && !l.there[id]:
			extra++
		case status != http.StatusOK && status != http.StatusNotFound:
			s.t.Errorf("%s: status %d: %s", id, status, body)
		}
	}
	s.t.Logf("%d given, %d acknowledged, %d missing, %d stored whose answer did not come", len(l.given), len(l.there), missing, extra)
}

// putOne writes records one by one until the server is gone.
func (l *ledger) putOne(s *site, chooseID bool, client *http.Client) error {
	for {
		id, line := l.give(s.t)
		r := s.request(http.MethodPost, "/v1/audits", strings.NewReader(line))
		if chooseID {
			r = s.request(http.MethodPut, "/v1/audits/"+id.String(), strings.NewReader(line))
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(r)
		if err != nil {
			return nil // it is gone
		}
		// The status alone is the promise; the body may be cut off.
		if answer.StatusCode == http.StatusCreated {
			l.acknowledged(id)
		}
		said, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusCreated {
			return fmt.Errorf("status %d: %s", answer.StatusCode, said)
		}
		if err != nil {
			return nil
		}
	}
}

// stream writes records as lines of one request, and reads an answer for each, until the server is gone. At most ahead lines
// wait for their answers.
func (l *ledger) stream(s *site, client *http.Client, ahead int) error {
	waiting := make(chan bool, ahead)
	gone := make(chan struct{})
	defer close(gone)
	in, out := io.Pipe()
	defer in.Close()
	r := s.request(http.MethodPost, "/v1/audits", in)
	r.Header.Set("Content-Type", "application/x-ndjson")
	go func() {
		for {
			select {
			case waiting <- true:
			case <-gone:
				return
			}
			_, line := l.give(s.t)
			if _, err := io.WriteString(out, line+"\n"); err != nil {
				return
			}
		}
	}()
	answer, err := client.Do(r)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		var said struct {
			Status  int
			QueryID audit.QueryID `json:"query_id"`
		}
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			return nil // a line that was cut off
		}
		if said.Status != http.StatusCreated {
			return fmt.Errorf("a line was answered with %s", lines.Text())
		}
		l.acknowledged(said.QueryID)
		<-waiting
	}
	return nil
}

// However often the server is killed under sixteen writers, every record that had its 2xx, or its line with 201, is there with
// its bytes afterwards.
func TestKillUnderWriters(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	auditsql(t, dir, "init")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	l := newLedger()
	for range *kills {
		s := serve(t, dir)
		var writers sync.WaitGroup
		var first sync.Once
		begun := make(chan struct{})
		before := len(l.there)
		for i := range 16 {
			writers.Go(func() {
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				var err error
				switch {
				case i < 8:
					err = l.putOne(s, false, client)
				case i < 12:
					err = l.putOne(s, true, client)
				default:
					err = l.stream(s, client, []int{1, 4, 100}[i%3])
				}
				if err != nil && s.running() {
					t.Error(err)
				}
				first.Do(func() { close(begun) })
			})
		}
		// Let some records be acknowledged, and then kill it in the middle of whatever it does.
		enough := before + 50 + random.IntN(2000)
		await(t, "acknowledged records", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.there) >= enough || isClosed(begun)
		})
		s.stop(syscall.SIGKILL)
		writers.Wait()
	}
	s := serve(t, dir)
	l.check(s)
	s.stop(syscall.SIGTERM)
	auditsql(t, dir, "verify")
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// await waits until something holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := time.After(2 * patience)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-limit:
			t.Fatalf("waited %v for %s", 2*patience, what)
		case <-look.C:
		}
	}
}

// Of many clients that put different bytes under one id at once, one has 201 and all others 409. Of many that put the same bytes,
// one has 201 and all others 200.
func TestPutsUnderOneIDAtOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	auditsql(t, dir, "init")
	s := serve(t, dir)
	const clients = 16
	for round := range 40 {
		same := round%2 == 0
		id, line := record(t, round)
		var statuses [clients]int
		var bodies [clients]string
		var ready, done sync.WaitGroup
		ready.Add(clients)
		for i := range clients {
			done.Go(func() {
				body := line
				if !same {
					body = strings.Replace(line, `"result_confidence":0.5`, fmt.Sprintf(`"result_confidence":0.%d1`, 10+i), 1)
				}
				bodies[i] = body
				r := s.request(http.MethodPut, "/v1/audits/"+id.String(), strings.NewReader(body))
				if i%2 == 0 {
					r = s.request(http.MethodPost, "/v1/audits", strings.NewReader(body))
				}
				r.Header.Set("Content-Type", "application/json")
				ready.Done()
				ready.Wait()
				answer, err := s.client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				statuses[i] = answer.StatusCode
			})
		}
		done.Wait()
		want := map[int]int{http.StatusCreated: 1, http.StatusConflict: clients - 1}
		if same {
			want = map[int]int{http.StatusCreated: 1, http.StatusOK: clients - 1}
		}
		got, winner := map[int]int{}, -1
		for i, status := range statuses {
			if got[status]++; status == http.StatusCreated {
				winner = i
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("the same bytes: %t: %v, want %v", same, got, want)
		}
		if stored := s.get("/v1/audits/" + id.String()); string(stored) != bodies[winner] {
			t.Errorf("stored is\n%s\nand not what had its 201\n%s", stored, bodies[winner])
		}
	}
}

// A put whose client has gone away is there whole, or not at all.
func TestAClientGoesAwayDuringItsPut(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	auditsql(t, dir, "init")
	s := serve(t, dir)
	address := strings.TrimPrefix(s.url, "http://")
	const puts = 200
	for no := range puts {
		_, line := record(t, no)
		var request bytes.Buffer
		r := s.request(http.MethodPost, "/v1/audits", strings.NewReader(line))
		r.Header.Set("Content-Type", "application/json")
		if err := r.Write(&request); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		// In even rounds everything arrives, in odd ones a part.
		size := request.Len()
		if no%2 == 1 {
			size = size * no / puts
		}
		if _, err := conn.Write(request.Bytes()[:size]); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	// What was sent whole may still be on its way through the server.
	_, last := record(t, puts)
	s.put([]string{last})
	whole := 0
	for no := range puts {
		id, line := record(t, no)
		status, body, _ := s.ask(s.request(http.MethodGet, "/v1/audits/"+id.String(), nil))
		switch {
		case status == http.StatusOK && no%2 == 1:
			t.Errorf("record %d is there, and a part of it was sent", no)
		case status == http.StatusOK && string(body) != line:
			t.Errorf("record %d is there with other bytes: %s", no, body)
		case status == http.StatusOK:
			whole++
		case status != http.StatusNotFound:
			t.Errorf("record %d: status %d: %s", no, status, body)
		}
	}
	t.Logf("%d of %d whole ones are there", whole, puts/2)
	s.stop(syscall.SIGTERM)
	auditsql(t, dir, "verify")
}

// errStopped ends a request from the side of the test.
var errStopped = errors.New("the test has enough")

// withCancel prepares a request that the test can end.
func (s *site) withCancel(method, path string) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	return s.request(method, path, nil).WithContext(ctx), func() { cancel(errStopped) }
}
