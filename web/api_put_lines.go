package web

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// putLines stores a stream of records, one on each line, and answers each line once its record is durable.
//
//	body ──read──▶ lines ──ParseAudit──▶ batch ──▶ PutAudits ──▶ an answer for each line ──▶ response
//	      one goroutine of the request         │       the goroutine of the handler
//
// A batch is what has come while the batch before it was stored. So a client that waits for each answer gets it at once, and one
// that sends without waiting has few syncs. Package ingest reads files: it reads 64 MiB ahead for each, and starts decoders for each. Here all
// requests share one limit for what they hold.
func (s *Server) putLines(w http.ResponseWriter, r *http.Request, q *question) error {
	check, err := s.check(q)
	if err != nil {
		return err
	}
	strict, err := q.isSet(strictName)
	if err != nil {
		return err
	}
	release, err := s.streams.take(r.Context(), s.limits.PutWait, "streams of records")
	if err != nil {
		return s.problemOf(err).stored(storedNothing)
	}
	defer release()
	if err := s.store.Err(); err != nil {
		return s.putProblem(err, storedNothing)
	}

	p := &lineAnswers{server: s, request: r, w: w, wire: http.NewResponseController(w), strict: strict}
	// The answers begin before the body has ended. HTTP/2 always can do that.
	_ = p.wire.EnableFullDuplex()
	w.Header().Set("Content-Type", typeNDJSON)
	w.WriteHeader(http.StatusOK)
	if err := p.flush(); err != nil {
		return err
	}

	ctx := r.Context()
	ended := make(chan struct{})
	end := sync.OnceFunc(func() { close(ended) })
	defer end()
	in := &lineReader{server: s, ctx: ctx, ended: ended, body: r.Body, wire: p.wire, check: check, batches: make(chan *lineBatch, 1), first: newFirstBatch(),
		only: principalOf(ctx).Agent, left: r.ContentLength, held: reservation{of: s, ctx: ctx}}
	go func() { _ = s.contain(requestID(r), in.run) }() // the batches end too early then, and the answer is broken off
	// A server that ends stores what it has read, and reads no more.
	defer context.AfterFunc(s.draining, func() { _ = p.wire.SetReadDeadline(time.Now()) })()
	defer func() {
		s.metrics.put(putInserted, p.inserted)
		s.metrics.put(putDuplicate, p.duplicate)
		s.metrics.put(putRejected, p.rejected)
	}()
	err = p.storeAll(ctx, in)
	end()
	if p.ended || err != nil {
		_ = p.wire.SetReadDeadline(time.Now().Add(s.lingering())) // the reader may be waiting for a client that waits too
	}
	for left := range in.batches { // until the reader has ended
		left.held.free()
	}
	if err == nil && !in.whole {
		// What is left of the body must not be taken for the next request on the connection.
		if err = errUnread; about(r).problem != nil {
			err = about(r).problem // the last answer, which says why
		}
	}
	return err
}

// errUnread ends the connection of a request whose body was not read to its end.
var errUnread = errors.New("the body was not read to its end")

// storeAll stores the batches, and answers their lines.
func (p *lineAnswers) storeAll(ctx context.Context, in *lineReader) error {
	<-in.first.over
	for batch := range in.batches {
		err := p.store(ctx, batch)
		batch.held.free()
		if err != nil || p.ended {
			return err
		}
	}
	if !in.complete {
		return errUnread
	}
	p.finish()
	return p.flush()
}

// lineAnswers stores batches and writes the answers.
type lineAnswers struct {
	server  *Server
	request *http.Request
	w       http.ResponseWriter
	wire    *http.ResponseController
	strict  bool
	ended   bool // no further line is stored, and nothing more is answered
	buffer  []byte

	inserted, duplicate, rejected int
}

