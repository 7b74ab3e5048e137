package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// httpStore puts records through the API of a server, over connections that stay open. It writes requests and reads answers
// by itself: the client of net/http takes more processor time than the server, and would be most of what is measured on a
// machine where both share the processors.
type httpStore struct {
	*server
	idle chan *wire
}

// wire is a connection that one request at a time uses.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte // of the request; kept for the next one
}

// dialHTTP opens the connections.
func dialHTTP(s *server, connections int) (*httpStore, error) {
	h := &httpStore{server: s, idle: make(chan *wire, connections)}
	for range connections {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			return nil, errors.Join(err, h.hangUp())
		}
		h.idle <- &wire{conn: conn, in: bufio.NewReader(conn)}
	}
	return h, nil
}

func (h *httpStore) hangUp() (err error) {
	for {
		select {
		case w := <-h.idle:
			err = errors.Join(err, w.conn.Close())
		default:
			return err
		}
	}
}

func (h *httpStore) close() error {
	return errors.Join(h.hangUp(), h.server.close())
}

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

// post writes a request with a body and reads the head of the answer. The body of the answer must be read to its end.
func (h *httpStore) post(w *wire, contentType string, body []byte) (*http.Response, error) {
	w.out = append(w.out[:0], "POST /v1/audits HTTP/1.1\r\nHost: "...)
	w.out = append(w.out, h.address...)
	w.out = append(w.out, "\r\nAuthorization: Bearer "+serverToken+"\r\nContent-Type: "...)
	w.out = append(w.out, contentType...)
	w.out = append(w.out, "\r\nContent-Length: "...)
	w.out = strconv.AppendInt(w.out, int64(len(body)), 10)
	w.out = append(append(w.out, "\r\n\r\n"...), body...)
	if _, err := w.conn.Write(w.out); err != nil {
		return nil, err
	}
	return http.ReadResponse(w.in, nil)
}

// put stores one record with a request. A server that has no room asks the client to come back later, and so does this one: the wait is part
// of what the put took.
func (h *httpStore) put(ctx context.Context, q *audit.QueryAudit) error {
	raw, err := q.Canonical()
	if err != nil {
		return err
	}
	w := <-h.idle
	defer func() { h.idle <- w }()
	for {
		answer, err := h.post(w, typeJSON, raw)
		if err != nil {
			return err
		}
		if answer.StatusCode == http.StatusCreated || answer.StatusCode == http.StatusOK {
			_, err := io.Copy(io.Discard, answer.Body)
			return err
		}
		said, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode == http.StatusConflict {
			return audit.ErrConflict
		}
		later, wrong := strconv.Atoi(answer.Header.Get("Retry-After"))
		if err != nil || wrong != nil || !bytes.Contains(said, []byte("/problems/backlog-full")) {
			return errors.Join(fmt.Errorf("%w: status %d: %s", errAnswer, answer.StatusCode, said), err)
		}
		select {
		case <-time.After(time.Duration(later) * time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// load stores records with one request of many lines, and reads the answer to each line.
func (h *httpStore) load(_ context.Context, qs []*audit.QueryAudit) error {
	var body []byte
	for _, q := range qs {
		var err error
		if body, err = q.AppendCanonical(body); err != nil {
			return err
		}
		body = append(body, '\n')
	}
	w := <-h.idle
	defer func() { h.idle <- w }()
	answer, err := h.post(w, typeNDJSON, body)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	last := bytes.TrimSpace(said)
	last = last[bytes.LastIndexByte(last, '\n')+1:]
	var end struct {
		Done                          bool
		Inserted, Duplicate, Rejected int
	}
	err = json.Unmarshal(last, &end)
	switch {
	case err == nil && end.Done && end.Inserted+end.Duplicate == len(qs):
		return nil
	case end.Rejected > 0:
		return fmt.Errorf("%w: %s", audit.ErrConflict, said)
	}
	return errors.Join(fmt.Errorf("%w: status %d: %s", errAnswer, answer.StatusCode, said), err)
}

// drain waits until SQLite has everything. The server lets a question wait for that a few seconds at most.
func (h *httpStore) drain(ctx context.Context) error {
	for tries := 1; ; tries++ {
		_, err := h.get(ctx, "/v1/audits?limit=1&consistency=acknowledged")
		if err == nil || tries == 60 {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// get reads a path and returns the body of the answer, which may be that it is elsewhere.
func (h *httpStore) get(_ context.Context, path string) ([]byte, error) {
	w := <-h.idle
	defer func() { h.idle <- w }()
	w.out = append(append(append(w.out[:0], "GET "...), path...), " HTTP/1.1\r\nHost: "...)
	w.out = append(append(w.out, h.address...), "\r\nAuthorization: Bearer "+serverToken+"\r\n\r\n"...)
	if _, err := w.conn.Write(w.out); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return nil, err
	}
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%w: GET %s: status %d: %s", errAnswer, path, answer.StatusCode, said)
	}
	return said, err
}
