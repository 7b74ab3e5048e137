package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/auditsql/auditsql/audit"
)

const (
	// LongestLine is how many bytes a line of input may have. A record has at most 16 MiB in canonical JSON, and writing
	// every character beyond ASCII as \u1234 makes that three times as long.
	LongestLine = 4 * audit.MaxEncoded

	// readSize is how much is read at a time.
	readSize = 256 << 10
)

// A block is what one read of an input brought: whole lines, or a piece of one that is too long to be held.
type block struct {
	name  string // of the input
	first int    // number of the first line
	text  []byte // the last line of an input may have no line end

	tooLong bool // text is a piece of the line with the number first, which is refused
	begins  bool // its first piece
	ends    bool // its last

	failed *InputError // why the input ends here; then there is no text
}

// blocks reads an input and hands out what it finds as soon as it is there: it never waits for more input while it
// holds a whole line. The text of a block is never written to again. A line longer than longest bytes comes in pieces, so that
// memory is bounded. An error of the input is an *InputError, and comes after all whole lines before it. The part of a
// line before the error is dropped.
func blocks(in io.Reader, name string, longest int, emit func(block) error) error {
	r := lineReader{name: name, number: 1, longest: longest, emit: emit, buffer: make([]byte, 0, readSize)}
	for {
		if len(r.buffer) == cap(r.buffer) {
			r.buffer = append(make([]byte, 0, min(2*cap(r.buffer), longest+readSize)), r.buffer...)
		}
		n, err := in.Read(r.buffer[len(r.buffer):cap(r.buffer)])
		r.buffer = r.buffer[:len(r.buffer)+n]
		if err := r.take(n); err != nil {
			return err
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return r.last()
		case len(r.buffer) > 0 || r.skipping:
			return &InputError{name, fmt.Errorf("%w; line %d is cut off there and was not taken", err, r.number)}
		default:
			return &InputError{name, fmt.Errorf("%w, after line %d", err, r.number-1)}
		}
	}
}

type lineReader struct {
	name     string
	number   int // of the line that buffer begins with
	longest  int
	emit     func(block) error
	buffer   []byte
	skipping bool // the buffer continues a line that is too long
}

// take hands out what the last n bytes of the buffer completed.
func (r *lineReader) take(n int) error {
	if r.skipping {
		end := bytes.IndexByte(r.buffer, '\n')
		if end < 0 {
			return r.piece(len(r.buffer), false, false)
		}
		if err := r.piece(end+1, false, true); err != nil {
			return err
		}
		n = len(r.buffer)
	}
	if end := bytes.LastIndexByte(r.buffer[len(r.buffer)-n:], '\n'); end >= 0 {
		if err := r.lines(len(r.buffer) - n + end + 1); err != nil {
			return err
		}
	}
	if len(r.buffer) > r.longest {
		return r.piece(len(r.buffer), true, false)
	}
	return nil
}

// lines hands out the first n bytes of the buffer, which are whole lines.
func (r *lineReader) lines(n int) error {
	b := block{name: r.name, first: r.number, text: r.cut(n)}
	r.number += bytes.Count(b.text, []byte{'\n'})
	return r.emit(b)
}

// piece hands out the first n bytes of the buffer as part of a line that is too long.
func (r *lineReader) piece(n int, begins, ends bool) error {
	if n == 0 && !begins && !ends {
		return nil
	}
	b := block{name: r.name, first: r.number, text: r.cut(n), tooLong: true, begins: begins, ends: ends}
	if ends {
		r.number++
	}
	r.skipping = !ends
	return r.emit(b)
}

// cut takes the first n bytes off the buffer. A few are copied. Many are handed over with the buffer itself, and the
// rest moves to a new one; so a buffer that grew for a long line is not kept.
func (r *lineReader) cut(n int) []byte {
	rest := r.buffer[n:]
	if n < readSize/4 {
		text := bytes.Clone(r.buffer[:n])
		r.buffer = r.buffer[:copy(r.buffer, rest)]
		return text
	}
	text := r.buffer[:n:n]
	r.buffer = append(make([]byte, 0, max(readSize, 2*len(rest))), rest...)
	return text
}

// last hands out what is left when the input has ended.
func (r *lineReader) last() error {
	switch {
	case r.skipping:
		return r.piece(len(r.buffer), false, true)
	case len(r.buffer) > 0:
		return r.lines(len(r.buffer))
	}
	return nil
}

// endable makes reads fail once ctx has ended. A read that is under way is not interrupted.
type endable struct {
	ctx context.Context
	in  io.Reader
}

func (e endable) Read(p []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.in.Read(p)
}
