package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
)

// lastEventID is the header with which a browser goes on after a connection was cut.
const lastEventID = "Last-Event-ID"

// tail answers GET /v1/tail: every record that is acknowledged, in the order of the journal, from a place on.
//
// The id of an event is where the next record begins. So a client that goes on with the id of the last event that it has seen
// misses no record and sees none twice.
func (s *Server) tail(w http.ResponseWriter, r *http.Request, q *question) error {
	return s.follow(w, r, q, &tailAnswer{events: q.form == events})
}

// follow sends a tail: t says in which form.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, q *question, t *tailAnswer) error {
	first, end, err := s.store.TailRange(r.Context())
	if err != nil {
		return err
	}
	at, err := startOfTail(r, q, first, end)
	if err != nil {
		return err
	}
	form := tui.NDJSON
	if t.events {
		form = events
	}
	w.Header().Set("Content-Type", contentType(form))
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not hold events back
	if r.Method == http.MethodHead {
		return nil // there is no body, so nothing would end it: it must not take a place
	}
	release, err := s.tailing.take(r.Context(), time.Millisecond, "tails")
	if err != nil {
		return err
	}
	defer release()
	if t.events && r.ProtoMajor == 1 {
		// The stream ends with the connection. Chunks would make three writes to the connection of each block, of which two are small.
		// They are not needed to tell a whole event from a part: a blank line ends it.
		w.Header().Set("Transfer-Encoding", "identity")
	}
	t.server, t.at, t.w, t.wire = s, at, w, http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	leave := s.hub.join(s.store, func(read func()) error { return s.contain(requestID(r), read) })
	defer leave()
	return t.run(r.Context())
}

