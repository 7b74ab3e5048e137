package jetstream

import (
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// An inbox takes the answers to all reads of a connection. It has one subscription for good: the servers of a cluster tell each other of
// each subscription that begins and ends, and a node under load reads some hundred times a second.
type inbox struct {
	prefix string

	mu      sync.Mutex
	reads   uint64
	waiting map[string]chan *nats.Msg // by the last token of the subject
}

// inbox returns the inbox of a connection.
func (l *Log) inbox(conn *nats.Conn) (*inbox, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if in := l.inboxes[conn]; in != nil {
		return in, nil
	}
	in := &inbox{prefix: nats.NewInbox() + ".", waiting: map[string]chan *nats.Msg{}}
	sub, err := conn.Subscribe(in.prefix+"*", in.take)
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	l.inboxes[conn] = in
	return in, nil
}

// expect begins to take at most so many answers, which come to the subject reply, until done is called.
func (in *inbox) expect(most int) (answers <-chan *nats.Msg, reply string, done func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reads++
	token := strconv.FormatUint(in.reads, 10)
	c := make(chan *nats.Msg, most)
	in.waiting[token] = c
	return c, in.prefix + token, func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		delete(in.waiting, token)
	}
}

// take hands an answer to its read. What comes too late is dropped, and so is more than was asked for.
func (in *inbox) take(m *nats.Msg) {
	in.mu.Lock()
	defer in.mu.Unlock()
	select {
	case in.waiting[strings.TrimPrefix(m.Subject, in.prefix)] <- m:
	default:
	}
}