// A lineAnswer is what became of a line.
type lineAnswer struct {
	Line    int            `json:"line"`
	Status  int            `json:"status"`
	QueryID *audit.QueryID `json:"query_id,omitempty"`
	Type    string         `json:"type,omitempty"` // of the problem
	Field   string         `json:"field,omitempty"`
	Detail  string         `json:"detail,omitempty"`
	Stored  string         `json:"stored,omitempty"`
}

// A linesDone is the last line of an answer. An answer without it was cut.
type linesDone struct {
	Done      bool `json:"done"`
	Inserted  int  `json:"inserted"`
	Duplicate int  `json:"duplicate"`
	Rejected  int  `json:"rejected"`
}

// store stores a batch and answers its lines.
func (p *lineAnswers) store(ctx context.Context, b *lineBatch) error {
	lines, put := b.lines, p.server.store.PutAudits
	if p.strict {
		put = p.server.store.PutUntilRefused
		if i := slices.IndexFunc(lines, func(l putLine) bool { return l.problem != nil }); i >= 0 {
			lines = lines[:i+1]
		}
	}
	records := make([]*audit.QueryAudit, 0, len(lines))
	for i := range lines {
		if lines[i].problem == nil {
			records = append(records, lines[i].record)
		}
	}
	var results []audit.PutResult
	var failed *Problem
	if len(records) > 0 {
		var err error
		// What has been read is stored also when the client goes away now: it may not have ended, and sends again what it got
		// no answer for.
		if results, err = p.server.put(context.WithoutCancel(ctx), put, records); err != nil {
			failed = p.server.problemOf(err)
		}
	}
	for i := range lines {
		l := &lines[i]
		if l.problem == nil && failed != nil {
			// This line and all after it have to be sent again.
			p.answer(lineAnswer{Line: l.number, Status: failed.Status, Type: failed.Type, Detail: failed.Detail, Stored: failed.Stored})
			note(p.request, failed)
			p.ended = true
			return p.flush()
		}
		why := l.problem
		var id *audit.QueryID
		if why == nil {
			r := &results[0]
			results = results[1:]
			id = &r.ID
			switch err := p.server.refused(r.Err); {
			case err != nil:
				why = p.server.problemOf(err)
			case r.Duplicate:
				p.duplicate++
				p.stored(l.number, http.StatusOK, id)
			default:
				p.inserted++
				p.stored(l.number, http.StatusCreated, id)
			}
		}
		if why == nil {
			continue
		}
		p.rejected++
		p.answer(lineAnswer{Line: l.number, Status: why.Status, QueryID: id, Type: why.Type, Field: why.Field, Detail: why.Detail})
		if p.strict {
			p.ended = true
			p.finish()
			break
		}
	}
	if b.fatal != nil && !p.ended {
		f := b.fatal
		p.answer(lineAnswer{Line: f.Line, Status: f.Status, Type: f.Type, Detail: f.Detail, Stored: f.Stored})
		note(p.request, f)
		p.ended = true
	}
	return p.flush()
}

// stored is answer for a line whose record is stored. Most lines are, and this takes a tenth of the time.
func (p *lineAnswers) stored(line, status int, id *audit.QueryID) {
	b := strconv.AppendInt(append(p.buffer, `{"line":`...), int64(line), 10)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	b = hex.AppendEncode(append(b, `,"query_id":"`...), id[:])
	p.buffer = append(b, "\"}\n"...)
}

func (p *lineAnswers) answer(a any) {
	line, _ := json.Marshal(a) // has no value that cannot be encoded
	p.buffer = append(append(p.buffer, line...), '\n')
}

// finish adds the last line.
func (p *lineAnswers) finish() {
	p.answer(linesDone{true, p.inserted, p.duplicate, p.rejected})
}

// flush sends the answers to the client.
func (p *lineAnswers) flush() error {
	_, err := p.w.Write(p.buffer)
	p.buffer = p.buffer[:0]
	if err != nil {
		return err
	}
	return p.wire.Flush()
}
