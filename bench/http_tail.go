package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/auditsql/auditsql/audit"
)

// errGap means that a tail was cut off, because its reader was too slow.
var errGap = errors.New("the tail was cut off")

// tail is the stream of the records that a server stores from now on, as server-sent events.
type tail struct{ body io.ReadCloser }

// openTail returns when the server has begun to send.
func openTail(ctx context.Context, address string) (*tail, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/tail", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+serverToken)
	r.Header.Set("Accept", "text/event-stream")
	// A transport of its own, so that each tail has a connection and no connection is kept.
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, ReadBufferSize: 128 << 10}}).Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		said, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("%w: tail: status %d: %s", errAnswer, answer.StatusCode, said)
	}
	return &tail{answer.Body}, nil
}

// count adds the records that come to n, until the stream ends. It looks for the lines that begin them and at nothing else: a client that
// took each event apart would need more time of the processors than the server does for a hundred of them.
func (t *tail) count(n *atomic.Int64) error {
	defer t.body.Close()
	const begins, gap = "\nevent: audit\n", "\nevent: gap\n"
	buffer, kept := make([]byte, 128<<10), 0
	for {
		got, err := t.body.Read(buffer[kept:])
		text := buffer[:kept+got]
		n.Add(int64(bytes.Count(text, []byte(begins))))
		if bytes.Contains(text, []byte(gap)) {
			return errGap
		}
		if err != nil {
			return err
		}
		kept = copy(buffer, text[max(0, len(text)-len(begins)+1):]) // too short for a line that was counted
	}
}

// each calls f with each record, in canonical JSON, until the stream ends.
func (t *tail) each(f func(record []byte) error) error {
	defer t.body.Close()
	lines := bufio.NewScanner(t.body)
	lines.Buffer(make([]byte, 64<<10), audit.MaxEncoded+100)
	event := ""
	for lines.Scan() {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(name) == 0: // the end of an event, or a comment
			event = ""
		case string(name) == "event":
			if event = string(value); event == "gap" {
				return errGap
			}
		case string(name) == "data" && (event == "" || event == "audit"):
			if err := f(value); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}
