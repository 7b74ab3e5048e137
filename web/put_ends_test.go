package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web"
)

// A wire is the server's end of a connection without a network. When the deadline of its reads passes, it does what net/http does: the
// request is canceled, and the read of the body fails.
type wire struct {
	*httptest.ResponseRecorder
	body   *io.PipeWriter
	cancel context.CancelFunc

	mu    sync.Mutex
	timer *time.Timer // of the deadline; nil: there is none
}

// SetReadDeadline is for http.ResponseController.
func (w *wire) SetReadDeadline(at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if !at.IsZero() {
		w.timer = time.AfterFunc(time.Until(at), func() {
			w.cancel()
			w.body.CloseWithError(os.ErrDeadlineExceeded)
		})
	}
	return nil
}

// A sending is a put whose body a test writes.
type sending struct {
	*io.PipeWriter
	tokens *someTokens
	server *web.Server
	log    *logged
	answer func() *httptest.ResponseRecorder // waits for the whole answer
}

// send begins a put to a server. length is what the client says of its body, -1 nothing.
func send(server http.Handler, mediaType string, length int64) (*io.PipeWriter, func() *httptest.ResponseRecorder) {
	body, in := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	request := httptest.NewRequest(http.MethodPost, "http://localhost/v1/audits", body).WithContext(ctx)
	request.ContentLength = length
	request.Header.Set("Authorization", "Bearer all")
	request.Header.Set("Content-Type", mediaType)
	w := &wire{ResponseRecorder: httptest.NewRecorder(), body: in, cancel: cancel}
	ended := make(chan bool)
	go func() {
		defer close(ended)
		defer cancel()
		defer func() { _ = recover() }() // the connection is broken
		server.ServeHTTP(w, request)
	}()
	return in, func() *httptest.ResponseRecorder {
		<-ended
		_ = w.SetReadDeadline(time.Time{})
		return w.ResponseRecorder
	}
}

// sendTo begins a put to a store.
func sendTo(store web.Store, mediaType string, length int64, limits web.Limits) *sending {
	s := &sending{tokens: &someTokens{of: map[string]web.Principal{"all": usual["all"]}}, log: &logged{}}
	s.server = web.Handler(store, web.Options{Tokens: s.tokens, Now: func() time.Time { return noon }, Limits: limits, Logger: slog.New(slog.NewJSONHandler(s.log, nil))})
	s.PipeWriter, s.answer = send(s.server, mediaType, length)
	return s
}

var taking = putting{put: inserted}

// However a stream ends before its body does, each line that came whole has its answer, and the last answer says from which line on
// the client has to send again. It never says that a line is refused which was not looked at.
func TestEachEndOfAStreamSaysWhatIsToBeSentAgain(t *testing.T) {
	whole, begun, long := record('a', 1, "")+"\n", `{"time`, strings.Repeat("x", 60<<10)
	revoked := func(s *sending) { s.tokens.revoke("all") }
	drained := func(s *sending) { s.server.Drain() }
	cut := func(s *sending) { s.CloseWithError(io.ErrUnexpectedEOF) }
	slow := func(*sending) {}
	for name, c := range map[string]struct {
		sent string
		end  func(*sending)
		want string
		log  string
	}{
		"revoked between lines":    {whole, revoked, "1 201, 2 401 nothing", "unauthorized"},
		"revoked in a line":        {whole + begun, revoked, "1 201, 2 401 nothing", "unauthorized"},
		"drained between lines":    {whole, drained, "1 201, 2 503 nothing", "draining"},
		"drained in a line":        {whole + begun, drained, "1 201, 2 503 nothing", "draining"},
		"cut between lines":        {whole, cut, "1 201, 2 408 nothing", "incomplete"},
		"cut in a line":            {whole + begun, cut, "1 201, 2 408 nothing", "incomplete"},
		"slow in a line":           {whole + begun, slow, "1 201, 2 408 nothing", "incomplete"},
		"cut in a line too long":   {whole + long, cut, "1 201, 2 413, 3 408 nothing", "incomplete"},
		"before the first line":    {"", revoked, "1 401 nothing", "unauthorized"},
		"after a line of no words": {whole + "\n", drained, "1 201, 3 503 nothing", "draining"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // what is left to chance shows in some of them
				synctest.Test(t, func(t *testing.T) {
					s := sendTo(taking, "application/x-ndjson", -1, web.Limits{RecordBytes: 20 << 10})
					if _, err := io.WriteString(s, c.sent); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					c.end(s)
					var got []string
					for _, line := range lines(t, s.answer().Body.String()) {
						text := fmt.Sprint(line["line"], " ", line["status"])
						if line["stored"] != nil {
							text += fmt.Sprint(" ", line["stored"])
						}
						got = append(got, text)
					}
					if text := strings.Join(got, ", "); text != c.want {
						t.Errorf("%s; want %s", text, c.want)
					}
					if log := s.log.String(); !strings.Contains(log, `"problem":"`+c.log+`"`) {
						t.Errorf("the log: %s", log)
					}
				})
			}
		})
	}
}

