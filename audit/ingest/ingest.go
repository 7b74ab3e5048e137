// Package ingest reads text with one record of JSON on each line, stores the records, and says what became of each line.
//
//	for o, err := range ingest.Lines(ctx, db, inputs, ingest.Options{}) {
//		if err != nil { … }                 // the store failed, or the context ended
//		if o.Err != nil { … }               // the line is refused: o.Input, o.Line, o.Text
//		fmt.Println(o.Result.ID)            // the record is durable
//	}
//
//	reader ──blocks──▶ decoders (one per core) ──▶ batches ──▶ PutAudits ──▶ outcomes
//	   └───────────── the same blocks, in order ─────▲
//
// Outcomes come in the order of the lines, and a record is durable before its outcome comes. Records are admitted to
// the store in the same order. A refused line does not stop the others. Memory is bounded however long the input and its
// lines are, see Options.ReadAhead.
//
// The reader hands over what it has as soon as it holds a whole line, and Lines stores whatever has arrived by then in
// one batch. So it is fast when there is much to do, and prompt when a program waits for each answer.
//
// Where refused lines are kept, how progress is shown and when the input counts as failed is up to the caller.
package ingest

import (
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/auditsql/auditsql/audit"
)

// An Input is text with one record on each line. Text that begins as gzip does is decompressed.
type Input struct {
	Name string // for outcomes and errors
	Text io.Reader
}

// Options say how lines are taken in. The zero value refuses nothing that the store takes.
type Options struct {
	Check // Lines sets its Unit to that of the store

	// Strict stops at the first line that is refused: what stands before it is stored, and nothing after it, whoever else writes
	// to the store meanwhile.
	Strict bool

	// EachLine is for a caller who waits for an answer to every line. A line that is a JSON list is then refused like
	// any other line. Without EachLine an input that begins with a list is refused as a whole, with a better reason.
	EachLine bool

	// ReadAhead is how many bytes of text may be read and not yet stored; 0 is 64 MiB. One line may be longer, up to
	// LongestLine.
	ReadAhead int64
}

// An Outcome is what became of a line, or of an input.
type Outcome struct {
	Input string
	Line  int // from 1; 0 when the outcome is about the input as a whole, and Err an *InputError

	Result audit.PutResult   // of a record that is stored
	Record *audit.QueryAudit // that record
	Doubts []Doubt           // what is odd about it

	Err  error  // why the line is refused
	Text []byte // the refused line as it came, with its line end if it has one

	// More says that the line is too long to be held: Text is a part of it, and more outcomes of the same line follow.
	// The last of them is the outcome of the line: its More is false, and it has the reason.
	More bool

	// Pause says that Lines stores or reads more before the next outcome, which can take long. So a caller who buffers
	// answers should flush them now.
	Pause bool
}

// A Store takes records. *audit.DB is one; its methods say what is expected.
type Store interface {
	TimeUnit() audit.TimeUnit
	PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
	PutUntilRefused(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
}

var _ Store = (*audit.DB)(nil)

// Lines stores the records of all inputs, one input after the other. It yields an outcome for each line that is not
// blank, and one for each input that cannot be read to its end; the inputs after that one are still read, unless the
// caller stops. An error ends the iteration: the store's, or the context's cause.
//
// Record and Text of an outcome are valid until the next one. A batch that is being stored when the context ends is
// stored, and its outcomes come first. When the iteration ends early, a read of an input that is under way goes on
// until it returns: it cannot be interrupted.
func Lines(ctx context.Context, db Store, inputs []Input, o Options) iter.Seq2[Outcome, error] {
	o.Unit = db.TimeUnit()
	return func(yield func(Outcome, error) bool) {
		r := run{db: db, options: o, yield: yield}
		if err := r.all(ctx, inputs); err != nil && !errors.Is(err, errStopped) {
			yield(Outcome{}, err)
		}
	}
}

// defaultReadAhead is the ReadAhead of the zero Options.
const defaultReadAhead = 64 << 20

// errStopped ends a run that has not failed: the caller wants no more outcomes, or Strict has ended it.
var errStopped = errors.New("stopped")

// A run is one iteration of Lines.
type run struct {
	db      Store
	options Options
	yield   func(Outcome, error) bool
	batch   batch
}

// report yields an outcome.
func (r *run) report(o Outcome) error {
	if !r.yield(o, nil) {
		return errStopped
	}
	if r.options.Strict && o.Err != nil && o.Line > 0 {
		return errStopped
	}
	return nil
}

// all reads, decodes and stores all inputs. When it ends early, the reader and the decoders end as soon as the read that
// may be under way returns. They touch nothing but the input.
func (r *run) all(ctx context.Context, inputs []Input) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cores := runtime.GOMAXPROCS(0)
	work := make(chan *decoded, 2*cores)
	ordered := make(chan *decoded, 2*cores)
	most := r.options.ReadAhead
	if most <= 0 {
		most = defaultReadAhead
	}
	held := semaphore.NewWeighted(most)

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
		readError = r.readAll(ctx, inputs, func(b block) error {
			d := &decoded{block: b, held: min(int64(len(b.text)), most), done: make(chan struct{})}
			if err := held.Acquire(ctx, d.held); err != nil {
				return context.Cause(ctx)
			}
			// The decoders get it first. Everything in ordered is waited for, so a decoder must already have it.
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
			// No block is ready. So the batch is stored, and its outcomes are reported, before waiting for one.
			if err := r.store(ctx); err != nil {
				return err
			}
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
		if err := r.take(ctx, d); err != nil {
			return err
		}
		held.Release(d.held)
	}
	decoders.Wait()
	if err := r.store(ctx); err != nil {
		return err
	}
	return readError
}

// readAll hands out the blocks of all inputs in order. An input that cannot be read to its end is reported in its
// place, and the others are still read.
func (r *run) readAll(ctx context.Context, inputs []Input, emit func(block) error) error {
	for _, in := range inputs {
		text, err := openText(endable{ctx, in.Text}, in.Name, r.options.EachLine)
		if err == nil {
			err = blocks(text, in.Name, LongestLine, emit)
		}
		var failed *InputError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &failed):
			err = emit(block{name: in.Name, failed: failed})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// take adds the lines of a block to the batch, which is stored whenever it is full.
func (r *run) take(ctx context.Context, d *decoded) error {
	switch {
	case d.failed != nil:
		if err := r.store(ctx); err != nil {
			return err
		}
		return r.report(Outcome{Input: d.name, Err: d.failed, Pause: true})
	case d.tooLong:
		return r.takePart(ctx, d)
	}
	for i := range d.lines {
		if r.batch.add(&d.lines[i]) {
			if err := r.store(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// takePart refuses a line that is too long to be held in memory, part by part.
func (r *run) takePart(ctx context.Context, d *decoded) error {
	if d.begins {
		if err := r.store(ctx); err != nil {
			return err
		}
	}
	o := Outcome{Input: d.name, Line: d.first, Text: d.text, More: !d.ends, Pause: d.ends}
	if d.ends {
		o.Err = ErrLineTooLong
	}
	return r.report(o)
}
