package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/put"
	"github.com/auditsql/auditsql/wal"
)

// A Receiver takes spans and makes records of them. Its methods may be called from several goroutines.
type Receiver struct {
	store   Store
	options Options
	log     *slog.Logger
	check   ingest.Check
	memory  *semaphore.Weighted

	draining atomic.Bool
	ending   context.Context // ends a moment after that: then requests that have not come whole are not waited for
	end      context.CancelFunc
	quit     context.CancelFunc
	done     chan struct{} // closed when the goroutine that joins has ended

	arrivals arrivals

	mu      sync.Mutex // guards what follows
	journal *wal.Journal
	down    error // why there is no journal
	state   State

	// Only the goroutine that joins uses these.
	joiner  *otlp.Joiner
	putter  *put.Putter
	next    wal.Offset // of the inbox: what is before it is in the joiner, or has settled
	flushed wal.Offset // next when what had settled was stored the last time
	before  settledBefore
	replay  wal.Offset     // what is before it was in the inbox when the receiver was opened
	opened  time.Time      // which counts as the time at which that came
	batch   []otlp.Outcome // records of traces that have settled
	bytes   int            // that they take, about
	settled []settledTrace // these traces

	toldEarly time.Time
	silent    map[string]bool // emitters
}

// State is how a receiver is.
type State struct {
	// Err is why it takes no spans, or nil. It wraps ErrDamaged if the inbox is damaged.
	Err error
	// Waiting is why nothing more becomes a record for now, or nil: the labels of the last ones cannot be added. Spans are taken meanwhile,
	// and wait in the inbox.
	Waiting error
	// Replaying says that spans which an earlier opening has acknowledged are still being read. Held does not count all of them yet.
	Replaying bool
	// Held is how many spans belong to traces that have not settled.
	Held int
	// InboxBytes is how much of the inbox is not removed yet.
	InboxBytes int64

	// Lost is damage at the end of the inbox that was found when it was opened: spans that were acknowledged may have been there. A copy of
	// the bytes is in the folder quarantine of the inbox, and the log has their places. Spans are taken all the same.
	Lost Lost

	// What became of spans whose traces have settled, since the receiver was opened. Records = Inserted + Duplicate.
	Counts              otlp.Counts
	Inserted, Duplicate uint64
	Early               uint64 // traces that settled early, because too many spans were held
	Late                uint64 // spans of context whose trace had settled
}

// Lost counts what cannot be read any more.
type Lost struct {
	Ranges int
	Bytes  int64
}

// ErrDamaged says that the inbox is damaged. Spans that were acknowledged may be lost.
var ErrDamaged = errors.New("the inbox is damaged")

// errFailed says that something in the receiver itself went wrong. Trying again would not help.
var errFailed = errors.New("the receiver has failed")

// Open opens the inbox of a store, and begins to make records of what is in it. A damaged inbox is no error: [Receiver.State] reports it,
// and requests have 503. An error says that the store is not open for writing. The caller closes the receiver before the store.
func Open(store Store, o Options) (*Receiver, error) {
	if err := store.Err(); err != nil {
		return nil, fmt.Errorf("receive spans: %w", err)
	}
	o = o.withDefaults()
	o.Join.Unit, o.Join.AfterSpans = store.TimeUnit(), 0
	ctx, quit := context.WithCancel(context.Background())
	ending, end := context.WithCancel(context.Background())
	r := &Receiver{
		store: store, options: o, log: o.Logger, memory: semaphore.NewWeighted(o.Limits.Memory),
		check:  ingest.Check{Unit: store.TimeUnit(), Now: o.Now, MaxFuture: o.MaxFuture},
		ending: ending, end: end,
		quit: quit, done: make(chan struct{}), joiner: otlp.NewJoiner(o.Join), putter: put.New(store), silent: map[string]bool{},
	}
	j, err := r.open(ctx)
	if err != nil {
		r.fail(err)
	}
	go r.run(ctx, j, err)
	return r, nil
}

// endGrace is how long a request may still take to come whole when the receiver is told to end.
const endGrace = 250 * time.Millisecond

