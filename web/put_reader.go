package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
)

// How many lines a batch has at most, and how many bytes of records when lines that came later join it.
const (
	maxBatch      = 512
	maxBatchBytes = 1 << 20
)

// A putLine is a line of a body: its record, or the problem for which it is refused.
type putLine struct {
	number  int
	record  *audit.QueryAudit
	problem *Problem
}

// A lineBatch is lines that are stored together.
type lineBatch struct {
	lines []putLine
	held  reservation // of the records, which take about as much as their text
	fatal *Problem    // that ends the stream after these lines
}

// A lineReader reads and decodes the lines of a body. Only its goroutine uses it.
type lineReader struct {
	server  *Server
	ctx     context.Context // of the request
	ended   <-chan struct{} // closed when the answers have ended, and nobody takes batches any more
	body    io.Reader
	wire    *http.ResponseController
	check   *ingest.Check
	batches chan *lineBatch // has room for one, and only the reader sends
	first   *firstBatch
	only    *audit.AgentID // whose records the sender may store; nil: everybody's
	left    int64          // bytes of the body that were not read yet; negative: not known

	buffer []byte
	held   reservation // of the buffer, when it is larger than firstBuffer
	line   int         // number of the line that the buffer begins with
	skips  bool        // the buffer continues a line that is refused as too long
	batch  *lineBatch

	// These are known when batches is closed.
	complete bool // all lines of the body were handed over
	whole    bool // the body was read to its end
}

// The buffer of a stream is small while it waits for a line. It grows with a reservation: to usualBuffer when much comes, and
// for a long line to the size of a record.
const (
	firstBuffer = 16 << 10
	usualBuffer = 256 << 10
)

// errUnwanted ends a reader whose batches nobody takes any more.
var errUnwanted = errors.New("the answers have ended")

// run reads to the end of the body, and closes batches. When the answers end earlier, it reads on for a while and forgets what
// comes: a client that has seen the last answer ends its body, and then its connection is of further use.
func (in *lineReader) run() {
	defer in.first.end()
	defer close(in.batches)
	defer func() {
		in.held.free()
		if in.batch != nil { // nobody has got it
			in.batch.held.free()
		}
	}()
	in.buffer, in.line = make([]byte, 0, firstBuffer), 1
	err := in.all()
	if in.whole = err == nil; !in.whole && !errors.Is(err, errUnwanted) {
		if in.batch == nil {
			in.batch = in.newBatch()
		}
		in.batch.fatal = in.last(err)
	}
	in.complete = in.whole
	if in.send() != nil {
		in.complete = false
	}
	if !in.whole {
		_ = in.wire.SetReadDeadline(time.Now().Add(in.server.lingering()))
		_, err := io.Copy(io.Discard, in.body)
		in.whole = err == nil
	}
}

// last is the last answer of a stream that ended before its body did. It names the first line that has no final answer, and says
// what became of that: by that a client knows what it has to send again. So it is never a problem of the line itself.
func (in *lineReader) last(err error) *Problem {
	p := in.server.problemOf(err)
	if errors.Is(context.Cause(in.ctx), errRevoked) {
		p = revoked(err, true)
	}
	line := in.line
	if in.skips { // it was answered as too long, and the rest of it did not come
		line++
	}
	return lineError(line, p)
}

// lingering is how long what follows the last answer is read and forgotten, unless the server ends.
const lingering = 2 * time.Second

func (in *lineReader) all() error {
	for {
		in.deadline()
		n, failed := in.body.Read(in.buffer[len(in.buffer):cap(in.buffer)])
		in.buffer, in.left = in.buffer[:len(in.buffer)+n], in.left-int64(n)
		full, ends := len(in.buffer) == cap(in.buffer), errors.Is(failed, io.EOF)
		if errors.Is(context.Cause(in.ctx), errRevoked) {
			return cutBody(errRevoked) // nothing that came after that is stored
		}
		if err := in.take(ends); err != nil {
			return err
		}
		switch {
		case ends:
			return nil
		case failed != nil && in.server.draining.Err() != nil:
			return problem(kindDraining, "the server is being stopped; send this line and those after it again").stored(storedNothing)
		case failed != nil:
			return cutBody(failed)
		}
		if err := in.send(); err != nil {
			return err
		}
		switch {
		case full:
			if err := in.room(); err != nil {
				return err
			}
		case n < firstBuffer && len(in.buffer) == 0 && cap(in.buffer) > firstBuffer:
			// Little comes now. A stream that waits must not hold what others could use.
			in.shrink()
		}
	}
}

// deadline bounds how long the client may take for the rest of a line. Between two lines it may take as long as it likes: a
// program may have nothing to store for a day.
func (in *lineReader) deadline() {
	until := time.Time{}
	if len(in.buffer) > 0 || in.skips {
		until = time.Now().Add(in.server.limits.Idle)
	}
	_ = in.wire.SetReadDeadline(until)
	// This may have replaced the deadline that was to end the read.
	select {
	case <-in.ended:
		_ = in.wire.SetReadDeadline(time.Now().Add(in.server.lingering()))
		return
	default:
	}
	if in.ctx.Err() != nil || in.server.draining.Err() != nil {
		_ = in.wire.SetReadDeadline(time.Now())
	}
}

// take decodes the whole lines of the buffer. When the body ends there, what follows the last line end is a line too.
func (in *lineReader) take(ends bool) error {
	rest := in.buffer
	for len(rest) > 0 {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		if !ended && !ends {
			break
		}
		rest = after
		if !in.skips {
			if err := in.add(line); err != nil {
				return err
			}
		}
		in.skips = false
		in.line++
	}
	in.buffer = in.buffer[:copy(in.buffer, rest)]
	return nil
}

