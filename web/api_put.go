package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/when"
)

// The parameters of puts.
const (
	maxFutureName = "max-future"
	strictName    = "strict"
)

// putAudits answers POST /v1/audits: one record as JSON, or a stream of them as NDJSON.
func (s *Server) putAudits(w http.ResponseWriter, r *http.Request, q *question) error {
	kind, err := bodyType(r)
	if err != nil {
		return err
	}
	if kind == typeNDJSON {
		return s.putLines(w, r, q)
	}
	if q.values.Has(strictName) {
		return problem(kindParameter, "%s goes with application/x-ndjson", strictName).at(strictName).stored(storedNothing)
	}
	return s.putOne(w, r, q, nil)
}

// putUnder answers PUT /v1/audits/{id}.
func (s *Server) putUnder(w http.ResponseWriter, r *http.Request, q *question) error {
	id, err := audit.ParseHash(r.PathValue("id"))
	if err != nil || id.IsZero() {
		return problem(kindParameter, "want an id of 64 hex digits, not all 0, in the path").at("id").stored(storedNothing)
	}
	kind, err := bodyType(r)
	if err == nil && kind != typeJSON {
		err = wrongType(typeJSON)
	}
	if err != nil {
		return err
	}
	return s.putOne(w, r, q, &id)
}

// bodyType is what the body of a put is: typeJSON or typeNDJSON.
func bodyType(r *http.Request) (string, error) {
	if how := r.Header.Get("Content-Encoding"); how != "" && how != "identity" {
		return "", problem(kindMediaType, "the body must not be compressed: Content-Encoding is not taken").stored(storedNothing)
	}
	sent := r.Header.Get("Content-Type")
	if sent == typeJSON || sent == typeNDJSON {
		return sent, nil
	}
	name, parameters, err := mime.ParseMediaType(sent)
	switch strings.ToLower(parameters["charset"]) { // names of charsets ignore case, and many write this one without its hyphen
	case "", "utf-8", "utf8":
	default:
		err = errors.New("charset")
	}
	switch {
	case err != nil:
	case name == typeJSON:
		return typeJSON, nil
	case slices.Contains(mediaTypes["ndjson"], name):
		return typeNDJSON, nil
	}
	return "", wrongType(typeJSON + " for one record, or " + typeNDJSON + " for one on each line")
}

func wrongType(want string) error {
	return problem(kindMediaType, "want Content-Type: %s, in UTF-8", want).stored(storedNothing)
}

// putOne stores the record of a body, under the id if that is not nil.
func (s *Server) putOne(w http.ResponseWriter, r *http.Request, q *question, under *audit.QueryID) error {
	check, err := s.check(q)
	if err != nil {
		return err
	}
	body, free, err := s.readBody(w, r, s.limits.RecordBytes)
	if err != nil {
		return err
	}
	record, err := readRecord(body)
	if err == nil && under != nil && record.QueryID != *under {
		err = setID(record, *under, body)
	}
	free()
	if err == nil {
		err = allowed(principalOf(r.Context()).Agent, record, check)
	}
	if err != nil {
		return err
	}
	results, err := s.put(r.Context(), s.store.PutAudits, []*audit.QueryAudit{record})
	if err == nil {
		err = s.refused(results[0].Err)
	}
	if err != nil {
		return err
	}
	id, duplicate := results[0].ID.String(), results[0].Duplicate
	for _, d := range check.Doubts(record) {
		text := asciiText(d.Text)
		if d.Field == ingest.ConfidenceField {
			text += " is outside of 0 to 1"
		}
		w.Header().Add(noteHeader, d.Field+": "+text)
	}
	status, outcome := http.StatusCreated, putInserted
	if duplicate {
		status, outcome = http.StatusOK, putDuplicate
	}
	s.metrics.put(outcome, 1)
	h := w.Header()
	h.Set("Location", "/v1/audits/"+id)
	h.Set("Content-Type", typeJSON)
	answer := make([]byte, 0, 128)
	answer = append(answer, `{"query_id":"`...)
	answer = append(answer, id...)
	answer = append(answer, `","duplicate":`...)
	answer = strconv.AppendBool(answer, duplicate)
	answer = append(answer, "}\n"...)
	h.Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(status)
	_, _ = w.Write(answer) // the record is stored, whether the client still listens or not
	return nil
}

// asciiText is a text for a header.
func asciiText(s string) string {
	quoted := strconv.QuoteToASCII(s)
	return quoted[1 : len(quoted)-1]
}

