package faults_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/faults/fusefs"
	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/web"
)

// The power fails in the middle of a call on a file while sixteen clients write over HTTP, or a call fails. Every record that had
// its 2xx, or its line with one, is there afterwards.
func TestPowerCutsUnderHTTPWriters(t *testing.T) {
	fs := mounted(t)
	first := firstSeed()
	for i := range 4 * *rounds {
		t.Run(fmt.Sprint("round ", i), func(t *testing.T) {
			seed := first + uint64(i)
			t.Logf("-rounds 1 -seed %d", seed)
			s := newStore(fs, seed, nil)
			defer s.end()
			h := &served{store: s, t: t, random: rand.New(rand.NewPCG(seed, 11))}
			h.round()
		})
	}
}

// served is a store that a server in this process has open.
type served struct {
	*store
	t      *testing.T
	random *rand.Rand
	url    string
}

func (h *served) round() {
	db := must(h.open())
	everybody := web.Principal{ID: "test", Scopes: web.AllScopes}
	handler := web.Handler(db, web.Options{Trusted: &everybody, MaxFuture: -1})
	server := httptest.NewServer(handler)
	h.url = server.URL
	fault := fusefs.Fault{Verdict: crashfs.CutPower, Skip: h.random.IntN(600)}
	if h.random.IntN(4) == 0 {
		fault.Verdict = pick(h.random, crashfs.IO, crashfs.NoSpace, crashfs.KillIt)
	}
	if h.random.IntN(2) == 0 {
		fault.Name, fault.Skip = "*.wal", h.random.IntN(300)
	}
	h.m.Plan(fault)
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range 40 {
				more := h.one(client)
				if i%3 == 2 {
					more = h.several(client, 1+i%5)
				}
				if !more {
					return
				}
			}
		})
	}
	writers.Wait()
	handler.Drain()
	server.Close()
	if h.random.IntN(3) == 0 {
		_ = db.Close() // its files may be gone
	}
	if fault.Verdict == crashfs.KillIt || fault.Verdict == crashfs.IO && h.random.IntN(2) == 0 {
		h.m.Kill()
	} else {
		h.m.PowerCut()
	}
	if err := h.recovered(); err != nil {
		h.t.Error(err)
	}
}

// give returns the next record, which from now on may be there.
func (h *served) give() (audit.QueryID, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := record(h.next)
	h.next++
	q.QueryID = must(q.ID())
	line := string(must(q.Canonical()))
	h.given[q.QueryID] = line
	return q.QueryID, line
}

// acknowledged notes that a record must be there.
func (h *served) acknowledged(id audit.QueryID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.there[id] = h.given[id]
}

// one puts a record. It reports whether it was acknowledged.
func (h *served) one(client *http.Client) bool {
	id, line := h.give()
	answer, err := client.Post(h.url+"/v1/audits", "application/json", strings.NewReader(line))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(answer.Body)
	switch {
	case answer.StatusCode == http.StatusCreated:
		h.acknowledged(id)
		return true
	case answer.StatusCode < 500:
		h.t.Errorf("status %d: %s", answer.StatusCode, said)
	}
	return false
}

// several puts records as lines of one request. It reports whether all were acknowledged.
func (h *served) several(client *http.Client, n int) bool {
	var body strings.Builder
	for range n {
		_, line := h.give()
		body.WriteString(line + "\n")
	}
	answer, err := client.Post(h.url+"/v1/audits", "application/x-ndjson", strings.NewReader(body.String()))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	stored := 0
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		var said struct {
			Status  int
			QueryID audit.QueryID `json:"query_id"`
		}
		if json.Unmarshal(lines.Bytes(), &said) == nil && said.Status == http.StatusCreated {
			h.acknowledged(said.QueryID)
			stored++
		}
	}
	return stored == n
}
