package web

import (
	"log/slog"
	"time"
)

// Options say how a store is served. The zero value answers nobody but those who ask for its health: without Tokens and
// Trusted there is nobody who may ask for more.
type Options struct {
	// Tokens says who has a Bearer token.
	Tokens Tokens

	// Trusted, when it is not nil, is who makes every request that comes without a token. It is for a listener that only
	// the owner of the store can reach, such as a unix socket with mode 0600, and for a program that checks by itself.
	Trusted *Principal

	// Hosts are the names, without a port, under which the server may be called, beside localhost and the loopback addresses.
	// Other values of the Host header are refused: a page of somebody else may have made its own name lead here. AnyHost
	// switches that off, for a listener that no browser can reach.
	Hosts   []string
	AnyHost bool

	// ReadOnly serves no route that writes, also when the store could.
	ReadOnly bool

	// MaxFuture is how far after now the timestamp of a new record may lie; 0 is ingest.UsualFuture, and a negative one is no
	// limit. A client can ask for another one with the parameter max-future.
	MaxFuture time.Duration

	// Spans says for /readyz how a receiver of spans is that runs beside the server. A nil Spans, or one that returns nil, says
	// that there is none.
	Spans func() *Spans

	Limits  Limits
	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: nothing is logged
	Metrics *Metrics         // nil: nothing is measured, and /metrics does not exist
}

// Spans is how a receiver of spans is.
type Spans struct {
	Refused   string // why it takes none, "" if it does. Everybody may read it
	Waiting   bool   // what has settled cannot be stored for now. Spans are taken meanwhile
	Replaying bool   // it still reads spans that an earlier start has acknowledged, so some records are not there yet
}

// Limits bound what requests can cost. A zero is the default.
type Limits struct {
	RecordBytes int64         // of one record as it comes; 16 MiB
	BodyBytes   int64         // of all bodies that are held at the same time; 64 MiB
	PutWait     time.Duration // for room in the backlog, and for room for a body; 5 s
	ReadWait    time.Duration // until SQLite has what was acknowledged, and for a slot of a question; 5 s

	AnswerBytes int64         // that long answers keep while clients read them, with 8 MiB and more counted for each; 512 MiB
	Questions   int           // expensive ones at the same time; 2
	Exports     int           // lists without a limit at the same time; 2
	Budget      time.Duration // of an expensive question; 30 s
	Streams     int           // of records that are put, at the same time; 256
	Part        time.Duration // a part of a page; the page is shown without one that takes longer; 5 s
	Tails       int           // at the same time; 1000
	Beat        time.Duration // how often a tail without records shows that it is alive; 15 s
	Idle        time.Duration // how long a client may take nothing of what is sent, or send nothing of its body; 30 s
}

func (l Limits) orDefaults() Limits {
	set := func(v *int64, usual int64) {
		if *v <= 0 {
			*v = usual
		}
	}
	wait := func(v *time.Duration, usual time.Duration) {
		if *v <= 0 {
			*v = usual
		}
	}
	count := func(v *int, usual int) {
		if *v <= 0 {
			*v = usual
		}
	}
	set(&l.RecordBytes, 16<<20)
	set(&l.BodyBytes, 64<<20)
	set(&l.AnswerBytes, 512<<20)
	wait(&l.PutWait, 5*time.Second)
	wait(&l.ReadWait, 5*time.Second)
	wait(&l.Budget, 30*time.Second)
	wait(&l.Beat, 15*time.Second)
	wait(&l.Part, 5*time.Second)
	wait(&l.Idle, 30*time.Second)
	count(&l.Questions, 2)
	count(&l.Exports, 2)
	count(&l.Streams, 256)
	count(&l.Tails, 1000)
	return l
}