// A put that ends before its body does, or before its outcome is known, is never refused for that.
func TestAPutThatIsCutShortMayBeSentAgain(t *testing.T) {
	const idle = 5 * time.Second
	waits := func(why func(error) error) web.Store { return waitingPuts{taking, why} }
	body := record('a', 1, "")
	revoked := func(s *sending) { s.tokens.revoke("all") }
	for name, c := range map[string]struct {
		store  web.Store
		length int64
		sent   string
		whole  bool
		end    func(*sending)
		want   string
		after  time.Duration
	}{
		"revoked in the body": {taking, -1, body[:9], false, revoked, "401 unauthorized nothing", time.Second},
		"cut in the body":     {taking, -1, body[:9], false, func(s *sending) { s.CloseWithError(io.ErrUnexpectedEOF) }, "408 incomplete nothing", 0},
		"slow in the body":    {taking, -1, body[:9], false, func(*sending) {}, "408 incomplete nothing", idle},
		"much was announced":  {taking, 16 << 20, body[:9], false, func(*sending) {}, "408 incomplete nothing", idle},
		"revoked while it waits for room": {waits(func(err error) error { return fmt.Errorf("%w: %w", audit.ErrBusy, err) }), -1, body, true, revoked,
			"401 unauthorized nothing", time.Second},
		"revoked while it is stored": {waits(func(err error) error { return err }), -1, body, true, revoked, "401 unauthorized unknown", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := sendTo(c.store, "application/json", c.length, web.Limits{Idle: idle})
				began := time.Now()
				if _, err := io.WriteString(s, c.sent); err != nil {
					t.Fatal(err)
				}
				if c.whole {
					s.Close()
				}
				synctest.Wait()
				c.end(s)
				a := s.answer()
				p := (&answered{a.Result(), a.Body.String()}).problem(t)
				if got := fmt.Sprintf("%d %s %s", p.Status, strings.TrimPrefix(p.Type, "/problems/"), p.Stored); got != c.want || time.Since(began) != c.after {
					t.Errorf("%s after %s; want %s after %s", got, time.Since(began), c.want, c.after)
				}
			})
		})
	}
}

// waitingPuts is a store whose puts wait until nobody waits for them.
type waitingPuts struct {
	web.Store
	why func(error) error
}

func (s waitingPuts) PutAudits(ctx context.Context, _ []*audit.QueryAudit) ([]audit.PutResult, error) {
	<-ctx.Done()
	return nil, s.why(ctx.Err())
}

// A large body may take longer than a small one, whether its length was announced or not.
func TestALargeBodyMayComeSlowly(t *testing.T) {
	body := record('a', 1, attribute("large", strings.Repeat("x", 2<<20)))
	for name, length := range map[string]int64{"announced": int64(len(body)), "not announced": -1} {
		synctest.Test(t, func(t *testing.T) {
			s := sendTo(taking, "application/json", length, web.Limits{Idle: 2 * time.Second})
			for rest := body; rest != ""; {
				part := rest[:min(len(rest), 80_000)]
				if _, err := io.WriteString(s, part); err != nil {
					t.Errorf("%s: %v", name, err)
					break
				}
				rest = rest[len(part):]
				time.Sleep(time.Second)
			}
			s.Close()
			if a := s.answer(); a.Code != http.StatusCreated {
				t.Errorf("%s: status %d, %s", name, a.Code, a.Body)
			}
		})
	}
}

