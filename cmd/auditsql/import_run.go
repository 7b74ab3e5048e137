package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/auditsql/auditsql/audit"
)

// The way of a line:
//
//	reader ──blocks──▶ decoders (one per core) ──▶ run: batches ──▶ store ──▶ answers
//	   └───────────── the same blocks, in order ─────▲
//
// The reader hands over what it has as soon as it holds a whole line. run takes the blocks in their order,
// waits for each to be decoded, and stores whatever has arrived by then in one batch. So it is fast when
// there is much to do, and prompt when a program waits for each answer.

const (
	// A batch ends when either of these is reached; it shares one sync.
	batchRecords = 512
	batchBytes   = 4 << 20

	// heldBytes bounds the input that is read and not yet stored. One line may be longer.
	heldBytes = 64 << 20
)

// decoded is a block on its way through the decoders.
type decoded struct {
	block
	lines []line
	held  int64
	done  chan struct{} // closed when lines is filled in
}

// A line is one record of input, or why it is none.
type line struct {
	name   string
	number int
	text   []byte
	q      audit.QueryAudit
	err    error
}

func (d *decoded) decode() {
	defer close(d.done)
	if d.tooLong {
		return
	}
	number := d.first - 1
	for rest := d.text; len(rest) > 0; {
		number++
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		l := line{name: d.name, number: number, text: rest[:end]}
		rest = rest[end:]
		if len(bytes.Trim(l.text, " \t\r\n")) == 0 {
			continue
		}
		if len(l.text) > longestLine+1 {
			l.err = errTooLong
		} else {
			l.q, l.err = audit.ParseAudit(l.text)
		}
		d.lines = append(d.lines, l)
	}
}

var errTooLong = fmt.Errorf("longer than %d MiB; a record has at most %d MiB", longestLine>>20, audit.MaxEncoded>>20)

// run imports everything. When it ends early, the reader and the decoders end as soon as the read that may
// be under way does; nobody can call back one that waits for input. They touch nothing but the input.
func (im *importer) run(ctx context.Context, inputs []input) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cores := runtime.GOMAXPROCS(0)
	work := make(chan *decoded, 2*cores)
	ordered := make(chan *decoded, 2*cores)
	held := semaphore.NewWeighted(heldBytes)

	var decoders sync.WaitGroup
	for range cores {
		decoders.Go(func() {
			for d := range work {
				d.decode()
			}
		})
	}
	var readError error // set before ordered is closed
	go func() {
		defer close(ordered)
		defer close(work)
		readError = im.readAll(ctx, inputs, func(b block) error {
			d := &decoded{block: b, held: min(int64(len(b.text)), heldBytes), done: make(chan struct{})}
			if err := held.Acquire(ctx, d.held); err != nil {
				return context.Cause(ctx)
			}
			// To the decoders first: whatever is in order will be waited for.
			for _, to := range []chan<- *decoded{work, ordered} {
				select {
				case to <- d:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		})
	}()

	for {
		var d *decoded
		var more bool
		select {
		case d, more = <-ordered:
		default:
			// Nothing is there right now: what has been taken is stored and answered before waiting.
			if err := im.store(ctx); err != nil {
				return err
			}
			im.show()
			select {
			case d, more = <-ordered:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if !more {
			break
		}
		<-d.done
		if err := im.take(ctx, d); err != nil {
			return err
		}
		held.Release(d.held)
	}
	decoders.Wait()
	if err := im.store(ctx); err != nil {
		return err
	}
	im.show()
	return readError
}

// readAll hands out the blocks of all inputs in order. An input that cannot be read to its end is told in its place,
// and does not keep the others from being read.
func (im *importer) readAll(ctx context.Context, inputs []input, emit func(block) error) error {
	for _, in := range inputs {
		// Who waits for an answer to each line gets one also for a line that is a list.
		lines, err := openText(endable{ctx, counted{in.in, im.read}}, in.name, im.options.ack)
		if err == nil {
			err = blocks(lines, in.name, longestLine, emit)
		}
		var failed *inputError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &failed):
			err = emit(block{name: in.name, failed: failed})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errStrict ends an import at its first rejected line.
var errStrict = errors.New("a line was rejected")

// take adds the lines of a block to the batch, which is stored whenever it is full.
func (im *importer) take(ctx context.Context, d *decoded) error {
	switch {
	case d.failed != nil:
		return im.takeFailure(ctx, d.failed)
	case d.tooLong:
		return im.takePiece(ctx, d)
	}
	for i := range d.lines {
		if im.batch.add(&d.lines[i]) {
			if err := im.store(ctx); err != nil {
				return err
			}
			im.show()
		}
	}
	return nil
}

// takeFailure tells that an input could not be read to its end. When there is no other, that is how the import ends.
func (im *importer) takeFailure(ctx context.Context, why *inputError) error {
	if im.options.strict || im.inputs == 1 {
		return errors.Join(im.store(ctx), why)
	}
	if err := im.store(ctx); err != nil {
		return err
	}
	im.failed++
	line := why.Error()
	var advice *exitError
	if errors.As(why, &advice) && advice.try != "" {
		line += "; try: " + advice.try
	}
	im.bar.Say(harmless(line))
	return nil
}

// takePiece rejects a line that is too long to be held, piece by piece.
func (im *importer) takePiece(ctx context.Context, d *decoded) error {
	if d.begins {
		if err := im.store(ctx); err != nil {
			return err
		}
	}
	if _, err := im.rejects.Write(d.text); err != nil {
		return err
	}
	if !d.ends {
		return nil
	}
	if n := len(d.text); n == 0 || d.text[n-1] != '\n' {
		if _, err := im.rejects.Write([]byte{'\n'}); err != nil {
			return err
		}
	}
	return im.tellRejected(&line{name: d.name, number: d.first}, errTooLong)
}