// check returns what looks at records before they are stored.
func (s *Server) check(q *question) (*ingest.Check, error) {
	c := &ingest.Check{Unit: s.store.TimeUnit(), Now: s.now, MaxFuture: max(0, s.options.MaxFuture)}
	if text := q.own(maxFutureName, ""); text != "" {
		future, err := when.ParseDuration(text)
		if text == "0" {
			future, err = 0, nil
		}
		if err != nil || future < 0 {
			return nil, problem(kindParameter, "%s: want how far in the future a timestamp may lie, as in 36h or 2d, or 0 for no limit", maxFutureName).at(maxFutureName).stored(storedNothing)
		}
		c.MaxFuture = future
	}
	return c, nil
}

// readRecord reads the record of a body. What is not JSON is another problem than what is no record.
func readRecord(body []byte) (*audit.QueryAudit, error) {
	q, err := audit.ParseAudit(body)
	if err == nil {
		return &q, nil
	}
	// A byte order mark may stand before it, and for some mistakes there is a better reason.
	again, err := ingest.Record(body)
	if err == nil {
		return again, nil
	}
	return nil, refusedText(err, body)
}

// refusedText makes a problem of the reason why a text is no record.
func refusedText(err error, text []byte) *Problem {
	text = bytes.TrimPrefix(text, []byte(ingest.ByteOrderMark))
	if !utf8.Valid(text) || !json.Valid(text) {
		return problem(kindMalformed, "%s", err.Error()).stored(storedNothing)
	}
	p := problem(kindInvalid, "%s", err.Error()).stored(storedNothing)
	if field := (*audit.FieldError)(nil); errors.As(err, &field) {
		p.Detail, p.Field = field.Reason, field.Field
	}
	if errors.Is(err, ingest.ErrList) {
		p.Detail += "; send application/x-ndjson, with one record on each line"
	}
	return p
}

// setID gives a record the id that it is put under, unless the body has another one.
func setID(record *audit.QueryAudit, id audit.QueryID, body []byte) error {
	var has struct {
		ID *string `json:"query_id"`
	}
	// A body that cannot be read here must not be taken for one without an id: its record would be stored under the id of another one.
	if err := json.Unmarshal(bytes.TrimPrefix(body, []byte(ingest.ByteOrderMark)), &has); err != nil {
		return problem(kindMalformed, "%s", err.Error()).stored(storedNothing)
	}
	if has.ID != nil {
		if own, err := audit.ParseHash(*has.ID); err != nil || !own.IsZero() {
			return problem(kindInvalid, "the body has another id than the path").at("query_id").stored(storedNothing)
		}
	}
	record.QueryID = id
	return nil
}

// allowed refuses a record that its sender may not store, or that lies too far in the future. only is the one agent whose records
// the sender may store; nil is every agent.
func allowed(only *audit.AgentID, q *audit.QueryAudit, check *ingest.Check) error {
	if only != nil && (q.AgentID == nil || *q.AgentID != *only) {
		return problem(kindWrongAgent, "the token may store records of the agent %s only", *only).at("agent_id").stored(storedNothing)
	}
	return check.Refuse(q)
}

// refused makes a problem of the reason why one record was not stored.
func (s *Server) refused(err error) error {
	if err == nil {
		return nil
	}
	return s.problemOf(err).stored(storedNothing)
}

// put stores records with PutAudits or PutUntilRefused. Its error is a problem that says what became of them.
//
// It waits some seconds for room in the backlog. When that time ends while the records are on their way to the disk, it
// waits for their outcome: putting the same records again stores them once, and returns when they are durable.
func (s *Server) put(ctx context.Context, put func(context.Context, []*audit.QueryAudit) ([]audit.PutResult, error), records []*audit.QueryAudit) ([]audit.PutResult, error) {
	if err := s.store.Err(); err != nil {
		return nil, s.putProblem(err, storedNothing)
	}
	waiting, cancel := context.WithTimeout(ctx, s.limits.PutWait)
	results, err := put(waiting, records)
	cancel()
	if err == nil {
		return results, nil
	}
	if errors.Is(err, audit.ErrBusy) {
		return nil, problem(kindFull, "the backlog had no room for %s", s.limits.PutWait).stored(storedNothing).because(err)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		again, cancel := context.WithTimeout(ctx, s.limits.Idle)
		defer cancel()
		if results, err = put(again, records); err == nil {
			return results, nil
		}
	}
	return nil, s.putProblem(err, storedUnknown)
}

