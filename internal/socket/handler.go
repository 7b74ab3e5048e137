package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/auditsql/auditsql/audit"
)

// A Store is what commands write to. *audit.DB is one.
type Store interface {
	TimeUnit() audit.TimeUnit
	PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
	PutUntilRefused(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
	CheckAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
	AwaitWritten(ctx context.Context) error
	GetAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error)
	PutLabels(ctx context.Context, labels []audit.Label) error
	AddLabels(ctx context.Context, labels []audit.Label) error
	Sign(ctx context.Context) (audit.Signature, error)
	Log(ctx context.Context) (*audit.LogState, error)
}

var _ Store = (*audit.DB)(nil)

// mostHeld is how many bytes of records are held at the same time, of all clients. Others wait.
const mostHeld = 2 * mostBytes

// A handler answers commands.
type handler struct {
	store Store
	about About
	login func() string
	held  *semaphore.Weighted
}

// Handler returns the routes below /local/. It must be reachable through a [Listener] alone: whoever can send a request may
// write. login makes a link with which a person logs in once; nil: there is none.
func Handler(store Store, about About, login func() string) http.Handler {
	about.TimeUnit = store.TimeUnit()
	h := &handler{store: store, about: about, login: login, held: semaphore.NewWeighted(mostHeld)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+aboutPath, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, h.about) })
	mux.HandleFunc("POST "+putPath, func(w http.ResponseWriter, r *http.Request) {
		put := h.store.PutAudits
		if r.URL.Query().Has(untilParam) {
			put = h.store.PutUntilRefused
		}
		h.put(w, r, put)
	})
	mux.HandleFunc("POST "+settlePath, h.settle)
	mux.HandleFunc("POST "+checkPath, func(w http.ResponseWriter, r *http.Request) { h.put(w, r, h.store.CheckAudits) })
	mux.HandleFunc("GET "+recordPath, h.record)
	mux.HandleFunc("POST "+labelsPath, h.labels)
	mux.HandleFunc("POST "+signPath, h.sign)
	mux.HandleFunc("GET "+logPath, h.log)
	mux.HandleFunc("POST "+loginPath, h.logIn)
	return mux
}

// answer sends JSON as a whole: a client sees by its length when it was cut.
func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may have gone
}

func refuse(w http.ResponseWriter, status int, err error) { answer(w, status, encodeError(err)) }

// put stores the records of a request, which are lines of canonical JSON. While a record waits for room in the backlog, so does
// the client, as it would if it had opened the store itself.
func (h *handler) put(w http.ResponseWriter, r *http.Request, put func(context.Context, []*audit.QueryAudit) ([]audit.PutResult, error)) {
	if r.ContentLength < 0 || r.ContentLength > mostBytes {
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the records have %d bytes, and may have %d", r.ContentLength, mostBytes))
		return
	}
	if err := h.held.Acquire(r.Context(), r.ContentLength); err != nil {
		return // the client has gone
	}
	defer h.held.Release(r.ContentLength)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone, and nothing is stored: a part of a batch is no batch
	}
	records, err := parse(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	results, err := put(r.Context(), records)
	if err != nil {
		answer(w, http.StatusOK, putAnswer{Error: encodeError(err)})
		return
	}
	a := putAnswer{Results: make([]resultJSON, len(results))}
	for i, result := range results {
		a.Results[i] = resultJSON{result.ID, result.Duplicate, encodeError(result.Err)}
	}
	answer(w, http.StatusOK, a)
}

// settleWait is how long a command waits at its end, at most, until SQLite has what it has put. While a burst is
// being applied, SQLite may need longer than that.
const settleWait = time.Second

// settle waits until other processes see what was put: the next command of a script reads SQLite by itself.
func (h *handler) settle(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), settleWait)
	defer cancel()
	_ = h.store.AwaitWritten(ctx) // what was put is acknowledged, whether or not SQLite has it
	answer(w, http.StatusOK, struct{}{})
}

func parse(body []byte) ([]*audit.QueryAudit, error) {
	var records []*audit.QueryAudit
	for line := range bytes.Lines(body) {
		q, err := audit.ParseAudit(line)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", len(records), err)
		}
		records = append(records, &q)
	}
	return records, nil
}

// record answers with a record as canonical JSON.
func (h *handler) record(w http.ResponseWriter, r *http.Request) {
	id, err := audit.ParseHash(r.URL.Query().Get(idParam))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	q, err := h.store.GetAudit(r.Context(), id)
	if err != nil {
		h.done(w, err)
		return
	}
	raw, err := q.Canonical()
	if err != nil {
		h.done(w, err)
		return
	}
	answer(w, http.StatusOK, json.RawMessage(raw))
}

func (h *handler) labels(w http.ResponseWriter, r *http.Request) {
	var sent []labelJSON
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBytes)).Decode(&sent); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	labels := make([]audit.Label, len(sent))
	for i, l := range sent {
		labels[i] = audit.Label{Hash: l.Hash, Label: l.Label}
	}
	put := h.store.PutLabels
	if r.URL.Query().Has(unnamedParam) {
		put = h.store.AddLabels
	}
	h.done(w, put(r.Context(), labels))
}

// done answers a request that has no result.
func (h *handler) done(w http.ResponseWriter, err error) {
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err)
		return
	}
	answer(w, http.StatusOK, struct{}{})
}

func (h *handler) sign(w http.ResponseWriter, r *http.Request) {
	s, err := h.store.Sign(r.Context())
	if err != nil {
		h.done(w, err)
		return
	}
	a := signAnswer{Origin: s.Origin, Size: s.Size, Root: s.Root, Note: s.Note, New: s.New, Failed: map[string]string{}}
	for place, why := range s.Failed {
		a.Failed[place] = why.Error()
	}
	answer(w, http.StatusOK, a)
}

// log says whether the store has a log.
func (h *handler) log(w http.ResponseWriter, r *http.Request) {
	_, err := h.store.Log(r.Context())
	h.done(w, err)
}

func (h *handler) logIn(w http.ResponseWriter, _ *http.Request) {
	if h.login == nil {
		refuse(w, http.StatusNotFound, errors.New("the server makes no links to log in"))
		return
	}
	answer(w, http.StatusOK, h.login())
}
