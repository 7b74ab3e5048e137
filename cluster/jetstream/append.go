package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
)

// What is under way at most: messages of one append, and bytes of all appends together, which share a connection. A server takes some thousands of
// messages and 128 MiB before it has written them, and refuses what comes then. A connection whose server was stopped takes what fits
// into the buffers of the network, and then blocks all its users until it ends, see stuckAfter.
const (
	windowMessages = 1000
	windowBytes    = 4 << 20
)

// errNotGiven says that a message was not given to the stream, since one before it in the same call got no answer. It keeps its order
// when the caller gives both again.
var errNotGiven = errors.New("it was not given, because a message before it has no answer")

// errLeaderChanged says that another server leads than the one that got a message. The new one may have the message or not, and answers
// only what it was given itself.
var errLeaderChanged = errors.New("another server leads the stream now, and whether it has the message is not known")

// flight is a message that was published and may not be answered yet.
type flight struct {
	ack     jetstream.PubAckFuture // nil if it was not published
	bytes   int                    // of the budget
	changed <-chan struct{}        // closed when another server leads than when it was published
}

// answered reports whether the outcome can be had without a wait.
func (f *flight) answered() bool {
	return f.ack == nil || len(f.ack.Ok()) > 0 || len(f.ack.Err()) > 0
}

// An era is the time during which messages go to the same leader through the same connection. What has no answer when it ends may be lost.
type era struct {
	connection uint64
	leader     <-chan struct{} // closed when another server leads
}

// era returns the one that it is now.
func (l *Log) era() era { return era{l.conn.Stats().Reconnects, l.leaderChange()} }

// Append implements cluster.Log. It has no more than a window of messages under way, however many there are.
func (l *Log) Append(ctx context.Context, ms []cluster.Message) []cluster.Appended {
	done := make([]cluster.Appended, len(ms))
	defer l.waits()()
	if err := l.takesNone(ctx); err != nil {
		for i := range done {
			done[i].Err = err
		}
		return done
	}
	l.awaitConnection(ctx)
	l.awaitLeader(ctx)
	flights := make([]flight, len(ms))
	first := 0    // the first message without an outcome
	open := false // a message has no answer
	settle := func() {
		if f := flights[first]; f.ack != nil {
			done[first] = l.outcome(ctx, f)
			l.underWay.release(f.bytes)
			flights[first] = flight{} // its message is not needed any more
			open = open || done[first].Err != nil && !errors.Is(done[first].Err, cluster.ErrRefused)
		}
		first++
	}
	now := l.era()
	for i, m := range ms {
		for i-first >= windowMessages {
			settle()
		}
		size, taken := min(len(m.Payload), windowBytes), false
		var err error
		for !open && !taken {
			if err = ctx.Err(); err != nil {
				break
			}
			switch taken = l.underWay.take(size); {
			case taken:
			case first < i:
				settle()
			default:
				taken = l.underWay.await(ctx, size)
			}
		}
		// What was published in another era must have its answer before anything follows it. In this one it is not overtaken. An answer that came
		// is looked at as well: it may be that nobody has taken the message.
		next := l.era()
		for first < i && (next != now || flights[first].answered()) {
			settle()
		}
		now = next
		switch {
		case err != nil:
		case open:
			err = fmt.Errorf("%s: %w", l.name(), errNotGiven)
		default:
			flights[i] = flight{bytes: size, changed: now.leader}
			flights[i].ack, err = l.publish(m)
			open = err != nil && !errors.Is(err, cluster.ErrRefused)
		}
		if err != nil {
			done[i].Err, flights[i] = err, flight{}
			if taken {
				l.underWay.release(size)
			}
		}
	}
	for first < len(ms) {
		settle()
	}
	return done
}

// outcome waits for the answer to a message.
func (l *Log) outcome(ctx context.Context, f flight) (done cluster.Appended) {
	late := time.NewTimer(quietTime)
	defer late.Stop()
	for {
		select {
		case a := <-f.ack.Ok():
			l.answered()
			return cluster.Appended{Sequence: a.Sequence, Duplicate: a.Duplicate}
		case err := <-f.ack.Err():
			switch {
			case isFull(err):
				l.answered()
				return cluster.Appended{Err: fmt.Errorf("%s: %w: it is full (%w); let it have more bytes, or wait until its oldest messages are removed", l.name(), cluster.ErrRefused, err)}
			case errors.Is(err, jetstream.ErrNoStreamResponse):
				l.leaderless()
			default:
				l.askWhoLeads() // one that is cut off says that it has the message under way already
			}
			return cluster.Appended{Err: fmt.Errorf("%s: %w", l.name(), err)}
		case <-f.changed:
			select {
			case a := <-f.ack.Ok():
				l.answered()
				return cluster.Appended{Sequence: a.Sequence, Duplicate: a.Duplicate}
			default:
				return cluster.Appended{Err: fmt.Errorf("%s: %w", l.name(), errLeaderChanged)}
			}
		case <-late.C:
			l.askWhoLeads()
			late.Reset(quietTime) // nobody may ask any more when this one is still late
		case <-ctx.Done():
			return cluster.Appended{Err: ctx.Err()}
		}
	}
}

// isFull reports whether the leader says that the stream has reached its limit. Then the message is on no replica.
func isFull(err error) bool {
	const storeFailed = 10077 // the code of every reason why a message was not stored
	var said *jetstream.APIError
	return errors.As(err, &said) && said.ErrorCode == storeFailed && (said.Description == "maximum bytes exceeded" || said.Description == "maximum messages exceeded")
}

func (l *Log) publish(m cluster.Message) (jetstream.PubAckFuture, error) {
	if limit := l.maxPayload(); len(m.Payload) > limit {
		return nil, fmt.Errorf("%w: its payload has %d bytes, at most %d are taken", cluster.ErrRefused, len(m.Payload), limit)
	}
	msg := nats.NewMsg(subjectOf(l.partition.Number))
	msg.Data = bytes.Clone(m.Payload) // it may be sent once more, after the caller has its outcome
	msg.Header.Set(jetstream.ExpectedStreamHeader, l.opts.Stream)
	if m.ID != "" {
		msg.Header.Set(jetstream.MsgIDHeader, m.ID)
	}
	if m.Sum != "" {
		msg.Header.Set(sumHeader, m.Sum)
	}
	if m.Kind != cluster.Record {
		msg.Header.Set(kindHeader, string(m.Kind))
	}
	ack, err := l.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	if errors.Is(err, nats.ErrMaxPayload) {
		return nil, fmt.Errorf("%w: %w", cluster.ErrRefused, err)
	}
	return ack, unconnected(err)
}

// headerRoom is how many bytes of a message's limit are left to its headers.
const headerRoom = 1 << 10

// maxPayload is how many bytes a payload may have.
func (l *Log) maxPayload() int {
	return int(min(max(l.conn.MaxPayload()-headerRoom, 0), audit.MaxEncoded))
}