func (s *Server) putProblem(err error, stored string) *Problem {
	undecided := errors.Is(err, audit.ErrUndecided) // a log has the records, or will never have them, whatever else went wrong
	switch {
	case undecided && !errors.Is(err, context.Canceled):
		return problem(kindOutcomeOpen, "the records were given to the log that the store follows, and it is not known what became of them; send them again").stored(storedUnknown).because(err)
	case !undecided && (errors.Is(err, audit.ErrReadOnly) || errors.Is(err, audit.ErrFollows) || errors.Is(err, audit.ErrClosed)):
		return s.problemOf(err).stored(storedNothing)
	case errors.Is(err, context.Canceled):
		return problem(kindGone, "the client has gone away").stored(storedUnknown).because(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, audit.ErrBusy):
		return problem(kindOutcomeOpen, "it took too long to know whether the records are durable; send them again").stored(storedUnknown).because(err)
	}
	if s.following != nil {
		return problem(kindFailed, "the store takes no records now; /readyz says more").stored(stored).because(err)
	}
	return problem(kindFailed, "the store takes no more records until the server is started again").stored(stored).because(err)
}

// smallBody is how large a body may be that is read into a buffer which is used again.
const smallBody = 64 << 10

var smallBodies = sync.Pool{New: func() any { return new([smallBody]byte) }}

// slowest is how many bytes a second of a body a client must send, after the first Limits.Idle.
const slowest = 64 << 10

// readBody reads a body of at most so many bytes. It is the caller's until free is called. All bodies that are held at the same
// time have a limit together.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, most int64) (body []byte, free func(), err error) {
	tooLarge := func() error {
		return problem(kindTooLarge, "the body has more than %d bytes", most).stored(storedNothing)
	}
	if r.ContentLength > most {
		return nil, nil, tooLarge()
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	held := reservation{of: s, ctx: ctx, large: r.ContentLength > smallBody}
	wire := http.NewResponseController(w)
	// Only what has come whole is stored when the server ends. After that the connection is watched for a client that goes away, which a
	// deadline would look like.
	stop := s.atEnd(func() {
		cancel(errEnding)
		_ = wire.SetReadDeadline(past) // not every connection has one
	})
	defer stop()
	pooled := smallBodies.Get().(*[smallBody]byte)
	free = func() {
		smallBodies.Put(pooled)
		held.free()
	}
	body, err = s.fill(r, wire, pooled[:0], most, &held, tooLarge)
	stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errEnding) {
			err = problem(kindDraining, "%v", errEnding).stored(storedNothing).because(err)
		}
		free()
		w.Header().Set("Connection", "close") // the rest of the body must not be taken for the next request
		return nil, nil, err
	}
	// The connection is watched from now on for a client that goes away, and that must not end at the deadline.
	_ = wire.SetReadDeadline(time.Time{})
	return body, free, nil
}

func (s *Server) fill(r *http.Request, wire *http.ResponseController, body []byte, most int64, held *reservation, tooLarge func() error) ([]byte, error) {
	if err := held.grow(min(max(r.ContentLength, 1<<10), smallBody)); err != nil {
		return nil, err
	}
	began, earned := time.Now(), -1
	for {
		// What has come gives the client time for more. What it has announced does not: it need not send that.
		if n := len(body) / slowest; n > earned {
			earned = n
			_ = wire.SetReadDeadline(began.Add(s.limits.Idle + time.Duration(earned)*time.Second))
			if err := held.ctx.Err(); err != nil {
				return nil, cutBody(err) // this may have replaced the deadline that was to end the read
			}
		}
		if len(body) == cap(body) {
			size := min(int64(cap(body))*2, most+1)
			if r.ContentLength > 0 {
				size = r.ContentLength + 1
			}
			if err := held.grow(size); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, size), body...)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > most:
			return nil, tooLarge()
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, cutBody(err)
		}
	}
}

// cutBody is the problem of a body that cannot be read to its end. It must not be one of those that say that the body is wrong: the
// client would not send it again.
func cutBody(err error) *Problem {
	why := "the body was cut off"
	if errors.Is(err, os.ErrDeadlineExceeded) {
		why = "the body came too slowly"
	}
	return problem(kindIncomplete, "%s", why).stored(storedNothing).because(err)
}

// lineError says in which line of a stream something is wrong.
func lineError(line int, p *Problem) *Problem {
	at := *p
	at.Line = line
	return &at
}
