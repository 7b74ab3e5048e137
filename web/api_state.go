package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/internal/tui"
)

// stats answers GET /v1/stats.
func (s *Server) stats(w http.ResponseWriter, r *http.Request, q *question) error {
	found, err := s.store.Stats(r.Context())
	if err != nil {
		return err
	}
	return s.objectIn(w, r, q, view.StatsOf(&found))
}

// healthz answers GET /healthz: the process answers.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request, _ *question) error {
	return s.object(w, r, &struct {
		Alive bool `json:"alive"`
	}{true})
}

// readyz answers GET /readyz: the server takes requests, and if it writes, the store takes puts. If spans are received, they are taken.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request, _ *question) error {
	reasons := s.unready()
	k, taken := kindFailed, ""
	if s.draining.Err() != nil {
		k = kindDraining
	}
	if spans := s.spans(); spans != nil {
		switch {
		case spans.Refused != "":
			if len(reasons) == 0 {
				k = kindNoSpans
			}
			reasons = append(reasons, spans.Refused)
		case spans.Waiting:
			taken = "waiting"
		case spans.Replaying:
			taken = "replaying"
		default:
			taken = "taken"
		}
	}
	if len(reasons) > 0 {
		p := problem(k, "the server is not ready: %s", reasons[0])
		p.Reasons = reasons
		return p
	}
	answer := struct {
		Ready  bool    `json:"ready"`
		Writes bool    `json:"writes"`
		Behind *uint64 `json:"behind,omitempty"`
		Spans  string  `json:"spans,omitempty"`
	}{Ready: true, Writes: !s.options.ReadOnly, Spans: taken}
	if s.following != nil {
		if behind, err := s.following.now(); err == nil {
			answer.Behind = &behind
		}
	}
	return s.object(w, r, &answer)
}

// spans is how a receiver of spans is, nil without one.
func (s *Server) spans() *Spans {
	if s.options.Spans == nil {
		return nil
	}
	return s.options.Spans()
}

// unready says why the server does not take what it should, apart from spans. The reasons have no paths and no text of the store: everybody may
// ask.
func (s *Server) unready() []string {
	var reasons []string
	if s.draining.Err() != nil {
		reasons = append(reasons, "the server is being stopped")
	}
	switch err := s.store.Err(); {
	case s.following != nil && !errors.Is(err, audit.ErrClosed):
		if why := s.following.unready(err); why != "" {
			reasons = append(reasons, why)
		}
	case err == nil, s.options.ReadOnly && errors.Is(err, audit.ErrReadOnly):
	case errors.Is(err, audit.ErrReadOnly):
		reasons = append(reasons, "the store is open for reading only")
	case errors.Is(err, audit.ErrClosed):
		reasons = append(reasons, "the store is closed")
	default:
		reasons = append(reasons, "the store has failed, and takes no more records")
	}
	return reasons
}

const quickName = "quick"

// A lastVerify is the last verification that this server has run.
type lastVerify struct {
	mu   sync.Mutex
	at   time.Time
	view *view.Verification
}

// lastVerified returns the last verification that this server has run, and when it ended. It is nil when there was none.
func (s *Server) lastVerified() (*view.Verification, time.Time) {
	s.verified.mu.Lock()
	defer s.verified.mu.Unlock()
	return s.verified.view, s.verified.at
}

// verifyEvery is how often a verification says how far it is.
const verifyEvery = 500 * time.Millisecond

// A verifyStep is a line that says how far a verification is.
type verifyStep struct {
	Stage string `json:"stage"` // what is being checked
	Done  uint64 `json:"done"`  // how many of it
}

// A verifyDone is the last line. An answer without it was cut.
type verifyDone struct {
	Done         bool               `json:"done"`
	Verification *view.Verification `json:"verification"`
}

// verify answers POST /v1/verify: a run of verify. As JSON it is the result alone; as NDJSON it says meanwhile how far it is.
// Problems of the store are part of the result, and no error of the request.
func (s *Server) verify(w http.ResponseWriter, r *http.Request, q *question) error {
	quick, err := q.isSet(quickName)
	if err != nil {
		return err
	}
	release, err := s.verifies.take(r.Context(), time.Millisecond, "verification")
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.draining, cancel)() // a server that ends does not wait for it

	o := audit.VerifyOptions{Quick: quick}
	wire := http.NewResponseController(w)
	line := func(object any) error {
		encoded, err := tui.Encode(object)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(encoded, '\n')); err != nil {
			return err
		}
		return wire.Flush()
	}
	if q.form == tui.NDJSON {
		w.Header().Set("Content-Type", typeNDJSON)
		var mu sync.Mutex
		var last time.Time
		o.Progress = func(stage string, done uint64) {
			mu.Lock()
			defer mu.Unlock()
			if now := time.Now(); now.Sub(last) >= verifyEvery {
				last = now
				if line(verifyStep{stage, done}) != nil {
					cancel() // the client has gone
				}
			}
		}
	}
	report, err := s.store.Verify(ctx, o)
	if err != nil {
		if s.draining.Err() != nil && errors.Is(err, context.Canceled) {
			return problem(kindDraining, "the server is being stopped").because(err)
		}
		return err
	}
	found := view.VerificationOf(&report)
	s.verified.mu.Lock()
	s.verified.view, s.verified.at = found, s.now()
	s.verified.mu.Unlock()
	if q.form == tui.NDJSON {
		return line(verifyDone{true, found})
	}
	return s.object(w, r, found)
}

// A problemText is what an error means.
type problemText struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Means  string `json:"means"`
	Try    string `json:"try"`
}

func textOf(k *kind) problemText {
	return problemText{"/problems/" + k.slug, k.title, k.status, k.means, k.try}
}

// problemType answers GET /problems/{type}.
func (s *Server) problemType(w http.ResponseWriter, r *http.Request, _ *question) error {
	for _, k := range kinds {
		if k.slug == r.PathValue("type") {
			if wantsPage(r) {
				return s.kindsPage(w, r, []*kind{k})
			}
			text := textOf(k)
			return s.object(w, r, &text)
		}
	}
	return problem(kindNotFound, "there is no problem of this type; /problems lists all of them")
}

// problemTypes answers GET /problems.
func (s *Server) problemTypes(w http.ResponseWriter, r *http.Request, _ *question) error {
	if wantsPage(r) {
		return s.kindsPage(w, r, kinds)
	}
	list := make([]problemText, len(kinds))
	for i, k := range kinds {
		list[i] = textOf(k)
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", typeJSON)
	_, err = w.Write(append(body, '\n'))
	return err
}
