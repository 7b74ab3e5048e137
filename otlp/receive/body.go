package receive

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// A share is what a request takes of the memory for requests.
type share struct {
	r     *Receiver
	ctx   context.Context
	bytes int64
}

// grow makes the share so large, if it is smaller. It waits a while for others to give theirs back.
func (s *share) grow(bytes int64) *fault {
	more := bytes - s.bytes
	if more <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.r.options.Limits.Wait)
	defer cancel()
	if s.r.memory.Acquire(ctx, more) != nil {
		if context.Cause(s.ctx) == errEnding {
			return s.r.closing()
		}
		if s.ctx.Err() != nil {
			return refuse(gone, "the client has gone away").because(context.Cause(s.ctx))
		}
		return refuse(full, "too many requests are being read; send this one again later")
	}
	s.bytes = bytes
	return nil
}

func (s *share) free() {
	s.r.memory.Release(s.bytes)
	s.bytes = 0
}

// A wire is the body of a request, as it comes. A client that sends nothing for a while is cut off.
type wire struct {
	body io.Reader
	http *http.ResponseController
	idle time.Duration
	left int64 // that it may still have

	mu     sync.Mutex
	ending bool // nothing more is waited for
	done   bool // nothing more is read
}

// errEnding is why a request ends that has not come whole.
var errEnding = errors.New("the receiver ends")

// end ends a read that waits, and those that come later.
func (w *wire) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending = true; !w.done {
		_ = w.http.SetReadDeadline(time.Unix(1, 0))
	}
}

// over says that nothing more is read.
func (w *wire) over() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
}

// await sets the deadline of the next read.
func (w *wire) await() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ending {
		_ = w.http.SetReadDeadline(time.Now().Add(w.idle)) // not every connection has one
	}
}

var errTooLong = errors.New("it has more bytes than a request may have")

func (w *wire) Read(p []byte) (int, error) {
	w.await()
	if int64(len(p)) > w.left+1 {
		p = p[:w.left+1]
	}
	n, err := w.body.Read(p)
	if w.left -= int64(n); w.left < 0 {
		return n, errTooLong
	}
	return n, err
}

// message reads a message: of a body to its end, or of a frame. packed says that it is compressed with gzip.
func (r *Receiver) message(in io.Reader, packed bool, size int64, held *share) ([]byte, *fault) {
	most := r.options.Limits.Body
	if packed {
		z, err := gzip.NewReader(in)
		if err == io.EOF { // there is nothing, not even a header; another error may say io.EOF too
			return nil, refuse(malformed, "the request is not compressed as it says: it is empty")
		}
		if err != nil {
			return nil, r.unread(held.ctx, err)
		}
		defer z.Close()
		in, size = z, 0
	}
	buffer := make([]byte, 0, min(max(size, 512)+1, 64<<10))
	for {
		if int64(len(buffer)) > most {
			return nil, refuse(tooLarge, "the request has more than %d bytes", most)
		}
		if len(buffer) == cap(buffer) {
			more := min(2*int64(cap(buffer)), most+1)
			if f := held.grow(more); f != nil {
				return nil, f
			}
			buffer = append(make([]byte, 0, more), buffer...)
		}
		n, err := in.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buffer, nil
		case err != nil:
			return nil, r.unread(held.ctx, err)
		}
	}
}

// unread is why a body could not be read.
func (r *Receiver) unread(ctx context.Context, err error) *fault {
	switch {
	case errors.Is(err, errTooLong):
		return refuse(tooLarge, "the request has more than %d bytes", r.options.Limits.Body)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, new(flate.CorruptInputError)):
		return refuse(malformed, "the request is not compressed as it says: %v", err)
	case errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil:
		return refuse(malformed, "the request ends too early")
	}
	return refuse(gone, "the request could not be read to its end").because(contextOr(ctx, err))
}