// Large bodies that take all the room that there is for them do not delay small records.
func TestSmallRecordsDoNotWaitForLargeOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := web.Handler(taking, web.Options{Tokens: usual, Now: func() time.Time { return noon }})
		for range 8 {
			in, answer := send(server, "application/json", 16<<20)
			defer answer()
			defer in.CloseWithError(errors.New("it was never meant"))
			go func() { _, _ = io.WriteString(in, strings.Repeat(" ", 70<<10)) }() // some of them wait for room
		}
		synctest.Wait()
		began := time.Now()
		in, answer := send(server, "application/json", -1)
		if _, err := io.WriteString(in, record('a', 1, "")); err != nil {
			t.Fatal(err)
		}
		in.Close()
		if a := answer(); a.Code != http.StatusCreated {
			t.Errorf("status %d, %s", a.Code, a.Body)
		}
		in, answer = send(server, "application/x-ndjson", -1)
		for i := range 4 {
			if _, err := io.WriteString(in, record('a', i, attribute("large", strings.Repeat("x", 50<<10)))+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		in.Close()
		if got := lines(t, answer().Body.String()); len(got) != 5 || got[4]["inserted"] != 4.0 {
			t.Errorf("%v", got)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("they waited for %s", took)
		}
	})
}

// Small records have room beside any number of bodies that come slowly.
func TestSmallRecordsHaveRoomBesideManyBodies(t *testing.T) {
	for name, begin := range map[string]func(server http.Handler) []*io.PipeWriter{
		"large ones of which nothing comes": func(server http.Handler) (all []*io.PipeWriter) {
			for range 700 {
				in, _ := send(server, "application/json", 16<<20)
				all = append(all, in)
			}
			return all
		},
		"large ones of all kinds": func(server http.Handler) (all []*io.PipeWriter) {
			for i := range 700 {
				length, sent := int64(16<<20), 0
				switch {
				case i >= 400:
					length, sent = -1, 70<<10
				case i >= 300:
					sent = 70 << 10
				}
				in, _ := send(server, "application/json", length)
				go func() { _, _ = io.WriteString(in, strings.Repeat(" ", sent)) }()
				all = append(all, in)
				synctest.Wait()
			}
			return all
		},
		"large ones that fill their room": func(server http.Handler) (all []*io.PipeWriter) {
			for range 400 {
				in, _ := send(server, "application/json", -1)
				_, _ = io.WriteString(in, strings.Repeat(" ", 64<<10))
				go func() { _, _ = io.WriteString(in, strings.Repeat(" ", 6<<10)) }()
				all = append(all, in)
			}
			return all
		},
		"small ones that fill their room": func(server http.Handler) (all []*io.PipeWriter) {
			for range 900 {
				in, _ := send(server, "application/json", 64<<10)
				all = append(all, in)
			}
			return all
		},
		"streams": func(server http.Handler) (all []*io.PipeWriter) {
			for range 250 {
				in, _ := send(server, "application/x-ndjson", -1)
				_, _ = io.WriteString(in, strings.Repeat(" ", 40<<10))
				all = append(all, in)
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := web.Handler(taking, web.Options{Tokens: usual, Now: func() time.Time { return noon }})
				all := begin(server)
				defer func() {
					for _, in := range all {
						in.CloseWithError(errors.New("it was never meant"))
					}
					synctest.Wait()
				}()
				synctest.Wait()
				began := time.Now()
				for _, length := range []int64{-1, int64(len(record('a', 1, "")))} {
					in, answer := send(server, "application/json", length)
					go func() {
						_, _ = io.WriteString(in, record('a', 1, ""))
						in.Close()
					}()
					if a := answer(); a.Code != http.StatusCreated || time.Since(began) != 0 {
						t.Errorf("after %s status %d, %s", time.Since(began), a.Code, a.Body)
					}
					in.Close()
				}
			})
		})
	}
}