// startOfTail is where a tail begins: after the last event that the client has seen, or now.
func startOfTail(r *http.Request, q *question, first, end audit.Offset) (audit.Offset, error) {
	name, text := afterName, q.own(afterName, "")
	if seen := r.Header.Get(lastEventID); seen != "" {
		name, text = lastEventID, seen // a browser sends it with the URL with which it began
	}
	if text == "" {
		return end, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	at := audit.Offset(n)
	switch {
	case err != nil:
		return 0, problem(kindParameter, "%s: this is not the id of an event", name).at(name)
	case at > end:
		return 0, problem(kindParameter, "%s: the journal ends before this place, so the id is of another store", name).at(name)
	case at < first:
		p := problem(kindTrimmed, "the journal begins after this place now").at(name)
		p.First = eventID(first)
		return 0, p
	}
	return at, nil
}

// eventID writes the id of an event. A client takes it as it is.
func eventID(at audit.Offset) string { return strconv.FormatUint(uint64(at), 10) }

// A tailAnswer is the response of one tail.
type tailAnswer struct {
	server *Server
	w      http.ResponseWriter
	wire   *http.ResponseController
	held   []byte                  // what is not written yet
	events bool                    // server-sent events; otherwise NDJSON
	row    func(raw []byte) []byte // what an event has in place of the record, for a page; nil: the record
	at     audit.Offset            // where the next record begins
}

// The lines of a tail as NDJSON. As server-sent events they are called audit, gap and bye.
type (
	tailBegin struct {
		Begin bool   `json:"begin"`
		ID    string `json:"id"`
	}
	tailIdle struct {
		Idle bool   `json:"idle"`
		ID   string `json:"id"`
	}
	tailGap struct {
		Gap   bool   `json:"gap"`
		ID    string `json:"id"`    // of the last event that was sent
		First string `json:"first"` // where the journal begins now
	}
	tailBye struct {
		Bye bool   `json:"bye"`
		ID  string `json:"id"`
	}
)

// run sends records until the client goes away, the server ends, or records are missing.
func (t *tailAnswer) run(ctx context.Context) error {
	if err := t.begin(); err != nil {
		return err
	}
	beat := time.NewTicker(t.server.limits.Beat)
	defer beat.Stop()
	for {
		b, first, changed, err := t.server.hub.from(t.at)
		switch {
		case errors.Is(err, errCatchUp):
			err = t.catchUp(ctx)
		case b != nil:
			err = t.block(b, first)
		case err == nil:
			select {
			case <-changed:
			case <-beat.C:
				err = t.beat()
			case <-t.server.draining.Done():
				return t.bye()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var trimmed *audit.TrimmedError
		switch {
		case errors.As(err, &trimmed):
			return t.gap(trimmed.First)
		case errors.Is(err, audit.ErrClosed), err == nil && t.server.draining.Err() != nil:
			return t.bye()
		case err != nil:
			return err
		}
	}
}

// catchUp reads the journal until the hub has what follows, or for one beat. So when many tails have to catch up, they take turns.
func (t *tailAnswer) catchUp(ctx context.Context) error {
	reading, cancel := context.WithTimeout(ctx, t.server.limits.Beat)
	defer cancel()
	defer context.AfterFunc(t.server.draining, cancel)()
	select {
	case t.server.catching <- struct{}{}:
		defer func() { <-t.server.catching }()
	case <-reading.Done():
		return errors.Join(ctx.Err(), t.beat())
	}
	for rec, err := range t.server.store.TailAfter(reading, t.at) {
		if err != nil {
			return errors.Join(t.flush(), err)
		}
		if err := t.record(&rec); err != nil {
			return err
		}
		if t.server.hub.has(t.at) {
			break
		}
	}
	return errors.Join(ctx.Err(), t.flush())
}

// block sends a block from a record on.
func (t *tailAnswer) block(b *block, first int) error {
	if t.row == nil {
		t.at = b.last().Next
		if _, err := t.w.Write(b.text(t.events, first)); err != nil {
			return err
		}
		return t.wire.Flush()
	}
	for i := range b.records[first:] {
		if err := t.record(&b.records[first+i]); err != nil {
			return err
		}
	}
	return t.flush()
}

// usualWrite is how much is held until it is written.
const usualWrite = 32 << 10

// record sends a record, now or with the next flush.
func (t *tailAnswer) record(rec *audit.TailRecord) error {
	t.at = rec.Next
	switch {
	case t.row != nil:
		t.held = appendEvent(t.held, rec.Next, "row", t.row(rec.Raw))
	case t.events:
		t.held = appendRecordEvent(t.held, rec)
	default:
		t.held = appendLine(t.held, rec)
	}
	if len(t.held) < usualWrite {
		return nil
	}
	return t.write()
}

// begin says where the tail begins, so that a client which is cut off before the first record goes on there too.
func (t *tailAnswer) begin() error {
	if t.events {
		t.held = append(t.held, "retry: 2000\nid: "+eventID(t.at)+"\n\n"...)
		return t.flush()
	}
	return t.line(tailBegin{true, eventID(t.at)})
}

// beat shows that the connection is alive, to both sides and to what is between them.
func (t *tailAnswer) beat() error {
	if t.events {
		t.held = append(t.held, ":\n\n"...)
		return t.flush()
	}
	return t.line(tailIdle{true, eventID(t.at)})
}

// gap ends a tail that has missed records for good.
func (t *tailAnswer) gap(first audit.Offset) error {
	return t.last("gap", tailGap{true, eventID(t.at), eventID(first)})
}

// bye ends a tail because the server ends.
func (t *tailAnswer) bye() error { return t.last("bye", tailBye{true, eventID(t.at)}) }

func (t *tailAnswer) last(event string, object any) error {
	if !t.events {
		return t.line(object)
	}
	t.held = append(t.held, "event: "+event+"\ndata: "...)
	if err := t.hold(object); err != nil {
		return err
	}
	t.held = append(t.held, '\n')
	return t.flush()
}

func (t *tailAnswer) line(object any) error {
	if err := t.hold(object); err != nil {
		return err
	}
	return t.flush()
}

// hold adds an object as a line of JSON.
func (t *tailAnswer) hold(object any) error {
	encoded, err := json.Marshal(object)
	if err == nil {
		t.held = append(append(t.held, encoded...), '\n')
	}
	return err
}

// write writes what is held. A tail that waits holds no memory for it.
func (t *tailAnswer) write() error {
	if len(t.held) == 0 {
		return nil
	}
	_, err := t.w.Write(t.held)
	t.held = nil
	return err
}

func (t *tailAnswer) flush() error {
	if err := t.write(); err != nil {
		return err
	}
	return t.wire.Flush()
}