// add decodes a line and puts it into the batch. Blank lines are nothing.
func (in *lineReader) add(line []byte) error {
	if len(bytes.Trim(line, " \t\r")) == 0 {
		return nil
	}
	if int64(len(line)) > in.server.limits.RecordBytes {
		return in.refuse(in.tooLong())
	}
	record, err := readRecord(line)
	if err == nil {
		err = allowed(in.only, record, in.check)
	}
	if err != nil {
		return in.refuse(in.server.problemOf(err))
	}
	if err := in.vacant(); err != nil {
		return err
	}
	if len(in.batch.lines) > 0 && !in.batch.held.tryGrow(in.batch.held.bytes()+int64(len(line))) {
		// There is no room for a larger batch now. So this one is stored, which makes room, and another one begins.
		if err := in.send(); err != nil {
			return err
		}
		in.batch = in.newBatch()
	}
	if len(in.batch.lines) == 0 {
		if err := in.batch.held.grow(int64(len(line))); err != nil {
			return err
		}
	}
	in.batch.lines = append(in.batch.lines, putLine{number: in.line, record: record})
	return nil
}

// refuse puts a line into the batch that is not stored.
func (in *lineReader) refuse(p *Problem) error {
	err := in.vacant()
	if err == nil {
		in.batch.lines = append(in.batch.lines, putLine{number: in.line, problem: p})
	}
	return err
}

func (in *lineReader) tooLong() *Problem {
	return problem(kindTooLarge, "the line has more than %d bytes", in.server.limits.RecordBytes).stored(storedNothing)
}

// join adds the lines of a later batch, unless they are too many.
func (b *lineBatch) join(later *lineBatch) bool {
	if len(b.lines)+len(later.lines) > maxBatch || b.held.bytes()+later.held.bytes() > maxBatchBytes {
		return false
	}
	b.lines, b.fatal = append(b.lines, later.lines...), later.fatal
	b.held.join(&later.held)
	return true
}

func (in *lineReader) newBatch() *lineBatch {
	return &lineBatch{held: reservation{of: in.server, ctx: in.ctx}}
}

// vacant makes sure that there is a batch with room for a line.
func (in *lineReader) vacant() error {
	if in.batch != nil && len(in.batch.lines) == maxBatch {
		if err := in.send(); err != nil {
			return err
		}
	}
	if in.batch == nil {
		in.batch = in.newBatch()
	}
	return nil
}

// send hands the batch over, if there is one. While nobody has taken the batch before, the lines join that one: they are stored
// together then, with one sync.
func (in *lineReader) send() error {
	if in.batch == nil {
		return nil
	}
	select {
	case before := <-in.batches:
		if before.join(in.batch) {
			in.batch = before
		} else {
			in.batches <- before // this is the only sender, so there is room
			in.first.end()
		}
	default:
	}
	// The end of the request does not end this wait. A body whose read has failed ends the request, and still has lines that came
	// whole, and a last answer.
	select {
	case in.batches <- in.batch:
		in.batch = nil
		in.first.handed(in.left > 0 && len(in.server.streams) == 1)
		return nil
	case <-in.ended:
		return errUnwanted
	}
}

// A firstBatch says how long the first batch of a stream waits for the lines that follow it. A body of known length comes in two
// reads or more, since the first one brings only what came together with the head of the request. Without the wait the lines of that
// one have a sync of their own, and all others wait for it. (Measured with one client and 100 lines a request: 1.3 times as many a second.)
//
// Beside other streams there is no wait. The sync is shared with theirs then, and the wait would gain nothing.
type firstBatch struct {
	over  chan struct{} // closed when the wait is over
	once  sync.Once
	timer *time.Timer // only the reader uses it; nil: nothing was handed over yet
}

// firstWait is how long the first batch waits at most. A client may have said how long its body is, and still wait for the answer to
// a line before it sends the next one.
const firstWait = 2 * time.Millisecond

func newFirstBatch() *firstBatch { return &firstBatch{over: make(chan struct{})} }

// handed is called by the reader when it has handed over a batch. wait says that it is worth to wait for more lines: the client has
// announced them.
func (f *firstBatch) handed(wait bool) {
	switch {
	case !wait:
		f.end()
	case f.timer == nil:
		f.timer = time.AfterFunc(firstWait, f.end)
	}
}

// end ends the wait.
func (f *firstBatch) end() { f.once.Do(func() { close(f.over) }) }

// room enlarges a buffer that was full.
func (in *lineReader) room() error {
	size := 2 * int64(cap(in.buffer))
	if len(in.buffer) < cap(in.buffer) {
		// It was full of whole lines. A larger one saves syncs, and is not needed.
		if in.left > size {
			size = min(in.left+1, usualBuffer) // the client has begun to send it, and the rest follows
		}
		if size <= usualBuffer && in.held.tryGrow(size) {
			in.buffer = append(make([]byte, 0, size), in.buffer...)
		}
		return nil
	}
	if longest := in.server.limits.RecordBytes; int64(len(in.buffer)) <= longest && !in.skips {
		size = min(size, longest+1)
		if err := in.held.grow(size); err != nil {
			return err
		}
		in.buffer = append(make([]byte, 0, size), in.buffer...)
		return nil
	}
	// The line is refused, and the rest of it is read and forgotten.
	if !in.skips {
		if err := in.refuse(in.tooLong()); err != nil {
			return err
		}
	}
	in.skips = true
	in.shrink()
	return nil
}

// shrink drops the buffer with what is in it, and begins a small one.
func (in *lineReader) shrink() {
	in.buffer = make([]byte, 0, firstBuffer)
	in.held.free()
}
