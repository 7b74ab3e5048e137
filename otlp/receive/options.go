package receive

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/otlp"
	"github.com/auditsql/auditsql/otlp/put"
	"github.com/auditsql/auditsql/wal"
)

// A Store is where the records go, and the folder of the inbox. *audit.DB is one, if it is open for writing.
type Store interface {
	put.Store
	// Inbox returns the folder of the inbox, and the options for opening it.
	Inbox() (dir string, o wal.Options, err error)
	// NoteInbox tells the store how the receiver has found the inbox, so that its statistics say it: the damage that keeps it from taking
	// spans, "" if there is none, and how many bytes at its end were kept aside that may have been acknowledged.
	NoteInbox(damage string, lost int64)
	// Sync returns when every record is on disk whose put has returned.
	Sync(ctx context.Context) error
	TimeUnit() audit.TimeUnit
	// Err is why the store takes no more records, or nil.
	Err() error
}

var _ Store = (*audit.DB)(nil)

// Options say how spans are received. The zero value takes none: without Allow there is nobody who may send.
type Options struct {
	// Allow says who makes a request, and whether that one may send spans: refused is nil then. It is asked before the body is read.
	// Nil: nobody may. Anyone lets everybody in who can reach the handler.
	Allow func(r *http.Request) (who string, refused *Refusal)

	// Mapping is how spans become records; nil is that of otlp.DefaultMap.
	Mapping *otlp.Mapping
	// Join says when traces settle, and how much is held until then. Its Unit and AfterSpans are not used.
	Join otlp.JoinOptions
	// MaxFuture is how far after now a retrieval may have begun; 0 is ingest.UsualFuture, and a negative one is no limit.
	MaxFuture time.Duration

	Limits    Limits
	OnRequest func(Request)    // is called when a request has ended; nil: nothing
	Now       func() time.Time // nil: time.Now
	Logger    *slog.Logger     // nil: nothing is logged
}

// Limits bound what requests can cost. A zero is the default.
type Limits struct {
	Body   int64         // of a request, as it comes and unpacked; 64 MiB
	Memory int64         // that all requests may take at the same time, approximately; 768 MiB
	Wait   time.Duration // for memory, before a request is refused; 5 s
	Idle   time.Duration // how long a client may send nothing of its body; 30 s
	Inbox  int64         // bytes of the inbox at which no more spans are taken; 2 GiB
	Retry  time.Duration // after which an inbox that has failed is opened again; 5 s
}

// maxElements is how many spans, attributes and parts of them a request may have. Each takes memory when it is decoded, so a request of
// two-byte elements would take a hundred times its size.
const maxElements = 2_000_000

// elementBytes is about how much memory an element takes while a request is decoded.
const elementBytes = 256

func (l Limits) orDefaults() Limits {
	bytes := func(v *int64, usual int64) {
		if *v <= 0 {
			*v = usual
		}
	}
	wait := func(v *time.Duration, usual time.Duration) {
		if *v <= 0 {
			*v = usual
		}
	}
	bytes(&l.Body, 64<<20)
	bytes(&l.Memory, 768<<20)
	bytes(&l.Inbox, 2<<30)
	wait(&l.Wait, 5*time.Second)
	wait(&l.Idle, 30*time.Second)
	wait(&l.Retry, 5*time.Second)
	return l
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.orDefaults()
	if o.Mapping == nil {
		o.Mapping, _ = otlp.NewMapping(otlp.DefaultMap()) // which is valid
	}
	switch {
	case o.MaxFuture == 0:
		o.MaxFuture = ingest.UsualFuture
	case o.MaxFuture < 0:
		o.MaxFuture = 0 // as ingest.Check has it
	}
	if o.Allow == nil {
		o.Allow = nobody
	}
	if o.OnRequest == nil {
		o.OnRequest = func(Request) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Refusal says why somebody may not send spans.
type Refusal struct {
	Status     int           // of HTTP: 401, 403, 421 or 429
	Text       string        // a sentence for the client
	RetryAfter time.Duration // of a 429
}

// Anyone is for Options.Allow. It lets everybody send who can reach the handler.
func Anyone(*http.Request) (who string, refused *Refusal) { return "", nil }

func nobody(*http.Request) (who string, refused *Refusal) {
	return "", &Refusal{Status: http.StatusUnauthorized, Text: "nobody may send spans here"}
}

// A Request is what is known of a request that has ended.
type Request struct {
	Transport string // "http" or "grpc"
	Status    int    // of HTTP, or the one that stands for the code of gRPC; 0: the connection was closed
	Who       string // as Options.Allow said
	Spans     int    // that were taken
	Unusable  int    // that were refused, while others were taken
	Bytes     int64  // of the message, unpacked
	Took      time.Duration
	Err       error // why it was refused; nil: it was not
}

// contextOr returns the cause of ctx, if it has ended, or err.
func contextOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