// Drain makes the receiver take no new requests. A moment later those end that have not come whole. Those whose spans are on their way to
// the disk go on: wait for them with http.Server.Shutdown.
func (r *Receiver) Drain() {
	r.draining.Store(true)
	time.AfterFunc(endGrace, r.end)
}

// Close ends the receiver. Spans of traces that have not settled stay in the inbox, and become records after the next Open.
func (r *Receiver) Close() error {
	r.Drain()
	r.quit()
	<-r.done
	return nil
}

// State returns how the receiver is.
func (r *Receiver) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.Err = r.down
	if r.journal != nil {
		s.InboxBytes = waiting(r.journal)
	}
	return s
}

// waiting is how many bytes of an inbox are not removed yet. The end is read after the segments: it only grows, so it is not before the
// first of them.
func waiting(j *wal.Journal) int64 {
	first := j.Segments()[0].Base
	return int64(j.End() - first)
}

func (r *Receiver) closing() *fault {
	f := refuse(unavailable, "the server is being stopped; nothing was stored")
	f.retry = 2 * time.Second
	return f
}

// ready returns the inbox, or why no spans can be taken now.
func (r *Receiver) ready() (*wal.Journal, *fault) {
	r.mu.Lock()
	j, down := r.journal, r.down
	r.mu.Unlock()
	switch err := r.store.Err(); {
	case j == nil:
		return nil, refuse(unavailable, "the inbox cannot be written to; nothing was stored").because(down)
	case errors.Is(err, audit.ErrClosed):
		return nil, r.closing()
	case err != nil:
		return nil, refuse(unavailable, "the store takes no more records; nothing was stored").because(err)
	case waiting(j) > r.options.Limits.Inbox:
		return nil, refuse(full, "too many spans wait for their traces, or for the store; nothing was stored")
	}
	return j, nil
}

// accept reduces spans and appends them to the inbox. They are synced when it returns.
func (r *Receiver) accept(ctx context.Context, spans []*otlp.Span) (o outcome, f *fault) {
	payloads := make([][]byte, 0, len(spans))
	for i, s := range spans {
		text, err := r.reduce(s)
		spans[i] = nil // what is decoded takes more memory than what is kept
		if err == nil {
			payloads = append(payloads, text)
			continue
		}
		if o.unusable++; o.unusable == 1 {
			o.why = fmt.Sprintf("span %s: %v", s.SpanID, err)
		}
	}
	if o.taken = len(payloads); o.taken == 0 {
		return o, nil
	}
	j, f := r.ready()
	if f != nil {
		return o, f
	}
	came := r.arrivals.begin(r.options.Now())
	offsets, err := j.AppendBatch(ctx, payloads)
	last := wal.Offset(0)
	if err == nil {
		last = offsets[len(offsets)-1]
	}
	r.arrivals.end(came, last, err != nil)
	switch {
	case err == nil:
		return o, nil
	case ctx.Err() != nil:
		return o, refuse(gone, "the client has gone away").because(context.Cause(ctx))
	case errors.Is(err, wal.ErrClosed):
		return o, r.closing()
	default:
		return o, refuse(unavailable, "the inbox cannot be written to; send the spans again").because(err)
	}
}

// reduce returns a span as the inbox has it, or why it can never become what it must become. That is said now: later there is nobody who
// could be told.
func (r *Receiver) reduce(s *otlp.Span) ([]byte, error) {
	reduced := r.options.Mapping.Reduce(s)
	if reduced == nil {
		return nil, s.Unusable
	}
	// Its agent, session and answer may still come from other spans. With these a record that is just below the size that a record may have
	// can become too large. Then it is rejected when its trace settles, and only the log says so.
	record, err := reduced.Alone(r.check.Unit)
	if err == nil && record != nil {
		err = r.check.Refuse(record)
	}
	if err != nil {
		return nil, err
	}
	text, err := reduced.Encode()
	if err == nil && len(text) > wal.MaxPayload {
		err = fmt.Errorf("its documents take more than %d MiB", wal.MaxPayload>>20)
	}
	return text, err
}
